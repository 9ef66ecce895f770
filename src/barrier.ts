/**
 * The barrier.
 */

import { inspect } from 'node:util'
import { isInterruptible } from './acquirable.js'
import { BrokenBarrierError, fromNative, InterruptedError } from './errors.js'
import { flat } from './handles.js'
import { kindFirst, needs, read, send } from './message.js'
import { bare, call, native } from './native.js'
import type { Named } from './queue.js'
import { nameOf, registerShared, SharedObject, takeOpening } from './shared-object.js'
import { preload } from './target/index.js'
import { Line, notYet, remainingOf, timeoutOf, waitSync, What, type SyncWaitOptions, type WaitOptions } from './waiting.js'

const KIND = 14
const MOST = 2 ** 16

/** How a barrier is made. */
export interface BarrierOptions extends Named {
  /** Runs in the process that arrives last, before anyone goes on; it travels as a Target does. If it throws, the barrier breaks. */
  action?: (() => void) | undefined
  /** Default of `wait`, in ms; none: for ever. */
  timeout?: number | undefined
}

/** What an arrival found. */
const How = { Passed: 0, Act: 1, Wait: 2, Later: 3, Broken: 4 } as const
/** What has become of a round. */
const Fate = { Open: 0, Passed: 1, Broken: 2 } as const
/** What came of an arrival, where it is no place. */
const Met = { Broken: -1, Stopped: -2, Later: -3 } as const
interface Arrival { how: number; round: number; place: number }
interface ActionMessage { bytes: Buffer; blobs: Uint8Array[]; handles: number[] }

function encoded(action: () => void): ActionMessage {
  return send(action, 'action', message => ({
    bytes: Buffer.concat([Buffer.of(message.kind), message.bytes.subarray(0, message.length)]),
    blobs: [...message.blobs], handles: flat(message.handles),
  }))
}

function broken(): never {
  throw new BrokenBarrierError('the barrier is broken')
}

/**
 * A number of parties that wait for each other, round after round: processes, threads, tasks.
 *
 * A round breaks for all who wait in it when one of them is late, is aborted, or dies, and by `abort` and `reset`; then every
 * `wait` throws until `reset()`.
 *
 * @example
 * ```ts
 * const barrier = new Barrier(3, { timeout: 5000 })
 * if (await barrier.wait() === 0) console.log('all are here')
 * ```
 */
export class Barrier extends SharedObject {
  /** Tells it from other classes of the same shape. */
  declare protected readonly kind: 'Barrier'
  readonly #line = new Line(What.Shared, () => this.id())
  /** Those who came while an action ran: they must not stand behind others of this thread, who may wait for them. */
  readonly #early = new Line(What.Shared, () => this.id())
  readonly #parties: number
  readonly #timeout: number
  #action: (() => unknown) | null | undefined

  /**
   * @throws RangeError for parties that are not a whole number from 1 to 65,536; {@link SerializationError} for an action that
   * cannot travel; {@link StateError} when the one of that name has other parties or another timeout.
   */
  constructor(parties: number, options: BarrierOptions = {}) {
    const handle = takeOpening()
    const timeout = timeoutOf(options)
    if (handle === null && (!Number.isInteger(parties) || parties < 1 || parties > MOST)) {
      throw new RangeError(`a barrier has 1 to ${MOST} parties, a whole number, not ${String(parties)}`)
    }
    const name = handle === null ? nameOf(options.name) : null
    const { action } = options
    if (action !== undefined && typeof action !== 'function') throw new TypeError('the action of a barrier must be a function')
    super('barrier', () => handle === null
      ? native.barrierCreate(parties, timeout, action === undefined ? null : encoded(action), name)
      : native.barrierOpen(handle[0], handle[1]))
    const state = native.barrierState(this.id())
    this.#parties = state.parties
    this.#timeout = state.timeout
    if (handle === null) this.#action = action ?? null
  }

  /** How many it takes. */
  get parties(): number {
    return this.#parties
  }

  /** How many wait in this round. */
  get nWaiting(): number {
    return call(() => native.barrierState(this.id())).waiting
  }

  /** True once it is broken, until `reset()`. */
  get broken(): boolean {
    return call(() => native.barrierState(this.id())).broken
  }

  #timeoutOf(options: SyncWaitOptions | undefined): number {
    return options?.timeout === undefined ? this.#timeout : timeoutOf(options)
  }

  #arrive(): Arrival {
    const arrival = call(() => native.barrierArrive(this.id()))
    if (arrival.how === How.Broken) broken()
    return arrival
  }

  #arriveSoon(): Arrival | typeof notYet {
    const arrival = this.#arrive()
    return arrival.how === How.Later ? notYet : arrival
  }

  /** Lets the others go on, once the action has been run. */
  #act(round: number, action: () => unknown): void {
    try {
      action()
    } catch (error) {
      call(() => native.barrierAbort(this.id(), round))
      throw error
    }
    if (!call(() => native.barrierPass(this.id(), round))) broken()
  }

  /**
   * Waits until all parties have arrived.
   *
   * @returns 0 to parties − 1, each once a round.
   * @throws {@link BrokenBarrierError}; `signal.reason` when aborted, which breaks the round for the others; what the action throws.
   */
  async wait(options?: WaitOptions): Promise<number> {
    const timeout = this.#timeoutOf(options)
    const signal = options?.signal
    signal?.throwIfAborted()
    const end = performance.now() + timeout
    let arrival = this.#arrive()
    if (arrival.how === How.Later) arrival = await this.#early.wait<Arrival>(() => this.#arriveSoon(), { timeout, signal }, broken)
    const { how, round, place } = arrival
    if (how === How.Act) {
      this.#act(round, await this.#preparedAction(round))
    } else if (how === How.Wait) {
      let fate: number
      const left = end - performance.now()
      const id = this.id()
      // Closed meanwhile, it still has its place, and must break the round for the others.
      this.use()
      try {
        fate = await this.#line.wait<number>(() => {
          const now = call(() => native.barrierFate(this.id(), round))
          return now === Fate.Open ? notYet : now
        }, { timeout: left, signal }, () => call(() => native.barrierAbort(id, round)))
      } catch (error) {
        if (call(() => native.barrierAbort(id, round)) !== Fate.Passed) throw error
        fate = Fate.Passed
      } finally {
        this.unuse()
      }
      if (fate !== Fate.Passed) broken()
    }
    return place
  }

  /** The action, with the modules loaded that it needs. */
  async #preparedAction(round: number): Promise<() => unknown> {
    try {
      if (this.#action === undefined) {
        const message = call(() => native.barrierAction(this.id()))
        if (message !== null) await preload(needs(kindFirst(message)))
      }
      return this.#openAction()
    } catch (error) {
      call(() => native.barrierAbort(this.id(), round))
      throw error
    }
  }

  #openAction(): () => unknown {
    if (this.#action === undefined) {
      const message = call(() => native.barrierAction(this.id()))
      this.#action = message === null ? null : read(kindFirst(message)) as () => unknown
    }
    return this.#action ?? (() => undefined)
  }

  /** As wait, blocking this thread. @throws {@link InterruptedError} too, which breaks the round. */
  waitSync(options?: SyncWaitOptions): number {
    const timeout = this.#timeoutOf(options)
    const left = remainingOf(timeout)
    let met = this.#meet(left)
    if (met === Met.Later) {
      met = waitSync<number>(What.Shared, () => this.id(), () => {
        const again = this.#meet(left)
        return again === Met.Later ? notYet : again
      }, left(), broken)
    }
    if (met >= 0) return met
    if (met === Met.Broken) broken()
    if (met === Met.Stopped) throw new InterruptedError('a signal came while this call waited')
    const [round, place] = [bare.metRound(), bare.metPlace()]
    let action: () => unknown
    try {
      action = this.#openAction()
    } catch (error) {
      call(() => native.barrierAbort(this.id(), round))
      throw error
    }
    this.#act(round, action)
    return place
  }

  /** Arrives, and blocks until the round is over: the place, or one of {@link Met}. */
  #meet(left: () => number): number {
    try {
      const ms = left()
      return bare.barrierMeet(this.id(), ms === Infinity ? -1 : Math.max(0, ms), isInterruptible())
    } catch (error) {
      throw fromNative(error)
    }
  }

  /** Makes it as new: those who wait throw BrokenBarrierError, and the next round can begin. */
  reset(): void {
    call(() => { native.barrierReset(this.id()) })
  }

  /** Breaks it: every wait, now and from now on, throws BrokenBarrierError until `reset()`. */
  abort(): void {
    call(() => native.barrierAbort(this.id(), -1))
  }

  protected failAll(error: unknown): void {
    this.#early.fail(error)
    this.#line.fail(error)
  }

  [inspect.custom](): string {
    const label = this.label('Barrier')
    if (this.isClosed) return `${label} { closed }`
    const { parties, waiting, broken: isBroken } = call(() => native.barrierState(this.id()))
    return `${label} { ${isBroken ? 'broken' : `${waiting} of ${parties} waiting`} }`
  }
}

registerShared(KIND, () => new Barrier(1))
