/**
 * Runs the items of a chunk, one after the other.
 */

import type { Runnable } from './functions.js'

/** How the items of a chunk ended. */
export interface ChunkOutcome {
  /** Results by place; what failed has a hole. */
  readonly values: ArrayLike<unknown>
  /** Place and error of what failed. */
  readonly errors: [number, unknown][]
}

/** What a chunk needs to know while it runs. */
export interface ChunkRun {
  readonly fn: Runnable
  /** The items, or lists of arguments. */
  readonly items: ArrayLike<unknown>
  /** Items are lists of arguments. */
  readonly areLists: boolean
  /** Go on after an item that failed. */
  readonly isSettled: boolean
  /** Where it is noted which item is run. */
  readonly words: Int32Array
  readonly cell: number
  /** Whether nobody waits for it any more. */
  isStopped(): boolean
}

/** Whether it was asked to stop is looked at every so many items. */
const STRIDE = 256

const isThenable = (value: unknown): value is PromiseLike<unknown> => typeof value === 'object' && value !== null && typeof (value as PromiseLike<unknown>).then === 'function'

/** An outcome that is added to. */
interface Growing extends ChunkOutcome {
  readonly values: unknown[]
}

/** Runs a chunk; a promise where an item gave one. */
export function runChunk(run: ChunkRun): ChunkOutcome | Promise<ChunkOutcome> {
  return run.items instanceof Float64Array && !run.areLists ? goNumbers(run, run.items) : go(run, 0, { values: [], errors: [] })
}

/** As {@link go}, from numbers to numbers; whatever else comes goes on there. */
function goNumbers(run: ChunkRun, items: Float64Array): ChunkOutcome | Promise<ChunkOutcome> {
  const { fn, words, cell } = run
  const { length } = items
  const results = new Float64Array(length)
  const before = (place: number): Growing => ({ values: Array.from(results.subarray(0, place)), errors: [] })
  for (let place = 0; place < length; place += 1) {
    words[cell] = place
    let result: unknown
    try {
      result = fn(items[place])
    } catch (error) {
      const outcome = before(place)
      return failed(run, outcome, place, error) ? go(run, place + 1, outcome) : outcome
    }
    if (typeof result !== 'number') {
      const outcome = before(place)
      if (isThenable(result)) return later(run, place, result, outcome)
      outcome.values[place] = result
      return go(run, place + 1, outcome)
    }
    results[place] = result
    if (place % STRIDE === STRIDE - 1 && run.isStopped()) return before(place + 1)
  }
  return { values: results, errors: [] }
}

function go(run: ChunkRun, from: number, outcome: Growing): ChunkOutcome | Promise<ChunkOutcome> {
  const { fn, items, areLists, words, cell } = run
  const { values } = outcome
  const { length } = items
  for (let place = from; place < length; place += 1) {
    words[cell] = place
    let result: unknown
    try {
      result = areLists ? fn(...items[place] as unknown[]) : fn(items[place])
    } catch (error) {
      if (!failed(run, outcome, place, error)) return outcome
      continue
    }
    if (isThenable(result)) return later(run, place, result, outcome)
    values[place] = result
    if (place % STRIDE === STRIDE - 1 && run.isStopped()) return outcome
  }
  return outcome
}

/** Notes an error; false when that is the end of the chunk. */
function failed(run: ChunkRun, { values, errors }: Growing, place: number, error: unknown): boolean {
  errors.push([place, error])
  if (!run.isSettled) return false
  values.length = place + 1
  return true
}

async function later(run: ChunkRun, place: number, result: PromiseLike<unknown>, outcome: Growing): Promise<ChunkOutcome> {
  try {
    outcome.values[place] = await result
  } catch (error) {
    if (!failed(run, outcome, place, error)) return outcome
  }
  return run.isStopped() ? outcome : go(run, place + 1, outcome)
}

