/**
 * A message that has been taken from a queue and not been read: what stands behind its value is read first.
 */

import { decode, Kind, needsOf } from '../codec/index.js'
import { noteReceived } from '../memory.js'
import { Got } from '../message.js'
import { bare, native, receiving } from '../native.js'
import { pairs } from '../handles.js'
import { extensionsOf } from '../shipping.js'
import { preload } from '../target/index.js'

const none: readonly never[] = []

/** Asks the native part for a message, to be copied to that area; as `queueGet` of native.ts. */
export type Get = (queue: number, area: number) => number

/** The next message of a queue, one after the other. */
export class Incoming {
  readonly #area: number
  readonly #room: Buffer
  #kind = 0
  #handles: readonly number[] = none
  #blobs: ArrayBuffer[] = none as unknown as ArrayBuffer[]
  #numbers: readonly number[] = none
  #token = -1
  readonly #roomView: DataView
  /** The message and what stands behind its value. */
  bytes: Buffer
  view: DataView
  /** Where all of it ends. */
  end = 0

  /** @param area A receiving area that nobody else uses. */
  constructor(area: number) {
    this.#area = area
    this.#room = this.bytes = receiving(area)
    this.#roomView = this.view = new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.length)
  }

  /** Takes a message; false when there is none ({@link Got}, in `end`). Give it back by {@link release} or {@link read}. */
  take(queue: number, get: Get): boolean {
    const got = get(queue, this.#area)
    if (got >= 0) {
      this.#kind = got
      this.end = bare.gotLength()
      return true
    }
    if (got !== Got.Large) {
      this.end = got
      return false
    }
    const received = native.receive()
    this.#kind = received.kind
    this.bytes = Buffer.from(received.bytes)
    this.view = new DataView(received.bytes)
    this.end = this.bytes.length
    this.#handles = received.handles
    this.#blobs = received.blobs
    this.#numbers = received.numbers
    this.#token = received.token
    return true
  }

  /**
   * The value, which ends at `end`; gives the message back. A promise where modules have to be loaded first: they go on
   * while other messages are taken.
   */
  read(end: number): unknown {
    const modules = needsOf(this.#kind, this.bytes, 0, end)
    const loading = modules.length === 0 ? undefined : preload(modules)
    if (loading !== undefined) return this.#later(loading, end)
    try {
      return this.#decode(this.#kind, this.bytes, end, this.#handles, this.#blobs, this.#numbers)
    } finally {
      this.release()
    }
  }

  #decode(kind: number, bytes: Buffer, end: number, handles: readonly number[], blobs: ArrayBuffer[], numbers: readonly number[]): unknown {
    if (blobs.length > 0) noteReceived(blobs, numbers)
    // A bare value has no parts that need to be known.
    return decode(kind, bytes, 0, end, handles.length === 0 ? none : pairs(handles), blobs, kind < Kind.Graph ? undefined : extensionsOf())
  }

  async #later(loading: Promise<void>, end: number): Promise<unknown> {
    const [kind, handles, blobs, numbers, token] = [this.#kind, this.#handles, this.#blobs, this.#numbers, this.#token]
    const bytes = token < 0 ? Buffer.from(this.bytes.subarray(0, end)) : this.bytes
    this.#token = -1
    this.release()
    try {
      await loading
      return this.#decode(kind, bytes, end, handles, blobs, numbers)
    } finally {
      if (token >= 0) native.release(token)
    }
  }

  /** Lets go of the message. Twice is harmless. */
  release(): void {
    if (this.bytes === this.#room) return
    this.bytes = this.#room
    this.view = this.#roomView
    this.#handles = none
    this.#numbers = none
    this.#blobs = none as unknown as ArrayBuffer[]
    const token = this.#token
    this.#token = -1
    if (token >= 0) native.release(token)
  }
}
