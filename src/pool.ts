/**
 * Pools: any function on every core. Whatever happens to a worker, everything that was submitted settles.
 */

import { inspect } from 'node:util'
import type { Histogram } from 'node:perf_hooks'
import { CancelledError, StateError, TimeoutError } from './errors.js'
import { handleOf, registerKind, type Handle, type Shareable } from './handles.js'
import { type ModuleTarget, type Target } from './process.js'
import { ApplyJob, SyncJob } from './pool/apply.js'
import { PendingResult, type AsyncResult, type Callbacks, type Pending } from './pool/async-result.js'
import { BOARD_KIND } from './pool/board.js'
import { Core } from './pool/core.js'
import { sentForAll, sentOnce } from './pool/functions.js'
import { ImapCall } from './pool/imap.js'
import type { Job } from './pool/job.js'
import { MapCall } from './pool/map.js'
import { bufferSizeOf, chunkSizeOf, plainTask, settingsOf, taskSettingsOf, type PoolOptions, type TaskOptions } from './pool/options.js'
import { sourceOf, type Source } from './pool/source.js'
import { isTyped, TypedMap, type TypedArray } from './pool/typed.js'
import { Work } from './pool/wire.js'
import { timeoutOf, type SyncWaitOptions, type WaitOptions } from './waiting.js'

export { currentTask, type CurrentTask } from './pool/task.js'
export type { AsyncResult, Callbacks } from './pool/async-result.js'
export type { PoolOptions, TaskOptions } from './pool/options.js'
export type { TypedArray } from './pool/typed.js'

/** Options of a map. */
export interface MapOptions extends TaskOptions {
  /** Items a chunk; default: chosen from the measured cost of an item. */
  chunkSize?: number | undefined
  /** `total` is undefined while the input has not ended. */
  onProgress?: ((done: number, total: number | undefined) => void) | undefined
  /** A bar on a terminal (where `cli-progress` is installed), nothing elsewhere; a text is its label. */
  progress?: boolean | string | undefined
}
/** Options of an imap. */
export interface ImapOptions extends MapOptions {
  /** Inputs read ahead of results taken. Default 2 × processes × chunkSize; Infinity reads all. */
  bufferSize?: number | undefined
  /** Yield each outcome instead of throwing the first failure. */
  settled?: boolean | undefined
}
/** As `Promise.allSettled`, with the place of the input. */
export type Settled<R> = { readonly status: 'fulfilled'; readonly index: number; readonly value: R } | { readonly status: 'rejected'; readonly index: number; readonly reason: unknown }

/** What a pool has done and is doing. Times are in nanoseconds, of the tasks that this thread submitted. */
export interface PoolStats {
  workers: number
  busy: number
  queued: number
  done: number
  failed: number
  lost: number
  waitTime: Histogram
  runTime: Histogram
}

type ElementOf<X extends TypedArray> = X extends BigInt64Array | BigUint64Array ? bigint : number
type NotTyped = { readonly BYTES_PER_ELEMENT?: never }
type Items<T> = (Iterable<T> | AsyncIterable<T>) & NotTyped
type SyncOptions = { timeout?: number | undefined }
type Args<A extends readonly unknown[]> = readonly [...A]
type ArgLists<A extends readonly unknown[]> = Iterable<Args<A>> | AsyncIterable<Args<A>>
type SyncMapOptions = SyncOptions & { chunkSize?: number | undefined }
type AnyTarget = Target<any, any>

/** The pools that this thread takes part in, by their handles: the same pool is the same object. */
const known = new Map<string, WeakRef<Pool>>()
/** A pool that is dropped is closed: its work is done, then its workers end. */
const collected = new FinalizationRegistry<Core>(core => { core.abandon() })

let opening: Handle | null = null
const none: readonly never[] = []

/**
 * Workers, each a process of its own, that run functions: closures, exports of modules, anything that can be sent.
 *
 * Leaving its scope (`await using`) is `close()` and `join()`, so `return pool.map(…)` works; `terminate()` to give up. After
 * `close` or `terminate` every submission rejects with ClosedError. A worker that dies takes with it what it was running and
 * nothing else: that rejects with WorkerLostError, and another takes its place. A pool can be sent, or captured by a task: there
 * it stands for the same workers, and a task that waits for its own subtasks does not hold one of them. Workers do not end by
 * the SIGINT, SIGTERM or SIGHUP that a terminal or a supervisor sends to the whole group: their pool ends them, and they end
 * with it.
 *
 * @example
 * ```ts
 * await using pool = new Pool(4)
 * const squares = await pool.map(x => x * x, [1, 2, 3])
 * const digest = await pool.apply(hashFile, [path], { timeout: 5000, retries: 2 })
 * for await (const page of pool.imapUnordered(fetchPage, urls)) console.log(page)
 * ```
 */
export class Pool implements AsyncDisposable, Disposable, Shareable {
  readonly #core: Core

  /** @throws RangeError, TypeError for options that cannot be meant. Nothing is started before there is work. */
  constructor(options?: PoolOptions | number) {
    const handle = opening
    opening = null
    this.#core = new Core(handle ?? settingsOf(options))
    if (handle === null) collected.register(this, this.#core, this)
    known.set(this.#core.handle.join(':'), new WeakRef(this))
  }

  /** Its name, for people. */
  get name(): string {
    return this.#core.shared.name
  }

  [handleOf](): Handle {
    return this.#core.handle
  }

  /** @internal */
  static coreOf(pool: Pool): Core {
    return pool.#core
  }

  /**
   * Runs a function in a worker.
   *
   * @throws What it throws; {@link SerializationError} for what cannot be sent, either way; {@link WorkerLostError} when its
   * worker ends; {@link TimeoutError}; `signal.reason`; {@link Full} with `maxQueue`; {@link ClosedError};
   * {@link BrokenPoolError} when no worker can work.
   */
  apply<R>(fn: () => R, args?: readonly [], options?: TaskOptions): Promise<Awaited<R>>
   
  apply<A extends readonly unknown[], R>(fn: (...args: A) => R, args: Args<A>, options?: TaskOptions): Promise<Awaited<R>>
  apply<R = unknown>(fn: ModuleTarget, args?: readonly unknown[], options?: TaskOptions): Promise<Awaited<R>>
  // The arguments of a closure are inferred from the signature above, which cannot do without it.
  // eslint-disable-next-line @typescript-eslint/unified-signatures
  apply<A extends readonly unknown[], R>(fn: Target<A, R>, args: Args<A>, options?: TaskOptions): Promise<Awaited<R>>
  apply(fn: AnyTarget, args: readonly unknown[] = none, options?: TaskOptions): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#submit(new ApplyJob(resolve, reject), fn, args, options)
    })
  }

  #submit(job: Job, fn: AnyTarget, args: readonly unknown[], options: TaskOptions | undefined): void {
    const core = this.#core
    const task = options === undefined ? plainTask : taskSettingsOf(options)
    core.check()
    core.checkRoom()
    task.signal?.throwIfAborted()
    const sent = sentOnce(fn)
    switch (args.length) {
      case 0: core.send(job, sent, Work.None, undefined, '', task); break
      case 1: core.send(job, sent, Work.One, args[0], 'args[0]', task); break
      default: core.send(job, sent, Work.Args, Array.isArray(args) ? args : [...args], 'args', task)
    }
    if (task !== plainTask) core.guard(job, task)
  }

  /** As apply, blocking this thread. @throws As apply; {@link InterruptedError}. */
  applySync<R>(fn: () => R, args?: readonly [], options?: SyncOptions): Awaited<R>
  applySync<A extends readonly unknown[], R>(fn: (...args: A) => R, args: Args<A>, options?: SyncOptions): Awaited<R>
  applySync<R = unknown>(fn: ModuleTarget, args?: readonly unknown[], options?: SyncOptions): Awaited<R>
  applySync(fn: AnyTarget, args: readonly unknown[] = none, options?: SyncOptions): unknown {
    const timeout = timeoutOf(options)
    const job = new SyncJob()
    this.#submit(job, fn, args, undefined)
    return this.#finish(job, () => job.isOver, timeout, reason => { this.#core.stop(job, reason) }, () => job.take())
  }

  /** Blocks until something is over; ends it when that fails, or takes too long. */
  #finish<R>(_: unknown, isOver: () => boolean, timeout: number, stop: (reason: unknown) => void, take: () => R): R {
    let isDone: boolean
    try {
      isDone = this.#core.block(isOver, timeout)
    } catch (error) {
      stop(error)
      throw error
    }
    if (!isDone) {
      const late = new TimeoutError(`the task did not end within ${timeout} ms`)
      stop(late)
      throw late
    }
    return take()
  }

  /** As apply; what it returns is a promise that can also be asked, waited for in other ways, and cancelled. */
  applyAsync<R>(fn: () => R, args?: readonly [], options?: TaskOptions & Callbacks<Awaited<R>>): AsyncResult<Awaited<R>>
  applyAsync<A extends readonly unknown[], R>(fn: (...args: A) => R, args: Args<A>, options?: TaskOptions & Callbacks<Awaited<R>>): AsyncResult<Awaited<R>>
  applyAsync<R = unknown>(fn: ModuleTarget, args?: readonly unknown[], options?: TaskOptions & Callbacks<Awaited<R>>): AsyncResult<Awaited<R>>
  applyAsync(fn: AnyTarget, args: readonly unknown[] = none, options: TaskOptions & Callbacks<any> = {}): AsyncResult<any> {
    return this.#begin(options, (resolve, reject) => {
      const job = new ApplyJob(resolve, reject)
      this.#submit(job, fn, args, options)
      return reason => this.#core.stop(job, reason ?? new CancelledError('the task was cancelled'))
    })
  }

  /** A result that is settled by what `begin` begins; that returns how it is cancelled. What it throws is the result. */
  #begin<T>(callbacks: Callbacks<T>, begin: (resolve: (value: T) => void, reject: (error: unknown) => void) => (reason?: unknown) => boolean): AsyncResult<T> {
    for (const callback of [callbacks.callback, callbacks.errorCallback]) if (callback !== undefined && typeof callback !== 'function') throw new TypeError('a callback must be a function')
    return PendingResult.begin<T>((resolve, reject): Pending => {
      let cancel: (reason?: unknown) => boolean = () => false
      try {
        cancel = begin(resolve, reject)
      } catch (error) {
        reject(error)
      }
      return { cancel, block: (isDone, timeout) => this.#core.block(isDone, timeout) }
    }, callbacks)
  }

  #map(fn: AnyTarget, items: unknown, areLists: boolean, options: MapOptions | undefined): MapCall {
    const core = this.#core
    const task = taskSettingsOf(options)
    const chunkSize = chunkSizeOf(options?.chunkSize)
    core.check()
    task.signal?.throwIfAborted()
    const typed = !areLists && isTyped(items) ? new TypedMap(items) : null
    const source: Source = typed === null ? sourceOf(items) : { length: typed.length, take: () => [], close: () => undefined }
    return new MapCall(core, {
      fn: sentForAll(fn), source, typed, areLists, chunkSize, isSettled: false, task, readsByRoom: false, eachHasDeadline: false,
      onProgress: options?.onProgress, progress: options?.progress,
    })
  }

  #mapSync(fn: AnyTarget, items: unknown, areLists: boolean, options: SyncMapOptions | undefined): unknown {
    const timeout = timeoutOf(options)
    if (typeof (items as Partial<AsyncIterable<unknown>> | null)?.[Symbol.asyncIterator] === 'function') throw new TypeError('an async iterable cannot be read while this thread is blocked')
    const map = this.#map(fn, items, areLists, { chunkSize: options?.chunkSize })
    let outcome: { value: unknown } | { error: unknown } | undefined
    map.onSettled(value => { outcome = { value } }, error => { outcome = { error } })
    return this.#finish(null, () => outcome !== undefined, timeout, reason => { map.fail(reason) }, () => {
      if ('error' in outcome!) throw outcome.error
      return (outcome as { value: unknown }).value
    })
  }

  #mapAsync(fn: AnyTarget, items: unknown, areLists: boolean, options: MapOptions & Callbacks<any> = {}): AsyncResult<any> {
    return this.#begin(options, (resolve, reject) => {
      const map = this.#map(fn, items, areLists, options)
      map.onSettled(resolve, reject)
      return reason => map.cancel(reason)
    })
  }

  /**
   * Runs a function on each item, which is its one argument; the results in the order of the items. A typed array in gives the
   * same kind out, through shared memory, as `TypedArray.prototype.map` does; a result that is no number is a TypeError there
   * (pass `items.values()` for an Array). After a failure nothing new is started, what runs is waited for, and the error of the
   * first item that failed is thrown.
   *
   * @throws As {@link Pool.apply}; what the input throws.
   */
  map<X extends TypedArray>(fn: (item: ElementOf<X>) => ElementOf<X> | Promise<ElementOf<X>>, items: X, options?: MapOptions): Promise<X>
  map<T, R>(fn: (item: T) => R, items: Items<T>, options?: MapOptions): Promise<Awaited<R>[]>
  map<R = unknown>(fn: ModuleTarget, items: Items<unknown>, options?: MapOptions): Promise<Awaited<R>[]>
  map(fn: AnyTarget, items: unknown, options?: MapOptions): Promise<any> {
    return new Promise((resolve, reject) => { this.#map(fn, items, false, options).onSettled(resolve, reject) })
  }

  /** As map, blocking this thread. @throws As map; TypeError for an async iterable; {@link InterruptedError}. */
  mapSync<X extends TypedArray>(fn: (item: ElementOf<X>) => ElementOf<X> | Promise<ElementOf<X>>, items: X, options?: SyncMapOptions): X
  mapSync<T, R>(fn: (item: T) => R, items: Iterable<T> & NotTyped, options?: SyncMapOptions): Awaited<R>[]
  mapSync<R = unknown>(fn: ModuleTarget, items: Iterable<unknown> & NotTyped, options?: SyncMapOptions): Awaited<R>[]
  mapSync(fn: AnyTarget, items: unknown, options?: SyncMapOptions): any {
    return this.#mapSync(fn, items, false, options)
  }

  /** As map, giving an {@link AsyncResult}. */
  mapAsync<X extends TypedArray>(fn: (item: ElementOf<X>) => ElementOf<X> | Promise<ElementOf<X>>, items: X, options?: MapOptions & Callbacks<X>): AsyncResult<X>
  mapAsync<T, R>(fn: (item: T) => R, items: Items<T>, options?: MapOptions & Callbacks<Awaited<R>[]>): AsyncResult<Awaited<R>[]>
  mapAsync<R = unknown>(fn: ModuleTarget, items: Items<unknown>, options?: MapOptions & Callbacks<Awaited<R>[]>): AsyncResult<Awaited<R>[]>
  mapAsync(fn: AnyTarget, items: unknown, options?: MapOptions & Callbacks<any>): AsyncResult<any> {
    return this.#mapAsync(fn, items, false, options)
  }

  /** As map, for items that are lists of arguments. */
  starmap<A extends readonly unknown[], R>(fn: (...args: A) => R, argLists: ArgLists<A>, options?: MapOptions): Promise<Awaited<R>[]> {
    return new Promise((resolve, reject) => { this.#map(fn as AnyTarget, argLists, true, options).onSettled(resolve, reject) })
  }

  /** As starmap, blocking this thread. */
  starmapSync<A extends readonly unknown[], R>(fn: (...args: A) => R, argLists: Iterable<Args<A>>, options?: SyncMapOptions): Awaited<R>[] {
    return this.#mapSync(fn as AnyTarget, argLists, true, options) as Awaited<R>[]
  }

  /** As starmap, giving an {@link AsyncResult}. */
  starmapAsync<A extends readonly unknown[], R>(fn: (...args: A) => R, argLists: ArgLists<A>, options?: MapOptions & Callbacks<Awaited<R>[]>): AsyncResult<Awaited<R>[]> {
    return this.#mapAsync(fn as AnyTarget, argLists, true, options)
  }

  #imap(fn: AnyTarget, items: unknown, inOrder: boolean, options: ImapOptions = {}): AsyncIterableIterator<never> {
    const core = this.#core
    const task = taskSettingsOf(options)
    const [chunkSize, bufferSize] = [chunkSizeOf(options.chunkSize), bufferSizeOf(options.bufferSize)]
    core.check()
    task.signal?.throwIfAborted()
    const { settled = false, onProgress, progress } = options
    if (typeof settled !== 'boolean') throw new TypeError('settled must be a boolean')
    return new ImapCall(core, {
      fn: sentForAll(fn), source: sourceOf(items), typed: null, areLists: false, isSettled: settled, chunkSize, bufferSize, task, inOrder, readsByRoom: true, eachHasDeadline: true,
      onProgress, progress,
    }) as AsyncIterableIterator<never>
  }

  /**
   * As map, handing on each result in the order of the items as soon as those before it are there. The input is read only
   * `bufferSize` items ahead of what has been taken, so it may be endless. Leaving the loop early cancels what is queued, asks
   * what runs to stop, and frees the workers.
   *
   * @throws At once as {@link Pool.apply} before it is submitted; from the iterator what the function throws, unless `settled`.
   */
  imap<T, R>(fn: (item: T) => R, items: Items<T>, options: ImapOptions & { settled: true }): AsyncIterableIterator<Settled<Awaited<R>>>
  imap<T, R>(fn: (item: T) => R, items: Items<T>, options?: ImapOptions & { settled?: false | undefined }): AsyncIterableIterator<Awaited<R>>
  imap(fn: AnyTarget, items: unknown, options?: ImapOptions): AsyncIterableIterator<never> {
    return this.#imap(fn, items, true, options)
  }

  /** As imap, handing on results as they come. */
  imapUnordered<T, R>(fn: (item: T) => R, items: Items<T>, options: ImapOptions & { settled: true }): AsyncIterableIterator<Settled<Awaited<R>>>
  imapUnordered<T, R>(fn: (item: T) => R, items: Items<T>, options?: ImapOptions & { settled?: false | undefined }): AsyncIterableIterator<Awaited<R>>
  imapUnordered(fn: AnyTarget, items: unknown, options?: ImapOptions): AsyncIterableIterator<never> {
    return this.#imap(fn, items, false, options)
  }

  /** What it has done and is doing: workers and their queue as they are now, tasks as this thread submitted them; a chunk is one. */
  stats(): PoolStats {
    const core = this.#core
    const { waitTime, runTime } = core.desk
    const now = core.isOver ? { workers: 0, busy: 0 } : core.workerStates()
    return { ...now, queued: core.isOver ? 0 : core.backlog, ...core.counts, waitTime, runTime }
  }

  /**
   * No more work; resolves when what was submitted is done and the workers have ended. `cancelQueued`: CancelledError for what
   * has not started.
   *
   * @throws {@link StateError} where the pool was not made but received.
   */
  async close(options: { cancelQueued?: boolean } = {}): Promise<void> {
    this.#core.close(options.cancelQueued === true)
    await this.#core.over
  }

  /** Stops now; everything pending rejects with CancelledError; resolves when the workers have ended. @throws As close. */
  async terminate(): Promise<void> {
    this.#core.terminate()
    await this.#core.over
  }

  #ending(): void {
    if (this.#core.isOpen) throw new StateError('a pool is joined once it has been closed or terminated')
  }

  /** True once it has ended; false on timeout. @throws {@link StateError} unless closed or terminated. */
  async join(options?: WaitOptions): Promise<boolean> {
    this.#ending()
    const { over } = this.#core
    const result = PendingResult.begin<true>(resolve => {
      void over.then(() => { resolve(true) })
      return { cancel: () => false, block: () => false }
    }, {})
    return await result.wait(options)
  }

  /** As join, blocking this thread. @throws As join; {@link InterruptedError}. */
  joinSync(options?: SyncWaitOptions): boolean {
    this.#ending()
    return this.#core.joinSync(timeoutOf(options))
  }

  /** `close()` and `join()`; results of an imap that nobody takes are given up. Where the pool was received, nothing. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#core.supervisor === null) return
    this.#core.close(false, true)
    await this.#core.over
  }

  /** For synchronous programs: `close()` and `joinSync()`. */
  [Symbol.dispose](): void {
    if (this.#core.supervisor === null) return
    this.#core.close(false, true)
    this.#core.joinSync(Infinity)
  }

  [inspect.custom](): string {
    const core = this.#core
    const state = core.isOver ? 'ended' : `${core.workerStates().workers} of ${core.shared.processes} workers, ${core.pending} tasks`
    return `${this.constructor.name} ${JSON.stringify(this.name)} { ${state} }`
  }
}

/** `new Pool({ kind: 'thread' })`: workers are threads, cheaper to start, and less well guarded from each other. */
export class ThreadPool extends Pool {
  /** @throws As {@link Pool}. */
  constructor(options?: Omit<PoolOptions, 'kind'> | number) {
    super({ ...(typeof options === 'number' ? { processes: options } : options), kind: 'thread' })
  }
}

/** What a pool is made of. @internal */
export function coreOf(pool: Pool): Core {
  return Pool.coreOf(pool)
}

registerKind(BOARD_KIND, handle => {
  const found = known.get(handle.join(':'))?.deref()
  if (found !== undefined) return found
  opening = handle
  try {
    return new Pool()
  } finally {
    opening = null
  }
})
