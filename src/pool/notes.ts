/**
 * Where a worker is in a chunk: one word of shared memory that it writes before each item, so that whoever submitted the
 * chunk can tell which item it was at when it ended. A submitter has one sheet with a word for each of its chunks under
 * way; a chunk names the sheet and its word.
 */

import { call, native } from '../native.js'
import { keyOf, placeOf } from './parcel.js'

const CELLS = 4096

/** The submitter's side. */
export class Sheet {
  readonly key: number
  readonly #words: Int32Array<ArrayBuffer>
  readonly #piece: number
  readonly #free: number[] = []
  #next = 0

  constructor() {
    const { buffer, handle } = call(() => native.memoryAllocate(CELLS * 4))
    this.#words = new Int32Array(buffer)
    this.#piece = handle[2]!
    this.key = keyOf(handle[0]!, handle[1]!)
  }

  /** Lets go of it now, and not when it is collected. No chunk may be under way. */
  close(): void {
    call(() => { native.memoryRelease(this.#words.buffer, this.#piece) })
  }

  /** A word for a chunk. With more than 4,096 chunks under way some share one, and are run again item by item if they are lost. */
  take(): number {
    const cell = this.#free.pop() ?? this.#next++ % CELLS
    this.#words[cell] = -1
    return cell
  }

  give(cell: number): void {
    if (this.#next <= CELLS) this.#free.push(cell)
  }

  /** The item that the worker of a chunk noted last, -1 before the first. */
  at(cell: number): number {
    return this.#next > CELLS ? -1 : Atomics.load(this.#words, cell)
  }
}

/** Sheets of others, as this worker sees them. */
const seen = new Map<number, Int32Array>()
const MOST_SEEN = 64
/** Of a submitter that is gone. */
const blank = new Int32Array(CELLS)

/** The words of a sheet. */
export function wordsOf(key: number): Int32Array {
  let words = seen.get(key)
  if (words === undefined) {
    try {
      const [index, generation] = placeOf(key)
      words = new Int32Array(call(() => native.memoryOpen(index, generation)).buffer)
    } catch {
      words = blank
    }
    if (seen.size >= MOST_SEEN) seen.delete(seen.keys().next().value!)
    seen.set(key, words)
  }
  return words
}
