/**
 * A queue in shared memory as queues and connections use it: putting and taking, awaited and blocking, with the errors
 * that each of them wants.
 */

import { putBatch, waitingBatch, type WaitingBatch } from './batch.js'
import { encode, encodeBatch } from './codec/index.js'
import { fromNative, OutOfMemoryError } from './errors.js'
import { ended, nothing, Put, putInto, send, take, Waiting } from './message.js'
import { bare, call, native } from './native.js'
import { extensionsOf } from './shipping.js'
import { ForMessage, isLong, isThereSoon, isTurnOver, Line, notYet, remaining, timeoutOf, waitSync, What, type SyncWaitOptions, type WaitOptions } from './waiting.js'

/** What a user of the channel says when something cannot be done; each throws. */
export interface Refusals {
  full(): never
  empty(): never
  /** Nothing can be put any more. */
  putEnded(): never
  /** Nothing will come any more. */
  getEnded(): never
  /** It is closed in this process. */
  closed(): never
}

/** Takes the next message of a queue, or gives {@link nothing} or {@link ended}; see {@link take}. */
export type Taking = (queue: number, patient: boolean) => unknown

// A constant of the module: a compiler folds it, and not the property of an object.
const DONE = Put.Done

function ignore(): void { /* nobody counts */ }

async function nextTurn(signal: AbortSignal | undefined): Promise<void> {
  await new Promise(setImmediate)
  signal?.throwIfAborted()
}

/**
 * See the module. Where a process sleeps between two messages each function on their way costs a microsecond, since none of it is in
 * a cache any more: that is why `put` and `get` stand here almost in one piece.
 */
export class Channel<S, R> {
  /** Negative once it is closed. */
  #id: number
  readonly #refuse: Refusals
  readonly #root: string
  readonly #getters: Line
  readonly #putters: Line
  readonly #by: Taking
  readonly #open = (): number => this.#id < 0 ? this.#refuse.closed() : this.#id
  readonly #glance = (): number => bare.queueGlance(this.#open())
  readonly #attempt = (): R | typeof notYet => this.#take(this.#by, true) as R | typeof notYet
  readonly #late = (): never => this.#refuse.empty()

  /**
   * `id` names the queue to the native part (negative: it cannot be used, as if it were closed); `root` is what errors call a message; `by` is how a
   * message is taken.
   */
  constructor(id: number, refuse: Refusals, root: string, by: Taking = take) {
    this.#by = by
    this.#id = id
    this.#refuse = refuse
    this.#root = root
    this.#getters = new Line(new ForMessage(this.#open))
    this.#putters = new Line(What.Putter, this.#open)
  }

  /** Tries to put; the message is kept for another try when there is no room. */
  #put(item: S): undefined | Waiting {
    const id = this.#id
    if (id < 0) this.#refuse.closed()
    if (typeof item === 'number') {
      let put: number
      try {
        put = bare.queuePutNumber(id, item)
      } catch (error) {
        throw fromNative(error)
      }
      if (put === DONE) return undefined
      if (put === Put.ShutDown) this.#refuse.putEnded()
    }
    const message = encode(item, extensionsOf(), this.#root)
    try {
      const put = putInto(id, message)
      if (put === Put.Done) return undefined
      if (put === Put.Full) return new Waiting(message, item)
    } catch (error) {
      throw fromNative(error)
    } finally {
      message.release()
    }
    return this.#refuse.putEnded()
  }

  #retry(message: Waiting | WaitingBatch, told: (count: number) => void = ignore): undefined | typeof notYet {
    const put = call(() => message.put(this.#open(), told))
    if (put === Put.ShutDown) this.#refuse.putEnded()
    return put === Put.Full ? notYet : undefined
  }

  /** Encodes without trying: others of this thread wait for room already. */
  #copy(item: S): Waiting {
    this.#open()
    return send(item, this.#root, message => new Waiting(message, item))
  }

  put(item: S, options?: WaitOptions): Promise<void> {
    try {
      // What is wrong with the options comes before the item is put.
      if (options !== undefined) {
        timeoutOf(options)
        options.signal?.throwIfAborted()
      }
      const message = this.#putters.isBusy ? this.#copy(item) : this.#put(item)
      return message === undefined ? this.#putters.done() : this.#putLater(message, options)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  // Functions that are made where waiting begins stand apart: whatever they capture is on the heap from the beginning of the call.
  #putLater(message: Waiting, options: WaitOptions | undefined): Promise<void> {
    return this.#putters.wait(() => this.#retry(message), options, () => this.#refuse.full())
  }

  /** Puts items one after the other; `put` is told how many more are in. */
  async putAll(items: Iterable<S>, options: WaitOptions | undefined, put: (count: number) => void): Promise<void> {
    const left = remaining(options)
    options?.signal?.throwIfAborted()
    if (Array.isArray(items)) {
      for (const attempt of this.#putBatches(items as readonly S[], put)) {
        if (attempt !== undefined) await this.#putters.wait(attempt, { ...options, timeout: left() }, () => this.#refuse.full())
        isLong()
        if (isTurnOver()) await nextTurn(options?.signal)
      }
      return
    }
    for (const item of items) {
      // Where there is room a promise for each item would cost as much as the item.
      if (this.#putters.isBusy || !this.tryPut(item)) await this.put(item, { ...options, timeout: left() })
      put(1)
      if (isTurnOver()) await nextTurn(options?.signal)
    }
  }

  /** As putAll, blocking this thread. */
  putAllSync(items: Iterable<S>, options: SyncWaitOptions | undefined, put: (count: number) => void): void {
    const left = remaining(options)
    if (!Array.isArray(items)) {
      for (const item of items) {
        this.putSync(item, { timeout: left() })
        put(1)
      }
      return
    }
    for (const attempt of this.#putBatches(items as readonly S[], put)) {
      if (attempt !== undefined) waitSync(What.Putter, this.#open, attempt, left(), () => this.#refuse.full())
    }
  }

  /** Puts the items of an array batch by batch; yields after each what is to be tried again until there is room for the rest of it. */
  * #putBatches(items: readonly S[], put: (count: number) => void): Generator<(() => undefined | typeof notYet) | undefined> {
    let at = 0
    const told = (count: number): void => {
      at += count
      put(count)
    }
    while (at < items.length) {
      const waiting = this.#putBatch(items, at, told)
      yield waiting && (() => this.#retry(waiting, told))
    }
  }

  /** Puts a batch of the items from an index on; what there is no room for waits. */
  #putBatch(items: readonly S[], from: number, put: (count: number) => void): Waiting | WaitingBatch | undefined {
    const id = this.#open()
    const batch = encodeBatch(items, from, extensionsOf(), `${this.#root}s`)
    try {
      if (batch.count > 0) {
        const outcome = this.#putters.isBusy ? waitingBatch(batch) : putBatch(id, batch, put)
        if (outcome === Put.Done) return undefined
        if (typeof outcome === 'object') return outcome
        return this.#refuse.putEnded()
      }
    } catch (error) {
      throw fromNative(error)
    } finally {
      batch.release()
    }
    const waiting = this.#putters.isBusy ? this.#copy(items[from]!) : this.#put(items[from]!)
    if (waiting === undefined) put(1)
    return waiting
  }

  putSync(item: S, options?: SyncWaitOptions): void {
    const timeout = timeoutOf(options)
    const message = this.#put(item)
    if (message !== undefined) {
      waitSync(What.Putter, this.#open, () => this.#retry(message), timeout, () => this.#refuse.full())
    }
  }

  /** False when there is no room. */
  tryPut(item: S): boolean {
    return this.#put(item) === undefined
  }

  #take(by: Taking, patient: boolean): unknown {
    const id = this.#id
    if (id < 0) this.#refuse.closed()
    let item: unknown
    try {
      item = by(id, patient)
    } catch (error) {
      throw fromNative(error)
    }
    if (item === nothing) return notYet
    if (item === ended) return this.#refuse.getEnded()
    return item
  }

  /** {@link notYet} when there is nothing. */
  tryGet(): R | typeof notYet {
    return this.#take(this.#by, false) as R | typeof notYet
  }

  /** @param by Another way of taking. */
  get<T = R>(options?: WaitOptions, by: Taking = this.#by): Promise<T> {
    if (options === undefined && !this.#getters.isBusy) {
      try {
        let item = this.#take(by, true) as T | typeof notYet
        if (item === notYet && isThereSoon(this.#glance)) item = this.#take(by, true) as T | typeof notYet
        if (item !== notYet) return this.#getters.give(item)
      } catch (error) {
        return Promise.reject(error)
      }
    }
    return this.#takeLater(by, options)
  }

  #takeLater<T>(by: Taking, options: WaitOptions | undefined): Promise<T> {
    const late = this.#late
    const attempt = by === this.#by ? this.#attempt as unknown as () => T | typeof notYet : () => this.#take(by, true) as T | typeof notYet
    // Without options it has been tried.
    return options === undefined ? this.#getters.stand(attempt, Infinity, undefined, late) : this.#getters.wait(attempt, options, late)
  }

  /** @param by Another way of taking. */
  getSync<T = R>(options?: SyncWaitOptions, by: Taking = this.#by): T {
    const timeout = timeoutOf(options)
    const first = this.#take(by, false) as T | typeof notYet
    if (first !== notYet) return first
    const attempt = (): T | typeof notYet => this.#take(by, false) as T | typeof notYet
    return waitSync(What.Getter, this.#open, attempt, timeout, () => this.#refuse.empty())
  }

  /** True when a get would find a message or the end. */
  isReadable(): boolean {
    return call(() => native.queueReadable(this.#open()))
  }

  /** Resolves with true when a get would find something, with false on timeout. Takes nothing. */
  readable(options?: WaitOptions): Promise<boolean> {
    return this.#getters.wait<boolean>(() => this.isReadable() ? true : notYet, options, () => false)
  }

  readableSync(options?: SyncWaitOptions): boolean {
    return waitSync<boolean>(What.Getter, this.#open, () => this.isReadable() ? true : notYet, timeoutOf(options), () => false)
  }

  /** No more puts; those who wait here look at once. `drop` takes what is left away. */
  shutDown(drop: boolean): void {
    const shut = (): void => { call(() => { native.queueShutDown(this.#open()) }) }
    const drain = (): void => { call(() => { native.queueDrain(this.#open()) }) }
    try {
      shut()
    } catch (error) {
      // The end takes a place in the queue, for which there may be no memory: what is dropped makes room.
      if (!drop || !(error instanceof OutOfMemoryError)) throw error
      drain()
      shut()
    }
    if (drop) drain()
    this.#getters.advance()
    this.#putters.advance()
  }

  /** Nothing more goes through it here; those who wait here are told so by an error. */
  close(error: unknown): void {
    this.#id = -1
    this.#getters.fail(error)
    this.#putters.fail(error)
  }
}
