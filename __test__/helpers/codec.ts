/** Sends a value through the codec and nothing else, as a queue would: bytes, blobs and handles copied, area reused. */

import { decode, encode, type Extensions, needsOf } from '#src/codec/index.js'

export interface Copied { kind: number; bytes: Buffer; blobs: ArrayBuffer[]; handles: unknown[] }

export function toBytes(value: unknown, extensions?: Extensions, root?: string): Copied {
  const message = encode(value, extensions, root)
  try {
    return {
      kind: message.kind,
      bytes: Buffer.from(message.bytes.subarray(0, message.length)),
      blobs: message.blobs.map(blob => new Uint8Array(blob).buffer),
      handles: [...message.handles],
    }
  } finally {
    message.release()
  }
}

export function fromBytes({ kind, bytes, blobs, handles }: Copied, extensions?: Extensions): unknown {
  // In the midst of other bytes, as a message lies in memory that is reused.
  const memory = Buffer.concat([Buffer.alloc(11, 0xd4), bytes, Buffer.alloc(64, 0xd4)])
  return decode(kind, memory, 11, 11 + bytes.length, handles, blobs, extensions)
}

export const copy = (value: unknown, extensions?: Extensions): unknown => fromBytes(toBytes(value, extensions), extensions)
export const needs = ({ kind, bytes }: Copied): readonly string[] => needsOf(kind, bytes)
