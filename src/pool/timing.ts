/**
 * How long tasks wait and run, as a Histogram of node:perf_hooks. Node's own takes a third of a microsecond a value, which
 * is what a small task takes from end to end: values are counted here in cells of three percent, and the figures worked out
 * when somebody asks.
 */

import type { Histogram } from 'node:perf_hooks'

/** Cells for each doubling. */
const FINE = 32
const CELLS = 64 * FINE
const LOG_FINE = FINE / Math.LN2

/** Times in ms go in; figures come out in nanoseconds, as those of node:perf_hooks do. */
export class Timing implements Histogram {
  readonly #cells = new Uint32Array(CELLS)
  #count = 0
  #min = Infinity
  #max = 0
  #sum = 0
  #squares = 0

  /** Counts a time, in ms. */
  add(ms: number): void {
    const ns = ms > 0 ? ms * 1e6 : 0
    this.#count += 1
    this.#sum += ns
    this.#squares += ns * ns
    if (ns < this.#min) this.#min = ns
    if (ns > this.#max) this.#max = ns
    const cell = ns < 1 ? 0 : Math.min(CELLS - 1, (Math.log(ns) * LOG_FINE) | 0)
    this.#cells[cell] = this.#cells[cell]! + 1
  }

  get count(): number {
    return this.#count
  }

  get countBigInt(): bigint {
    return BigInt(this.#count)
  }

  get min(): number {
    return this.#count === 0 ? 0 : Math.round(this.#min)
  }

  get minBigInt(): bigint {
    return BigInt(this.min)
  }

  get max(): number {
    return Math.round(this.#max)
  }

  get maxBigInt(): number {
    // What Node gives is a bigint, whatever the types of this version say.
    return BigInt(this.max) as unknown as number
  }

  /** NaN while nothing was counted. */
  get mean(): number {
    return this.#sum / this.#count
  }

  get stddev(): number {
    return Math.sqrt(Math.max(0, this.#squares / this.#count - this.mean ** 2))
  }

  /** Always 0: no time is too long to be counted. */
  get exceeds(): number {
    return 0
  }

  get exceedsBigInt(): bigint {
    return 0n
  }

  /** The time that `percentile` percent (above 0, up to 100) of all do not exceed, within three percent. @throws RangeError. */
  percentile(percentile: number): number {
    if (!(percentile > 0 && percentile <= 100)) throw new RangeError(`a percentile must be above 0 and at most 100, not ${percentile}`)
    if (this.#count === 0) return 0
    let left = Math.ceil(this.#count * percentile / 100)
    for (let cell = 0; cell < CELLS; cell += 1) {
      left -= this.#cells[cell]!
      if (left <= 0) return Math.min(this.max, Math.max(this.min, Math.round(Math.exp((cell + 1) / LOG_FINE))))
    }
    return this.max
  }

  percentileBigInt(percentile: number): bigint {
    return BigInt(this.percentile(percentile))
  }

  get percentiles(): Map<number, number> {
    return new Map([50, 75, 90, 95, 99, 99.9, 100].map(at => [at, this.percentile(at)]))
  }

  get percentilesBigInt(): Map<bigint, bigint> {
    return new Map([50n, 75n, 90n, 95n, 99n, 100n].map(at => [at, this.percentileBigInt(Number(at))]))
  }

  reset(): void {
    this.#cells.fill(0)
    this.#count = this.#max = this.#sum = this.#squares = 0
    this.#min = Infinity
  }
}
