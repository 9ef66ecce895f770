/**
 * Messages on their way: a value to the native part and back, with everything that travels beside its bytes.
 */

import { BLOB_BYTES, decode, encode, Kind, mayNeed, needsOf, type Message } from './codec/index.js'
import { flat, pairs } from './handles.js'
import { bare, native, receiving } from './native.js'
import { noteReceived, surrender } from './memory.js'
import { extensionsOf } from './shipping.js'
import { preload } from './target/index.js'
import { isLong } from './waiting.js'

/** Results of a put. */
export const Put = { Done: 0, Full: 1, ShutDown: 2 } as const
/** Results of a get that are no message. */
export const Got = { Nothing: -1, Ended: -2, Large: -3, Number: -4 } as const

/** Nothing is there. */
export const nothing: unique symbol = Symbol('nothing')
/** Nothing is there and nothing will come. */
export const ended: unique symbol = Symbol('ended')

/** A message that waits for room: a copy, for the scratch area is needed by others. */
export class Waiting {
  readonly #kind: number
  readonly #bytes: Buffer
  readonly #blobs: Uint8Array[]
  readonly #handles: number[]
  readonly #pieces: readonly ArrayBuffer[]
  /** Keeps the objects open whose handles are in the message. */
  readonly value: unknown

  constructor(message: Message, value: unknown) {
    this.#kind = message.kind
    this.#bytes = Buffer.from(message.bytes.subarray(0, message.length))
    this.#blobs = message.blobs.map(blob => new Uint8Array(blob))
    this.#handles = flat(message.handles)
    this.#pieces = message.pieces
    this.value = message.handles.length > 0 ? value : undefined
  }

  /** Puts it if there is room, and tells `told` then. The result is one of {@link Put}. */
  put(queue: number, told: (count: number) => void): number {
    const put = native.queuePutBytes(queue, this.#kind, this.#bytes, this.#blobs, this.#handles)
    if (put === Put.Done) {
      surrender(this.#pieces)
      told(1)
    }
    return put
  }
}

/** Puts an encoded message into a queue: one of {@link Put}. */
export function putInto(queue: number, message: Message): number {
  return message.blobs.length === 0 && message.handles.length === 0
    ? bare.queuePut(queue, message.kind, message.area, message.length)
    : putLarge(queue, message)
}

function putLarge(queue: number, { kind, area, length, blobs, handles, pieces }: Message): number {
  if (blobs.length > 0) isLong()
  const put = native.queuePutLarge(queue, kind, area, length, [...blobs], flat(handles))
  if (put === Put.Done && pieces.length > 0) surrender(pieces)
  return put
}

/** Encodes a value and hands it on; the scratch area is given back whatever happens. */
export function send<T>(value: unknown, root: string, to: (message: Message) => T): T {
  const message = encode(value, extensionsOf(), root)
  try {
    return to(message)
  } finally {
    message.release()
  }
}

const none: readonly never[] = []
let depth = 0

/** Does something with the receiving area for the depth that it is told; what is received meanwhile has another. */
export function deeper<T>(what: (depth: number) => T): T {
  const mine = depth
  depth = mine + 1
  try {
    return what(mine)
  } finally {
    depth = mine
  }
}

/**
 * Takes the next message of a queue, or {@link nothing}, or {@link ended}.
 *
 * @param get Asks the native part.
 * @param patient A message whose functions refer to modules that are not loaded here gives a promise; else they are
 * loaded synchronously, which not every module allows.
 */
export function take(queue: number, patient: boolean, get?: (queue: number, area: number) => number): unknown {
  const mine = depth
  // The native part must know of the area; of the first it does.
  if (mine > 0) receiving(mine)
  const got = get === undefined ? bare.queueGet(queue, mine) : get(queue, mine)
  if (got === Got.Number) return bare.gotNumber()
  if (got >= 0) {
    const end = bare.gotLength()
    depth = mine + 1
    try {
      return readSmall(got, receiving(mine), 0, end, patient)
    } finally {
      depth = mine
    }
  }
  if (got === Got.Nothing) return nothing
  if (got === Got.Ended) return ended
  return readLarge(native.receive(), patient)
}

/** The value of a message in a receiving area, or a promise of it. */
export function readSmall(kind: number, area: Buffer, start: number, end: number, patient: boolean): unknown {
  // A bare value needs nothing.
  if (kind < Kind.Graph) return decode(kind, area, start, end)
  if (patient && mayNeed(kind)) {
    const loading = preload(needsOf(kind, area, start, end))
    if (loading !== undefined) {
      const copy = Buffer.from(area.subarray(start, end))
      return loading.then(() => decode(kind, copy, 0, copy.length, none, none, extensionsOf()))
    }
  }
  return decode(kind, area, start, end, none, none, extensionsOf())
}

/** The value of a message that the native part gave, or a promise of it. */
export function readLarge(received: Received, patient: boolean): unknown {
  if (received.blobs.length > 0 || received.bytes.byteLength > BLOB_BYTES) isLong()
  const loading = patient && mayNeed(received.kind) ? preload(needs(received)) : undefined
  return loading === undefined ? read(received) : loading.then(() => read(received))
}

/** What the native part gives of a large message. */
export interface Received { kind: number; bytes: ArrayBuffer; blobs: ArrayBuffer[]; numbers: number[]; handles: number[]; token: number }

/** A message whose first byte is its kind, for want of another place to say it. */
export function kindFirst(received: Received): Received {
  return { ...received, kind: new Uint8Array(received.bytes)[0] ?? 0, bytes: received.bytes.slice(1) }
}

/** The value of a large message. */
export function read({ kind, bytes, blobs, numbers, handles, token }: Received): unknown {
  const mine = depth
  depth = mine + 1
  try {
    noteReceived(blobs, numbers)
    return decode(kind, Buffer.from(bytes), 0, bytes.byteLength, pairs(handles), blobs, extensionsOf())
  } finally {
    depth = mine
    native.release(token)
  }
}

/** URLs of the modules that a message needs before it can be read. */
export function needs({ kind, bytes }: Received): readonly string[] {
  return needsOf(kind, Buffer.from(bytes), 0, bytes.byteLength)
}
