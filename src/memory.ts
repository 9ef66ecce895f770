/**
 * Shared memory by the piece: what `allocate` gives out, what is received in messages, and how a piece changes hands
 * without a copy. In a message it travels as a handle does; the buffer here is detached once the message is on its way.
 */

import type { MemoryExtension } from './codec/index.js'
import { call, join, native } from './native.js'

/** Index and generation of the piece in shared memory, and its number in this thread. */
type Piece = readonly [index: number, generation: number, number: number]

/** Pieces that this thread may hand over, by their buffers. */
const pieces = new WeakMap<ArrayBuffer, Piece>()
/** Buffers of received messages, which lie in the block of the message, and their numbers in this thread; 0: a copy. */
const received = new WeakMap<ArrayBuffer, number>()

function show({ buffer, handle }: { buffer: ArrayBuffer; handle: number[] }): ArrayBuffer {
  pieces.set(buffer, handle as unknown as Piece)
  return buffer
}

/**
 * Shared memory, zeroed. Sending it (in any message, alone or inside a value, or as an argument of a process) hands it over
 * without a copy and detaches it here once the put has succeeded; a put that fails, times out or is aborted leaves it. The
 * whole piece goes, whatever part of it a view in the message shows. Otherwise it is freed when it is collected, or by
 * {@link free}.
 *
 * @param n Bytes, from 0.
 * @throws RangeError for what is no whole number from 0; {@link OutOfMemoryError}.
 * @example
 * ```ts
 * const frame = allocate(1920 * 1080 * 4)
 * draw(frame)
 * await queue.put(frame) // frame.length is 0 from here on
 * ```
 */
export function allocate(n: number): Uint8Array<ArrayBuffer> {
  if (!Number.isSafeInteger(n) || n < 0) throw new RangeError(`allocate takes a whole number of bytes from 0, not ${String(n)}`)
  if (n === 0) return new Uint8Array(0)
  join()
  return new Uint8Array(show(call(() => native.memoryAllocate(n))))
}

/**
 * Gives the shared memory under `bytes`, allocated or received, back now, and detaches it. Harmless for other arrays.
 *
 * @throws TypeError for what is no Uint8Array.
 */
export function free(bytes: Uint8Array): void {
  if (!(bytes instanceof Uint8Array)) throw new TypeError('free takes a Uint8Array')
  const buffer = bytes.buffer as ArrayBuffer
  if (pieces.has(buffer)) {
    surrender([buffer])
    return
  }
  const number = received.get(buffer)
  if (number === undefined) return
  received.delete(buffer)
  call(() => { native.memoryReturn(buffer, number) })
}

/** Lets go of pieces that are on their way to somebody else. */
export function surrender(buffers: readonly ArrayBuffer[]): void {
  for (const buffer of buffers) {
    const piece = pieces.get(buffer)
    if (piece === undefined) continue
    pieces.delete(buffer)
    call(() => { native.memoryRelease(buffer, piece[2]) })
  }
}

/** Remembers that these buffers were received, and their numbers. */
export function noteReceived(buffers: readonly ArrayBuffer[], numbers: readonly number[]): void {
  for (const [k, buffer] of buffers.entries()) received.set(buffer, numbers[k] ?? 0)
}

/** Index and generation of the piece that a buffer shows; undefined for any other buffer. */
export function memoryHandleOf(buffer: ArrayBuffer): readonly [index: number, generation: number] | undefined {
  const piece = pieces.get(buffer)
  return piece === undefined ? undefined : [piece[0], piece[1]]
}

/** For the codec. */
export const memoryExtension: MemoryExtension = {
  handleOf: buffer => pieces.get(buffer)?.slice(0, 2),
  open: entry => {
    const [index, generation] = entry as readonly [number, number]
    return show(call(() => native.memoryOpen(index, generation)))
  },
}
