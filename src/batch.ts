/**
 * Several messages in one call of the native part: what `putMany` and `getMany` are made of. The messages stand one behind
 * the other in a scratch area, each behind its length and its kind.
 */

import { FRAME_BYTES, type Batch } from './codec/index.js'
import { fromNative } from './errors.js'
import { deeper, ended, Got, nothing, Put, readLarge, readSmall, type Received } from './message.js'
import { bare, native, receiving } from './native.js'

/** What is left of a batch when there is no room for all of it: a copy, for the scratch area is needed by others. */
export class WaitingBatch {
  #bytes: Buffer

  constructor(bytes: Buffer) {
    this.#bytes = Buffer.from(bytes)
  }

  /** Puts what there is room for, and tells `put` how many these are. The result is one of {@link Put}. */
  put(queue: number, put: (count: number) => void): number {
    while (this.#bytes.length > 0) {
      const count = native.queuePutMany(queue, this.#bytes)
      if (count <= 0) return count === 0 ? Put.Full : Put.ShutDown
      put(count)
      this.#bytes = this.#bytes.subarray(skip(this.#bytes, 0, count))
    }
    return Put.Done
  }
}

/** Where the message begins that `count` others stand before, from a place where one begins on. */
function skip(bytes: Buffer, from: number, count: number): number {
  let at = from
  for (let n = 0; n < count; n += 1) at += FRAME_BYTES + bytes.readInt32LE(at)
  return at
}

/**
 * Puts what there is room for of a batch, and tells `put` how many these are.
 *
 * @returns One of {@link Put}, or what waits for room.
 */
export function putBatch(queue: number, { area, bytes, count, end }: Batch, put: (count: number) => void): number | WaitingBatch {
  let start = 0
  for (let left = count; left > 0;) {
    const done = bare.queuePutMany(queue, area, start, end)
    if (done <= 0) return done < 0 ? Put.ShutDown : new WaitingBatch(bytes.subarray(start, end))
    put(done)
    left -= done
    if (left > 0) start = skip(bytes, start, done)
  }
  return Put.Done
}

/** The whole of a batch waits for room: others of this thread do already. */
export function waitingBatch({ bytes, end }: Batch): WaitingBatch {
  return new WaitingBatch(bytes.subarray(0, end))
}

/** What is told of the items of a joinable queue: they are in this thread's hand, by ticket and place of the slot. */
export interface Hands {
  taken(ticket: number, slot: number): void
  /** It cannot be read. */
  refused(ticket: number, slot: number): void
}

const TWO_32 = 2 ** 32
/** Ticket and place of the slot. */
const HAND_BYTES = 16
/** A receiving area with less room than this was too small for what else may be there. */
const FULL_BYTES = 256

/** In the place of an item that cannot be read. */
class Failure {
  readonly error: unknown
  constructor(error: unknown) {
    this.error = error
  }
}

/** What was taken, in order: items, failures, and promises of either. */
class Haul {
  readonly #hands: Hands | undefined
  #items: unknown[] = []
  #isLate = false
  #hasFailed = false

  constructor(hands: Hands | undefined) {
    this.#hands = hands
  }

  get length(): number {
    return this.#items.length
  }

  /** Takes as many as fit into the receiving area for that depth: true when there may be more; nothing; or the end. */
  take(queue: number, max: number, patient: boolean, depth: number): boolean | typeof nothing | typeof ended {
    const area = receiving(depth)
    const got = bare.queueGetMany(queue, depth, Math.min(max, TWO_32 - 1))
    if (got < 0) return got === Got.Ended ? ended : nothing
    const isLarge = got >= TWO_32
    // Before anything else is received: reading a message may receive others.
    const large = isLarge ? this.#fetch() : undefined
    const [ticket, slot] = isLarge && this.#hands !== undefined ? [native.taken(0), native.taken(1)] : [0, 0]
    const head = FRAME_BYTES + (this.#hands === undefined ? 0 : HAND_BYTES)
    let at = 0
    for (let left = isLarge ? got - TWO_32 : got; left > 0; left -= 1) {
      const start = at + head
      const end = start + area.readInt32LE(at)
      let item: unknown
      try {
        item = readSmall(area.readInt32LE(at + 4), area, start, end, patient)
      } catch (error) {
        item = new Failure(error)
      }
      if (this.#hands !== undefined) this.#settle(item, area.readDoubleLE(at + FRAME_BYTES), area.readDoubleLE(at + FRAME_BYTES + 8))
      else if (item instanceof Failure || item instanceof Promise) this.#settle(item, 0, 0)
      else this.#items.push(item)
      at = end
    }
    if (large === undefined) return area.length - at < FULL_BYTES
    let item: unknown = large
    try {
      if (!(large instanceof Failure)) item = readLarge(large, patient)
    } catch (error) {
      item = new Failure(error)
    }
    this.#settle(item, ticket, slot)
    return true
  }

  /** The one that is too large for the area: what was taken before it must not be lost if it cannot be had. */
  #fetch(): Received | Failure {
    try {
      return native.receive()
    } catch (error) {
      return new Failure(fromNative(error))
    }
  }

  #settle(item: unknown, ticket: number, slot: number): void {
    if (item instanceof Promise) {
      this.#isLate = true
      this.#items.push(item.then((value: unknown) => this.#told(value, ticket, slot), (error: unknown) => this.#told(new Failure(error), ticket, slot)))
    } else this.#items.push(this.#told(item, ticket, slot))
  }

  #told(item: unknown, ticket: number, slot: number): unknown {
    if (item instanceof Failure) {
      this.#hasFailed = true
      this.#hands?.refused(ticket, slot)
    } else this.#hands?.taken(ticket, slot)
    return item
  }

  /** The items; throws for the first that cannot be read. */
  items(): unknown[] | Promise<unknown[]> {
    if (this.#isLate) {
      return Promise.all(this.#items).then(items => {
        this.#items = items
        this.#isLate = false
        return this.items()
      })
    }
    if (!this.#hasFailed) return this.#items
    const failure = this.#items.find(item => item instanceof Failure) as Failure
    throw counted(failure.error, 'items', this.#items.filter(item => !(item instanceof Failure)))
  }
}

/** An error with something more to tell. */
export function counted(error: unknown, name: 'count' | 'items', value: unknown): unknown {
  return typeof error === 'object' && error !== null ? Object.assign(error, { [name]: value }) : error
}

/**
 * Takes up to `max` messages that are there, or gives {@link nothing} or {@link ended}: a list, or a promise of one where it is
 * `patient` and modules must be loaded to read some.
 *
 * @param hands Of a joinable queue.
 * @throws The error of the first one that cannot be read; its `items` are those that can.
 */
export function takeMany(queue: number, max: number, patient: boolean, hands?: Hands): unknown {
  const haul = new Haul(hands)
  while (haul.length < max) {
    const got = deeper(depth => haul.take(queue, Math.ceil(max - haul.length), patient, depth))
    // What was taken is given; the end is met by the next call.
    if (haul.length === 0 && (got === nothing || got === ended)) return got
    if (got !== true) break
  }
  return haul.items()
}
