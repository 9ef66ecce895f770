/**
 * The queue: first in, first out, between any number of processes and worker threads.
 */

import { inspect } from 'node:util'
import { counted, takeMany } from './batch.js'
import { Channel, type Taking } from './channel.js'
import { ClosedError, Empty, Full, ShutDown } from './errors.js'
import { handleOf, registerKind, type Handle, type Shareable } from './handles.js'
import { allowNames, call, join, native } from './native.js'
import { notYet, readiness, What, type Readiness, type SyncWaitOptions, type WaitOptions } from './waiting.js'

/** What an object of a name is called by. */
export interface Named {
  /**
   * Finds the object of that kind and name, or makes it; other options must then be equal (StateError names the
   * difference). Seen by the whole family of processes. 1 to 1024 bytes of UTF-8.
   */
  name?: string | undefined
}
/** How a queue is made. */
export interface QueueOptions extends Named {
  /** Most items in it; 0 (default): bounded by shared memory alone. */
  maxSize?: number | undefined
  /**
   * Bytes of shared memory that waiting items may take before a put has to wait: 128 for each, and for one that does not fit
   * into those the block that it lies in. An item that is larger passes when nothing waits. A bound of 8 MiB or more holds for
   * small items to within 128 KiB. Default: a quarter of the shared memory; Infinity: no bound of its own.
   */
  maxBytes?: number | undefined
}

/** The bounds of a queue as the native part takes them: of items (0: none) and of bytes (0: none, -1: the default). */
export interface Bounds { readonly items: number; readonly bytes: number }

function boundsOf({ maxSize = 0, maxBytes }: QueueOptions): Bounds {
  if (typeof maxSize !== 'number' || Number.isNaN(maxSize) || (maxSize !== Infinity && maxSize > Number.MAX_SAFE_INTEGER)) {
    throw new RangeError(`maxSize must be a number, not ${String(maxSize)}`)
  }
  if (maxBytes !== undefined && maxBytes !== Infinity && (typeof maxBytes !== 'number' || !(maxBytes >= 1) || maxBytes > Number.MAX_SAFE_INTEGER)) {
    throw new RangeError(`maxBytes must be a number of 1 or more, not ${String(maxBytes)}`)
  }
  return {
    items: maxSize === Infinity || maxSize <= 0 ? 0 : Math.floor(maxSize),
    bytes: maxBytes === undefined ? -1 : maxBytes === Infinity ? 0 : Math.floor(maxBytes),
  }
}

const KIND = 1
/** Queues that are collected without having been closed are let go of. */
const collected = new FinalizationRegistry<number>(id => { try { native.queueClose(id) } catch { /* the thread is ending */ } })

const refusals = {
  full(): never { throw new Full('the queue is full') },
  empty(): never { throw new Empty('the queue is empty') },
  putEnded(): never { throw new ShutDown('the queue is shut down: nothing can be put') },
  getEnded(): never { throw new ShutDown('the queue is shut down: nothing will come') },
  closed(): never { throw new ClosedError('the queue is closed') },
}

/** Set while the constructor is to wrap an opened queue instead of making one. */
let opening: Handle | null = null

/** Runs a constructor of a queue so that it wraps the opened queue of a handle. @internal */
export function opened<Q>(handle: Handle, make: () => Q): Q {
  opening = handle
  try {
    return make()
  } finally {
    opening = null
  }
}

// What classes of queues do in their own way. @internal
/** Makes the queue in shared memory, from checked options; returns its id. */
export const create: unique symbol = Symbol('create')
/** Takes the next item. */
export const taking: unique symbol = Symbol('taking')
/** Takes several items. */
export const takingMany: unique symbol = Symbol('takingMany')
/** Its channel. */
export const channelOf: unique symbol = Symbol('channel')
/** Its id; throws once it is closed. */
export const idOf: unique symbol = Symbol('id')

/**
 * First in, first out (a process's own puts in the order of the calls, awaited or not); any number of producers and
 * consumers in any process or worker thread. A message is a snapshot taken by the call that puts it. A `put` that has
 * returned is seen at once by every process. Processes may be killed at any moment: no completed put is lost, and what the
 * dead had in hand goes to somebody else.
 *
 * @example
 * ```ts
 * const queue = new Queue<number>({ maxSize: 100 })
 * await queue.put(1)
 * const item = await queue.get({ timeout: 1000 })
 * ```
 */
export class Queue<T = any> implements AsyncIterable<T>, Disposable, Shareable {
  readonly #native: number
  readonly #name: string | null
  readonly #maxSize: number
  readonly #channel: Channel<T, T>
  #closed = false

  /** @throws RangeError for a bound that is no number; {@link StateError} when the queue of that name has another. */
  constructor(options: QueueOptions | number = {}) {
    const given = typeof options === 'number' ? { maxSize: options } : options
    const { name } = given
    const bounds = boundsOf(given)
    if (name !== undefined && typeof name !== 'string') throw new TypeError('name must be a string')
    join()
    const handle = opening
    if (name !== undefined) allowNames()
    this.#native = call(() => handle === null ? this[create](bounds, name ?? null, given) : native.queueOpen(handle[0], handle[1]))
    this.#name = handle === null ? name ?? null : native.queueName(this.#native) ?? null
    this.#maxSize = handle === null ? bounds.items : native.queueMaxSize(this.#native)
    this.#channel = new Channel(this.#native, refusals, 'item', this[taking]())
    collected.register(this, this.#native, this)
  }

  /** Its name, null without one. */
  get name(): string | null {
    return this.#name
  }

  /** @internal */
  protected [create](bounds: Bounds, name: string | null, _options: QueueOptions): number {
    return native.queueCreate(KIND, bounds.items, bounds.bytes, name)
  }

  /** @internal */
  protected [taking](): Taking | undefined {
    return undefined
  }

  /** @internal */
  protected [takingMany](queue: number, max: number, patient: boolean): unknown {
    return takeMany(queue, max, patient)
  }

  /** @internal */
  protected get [channelOf](): Channel<T, T> {
    return this.#channel
  }

  /** @internal */
  protected [idOf](): number {
    return this.#id()
  }

  #id(): number {
    if (this.#closed) refusals.closed()
    return this.#native
  }

  [handleOf](): Handle {
    return native.queueHandle(this.#id()) as unknown as Handle
  }

  /**
   * Puts an item, waiting while the queue is full.
   *
   * @throws {@link SerializationError} at once for what cannot be sent; {@link Full} on timeout; {@link ShutDown}.
   */
  put(item: T, options?: WaitOptions): Promise<void> {
    return this.#channel.put(item, options)
  }

  /** As put, blocking this thread. @throws {@link Full} on timeout; {@link InterruptedError}. */
  putSync(item: T, options?: SyncWaitOptions): void {
    this.#channel.putSync(item, options)
  }

  /** Puts an item if there is room. @throws {@link Full} else. */
  putNowait(item: T): void {
    if (!this.#channel.tryPut(item)) refusals.full()
  }

  /** Puts an item if there is room; false when the queue is full. */
  tryPut(item: T): boolean {
    return this.#channel.tryPut(item)
  }

  /**
   * Puts items one after the other, waiting for room where it must. Those of an array are encoded some at a time (up to 512,
   * or 32 KiB of them) before any of these is put, so what cannot be sent throws before those beside it are in the queue;
   * the items of anything else that can be iterated are asked for one by one.
   *
   * @throws As put; the error's `count` is the number of items that were put.
   */
  async putMany(items: Iterable<T>, options?: WaitOptions): Promise<void> {
    let count = 0
    try {
      await this.#channel.putAll(items, options, put => { count += put })
    } catch (error) {
      throw counted(error, 'count', count)
    }
  }

  /** As putMany, blocking this thread. */
  putManySync(items: Iterable<T>, options?: SyncWaitOptions): void {
    let count = 0
    try {
      this.#channel.putAllSync(items, options, put => { count += put })
    } catch (error) {
      throw counted(error, 'count', count)
    }
  }

  /**
   * Waits for an item, then takes up to `max` that are there.
   *
   * @throws {@link Empty} on timeout; RangeError for a `max` below 1; the error of an item that cannot be read here, whose `items`
   * are the others that were taken.
   */
  async getMany(max: number, options?: WaitOptions): Promise<T[]> {
    checkMax(max)
    return this.#channel.get<T[]>(options, (queue, patient) => this[takingMany](queue, max, patient))
  }

  /** As getMany, blocking this thread. */
  getManySync(max: number, options?: SyncWaitOptions): T[] {
    checkMax(max)
    return this.#channel.getSync<T[]>(options, (queue, patient) => this[takingMany](queue, max, patient))
  }

  /** Takes the first item, waiting for one. @throws {@link Empty} on timeout; {@link ShutDown} when none will come. */
  get(options?: WaitOptions): Promise<T> {
    return this.#channel.get(options)
  }

  /** As get, blocking this thread. @throws {@link Empty} on timeout; {@link InterruptedError}. */
  getSync(options?: SyncWaitOptions): T {
    return this.#channel.getSync(options)
  }

  /** Takes the first item. @throws {@link Empty} when there is none. */
  getNowait(): T {
    const item = this.#channel.tryGet()
    return item === notYet ? refusals.empty() : item
  }

  /** Takes the first item; undefined when there is none. */
  tryGet(): T | undefined {
    const item = this.#channel.tryGet()
    return item === notYet ? undefined : item
  }

  /** Items in the queue; exact while nobody puts or gets, and no producer was killed in the middle of a put. */
  qsize(): number {
    return call(() => native.queueSize(this.#id()))
  }

  /** True when it has no items. */
  empty(): boolean {
    return this.qsize() === 0
  }

  /** True when it has as many items, or bytes of them, as it may. */
  full(): boolean {
    return this.#maxSize > 0 && this.qsize() >= this.#maxSize || call(() => native.queueCrowded(this.#id()))
  }

  /**
   * No more puts anywhere; gets drain what is left and then throw ShutDown. Twice is harmless.
   *
   * @param options `immediate` drops what is left.
   */
  shutdown(options: { immediate?: boolean } = {}): void {
    this.#channel.shutDown(options.immediate === true)
  }

  /** What `wait` asks. @internal */
  [readiness](): Readiness {
    return {
      isReady: () => this.#channel.isReadable(),
      wait: options => this.#channel.readable(options),
      what: What.Getter, id: this.#id(),
    }
  }

  /** Lets go of the queue in this process; those who wait here reject with ClosedError. Twice is harmless. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#channel.close(new ClosedError('the queue was closed while this waited'))
    collected.unregister(this)
    call(() => { native.queueClose(this.#native) })
  }

  [Symbol.dispose](): void {
    this.close()
  }

  /** Items as they come, until the queue is shut down. Takes nothing ahead. */
  async *[Symbol.asyncIterator](): AsyncIterableIterator<T> {
    for (;;) {
      let item: T
      try {
        item = await this.get()
      } catch (error) {
        if (error instanceof ShutDown) return
        throw error
      }
      yield item
    }
  }

  [inspect.custom](): string {
    const name = `${this.constructor.name}${this.#name === null ? '' : ` ${JSON.stringify(this.#name)}`}`
    if (this.#closed) return `${name} { closed }`
    return `${name} { ${this.qsize()}${this.#maxSize > 0 ? ` of ${this.#maxSize}` : ''} items }`
  }
}

function checkMax(max: number): void {
  if (!(max >= 1)) throw new RangeError(`max must be 1 or more, not ${max}`)
}

registerKind(KIND, handle => opened(handle, () => new Queue()))
