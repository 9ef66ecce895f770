/**
 * Maps over typed arrays. The results go straight into one piece of shared memory, which is the array that the caller gets.
 * The input is read where it lies if that is a piece of shared memory (`allocate`); else each chunk takes a
 * copy of its part along, and the worker reads that copy where it lies.
 */

import { memoryHandleOf } from '../memory.js'
import { call, native } from '../native.js'
import type { ChunkOutcome, ChunkRun } from './chunk.js'
import { keyOf, placeOf } from './parcel.js'

/** Any array of numbers of one kind. */
export type TypedArray =
  | Int8Array | Uint8Array | Uint8ClampedArray | Int16Array | Uint16Array | Int32Array | Uint32Array | Float32Array | Float64Array | BigInt64Array | BigUint64Array

type TypedConstructor = new (buffer: ArrayBufferLike, offset: number, length: number) => TypedArray
const CONSTRUCTORS: readonly TypedConstructor[] = [
  Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array, Float32Array, Float64Array, BigInt64Array, BigUint64Array,
]

/** A part of a map, as it travels. */
export interface Range {
  /** Which of the constructors. */
  readonly type: number
  /** The items themselves; or the piece that they lie in, and where in it, in bytes. */
  readonly items: TypedArray | null
  readonly input: number
  readonly offset: number
  readonly length: number
  /** The piece for results, and the place of the first one. */
  readonly output: number
  readonly at: number
}

/** Whether a value is an array of numbers of one kind (a Buffer, a DataView is none). */
export function isTyped(value: unknown): value is TypedArray {
  return ArrayBuffer.isView(value) && !(value instanceof DataView)
}

/** The caller's side of a map. */
export class TypedMap {
  readonly #input: TypedArray
  readonly #type: number
  readonly #output: ArrayBuffer
  readonly #key: number
  readonly #inputKey: number

  /** @throws {@link OutOfMemoryError}; TypeError for a kind of array that cannot be mapped. */
  constructor(input: TypedArray) {
    this.#input = input
    // A Buffer is a Uint8Array, here as for its own map.
    this.#type = CONSTRUCTORS.findIndex(type => input instanceof type)
    if (this.#type < 0) throw new TypeError('this kind of array cannot be mapped; pass its values()')
    const { buffer, handle } = call(() => native.memoryAllocate(Math.max(1, input.byteLength)))
    this.#output = buffer
    this.#key = keyOf(handle[0]!, handle[1]!)
    const shared = memoryHandleOf(input.buffer as ArrayBuffer)
    this.#inputKey = shared === undefined ? 0 : keyOf(shared[0], shared[1])
  }

  get length(): number {
    return this.#input.length
  }

  /** The part from `at`. */
  range(at: number, length: number): Range {
    const isShared = this.#inputKey !== 0
    return {
      type: this.#type, items: isShared ? null : this.#input.subarray(at, at + length), input: this.#inputKey,
      offset: isShared ? this.#input.byteOffset + at * this.#input.BYTES_PER_ELEMENT : 0, length, output: this.#key, at,
    }
  }

  /** The results, once all are there. */
  result(): TypedArray {
    return new CONSTRUCTORS[this.#type]!(this.#output, 0, this.#input.length)
  }
}

/** Pieces that are open here: those of the map that is under way. */
const open = new Map<number, { buffer: ArrayBuffer, number: number }>()
const MOST_OPEN = 4

function piece(key: number): ArrayBuffer {
  let found = open.get(key)
  if (found === undefined) {
    const [index, generation] = placeOf(key)
    const { buffer, handle } = call(() => native.memoryOpen(index, generation))
    found = { buffer, number: handle[2]! }
    if (open.size >= MOST_OPEN) closePiece(open.keys().next().value!)
    open.set(key, found)
  }
  return found.buffer
}

function closePiece(key: number): void {
  const { buffer, number } = open.get(key)!
  open.delete(key)
  call(() => { native.memoryRelease(buffer, number) })
}

/** Lets go of the memory of maps: the worker has nothing to do. */
export function closePieces(): void {
  for (const key of open.keys()) closePiece(key)
}

/** Runs a part of a map. */
export function runRange(run: ChunkRun, range: Range): ChunkOutcome | Promise<ChunkOutcome> {
  const type = CONSTRUCTORS[range.type]!
  const items = range.items ?? new type(piece(range.input), range.offset, range.length)
  const output = new type(piece(range.output), range.at * items.BYTES_PER_ELEMENT, range.length)
  const outcome: ChunkOutcome = { values: [], errors: [] }
  return go(run, items, output, 0, outcome)
}

function go(run: ChunkRun, items: TypedArray, output: TypedArray, from: number, outcome: ChunkOutcome): ChunkOutcome | Promise<ChunkOutcome> {
  const { fn, words, cell } = run
  const kind = typeof items[0]
  for (let place = from; place < items.length; place += 1) {
    words[cell] = place
    try {
      const result = fn(items[place])
      if (typeof result === kind) output[place] = result as never
      else if (typeof (result as PromiseLike<unknown> | null)?.then === 'function') return later(run, items, output, place, result as PromiseLike<unknown>, outcome)
      else throw notANumber(result, kind)
    } catch (error) {
      outcome.errors.push([place, error])
      return outcome
    }
  }
  return outcome
}

async function later(run: ChunkRun, items: TypedArray, output: TypedArray, place: number, promise: PromiseLike<unknown>, outcome: ChunkOutcome): Promise<ChunkOutcome> {
  const kind = typeof items[0]
  try {
    const result = await promise
    if (typeof result !== kind) throw notANumber(result, kind)
    output[place] = result as never
  } catch (error) {
    outcome.errors.push([place, error])
    return outcome
  }
  return run.isStopped() ? outcome : go(run, items, output, place + 1, outcome)
}

function notANumber(value: unknown, kind: string): TypeError {
  return new TypeError(`a map over a typed array takes results that are each a ${kind}, not ${value === null ? 'null' : typeof value}; pass items.values() to get an Array`)
}
