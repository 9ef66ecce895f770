/**
 * What can be acquired and released: the surface that locks and semaphores share, and guards, each the proof of one
 * acquisition.
 */

import { DeadlockError, fromNative, InterruptedError, TimeoutError } from './errors.js'
import { isMainThread } from './native.js'
import { SharedObject } from './shared-object.js'
import { TakingTurns, Line, notYet, timeoutOf, type SyncWaitOptions, type WaitOptions } from './waiting.js'

/** What the native part says of an acquisition: its turn, or one of these. */
export const NOT = -1
const STOPPED = -2
const OWNER_DIED = 1 << 20
const TURN = OWNER_DIED - 1

/**
 * Truthy proof of one acquisition; disposing it releases. Good for one release: a second `release()` of the same guard does
 * nothing, whoever holds the lock by then. A guard that is collected releases nothing.
 */
export interface LockGuard extends Disposable {
  /** The previous owner died holding it: the state it guards may be half changed. */
  readonly ownerDied: boolean
  release(): void
}

/** Gives back an acquisition of that turn. */
export const giveBack: unique symbol = Symbol('polyproc.giveBack')
/** The owner among those of this thread that acts now. */
export const ownContext: unique symbol = Symbol('polyproc.ownContext')
/** Its id, for whoever describes it. */
export const lockId: unique symbol = Symbol('polyproc.lockId')
/** Acquires again what a guard stands for already. */
export const regain: unique symbol = Symbol('polyproc.regain')
interface GivesBack { [giveBack](turn: number): void }

/** See {@link LockGuard}. */
export class Guard implements LockGuard {
  readonly ownerDied: boolean
  readonly #turn: number
  #of: GivesBack | null

  constructor(of: GivesBack, acquisition: number) {
    this.#of = of
    this.#turn = acquisition & TURN
    this.ownerDied = acquisition >= OWNER_DIED
  }

  release(): void {
    const of = this.#of
    if (of === null) return
    this.#of = null
    of[giveBack](this.#turn)
  }

  [Symbol.dispose](): void {
    this.release()
  }
}

/** Whether a signal may cut a blocking call of this thread short. */
export function isInterruptible(): boolean {
  return isMainThread && process.listenerCount('SIGINT') > 0
}

/** How an owner within this thread is told from the others, where that matters. */
export type Context = number

/** See the module. */
export abstract class Acquirable extends SharedObject {
  readonly #line = new Line(new TakingTurns(() => this.id()))
  readonly #fresh = (): LockGuard | typeof notYet => this.#attempt(this.newContext())

  /** Tries to acquire: what the native part says. */
  protected abstract try(id: number, context: Context): number
  /** Acquires, blocking for `timeout` ms (negative: for ever). */
  protected abstract block(id: number, context: Context, timeout: number): number
  /** Gives one back by the turn of its acquisition. */
  protected abstract giveBackTurn(id: number, turn: number): void
  /** Gives one back, whoever acquired it. @throws {@link StateError} where that is wrong. */
  abstract release(): void

  /** Who acquires by `acquireSync` and `tryAcquire`. */
  protected context(): Context {
    return 0
  }

  /** Who acquires by `acquire`. */
  protected newContext(): Context {
    return 0
  }

  /** True when this thread waits without end for itself. */
  protected isDeadlock(_context: Context): boolean {
    return false
  }

  /** What stands for an acquisition. */
  protected guard(acquisition: number): LockGuard {
    this.use()
    return new Guard(this, acquisition)
  }

  #attempt(context: Context): LockGuard | typeof notYet {
    const acquisition = this.#try(this.id(), context)
    return acquisition === NOT ? notYet : this.guard(acquisition)
  }

  #try(id: number, context: Context): number {
    try {
      return this.try(id, context)
    } catch (error) {
      throw fromNative(error)
    }
  }

  /** Acquires for one owner among those of this thread. */
  protected acquireAs(context: Context, options: WaitOptions | undefined): Promise<LockGuard | null> {
    return this.#line.wait<LockGuard | null>(() => this.#attempt(context), options, () => null)
  }

  /** Acquires at once for one owner among those of this thread, if that is possible. */
  protected tryAs(context: Context): LockGuard | null {
    const guard = this.#attempt(context)
    return guard === notYet ? null : guard
  }

  /**
   * Acquires it, waiting while another has it; null after `timeout`.
   *
   * @throws `signal.reason` when aborted; {@link ClosedError}.
   * @example
   * ```ts
   * using guard = await lock.acquire()
   * ```
   */
  acquire(options?: { timeout?: undefined; signal?: AbortSignal | undefined }): Promise<LockGuard>
  acquire(options: WaitOptions): Promise<LockGuard | null>
  acquire(options?: WaitOptions): Promise<LockGuard | null> {
    return this.#line.wait<LockGuard | null>(this.#fresh, options, () => null)
  }

  /**
   * As acquire, blocking this thread.
   *
   * @throws {@link DeadlockError} where it would wait for ever for what this thread holds itself and nobody else could release;
   * {@link InterruptedError} when SIGINT comes and this process listens for it.
   */
  acquireSync(options?: { timeout?: undefined }): LockGuard
  acquireSync(options: SyncWaitOptions): LockGuard | null
  acquireSync(options?: SyncWaitOptions): LockGuard | null {
    const timeout = timeoutOf(options)
    const context = this.context()
    const id = this.id()
    let acquisition = this.#try(id, context)
    if (acquisition === NOT) {
      if (timeout <= 0) return null
      if (timeout === Infinity && this.isDeadlock(context)) {
        throw new DeadlockError('this thread holds it already, and nobody else could ever release it')
      }
      acquisition = this.block(id, context, timeout === Infinity ? -1 : timeout)
      if (acquisition === NOT) return null
      if (acquisition === STOPPED) throw new InterruptedError('a signal came while this call waited')
    }
    return this.guard(acquisition)
  }

  /** Acquires it if that is possible at once; else null. */
  tryAcquire(): LockGuard | null {
    return this.tryAs(this.context())
  }

  /**
   * Runs `fn` with it acquired, and releases it when `fn`, or the promise that it returns, is done.
   *
   * @throws {@link TimeoutError} if it is not acquired in time; what `fn` throws.
   */
  async runExclusive<T>(fn: (guard: LockGuard) => T, options?: WaitOptions): Promise<Awaited<T>> {
    using guard = inTime(await this.acquire(options ?? {}))
    return await fn(guard)
  }

  /** For a condition of it: who acts. */
  [ownContext](): Context {
    return this.context()
  }

  [lockId](): number {
    return this.id()
  }

  /** For a condition of it: acquires without a guard, since there is one from before. */
  [regain](): Promise<true> {
    const context = this.newContext()
    return this.#line.wait<true>(() => this.#try(this.id(), context) === NOT ? notYet : true, undefined, () => { throw new TimeoutError() })
  }

  [giveBack](turn: number): void {
    const id = this.lastingId
    if (id === null) return
    try {
      this.giveBackTurn(id, turn)
    } catch (error) {
      throw fromNative(error)
    } finally {
      this.unuse()
    }
  }

  protected failAll(error: unknown): void {
    this.#line.fail(error)
  }
}

/** @throws {@link TimeoutError} for an acquisition that there was no time for. */
export function inTime(guard: LockGuard | null): LockGuard {
  if (guard === null) throw new TimeoutError('it was not acquired in time')
  return guard
}
