/**
 * The condition.
 */

import { inspect } from 'node:util'
import { isInterruptible, lockId, ownContext, regain, type LockGuard } from './acquirable.js'
import { fromNative, InterruptedError } from './errors.js'
import { handleOf, open } from './handles.js'
import { Lock } from './lock.js'
import { bare, call, native } from './native.js'
import { describeOwner } from './owners.js'
import type { Named } from './queue.js'
import { RLock } from './rlock.js'
import { nameOf, registerShared, SharedObject, takeOpening } from './shared-object.js'
import { Line, notYet, timeoutOf, type SyncWaitOptions, type WaitOptions } from './waiting.js'

const KIND = 13
/** No more can wait. */
const MOST = 2 ** 32 - 1

/** How a condition is made. */
export interface ConditionOptions extends Named {
  /** Its lock, which several conditions may share. Default: a Lock of its own. */
  lock?: Lock | RLock | undefined
}

/** What is left of an asynchronous wait that was given up. */
interface Cancelled { notified: boolean; turn: number; context: number; depth: number }

/**
 * A lock, and waiting until another who holds the lock says that something has changed. Acquiring and releasing is the lock's.
 *
 * @example
 * ```ts
 * const condition = new Condition()
 * {
 *   using guard = await condition.acquire()
 *   await condition.waitFor(() => queue.qsize() > 3)
 * }
 * ```
 */
export class Condition extends SharedObject {
  /** Tells it from other classes of the same shape. */
  declare protected readonly kind: 'Condition'
  readonly #lock: Lock | RLock
  readonly #ownsLock: boolean
  readonly #lines = new Set<Line>()

  /** @throws {@link StateError} when the one of that name has another lock. */
  constructor(options: Lock | RLock | ConditionOptions = {}) {
    const handle = takeOpening()
    const lock = options instanceof Lock || options instanceof RLock ? options : options.lock
    const name = handle !== null || options instanceof Lock || options instanceof RLock ? null : nameOf(options.name)
    super('condition', () => handle === null
      ? native.conditionCreate(lock === undefined ? null : [...lock[handleOf]()], name)
      : native.conditionOpen(handle[0], handle[1]))
    this.#ownsLock = lock === undefined
    const [index, generation] = call(() => native.conditionLock(this.id())) as [number, number]
    this.#lock = lock ?? open([index, generation]) as Lock | RLock
  }

  /** Acquires the lock. @see {@link Lock.acquire} */
  acquire(options?: { timeout?: undefined; signal?: AbortSignal | undefined }): Promise<LockGuard>
  acquire(options: WaitOptions): Promise<LockGuard | null>
  acquire(options: WaitOptions = {}): Promise<LockGuard | null> {
    return this.#lock.acquire(options)
  }

  /** Acquires the lock, blocking this thread. */
  acquireSync(options?: { timeout?: undefined }): LockGuard
  acquireSync(options: SyncWaitOptions): LockGuard | null
  acquireSync(options: SyncWaitOptions = {}): LockGuard | null {
    return this.#lock.acquireSync(options)
  }

  /** Acquires the lock if that is possible at once; else null. */
  tryAcquire(): LockGuard | null {
    return this.#lock.tryAcquire()
  }

  /** Releases the lock. */
  release(): void {
    this.#lock.release()
  }

  /** Runs `fn` with the lock acquired. */
  runExclusive<T>(fn: (guard: LockGuard) => T, options?: WaitOptions): Promise<Awaited<T>> {
    return this.#lock.runExclusive(fn, options)
  }

  /**
   * Releases the lock, waits until it is notified, and acquires the lock again: also when it is late (false), or rejects.
   *
   * @throws {@link StateError} when the lock is not held; `signal.reason` when aborted; {@link ClosedError}.
   */
  async wait(options?: WaitOptions): Promise<boolean> {
    const timeout = timeoutOf(options)
    options?.signal?.throwIfAborted()
    const id = this.id()
    const context = this.#lock[ownContext]()
    if (timeout <= 0) {
      // Nothing is notified, but the lock must be held for it.
      this.#notify(id, context, 0)
      return false
    }
    let wait = 0
    let ended = false
    let cancelled: Cancelled | null = null
    const line = new Line({
      begin: () => {
        wait = call(() => native.conditionBegin(id, context))
        return wait
      },
      mustLook: () => true,
      mayRest: false,
      end: () => { if (!ended) cancelled = call(() => native.conditionCancel(wait)) },
    })
    this.#lines.add(line)
    this.use()
    try {
      const attempt = (): true | typeof notYet => {
        ended = call(() => native.conditionTry(wait))
        return ended ? true : notYet
      }
      try {
        if (await line.stand(attempt, timeout, options?.signal, () => false)) return true
      } catch (error) {
        await this.#regain(id, cancelled)
        throw error
      }
      return await this.#regain(id, cancelled)
    } finally {
      this.#lines.delete(line)
      this.unuse()
    }
  }

  /** Holds the lock again as before a wait that was given up; whether that had been notified. */
  async #regain(id: number, cancelled: Cancelled | null): Promise<boolean> {
    if (cancelled === null) return false
    await this.#lock[regain]()
    const { turn, context, depth, notified } = cancelled
    call(() => { native.conditionRestore(id, turn, context, depth) })
    return notified
  }

  /** As wait, blocking this thread. @throws {@link InterruptedError}, with the lock held. */
  waitSync(options?: SyncWaitOptions): boolean {
    const timeout = timeoutOf(options)
    const context = this.#lock[ownContext]()
    if (timeout <= 0) {
      this.#notify(this.id(), context, 0)
      return false
    }
    let outcome: number
    try {
      outcome = bare.conditionWait(this.id(), context, timeout === Infinity ? -1 : timeout, isInterruptible())
    } catch (error) {
      throw fromNative(error)
    }
    if (outcome === 2) throw new InterruptedError('a signal came while this call waited')
    return outcome === 0
  }

  /** Waits until `predicate`, which runs here with the lock held, gives something truthy; on timeout: its last value. */
  async waitFor<T>(predicate: () => T, options?: WaitOptions): Promise<Awaited<T>> {
    const end = performance.now() + timeoutOf(options)
    for (;;) {
      const value = await predicate()
      const left = end - performance.now()
      if (Boolean(value) || left <= 0) return value
      await this.wait({ ...options, timeout: left })
    }
  }

  /** As waitFor, blocking this thread. */
  waitForSync<T>(predicate: () => T, options?: SyncWaitOptions): T {
    const end = performance.now() + timeoutOf(options)
    for (;;) {
      const value = predicate()
      const left = end - performance.now()
      if (Boolean(value) || left <= 0) return value
      this.waitSync({ timeout: left })
    }
  }

  /**
   * Lets up to `n` of those who wait go on, first come, first served, once the lock is free. Never waits for them.
   *
   * @throws {@link StateError} when the lock is not held; RangeError for an `n` that is not whole or below 0.
   */
  notify(n = 1): void {
    if (!Number.isInteger(n) || n < 0) throw new RangeError(`n must be a whole number from 0, not ${String(n)}`)
    this.#notify(this.id(), this.#lock[ownContext](), n)
  }

  #notify(id: number, context: number, n: number): void {
    try {
      bare.conditionNotify(id, context, Math.min(n, MOST))
    } catch (error) {
      throw fromNative(error)
    }
  }

  /** Lets all of those who wait go on. @throws {@link StateError} when the lock is not held. */
  notifyAll(): void {
    this.notify(MOST)
  }

  protected failAll(error: unknown): void {
    for (const line of this.#lines) line.fail(error)
  }

  override close(): void {
    super.close()
    if (this.#ownsLock) this.#lock.close()
  }

  [inspect.custom](): string {
    const label = this.label('Condition')
    if (this.isClosed) return `${label} { closed }`
    const waiting = call(() => native.conditionWaiters(this.id()))
    const kind = this.#lock instanceof RLock ? 'RLock' : 'Lock'
    return `${label} { ${waiting} waiting, ${kind} ${describeOwner(this.#lock[lockId]())} }`
  }
}

registerShared(KIND, () => new Condition())
