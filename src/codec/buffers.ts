/**
 * The buffers under the views of one message. Views that share a buffer go on sharing it, so their bytes are not
 * written where the view is but in a table behind the value, once a buffer, and only the stretch that the views
 * cover. Large ones are not copied here at all: they leave as blobs, for the native part to copy once.
 *
 * Node keeps small Buffers together in one ArrayBuffer, which is sharing that nobody meant: of such a pool each
 * stretch is a buffer of its own, unless the stretches overlap.
 */

import { BLOB_BYTES } from './format.js'

/** A stretch of one ArrayBuffer that becomes a buffer of its own at the other end. */
export interface Stretch {
  readonly buffer: ArrayBuffer
  start: number
  end: number
  /** Some view has elements wider than a byte: the stretch begins at a multiple of 8. */
  aligned: boolean
  /** Number of the stretch that took this one over, or -1. */
  alias: number
}

/** Largest buffer that counts as Node's pool, whatever `Buffer.poolSize` says by now. */
const POOL_BYTES = 64 * 1024

function isPool(buffer: ArrayBuffer, view: ArrayBufferView | null): boolean {
  return view instanceof Buffer && view.byteLength < buffer.byteLength && buffer.byteLength <= POOL_BYTES
    && (buffer.byteLength === Buffer.poolSize || buffer.byteLength === 8192)
}

/** The table of one message on the writing side. */
export class BufferTable {
  readonly stretches: Stretch[] = []

  /** Number of the stretch that holds the bytes of that view, or of the whole buffer where `view` is null. */
  add(buffer: ArrayBuffer, view: ArrayBufferView | null, elementSize: number): number {
    const whole = view === null || isResizable(buffer)
    const start = whole ? 0 : view.byteOffset
    const end = whole ? buffer.byteLength : start + view.byteLength
    const pool = isPool(buffer, view)
    let found = -1
    for (let i = 0; i < this.stretches.length; i += 1) {
      const stretch = this.stretches[i]!
      if (stretch.buffer !== buffer || stretch.alias >= 0) continue
      if (pool && (start >= stretch.end || end <= stretch.start)) continue
      if (found < 0) {
        found = i
        this.widen(stretch, start, end, elementSize)
      } else {
        // The new view bridges two stretches of a pool: the later one lives on in the first.
        this.widen(this.stretches[found]!, stretch.start, stretch.end, stretch.aligned ? 8 : 1)
        stretch.alias = found
      }
    }
    if (found >= 0) return found
    const stretch = { buffer, start, end, aligned: false, alias: -1 }
    this.widen(stretch, start, end, elementSize)
    return this.stretches.push(stretch) - 1
  }

  private widen(stretch: Stretch, start: number, end: number, elementSize: number): void {
    if (elementSize > 1) stretch.aligned = true
    stretch.start = Math.min(stretch.start, start)
    stretch.end = Math.max(stretch.end, end)
    if (stretch.aligned) stretch.start -= stretch.start % 8
  }

  clear(): void {
    if (this.stretches.length > 0) this.stretches.length = 0
  }
}

/** Whether a stretch leaves as a blob. A blob is exactly the bytes, so only whole stretches of that size qualify. */
export function isBlob(stretch: Stretch): boolean {
  return stretch.end - stretch.start >= BLOB_BYTES && !isResizable(stretch.buffer)
}

type Resizable = ArrayBuffer & { readonly resizable?: boolean; readonly maxByteLength?: number }

export function isResizable(buffer: ArrayBuffer): boolean {
  return (buffer as Resizable).resizable === true
}

export function maxByteLength(buffer: ArrayBuffer): number {
  return (buffer as Resizable).maxByteLength ?? buffer.byteLength
}

/** A resizable ArrayBuffer. */
export function makeResizable(length: number, max: number): ArrayBuffer {
  const Class = ArrayBuffer as unknown as new (length: number, options: { maxByteLength: number }) => ArrayBuffer
  return new Class(length, { maxByteLength: max })
}

/** Whether a buffer was detached, which looks like an empty one. */
export function isDetached(buffer: ArrayBuffer): boolean {
  if (buffer.byteLength !== 0) return false
  try {
    new Uint8Array(buffer)
    return false
  } catch {
    return true
  }
}
