/**
 * The codec: a value to the bytes of one message and back. What a message may hold is said at the head of the public
 * types; how it is laid out in format.ts; how kinds of value are added in extensions.ts.
 */

import { SerializationError } from '../errors.js'
import { Decoder, decodeBare } from './decoder.js'
import { Encoder } from './encoder.js'
import type { Extensions } from './extensions.js'
import { Flag, Kind } from './format.js'
import { toSerializationError } from './refusal.js'
import { giveUpAreas } from './scratch.js'

export type { Extensions, FunctionDescription, FunctionExtension, HandleExtension, InstanceExtension, MemoryExtension } from './extensions.js'
export { BLOB_BYTES, Kind } from './format.js'
export { onScratch } from './scratch.js'

/** An encoded value. It lies in a scratch area, and is good until `release`. */
export interface Message {
  /** See {@link Kind}; travels with the bytes. */
  readonly kind: number
  /** The scratch area; the message is its first `length` bytes. */
  readonly bytes: Buffer
  readonly length: number
  /** The place of the area in the stack of areas, under which `onScratch` announced it. */
  readonly area: number
  /** Large buffers that stand beside the message, in this order; they are the sender's own memory, not copies. */
  readonly blobs: readonly Uint8Array[]
  /** Buffers whose memory goes with the message, for the sender to let go of. */
  readonly pieces: readonly ArrayBuffer[]
  /** What `toHandle` returned for each object of ours, in this order. */
  readonly handles: readonly unknown[]
  /** The same bytes; both are replaced when they must grow. */
  readonly view: DataView
  /** Makes room for so many bytes more behind the message, which is that much longer then; returns where they begin. */
  extend(size: number): number
  /** Gives the area back. Must be called once, in the reverse order of the calls of `encode`. */
  release(): void
}

/** Several encoded values, one behind the other in a scratch area, each behind its length and its kind, 4 bytes each. Good until `release`. */
export interface Batch {
  /** How many there are. */
  readonly count: number
  readonly area: number
  readonly bytes: Buffer
  /** Where the last of them ends. */
  readonly end: number
  /** Gives the area back. */
  release(): void
}

/** Bytes before each message of a batch. */
export const FRAME_BYTES = 8
/** A batch grows no more when it has so many bytes, or messages. */
const BATCH_BYTES = 32 * 1024
const BATCH_COUNT = 512

class Encoding extends Encoder implements Message, Batch {
  readonly area: number
  count = 0
  end = 0

  constructor(depth: number) {
    super(depth)
    this.area = depth
  }

  extend(size: number): number {
    const at = this.length
    this.at = at
    this.reserve(size)
    this.length = at + size
    return at
  }

  /** Encodes another value of a batch; false, and nothing of it is there, if it needs more than its bytes. */
  append(value: unknown, extensions: Extensions): boolean {
    const frame = this.count === 0 ? 0 : this.end
    this.encode(value, extensions, frame + FRAME_BYTES)
    if (this.blobs.length > 0 || this.handles.length > 0) {
      this.letGo()
      return false
    }
    this.view.setInt32(frame, this.length, true)
    this.view.setInt32(frame + 4, this.kind, true)
    this.end = this.start + this.length
    this.count += 1
    return true
  }

  release(): void {
    this.reset()
    this.count = 0
    depth = this.area
  }
}

const none: Extensions = {}
const encodings: Encoding[] = []
/** Messages that are being written or copied; more than one where a getter sends something itself. */
let depth = 0

/**
 * Encodes a value, as it is now.
 *
 * @param root How the value is called in errors: with `'args'`, a socket inside is at `args[0].socket`.
 * @throws {@link SerializationError} for what cannot be sent, with the path to it. A getter's own error comes through.
 * @example
 * ```ts
 * const message = encode({ id: 7, rows })
 * try {
 *   native.put(message.kind, message.area, message.length)
 * } finally {
 *   message.release()
 * }
 * ```
 */
export function encode(value: unknown, extensions: Extensions = none, root = ''): Message {
  const mine = depth
  const message = encodings[mine] ??= new Encoding(mine)
  depth = mine + 1
  try {
    message.encode(value, extensions)
    return message
  } catch (error) {
    message.release()
    throw toSerializationError(error, value, root, extensions)
  }
}

/** From now on `refuse`, which throws, answers whoever encodes. */
export function encodeNoMore(refuse: () => never): void {
  encodings.length = 0
  giveUpAreas(refuse)
}

/**
 * Encodes values from an index on, as they are now: as many as make a good batch, none if the first carries a handle or
 * a large buffer and so has to travel alone.
 *
 * @param root How the list is called in errors.
 * @throws As {@link encode}; then none of the batch is of use.
 */
export function encodeBatch(values: readonly unknown[], from: number, extensions: Extensions = none, root = ''): Batch {
  const mine = depth
  const batch = encodings[mine] ??= new Encoding(mine)
  depth = mine + 1
  let at = from
  try {
    // A getter may make the list longer or shorter.
    while (at < values.length && at - from < BATCH_COUNT && batch.append(values[at], extensions)) {
      at += 1
      if (batch.end > BATCH_BYTES) break
    }
    return batch
  } catch (error) {
    batch.release()
    throw toSerializationError(error, values[at], `${root}[${at}]`, extensions)
  }
}

// A constant of the module: a compiler folds it, and not the property of an object.
const INT32 = Kind.Int32
const decoders: Decoder[] = []
/** Messages that are being read; more than one where making a function or a class receives something itself. */
let readers = 0
const nothing: readonly never[] = []

/**
 * The value of a message that lies in `bytes` from `start` to `end`.
 *
 * @param handles The entries that travelled with the message, for `fromHandle`.
 * @param blobs An ArrayBuffer of its own for each blob; the value takes them over.
 * @throws {@link SerializationError} for bytes that are no message, or whose parts are missing here.
 */
export function decode(
  kind: number, bytes: Buffer, start = 0, end = bytes.length,
  handles: readonly unknown[] = nothing, blobs: readonly ArrayBuffer[] = nothing, extensions: Extensions = none,
): unknown {
  if (kind < Kind.Graph) {
    // What most bare messages are.
    if (kind === INT32 && end - start === 4) return bytes.readInt32LE(start)
    try {
      return decodeBare(kind, bytes, start, end, blobs)
    } catch (error) {
      throw unreadable(error)
    }
  }
  const decoder = decoders[readers] ??= new Decoder()
  readers += 1
  try {
    decoder.open(bytes, start, end)
    return decoder.decode(flagsOf(kind), handles, blobs, extensions)
  } catch (error) {
    throw unreadable(error)
  } finally {
    readers -= 1
    decoder.reset()
  }
}

/** False where a message of that kind needs no module. */
export function mayNeed(kind: number): boolean {
  return kind >= Kind.Graph && (kind & Flag.Needs) !== 0
}

/** URLs of the modules that must be loaded before the message is decoded: those that its functions refer to. */
export function needsOf(kind: number, bytes: Buffer, start = 0, end = bytes.length): readonly string[] {
  if (!mayNeed(kind)) return nothing
  const decoder = new Decoder()
  try {
    decoder.open(bytes, start, end)
    return decoder.needs(flagsOf(kind))
  } catch (error) {
    throw unreadable(error)
  }
}

function flagsOf(kind: number): number {
  const flags = kind - Kind.Graph
  if (!(flags >= 0 && flags <= (Flag.Shared | Flag.Buffers | Flag.Needs))) throw new SerializationError(`there is no kind ${kind} of message`)
  return flags
}

function unreadable(error: unknown): unknown {
  if (error instanceof SerializationError || !(error instanceof Error)) return error
  return new SerializationError(`a message cannot be read: ${error.message}`, '', { cause: error })
}
