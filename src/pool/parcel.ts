/**
 * Values that wait in shared memory to be read any number of times, by any process: a function that many tasks call is sent
 * once, and each worker fetches it when it first needs it. A parcel is a piece of shared memory with one encoded message in
 * it; it lives as long as the buffer that {@link pack} returns.
 *
 * Layout: magic, kind, bytes of the message, handles, blobs (five words of four bytes), the handles (two words each), the
 * lengths of the blobs (eight bytes each), the message, the blobs.
 */

import { decode, needsOf, type Message } from '../codec/index.js'
import { ClosedError, SerializationError } from '../errors.js'
import { flat, pairs } from '../handles.js'
import { call, native } from '../native.js'
import { extensionsOf } from '../shipping.js'
import { preload } from '../target/index.js'

const MAGIC = 0x70706b31
const HEAD = 20
const TWO_32 = 2 ** 32

/** Where an object stands in shared memory, as one number: exact, since there are fewer than 2^21 objects. */
export function keyOf(index: number, generation: number): number {
  return index * TWO_32 + generation
}

/** Index and generation behind a key. */
export function placeOf(key: number): [index: number, generation: number] {
  const index = Math.floor(key / TWO_32)
  return [index, key - index * TWO_32]
}

/** A message in shared memory. */
export interface Parcel {
  readonly key: number
  /** Keeps it there. */
  readonly buffer: ArrayBuffer
}

/**
 * Puts an encoded message into shared memory. Objects that it names must be kept open by the caller, and memory that goes
 * with a message ({@link Message.pieces}) cannot be in it.
 */
export function pack(message: Message): Parcel {
  const { kind, bytes, length, handles, blobs } = message
  if (message.pieces.length > 0) throw new SerializationError('memory of allocate() that a function captures cannot go to several workers; copy it into an ordinary array')
  const table = flat(handles)
  const size = blobs.reduce((sum, blob) => sum + blob.length, HEAD + table.length * 4 + blobs.length * 8 + length)
  const { buffer, handle } = call(() => native.memoryAllocate(size))
  const view = new DataView(buffer)
  for (const [k, word] of [MAGIC, kind, length, handles.length, blobs.length].entries()) view.setUint32(k * 4, word, true)
  let at = HEAD
  for (const word of table) {
    view.setUint32(at, word, true)
    at += 4
  }
  for (const blob of blobs) {
    view.setFloat64(at, blob.length, true)
    at += 8
  }
  const target = new Uint8Array(buffer)
  target.set(bytes.subarray(0, length), at)
  at += length
  for (const blob of blobs) {
    target.set(blob, at)
    at += blob.length
  }
  return { key: keyOf(handle[0]!, handle[1]!), buffer }
}

/** Reads a parcel; a promise where modules have to be loaded first. @throws {@link ClosedError} when it is no longer there. */
export function unpack(key: number): unknown {
  const [index, generation] = placeOf(key)
  const { buffer, handle } = call(() => native.memoryOpen(index, generation))
  try {
    const view = new DataView(buffer)
    if (view.byteLength < HEAD || view.getUint32(0, true) !== MAGIC) throw new SerializationError('what should be a parcel is none')
    const [kind, length, handles, blobs] = [view.getUint32(4, true), view.getUint32(8, true), view.getUint32(12, true), view.getUint32(16, true)]
    if (HEAD + handles * 8 + blobs * 8 + length > view.byteLength) throw new SerializationError('a parcel is shorter than it says')
    let at = HEAD
    const table: number[] = []
    for (let k = 0; k < handles * 2; k += 1, at += 4) table.push(view.getUint32(at, true))
    const sizes: number[] = []
    for (let k = 0; k < blobs; k += 1, at += 8) sizes.push(view.getFloat64(at, true))
    const bytes = Buffer.from(buffer.slice(at, at + length))
    at += length
    const contents = sizes.map(size => {
      const content = buffer.slice(at, at + size)
      at += size
      return content
    })
    const read = (): unknown => decode(kind, bytes, 0, length, pairs(table), contents, extensionsOf())
    const loading = preload(needsOf(kind, bytes, 0, length))
    return loading === undefined ? read() : loading.then(read)
  } finally {
    call(() => { native.memoryRelease(buffer, handle[2]!) })
  }
}

/** Whether an error says that something is gone from shared memory. */
export const isGone = (error: unknown): boolean => error instanceof ClosedError
