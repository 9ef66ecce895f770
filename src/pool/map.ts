/**
 * Maps: all results in one array, in the order of the items.
 */

import { CancelledError, TimeoutError } from '../errors.js'
import { Chunks, type ChunksListener, type ChunksOptions } from './chunks.js'
import type { Call, Core } from './core.js'
import { join } from './numbers.js'
import { ProgressBar } from './progress.js'
import type { TypedArray } from './typed.js'

/** What is told of a map's progress. */
export interface Progress {
  /** `total` is undefined while the input has not ended. */
  readonly onProgress: ((done: number, total: number | undefined) => void) | undefined
  /** A bar on a terminal, nothing elsewhere; a text is its label. */
  readonly progress: boolean | string | undefined
}

/** One call of map. */
export class MapCall implements ChunksListener, Call {
  readonly #core: Core
  readonly #chunks: Chunks
  readonly #options: ChunksOptions & Progress
  /** Results as they came. One array is made of them in the end: one that is filled here and there is slow. */
  readonly #parts: { readonly at: number, readonly values: ArrayLike<unknown> }[] = []
  readonly #bar: ProgressBar | null
  #resolve: ((values: unknown) => void) | null = null
  #reject: ((error: unknown) => void) | null = null
  #outcome: { readonly value: unknown[] | TypedArray } | { readonly error: unknown } | null = null
  #done = 0
  /** The first error, by the place of the item. */
  #failure: { readonly at: number, readonly error: unknown } | null = null
  #timer: NodeJS.Timeout | null = null
  #isSettled = false

  constructor(core: Core, options: ChunksOptions & Progress) {
    this.#core = core
    this.#options = options
    this.#bar = options.progress === undefined || options.progress === false ? null : new ProgressBar(options.progress)
    this.#chunks = new Chunks(core, options, this)
    core.begin(this)
    const { timeout, signal } = options.task
    if (timeout !== Infinity) this.#timer = setTimeout(() => { this.fail(new TimeoutError(`the map did not end within ${timeout} ms`)) }, Math.min(Math.max(0, timeout), 2 ** 31 - 1))
    signal?.addEventListener('abort', this.#onAbort, { once: true })
    this.#chunks.fill()
    this.changed()
  }

  get isSettled(): boolean {
    return this.#isSettled
  }

  readonly #onAbort = (): void => { this.fail(this.#options.task.signal?.reason) }

  room(): number {
    return this.#failure === null ? Infinity : 0
  }

  results(at: number, values: ArrayLike<unknown>): void {
    this.#done += values.length
    if (this.#options.typed === null) this.#parts.push({ at, values })
  }

  failed(at: number, error: unknown): void {
    this.#done += 1
    if (this.#failure === null || at < this.#failure.at) this.#failure = { at, error }
    this.#chunks.stop(false)
  }

  inputFailed(error: unknown): void {
    this.#failure ??= { at: Infinity, error }
    this.#chunks.stop(false)
  }

  changed(): void {
    if (this.#isSettled) return
    const { onProgress, typed } = this.#options
    onProgress?.(this.#done, this.#chunks.total)
    this.#bar?.update(this.#done, this.#chunks.total)
    if (!this.#chunks.isOver) return
    this.#settle(this.#failure ?? { value: typed === null ? this.#assemble() : typed.result() })
  }

  #assemble(): unknown[] {
    const parts = this.#parts.sort((a, b) => a.at - b.at).map(part => part.values)
    this.#parts.length = 0
    return join(parts)
  }

  /** Rejects now; what runs is asked to stop. */
  fail(error: unknown): void {
    if (this.#isSettled) return
    this.#chunks.stop(true)
    this.#settle({ error })
  }

  leave(): void { /* It goes on by itself. */ }

  /** As fail; false when it had settled. */
  cancel(reason?: unknown): boolean {
    if (this.#isSettled) return false
    this.fail(reason ?? new CancelledError('the map was cancelled'))
    return true
  }

  /** Tells the one who waits, now or once it has come. */
  // Any results: what they are is for the one who called.
  onSettled(resolve: (values: never) => void, reject: (error: unknown) => void): void {
    this.#resolve = resolve as (values: unknown) => void
    this.#reject = reject
    this.#tell()
  }

  #tell(): void {
    if (this.#outcome === null || this.#resolve === null) return
    if ('error' in this.#outcome) this.#reject!(this.#outcome.error)
    else this.#resolve(this.#outcome.value)
  }

  #settle(outcome: { readonly value: unknown[] | TypedArray } | { readonly error: unknown }): void {
    this.#isSettled = true
    this.#outcome = outcome
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#options.task.signal?.removeEventListener('abort', this.#onAbort)
    this.#bar?.stop()
    this.#core.end(this)
    this.#tell()
  }
}
