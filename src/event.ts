/**
 * The event.
 */

import { inspect } from 'node:util'
import { isInterruptible } from './acquirable.js'
import { fromNative, InterruptedError } from './errors.js'
import { bare, call, native } from './native.js'
import type { Named } from './queue.js'
import { nameOf, registerShared, SharedObject, takeOpening } from './shared-object.js'
import { Line, notYet, readiness, timeoutOf, What, type Readiness, type SyncWaitOptions, type WaitOptions } from './waiting.js'

const KIND = 12

/**
 * A flag that processes set and clear, and wait for. Whoever waits when it is set goes on, also if it is cleared at once.
 *
 * @example
 * ```ts
 * const ready = new Event()
 * new Process({ target: event => { event.set() }, args: [ready] }).start()
 * await ready.wait({ timeout: 5000 })
 * ```
 */
export class Event extends SharedObject {
  /** Tells it from other classes of the same shape. */
  declare protected readonly kind: 'Event'
  readonly #line = new Line(What.Shared, () => this.id())

  /** @throws {@link StateError} for a name of 0 or more than 1024 bytes. */
  constructor(options: Named = {}) {
    const handle = takeOpening()
    const name = handle === null ? nameOf(options.name) : null
    super('event', () => handle === null ? native.eventCreate(name) : native.eventOpen(handle[0], handle[1]))
  }

  /** True while it is set. */
  isSet(): boolean {
    try {
      return bare.eventIsSet(this.id()) === 1
    } catch (error) {
      throw fromNative(error)
    }
  }

  /** Sets it; those who wait go on. Never waits for them. */
  set(): void {
    try {
      bare.eventSet(this.id())
    } catch (error) {
      throw fromNative(error)
    }
  }

  /** Clears it: whoever waits from now on waits for the next setting. */
  clear(): void {
    try {
      bare.eventClear(this.id())
    } catch (error) {
      throw fromNative(error)
    }
  }

  /** Resolves with true once it is set, with false on timeout. @throws `signal.reason` when aborted; {@link ClosedError}. */
  wait(options?: WaitOptions): Promise<boolean> {
    let count: number
    try {
      count = call(() => native.eventCount(this.id()))
    } catch (error) {
      return Promise.reject(error)
    }
    return this.#line.wait<boolean>(() => call(() => native.eventWasSet(this.id(), count)) ? true : notYet, options, () => false)
  }

  /** As wait, blocking this thread. @throws {@link InterruptedError}. */
  waitSync(options?: SyncWaitOptions): boolean {
    const timeout = timeoutOf(options)
    if (this.isSet()) return true
    if (timeout <= 0) return false
    const outcome = call(() => native.eventWait(this.id(), timeout === Infinity ? -1 : timeout, isInterruptible()))
    if (outcome === 2) throw new InterruptedError('a signal came while this call waited')
    return outcome === 0
  }

  /** What `wait` asks. @internal */
  [readiness](): Readiness {
    return { isReady: () => this.isSet(), wait: options => this.wait(options), what: What.Shared, id: this.id() }
  }

  protected failAll(error: unknown): void {
    this.#line.fail(error)
  }

  [inspect.custom](): string {
    const label = this.label('Event')
    if (this.isClosed) return `${label} { closed }`
    const waiting = call(() => native.sharedWaiters(this.id()))
    return `${label} { ${this.isSet() ? 'set' : 'unset'}${waiting > 0 ? `, ${waiting} waiting` : ''} }`
  }
}

registerShared(KIND, () => new Event())
