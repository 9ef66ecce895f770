/**
 * The joinable queue: items are marked done, and whoever joins waits until all of them are. An item whose taker ends before
 * it has marked it goes to somebody else, or everybody who joins is told that it is lost.
 */

import { takeMany } from './batch.js'
import type { Taking } from './channel.js'
import { ClosedError, ShutDown, StateError, WorkerLostError } from './errors.js'
import { handleOf, registerKind, type Handle } from './handles.js'
import { ended, Got, nothing, take } from './message.js'
import { bare, call, native } from './native.js'
import { channelOf, create, idOf, opened, Queue, taking, takingMany, type Bounds, type QueueOptions } from './queue.js'
import { Line, notYet, timeoutOf, waitSync, What, type SyncWaitOptions, type WaitOptions } from './waiting.js'

/** How a joinable queue is made. */
export interface JoinableQueueOptions<T = any> extends QueueOptions {
  /**
   * Items whose taker ended before marking them done go to somebody else, first and in their order. Without it they are lost,
   * and `join` rejects with WorkerLostError. Default false.
   */
  redeliver?: boolean | undefined
  /**
   * After so many deliveries (each one that ended by death or `retry` counts) an item goes to `deadLetters`, or is dropped and
   * counts as done. 1 to 2,097,151. Default: no limit.
   */
  maxDeliveries?: number | undefined
  /** Takes such items, whatever its `maxSize`, until it is shut down. */
  deadLetters?: Queue<T> | undefined
}

/** One item in hand. Disposing it without `done()` is `retry()`; so is losing it to the garbage collector. */
export interface Delivery<T> extends Disposable {
  readonly value: T
  /** Which delivery of the item this is: 1 at first. */
  readonly attempt: number
  /** Marks it done. Nothing once it was marked or given back. @throws {@link ClosedError} when the queue is closed here. */
  done(): void
  /** Back to the head of the queue. Nothing once it was marked or given back. @throws {@link ClosedError}. */
  retry(): void
  [Symbol.dispose](): void
}

const KIND = 4
const MOST_DELIVERIES = 2 ** 21 - 1
/** How long an exit code is waited for, in ms: a process is dead as soon as the kernel says so, its parent learns how a little later. */
const EXIT_CODE = 1000

/** An item in this thread's hand, as the native part names it; `attempt` is of use for deliveries alone. */
interface Hand { readonly ticket: number; readonly slot: number; readonly attempt: number }

/** What this thread took by `get` and has not marked, oldest first: of each queue one row, whatever objects stand for it here. */
const rows = new Map<string, WeakRef<Set<Hand>>>()

function rowOf([index, generation]: Handle): Set<Hand> {
  const key = `${index}:${generation}`
  let row = rows.get(key)?.deref()
  if (row === undefined) {
    if (rows.size >= 64) for (const [name, known] of rows) if (known.deref() === undefined) rows.delete(name)
    row = new Set()
    rows.set(key, new WeakRef(row))
  }
  return row
}

const isPromise = (value: unknown): value is Promise<unknown> => value instanceof Promise

/** Takes an item into this thread's hand. What cannot be read is refused: the error stands in its place. */
function takeItem<R>(queue: number, patient: boolean, receives: boolean, use: (value: unknown, hand: Hand) => R): R | Promise<R> | typeof nothing | typeof ended {
  let hand: Hand | undefined
  const refuse = (error: unknown): never => {
    if (hand !== undefined) native.deliveryRefuse(queue, hand.ticket, hand.slot)
    throw error
  }
  let value: unknown
  try {
    value = take(queue, patient, (id, area) => {
      const got = bare.joinableTake(id, area, receives)
      if (got !== Got.Nothing && got !== Got.Ended) hand = { ticket: bare.takenTicket(), slot: bare.takenSlot(), attempt: native.taken(2) }
      return got
    })
  } catch (error) {
    return refuse(error)
  }
  if (value === nothing || value === ended) return value
  const taken = hand as Hand
  return isPromise(value) ? value.then(read => use(read, taken), refuse) : use(value, taken)
}

/** Deliveries that are collected go back to their queue. */
const forgotten = new FinalizationRegistry<{ id: () => number; hand: Hand }>(({ id, hand }) => {
  try { native.deliveryRetry(id(), hand.ticket, hand.slot) } catch { /* closed, or the thread is ending */ }
})

class HandedOut<T> implements Delivery<T> {
  readonly value: T
  readonly attempt: number
  readonly #id: () => number
  #hand: Hand | null

  constructor(value: T, hand: Hand, id: () => number) {
    this.value = value
    this.attempt = hand.attempt
    this.#hand = hand
    this.#id = id
    forgotten.register(this, { id, hand }, this)
  }

  #settle(how: (id: number, ticket: number, slot: number) => boolean): void {
    const hand = this.#hand
    if (hand === null) return
    const id = this.#id()
    call(() => how(id, hand.ticket, hand.slot))
    this.#hand = null
    forgotten.unregister(this)
  }

  done(): void {
    this.#settle(native.deliveryDone)
  }

  retry(): void {
    this.#settle(native.deliveryRetry)
  }

  [Symbol.dispose](): void {
    this.retry()
  }
}

/**
 * A queue whose items are marked done. `join` waits until every item that was put has been marked, exactly: there is no count
 * that could go wrong, whoever is killed. Items taken by `get` are marked by `taskDone`, those taken by `receive` or
 * `deliveries` by themselves. What a thread has in hand stays in its hand until it marks it or ends; `close` does not give it back.
 *
 * @example
 * ```ts
 * const jobs = new JoinableQueue<Job>({ redeliver: true, maxDeliveries: 3, deadLetters })
 * // in each worker:
 * for await (using job of jobs.deliveries()) { // thrown out of the block, the job goes back
 *   await work(job.value)
 *   job.done()
 * }
 * // in the parent:
 * for (const job of all) await jobs.put(job)
 * await jobs.join()
 * ```
 */
export class JoinableQueue<T = any> extends Queue<T> {
  readonly #hands = rowOf(this[handleOf]())
  readonly #joiners = new Line(What.Joiner, () => this[idOf]())

  /**
   * @throws As {@link Queue}; RangeError for a `maxDeliveries` that is no whole number from 1 to 2,097,151; TypeError for
   * `deadLetters` that is no queue, or without `maxDeliveries`; {@link StateError} when the queue of that name has other options.
   */
  constructor(options: JoinableQueueOptions<T> | number = {}) {
    super(options)
  }

  /** @internal */
  protected override [create](bounds: Bounds, name: string | null, options: JoinableQueueOptions<T>): number {
    const { redeliver = false, maxDeliveries = Infinity, deadLetters } = options
    if (typeof redeliver !== 'boolean') throw new TypeError('redeliver must be a boolean')
    if (maxDeliveries !== Infinity && (!Number.isSafeInteger(maxDeliveries) || maxDeliveries < 1 || maxDeliveries > MOST_DELIVERIES)) {
      throw new RangeError(`maxDeliveries must be a whole number from 1 to ${MOST_DELIVERIES}, not ${String(maxDeliveries)}`)
    }
    if (deadLetters !== undefined && !(deadLetters instanceof Queue)) throw new TypeError('deadLetters must be a Queue')
    if (deadLetters !== undefined && maxDeliveries === Infinity) throw new TypeError('deadLetters needs maxDeliveries: without it no item is given up')
    const letters = deadLetters === undefined ? [] : [...deadLetters[handleOf]()]
    return native.joinableCreate(bounds.items, bounds.bytes, redeliver, maxDeliveries === Infinity ? 0 : maxDeliveries, letters, name)
  }

  /** @internal */
  protected override [taking](): Taking {
    return (queue, patient) => takeItem(queue, patient, false, (value, hand) => {
      this.#hands.add(hand)
      return value
    })
  }

  /** @internal */
  protected override [takingMany](queue: number, max: number, patient: boolean): unknown {
    return takeMany(queue, max, patient, {
      taken: (ticket, slot) => { this.#hands.add({ ticket, slot, attempt: 0 }) },
      refused: (ticket, slot) => { native.deliveryRefuse(queue, ticket, slot) },
    })
  }

  #receiving(): Taking {
    const id = (): number => this[idOf]()
    return (queue, patient) => takeItem(queue, patient, true, (value, hand) => new HandedOut(value, hand, id))
  }

  /**
   * Marks the oldest item done that this thread took by `get` (in any of its forms) and has not marked.
   *
   * @throws {@link StateError} when there is none; {@link ClosedError}.
   */
  taskDone(): void {
    const id = this[idOf]()
    const [hand] = this.#hands
    if (hand === undefined) throw new StateError('taskDone() was called more often than this thread has taken items')
    this.#hands.delete(hand)
    if (!call(() => native.deliveryDone(id, hand.ticket, hand.slot))) throw new StateError('the item is no longer in the hand of this thread')
  }

  /** As get, with a mark of its own: for several items in hand at once. @throws {@link Empty} on timeout; {@link ShutDown}. */
  receive(options?: WaitOptions): Promise<Delivery<T>> {
    return this[channelOf].get<Delivery<T>>(options, this.#receiving())
  }

  /** As receive, blocking this thread. @throws {@link Empty} on timeout; {@link InterruptedError}. */
  receiveSync(options?: SyncWaitOptions): Delivery<T> {
    return this[channelOf].getSync<Delivery<T>>(options, this.#receiving())
  }

  /** Items as they come, each with a mark of its own, until the queue is shut down. Takes nothing ahead. */
  async *deliveries(): AsyncIterableIterator<Delivery<T>> {
    for (;;) {
      let delivery: Delivery<T>
      try {
        delivery = await this.receive()
      } catch (error) {
        if (error instanceof ShutDown) return
        throw error
      }
      yield delivery
    }
  }

  /**
   * True once every item put has been marked done; false on timeout.
   *
   * @throws {@link WorkerLostError} when items were lost with those who had taken them, now or earlier; its `exitCode` is NaN
   * when nobody knows it. {@link ClosedError}; `signal.reason` when aborted.
   */
  join(options?: WaitOptions): Promise<boolean> {
    let since: number
    try {
      since = call(() => native.queueTail(this[idOf]()))
    } catch (error) {
      return Promise.reject(error)
    }
    // The exit code of whoever lost them may take a moment: a promise that rejects is an answer as well.
    const attempt = (): boolean | typeof notYet => {
      const joined = this.#joined(since)
      return joined === Joined.Lost ? this.#reject() as unknown as boolean : joined === Joined.Finished ? true : notYet
    }
    return this.#joiners.wait<boolean>(attempt, options, () => false)
  }

  /** As join, blocking this thread. @throws As join; {@link InterruptedError}. */
  joinSync(options?: SyncWaitOptions): boolean {
    const id = (): number => this[idOf]()
    const since = call(() => native.queueTail(id()))
    const attempt = (): boolean | typeof notYet => {
      const joined = this.#joined(since)
      if (joined !== Joined.Lost) return joined === Joined.Finished ? true : notYet
      const began = performance.now()
      for (;;) {
        const lost = this.#lost()
        if (!lost.mayBeKnown || performance.now() - began > EXIT_CODE) throw lostError(lost)
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2)
      }
    }
    return waitSync(What.Joiner, id, attempt, timeoutOf(options), () => false,
      (left, interruptible) => native.queueJoinSync(id(), since, left, interruptible))
  }

  #joined(since: number): number {
    return call(() => native.queueJoined(this[idOf](), since))
  }

  #lost(): Lost {
    return call(() => native.queueLost(this[idOf]())) as Lost
  }

  async #reject(): Promise<never> {
    const began = performance.now()
    for (;;) {
      const lost = this.#lost()
      if (!lost.mayBeKnown || performance.now() - began > EXIT_CODE) throw lostError(lost)
      await new Promise(resolve => { setTimeout(resolve, 2) })
    }
  }

  /** Lets go of the queue in this process; those who wait here reject with ClosedError. Twice is harmless. */
  override close(): void {
    super.close()
    this.#joiners.fail(new ClosedError('the queue was closed while this waited'))
  }
}

const Joined = { Pending: 0, Finished: 1, Lost: 2 } as const

interface Lost { count: number; pid: number; attempt: number; exitCode?: number | undefined; mayBeKnown: boolean }

function lostError(lost: Lost): WorkerLostError {
  const items = lost.count === 1 ? '1 item is' : `${lost.count} items are`
  const exitCode = lost.exitCode ?? NaN
  const signal = exitCode < 0 ? native.signalName(-exitCode) as NodeJS.Signals | null : null
  const end = signal !== null ? ` was ended by ${signal}` : Number.isNaN(exitCode) ? ' ended' : ` exited with ${exitCode}`
  const message = `${items} lost: process ${lost.pid}, which had the last of them in hand,${end} before marking it done`
  return Object.assign(new WorkerLostError(message, { pid: lost.pid, exitCode, signal, attempt: lost.attempt }), { count: lost.count })
}

registerKind(KIND, handle => opened(handle, () => new JoinableQueue()))
