/**
 * How many items go into a chunk: as many as take some milliseconds, found by measuring, and fewer towards the end, so that
 * all workers end at the same time.
 */

/**
 * What a chunk is to take, in ms: long against the tenth of one that it costs to read its outcome and to send the next, on cores
 * that the workers have better use for; short against what a person notices.
 */
const AIM = 16
/** The same where nobody knows how many items there are: somebody waits for each. */
const AIM_ENDLESS = 4
const MOST = 2 ** 16
/** And where nobody knows how many there are: the engine collects larger arrays of numbers seldom, however soon they are dropped. */
const MOST_ENDLESS = 2 ** 12
/** From one chunk to the next the size grows at most so many times: a first measurement may be far off. */
const GROWTH = 8
/** How much a new measurement counts. */
const WEIGHT = 0.5

/** One for each call. */
export class Planner {
  readonly #fixed: number | undefined
  readonly #workers: number
  #size = 1
  #cost = NaN

  constructor(chunkSize: number | undefined, workers: number) {
    this.#fixed = chunkSize
    this.#workers = workers
  }

  /** Items of the next chunk. @param left Items that have not been sent; undefined when that is not known. */
  next(left: number | undefined): number {
    if (this.#fixed !== undefined) return this.#fixed
    if (left === undefined) return Math.min(this.#size, this.#itemsIn(AIM_ENDLESS), MOST_ENDLESS)
    return Math.max(1, Math.min(this.#size, Math.ceil(left / (this.#workers * 2))))
  }

  /** A chunk of so many items has taken so many ms. */
  measured(items: number, ms: number): void {
    const cost = Math.max(ms, 1e-4) / items
    this.#cost = Number.isNaN(this.#cost) ? cost : this.#cost + (cost - this.#cost) * WEIGHT
    this.#size = Math.min(MOST, this.#itemsIn(AIM), Math.max(1, items, this.#size) * GROWTH)
  }

  /** So many take that long, as far as is known. */
  #itemsIn(ms: number): number {
    return Number.isNaN(this.#cost) ? 1 : Math.max(1, Math.floor(ms / this.#cost))
  }

  /** Chunks that may be under way at a time: each worker has some ahead, so that none waits for this thread. */
  get window(): number {
    return this.#workers * (Number.isNaN(this.#cost) ? 2 : 4)
  }
}
