/**
 * The lock.
 */

import { inspect } from 'node:util'
import { Acquirable, giveBack, Guard, isInterruptible, NOT, type LockGuard } from './acquirable.js'
import { fromNative, StateError } from './errors.js'
import { NOT_HERE, noWords, release, SOMEBODY_WAITS, take, wordsOf } from './lock-words.js'
import { describeOwner } from './owners.js'
import { bare, call, native } from './native.js'
import type { Named } from './queue.js'
import { nameOf, registerShared, takeOpening } from './shared-object.js'
import type { SyncWaitOptions } from './waiting.js'

const KIND = 8
/** An id that nothing has. */
const GONE = 2 ** 32 - 1
/** A lock that has been tried so often by a call is worth having its words at hand. */
const OFTEN = 16

/**
 * One holder at a time, of all processes and threads, and of the asynchronous tasks of one thread. Not reentrant. Any process
 * may release it. If its holder ends, however it ends, the next one gets it, with `ownerDied`.
 *
 * @example
 * ```ts
 * const lock = new Lock()
 * {
 *   using guard = await lock.acquire()
 *   if (guard.ownerDied) repair()
 * }
 * ```
 */
export class Lock extends Acquirable {
  /** Tells it from other classes of the same shape. */
  declare protected readonly kind: 'Lock'
  /** The id, or that of nothing once it is closed. */
  #id: number
  #calls = 0
  #words = noWords

  /** @throws {@link StateError} for a name of 0 or more than 1024 bytes. */
  constructor(options: Named = {}) {
    const handle = takeOpening()
    const name = handle === null ? nameOf(options.name) : null
    super('lock', () => handle === null ? native.lockCreate(false, name) : native.lockOpen(false, handle[0], handle[1]))
    this.#id = this.id()
  }

  /** True while somebody holds it. */
  get locked(): boolean {
    return call(() => native.lockLocked(this.id()))
  }

  protected try(id: number): number {
    const turn = take(this.#words)
    return turn === NOT_HERE ? this.#call(id) : turn
  }

  #call(id: number): number {
    if (this.#calls < OFTEN) {
      this.#calls += 1
      // Before anything is acquired, for this may fail.
      if (this.#calls === OFTEN) this.#words = wordsOf(id)
    }
    return bare.lockTry(id)
  }

  protected block(id: number, _context: number, timeout: number): number {
    return call(() => native.lockWait(id, timeout, isInterruptible()))
  }

  protected giveBackTurn(id: number, turn: number): void {
    bare.lockReleaseTurn(id, turn)
  }

  protected override guard(acquisition: number): LockGuard {
    return new Guard(this, acquisition)
  }

  // These do without what all kinds have in common: code that sees objects of one class runs twice as fast.

  override tryAcquire(): LockGuard | null {
    const turn = take(this.#words)
    return turn === NOT_HERE ? this.#tryByCall() : new Guard(this, turn)
  }

  #tryByCall(): LockGuard | null {
    let acquisition: number
    try {
      acquisition = this.#call(this.#id)
    } catch (error) {
      throw fromNative(error)
    }
    return acquisition === NOT ? null : new Guard(this, acquisition)
  }

  override acquireSync(options?: { timeout?: undefined }): LockGuard
  override acquireSync(options: SyncWaitOptions): LockGuard | null
  override acquireSync(options: SyncWaitOptions = {}): LockGuard | null {
    // What is wrong with a timeout is said before anything is acquired.
    if (options.timeout !== undefined) return super.acquireSync(options)
    const turn = take(this.#words)
    return turn === NOT_HERE ? this.#tryByCall() ?? this.#glance() ?? super.acquireSync(options) : new Guard(this, turn)
  }

  /** Most are free again before a waiter would be asleep. */
  #glance(): LockGuard | null {
    const acquisition = bare.lockGlance(this.#id)
    return acquisition === NOT ? null : new Guard(this, acquisition)
  }

  override [giveBack](turn: number): void {
    const outcome = release(this.#words, turn)
    if (outcome === 0) return
    if (outcome === SOMEBODY_WAITS) bare.lockLookAfter(this.#id)
    else if (this.#id === GONE) super[giveBack](turn)
    else bare.lockReleaseTurn(this.#id, turn)
  }

  /** A lock that is held keeps its handle until its guard comes back. */
  override close(): void {
    if (this.#id !== GONE) {
      if (call(() => native.lockState(this.#id)).mine) this.use()
      this.#id = GONE
      this.#words = noWords
    }
    super.close()
  }

  protected override isDeadlock(): boolean {
    return native.lockState(this.id()).deadlock
  }

  /** Releases it, whoever holds it. @throws {@link StateError} when nobody does. */
  release(): void {
    if (!call(() => native.lockRelease(this.id()))) throw new StateError('the lock is not locked')
  }

  [inspect.custom](): string {
    const label = this.label('Lock')
    return this.isClosed ? `${label} { closed }` : `${label} { ${describeOwner(this.id())} }`
  }
}

registerShared(KIND, () => new Lock())
