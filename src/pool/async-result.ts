/**
 * The result of `applyAsync` and its like: a promise with the methods that Python's has.
 */

import { StateError, TimeoutError } from '../errors.js'
import { timeoutOf, type SyncWaitOptions, type WaitOptions } from '../waiting.js'

/** A Promise with Python's methods. With an `errorCallback`, or once `get` or `wait` was called, its own rejection counts as handled. */
export interface AsyncResult<T> extends Promise<T> {
  /** The result. @throws {@link TimeoutError}, `signal.reason`, and what the task threw. */
  get(options?: WaitOptions): Promise<T>
  /** As get, blocking this thread. @throws {@link InterruptedError}. */
  getSync(options?: SyncWaitOptions): T
  /** True once it has settled; false on timeout. */
  wait(options?: WaitOptions): Promise<boolean>
  /** Whether it has settled. */
  ready(): boolean
  /** Whether it has a result. @throws {@link StateError} while it has not settled. */
  successful(): boolean
  /** Stops it, queued or running; false if it had settled. Rejects with `reason`, or CancelledError. */
  cancel(reason?: unknown): boolean
}

/** Called with the result, or the error, in the turn in which it comes. */
export interface Callbacks<R> {
  callback?: ((value: R) => void) | undefined
  errorCallback?: ((error: unknown) => void) | undefined
}

/** What an AsyncResult needs of what it stands for. */
export interface Pending {
  /** Stops it; false if it had settled. */
  cancel(reason?: unknown): boolean
  /** Blocks until the condition holds; false after so many ms. */
  block(isDone: () => boolean, timeout: number): boolean
}

type Settle<T> = (resolve: (value: T) => void, reject: (error: unknown) => void) => Pending

/** See the module. Only pools make one. */
export class PendingResult<T> extends Promise<T> implements AsyncResult<T> {
  /** What `then` gives is a plain promise. */
  static override get [Symbol.species](): PromiseConstructor {
    return Promise
  }

  #pending!: Pending
  #outcome: { readonly value: T } | { readonly error: unknown } | null = null
  #isHandled = false

  /** `begin` begins it, and is told how it is to be settled. */
  static begin<T>(begin: Settle<T>, { callback, errorCallback }: Callbacks<T>): PendingResult<T> {
    let resolve!: (value: T) => void
    let reject!: (error: unknown) => void
    const result = new PendingResult<T>((yes, no) => {
      resolve = yes
      reject = no
    })
    if (errorCallback !== undefined) result.#handle()
    result.#pending = begin(value => {
      result.#outcome = { value }
      told(callback, value)
      resolve(value)
    }, error => {
      result.#outcome = { error }
      told(errorCallback, error)
      reject(error)
    })
    return result
  }

  /** Nobody need be warned that it rejects. */
  #handle(): void {
    if (this.#isHandled) return
    this.#isHandled = true
    this.then(undefined, () => undefined)
  }

  get(options?: WaitOptions): Promise<T> {
    return this.#within(options, () => { throw new TimeoutError('the result did not come in time') })
  }

  wait(options?: WaitOptions): Promise<boolean> {
    const done = this.then(() => true, () => true)
    return this.#within(options, () => false, done)
  }

  async #within<R>(options: WaitOptions | undefined, late: () => R, of: Promise<R> = this as unknown as Promise<R>): Promise<R> {
    this.#handle()
    const timeout = timeoutOf(options)
    const signal = options?.signal
    signal?.throwIfAborted()
    if (this.#outcome !== null || timeout === Infinity && signal === undefined) return await of
    if (timeout <= 0) return late()
    let timer: NodeJS.Timeout | undefined
    let onAbort: (() => void) | undefined
    try {
      return await Promise.race([of, new Promise<R>((resolve, reject) => {
        if (timeout !== Infinity) {
          timer = setTimeout(() => {
            try {
              resolve(late())
            } catch (error) {
              reject(error)
            }
          }, Math.min(timeout, 2 ** 31 - 1))
        }
        onAbort = () => { reject(signal!.reason) }
        signal?.addEventListener('abort', onAbort, { once: true })
      })])
    } finally {
      clearTimeout(timer)
      if (onAbort !== undefined) signal?.removeEventListener('abort', onAbort)
    }
  }

  getSync(options?: SyncWaitOptions): T {
    this.#handle()
    if (!this.#pending.block(() => this.#outcome !== null, timeoutOf(options))) throw new TimeoutError('the result did not come in time')
    const outcome = this.#outcome!
    if ('error' in outcome) throw outcome.error
    return outcome.value
  }

  ready(): boolean {
    return this.#outcome !== null
  }

  successful(): boolean {
    if (this.#outcome === null) throw new StateError('the result has not come yet')
    return 'value' in this.#outcome
  }

  cancel(reason?: unknown): boolean {
    return this.#outcome === null && this.#pending.cancel(reason)
  }
}

/** Calls a callback; what it throws is an uncaught error of the program, as of any callback, and nothing else suffers. */
function told<V>(callback: ((value: V) => void) | undefined, value: V): void {
  if (callback === undefined) return
  try {
    callback(value)
  } catch (error) {
    process.nextTick(() => { throw error })
  }
}
