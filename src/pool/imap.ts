/**
 * Maps whose results are handed on as they come, or in the order of the items: the input is read only so far ahead of what has
 * been taken.
 */

import { ClosedError } from '../errors.js'
import { Chunks, type ChunksListener, type ChunksOptions } from './chunks.js'
import type { Call, Core } from './core.js'
import type { Progress } from './map.js'
import { ProgressBar } from './progress.js'
import { isTurnOver } from '../waiting.js'

/** One result, by the place of its item. */
type Outcome =
  | { readonly status: 'fulfilled', readonly index: number, readonly value: unknown }
  | { readonly status: 'rejected', readonly index: number, readonly reason: unknown }

/** How an imap runs. */
export interface ImapOptions extends ChunksOptions, Progress {
  readonly inOrder: boolean
  /** Items read ahead of results taken; undefined: two chunks for each worker. */
  readonly bufferSize: number | undefined
}

/** How far a chunk may grow by the number of results that were taken: nobody reads ahead who has taken nothing. */
const GROWTH = 8

/** One call of imap. */
export class ImapCall implements ChunksListener, Call, AsyncIterableIterator<unknown> {
  readonly #core: Core
  readonly #chunks: Chunks
  readonly #options: ImapOptions
  readonly #bar: ProgressBar | null
  /** Outcomes that nobody has taken: in order, by place; else as they came, by number. */
  readonly #outcomes = new Map<number, Outcome>()
  #came = 0
  #taken = 0
  #done = 0
  #inputError: { readonly error: unknown } | null = null
  /** Thrown by the next take. */
  #failure: { readonly error: unknown } | null = null
  #takers: { resolve: (result: IteratorResult<unknown>) => void, reject: (error: unknown) => void }[] = []
  #isBegun = false
  #topUp: NodeJS.Immediate | null = null
  #isToppingUp = false
  #isOver = false
  #isLeft = false

  constructor(core: Core, options: ImapOptions) {
    this.#core = core
    this.#options = options
    this.#bar = options.progress === undefined || options.progress === false ? null : new ProgressBar(options.progress)
    this.#chunks = new Chunks(core, options, this)
    this.#begin()
  }

  #begin(): void {
    this.#isBegun = true
    this.#core.begin(this)
    this.#options.task.signal?.addEventListener('abort', this.#onAbort, { once: true })
    this.#chunks.fill()
    this.changed()
  }

  readonly #onAbort = (): void => { this.fail(this.#options.task.signal?.reason) }

  /** How many may be read. While results are being taken a whole chunk, or none; in the end as many as `bufferSize` says. */
  room(): number {
    const { bufferSize, chunkSize } = this.#options
    if (bufferSize === Infinity) return Infinity
    const workers = this.#core.shared.processes
    // All workers have a part of what may be read.
    const most = bufferSize === undefined
      ? chunkSize ?? Math.min(this.#chunks.chunkSize, Math.max(1, Math.floor(this.#taken / (workers * GROWTH))))
      : Math.min(chunkSize ?? this.#chunks.chunkSize, Math.max(1, Math.ceil(bufferSize / (workers * 2))))
    const room = (bufferSize ?? 2 * workers * most) - (this.#chunks.count - this.#taken)
    if (room >= most) return most
    if (room > 0 && !this.#isToppingUp) {
      this.#topUp ??= setImmediate(this.#lookForRest, this.#taken)
      return 0
    }
    return room
  }

  readonly #lookForRest = (taken: number): void => {
    this.#topUp = null
    if (this.#isOver) return
    if (taken !== this.#taken) {
      this.#topUp = setImmediate(this.#lookForRest, this.#taken)
      return
    }
    this.#isToppingUp = true
    this.#chunks.fill()
    this.#isToppingUp = false
    this.changed()
  }

  results(at: number, values: ArrayLike<unknown>): void {
    const { length } = values
    for (let k = 0; k < length; k += 1) this.#add({ status: 'fulfilled', index: at + k, value: values[k] })
  }

  failed(at: number, error: unknown): void {
    this.#add({ status: 'rejected', index: at, reason: error })
  }

  #add(outcome: Outcome): void {
    this.#done += 1
    this.#outcomes.set(this.#options.inOrder ? outcome.index : this.#came++, outcome)
  }

  inputFailed(error: unknown): void {
    this.#inputError ??= { error }
  }

  changed(): void {
    if (this.#isOver) return
    this.#options.onProgress?.(this.#done, this.#chunks.total)
    this.#bar?.update(this.#done, this.#chunks.total)
    // What nobody has taken yet is done all the same.
    if (this.#chunks.isOver) this.#core.end(this)
    const taken = this.#taken
    this.#serve()
    // Those who waited have made room.
    if (taken !== this.#taken) this.#chunks.fill()
    if (this.#isLeft) this.#endIfStalled()
  }

  /** Gives those who wait what there is. */
  #serve(): void {
    while (this.#takers.length > 0) {
      const result = this.#next()
      if (result === null) return
      const taker = this.#takers.shift()!
      if ('error' in result) taker.reject(result.error)
      else taker.resolve(result)
    }
  }

  /** The next result, or what is thrown in its place; null when there is none yet. */
  #next(): IteratorResult<unknown> | { readonly error: unknown } | null {
    if (this.#failure !== null) {
      const failure = this.#failure
      this.#failure = null
      return failure
    }
    const outcome = this.#outcomes.get(this.#taken)
    if (outcome !== undefined) {
      this.#outcomes.delete(this.#taken)
      this.#taken += 1
      if (this.#options.isSettled) return { done: false, value: outcome }
      if (outcome.status === 'fulfilled') return { done: false, value: outcome.value }
      this.#end(true)
      return { error: outcome.reason }
    }
    if (!this.#isOver && !this.#chunks.isOver) return null
    this.#end(false)
    const inputError = this.#inputError
    this.#inputError = null
    return inputError ?? { done: true, value: undefined }
  }

  /** The next outcome. @throws What the function threw, or the input. */
  next(): Promise<IteratorResult<unknown>> {
    if (this.#takers.length === 0) {
      const result = this.#next()
      if (result !== null) {
        if (!this.#isOver) this.#chunks.fill()
        if ('error' in result) return Promise.reject(result.error)
        return isTurnOver() ? new Promise(resolve => { setImmediate(resolve, result) }) : Promise.resolve(result)
      }
    }
    return new Promise((resolve, reject) => {
      this.#takers.push({ resolve, reject })
      this.#chunks.fill()
      this.changed()
    })
  }

  /** The loop was left: what is queued is cancelled, what runs is asked to stop. */
  return(value?: unknown): Promise<IteratorResult<unknown>> {
    this.#end(true)
    this.#outcomes.clear()
    this.#inputError = null
    this.#serve()
    return Promise.resolve({ done: true, value })
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  /** Who has not taken what is there by the turn after the next will find the pool closed. */
  leave(): void {
    this.#isLeft = true
    this.#endIfStalled()
  }

  #endIfStalled(): void {
    const { count } = this.#chunks
    const taken = this.#taken
    setImmediate(setImmediate, () => {
      const isStalled = taken === this.#taken && count === this.#chunks.count && this.#takers.length === 0 && this.#chunks.isIdle
      if (this.#isOver || !isStalled) return
      const kept = new Map(this.#outcomes)
      this.#end(true)
      for (const [at, outcome] of kept) this.#outcomes.set(at, outcome)
      this.#inputError = { error: new ClosedError('the pool was closed before all results were taken') }
    })
  }

  /** The next take rejects; nothing goes on. */
  fail(error: unknown): void {
    if (this.#isOver) return
    this.#end(true)
    this.#outcomes.clear()
    this.#failure = { error }
    this.#serve()
  }

  #end(isUrgent: boolean): void {
    if (this.#isOver || !this.#isBegun) return
    this.#isOver = true
    if (isUrgent) this.#chunks.stop(true)
    if (this.#topUp !== null) clearImmediate(this.#topUp)
    this.#options.task.signal?.removeEventListener('abort', this.#onAbort)
    this.#bar?.stop()
    this.#core.end(this)
  }
}
