/**
 * What works: takes tasks from the queues of a pool, runs them, sends the outcomes to whoever submitted them. In a process or
 * a thread of its own.
 *
 * An item stays in the queue under the worker's name until it is marked done, and a task says on the board who runs it. In
 * this order: take the item, claim the task, read it, run it, send the outcome, settle the task, mark the item. Whenever
 * the worker ends, somebody finds the item again, and on the board what has become of the task.
 */

import { readFileSync } from 'node:fs'
import { encode } from '../codec/index.js'
import { SerializationError } from '../errors.js'
import { Got, putInto } from '../message.js'
import { bare, call, native } from '../native.js'
import { extensionsOf } from '../shipping.js'
import { Line, notYet, What } from '../waiting.js'
import type { Board } from './board.js'
import { runChunk, type ChunkOutcome } from './chunk.js'
import { callable, fetchFunction, type Runnable } from './functions.js'
import { Incoming } from './incoming.js'
import { wordsOf } from './notes.js'
import { encodeNumbers } from './numbers.js'
import { SERVED } from './options.js'
import { sendable } from './sendable.js'
import { Run, runAs, setCurrent } from './task.js'
import { closePieces, runRange, type Range } from './typed.js'
import { clock, Flag, readTaskTail, Status, Words, Work, writeOutcomeTail, type TaskTail } from './wire.js'

/** Receiving area for tasks. */
const AREA = 14
const INBOX_AREA = 15
const QUEUE = 1
/** Tasks run in one go for at most so many ms, then the event loop has its turn. */
const TURN = 1
/** One take in so many begins with the lowest priority. */
const AGEING = 16
const MEMORY_EVERY = 100

/** What a worker says of itself on the board: one of these, and times {@link TURNS} how often it has become idle. */
export const State = { Starting: 0, Idle: 1, Busy: 2, Waiting: 3, Retiring: 4 } as const
export const TURNS = 8

/** What a worker is told of its pool. */
export interface WorkerSettings {
  readonly maxTasksPerChild: number
  readonly maxMemoryPerChild: number
  readonly concurrency: number
}

/** News of a worker for whoever supervises the pool. */
export type News =
  | { readonly what: 'ready', readonly worker: number, readonly pid: number, readonly serial: number }
  | { readonly what: 'changed' | 'retiring', readonly worker: number }
  | { readonly what: 'wanted' }
  | { readonly what: 'unfit', readonly error: unknown }
  | { readonly what: 'kill', readonly worker: number, readonly lane: number, readonly ticket: number }

interface Hand { readonly queue: number, readonly ticket: number, readonly slot: number }
/** A task in hand, of which the tail may be gone. */
interface Taken { readonly run: Run, readonly hand: Hand, readonly began: number }

/** See the module. */
export class Worker {
  readonly number: number
  readonly #board: Board
  readonly #ready: readonly number[]
  readonly #owner: number
  readonly #levels: Int32Array
  readonly #settings: WorkerSettings
  readonly #end: () => void
  readonly #line: Line
  readonly #inbox: number
  readonly #inboxLine: Line
  readonly #incoming = new Incoming(AREA)
  readonly #letters = new Incoming(INBOX_AREA)
  readonly #tail: TaskTail = { ticket: 0, fn: 0, lane: 0, work: Work.None, flags: 0, depth: 0, sheet: 0, cell: 0 }
  /** Queues of outcomes, by lane; null for a submitter that is gone. */
  readonly #lanes = new Map<number, number | null>()
  readonly #running = new Set<Run>()
  readonly #watched = new Set<Run>()
  #spare: Run
  #hand: Hand = { queue: 0, ticket: 0, slot: 0 }
  #tasks = 0
  #takes = 0
  #state: number = State.Starting
  #turns = 0
  #isPumping = false
  /** It waits for an item, or has one that it has not begun. */
  #isStanding = false
  #isRetiring = false
  #isOver = false
  #memoryLook = 0

  /** `owner` is the queue of outcomes of whoever supervises the pool. */
  constructor(board: Board, ready: readonly number[], owner: number, levels: Int32Array, settings: WorkerSettings, end: () => void) {
    this.#board = board
    this.#ready = ready
    this.#owner = owner
    this.#levels = levels
    this.#settings = settings
    this.#end = end
    this.#inbox = call(() => native.queueCreate(QUEUE, 0, 0, null))
    this.number = board.enter(native.queueHandle(this.#inbox) as unknown as [number, number])
    this.#spare = new Run(this.#watch)
    this.#line = new Line(What.Getter, () => this.#ready[0]!)
    this.#inboxLine = new Line(What.Getter, () => this.#inbox)
  }

  /** Begins to work. */
  start(): void {
    void this.#inboxLine.stand<true>(() => this.#openLetters() ? true : notYet, Infinity, undefined, () => true)
    this.#pump()
  }

  /** Takes tasks until there is none, or none may be taken. */
  readonly #pump = (): void => {
    if (this.#isPumping || this.#isStanding || this.#isOver) return
    this.#isPumping = true
    const until = performance.now() + TURN
    let isTurnOver = false
    try {
      while (!isTurnOver && this.#running.size < this.#settings.concurrency && !this.#isRetiring) {
        if (!this.#take()) {
          this.#idle()
          return
        }
        this.#handle()
        isTurnOver = performance.now() > until
      }
    } finally {
      this.#isPumping = false
    }
    if (this.#isRetiring) this.#retireWhenDone()
    else if (isTurnOver) setImmediate(this.#pump)
  }

  #idle(): void {
    if (this.#isRetiring) {
      this.#retireWhenDone()
      return
    }
    if (this.#running.size === 0) {
      this.#say(State.Idle)
      closePieces()
    }
    this.#isStanding = true
    this.#line.stand<true>(() => this.#take() || this.#isRetiring ? true : notYet, Infinity, undefined, () => true).then(() => {
      this.#isStanding = false
      if (this.#isOver) return
      if (this.#incoming.end < 0) {
        // It is to end: nothing was taken.
        this.#retireWhenDone()
        return
      }
      this.#handle()
      this.#pump()
    }, () => { /* The worker is ending. */ })
  }

  #say(state: number): void {
    if (this.#state === state) return
    this.#state = state
    if (state === State.Idle) this.#turns = (this.#turns + 1) % 2 ** 28
    this.#board.setState(this.number, state + this.#turns * TURNS)
  }

  /** Takes an item into this thread's hand; its tail is read. False when there is none. */
  #take(): boolean {
    if (this.#isRetiring) {
      this.#incoming.end = Got.Nothing
      return false
    }
    const used = this.#levels[Words.Used]!
    if (used === 0) return this.#takeDefault()
    this.#takes += 1
    const isUpward = this.#takes % AGEING === 0
    for (let k = 0; k < SERVED.length; k += 1) {
      const level = SERVED[isUpward ? SERVED.length - 1 - k : k]!
      if (level === 0 ? this.#takeDefault() : (used & 1 << level) !== 0 && this.#takeFrom(this.#ready[level]!)) return true
    }
    return false
  }

  /**
   * Takes from the queue that all workers wait for. What lies in the others is announced there: as long as something does, an
   * announcement must remain, for somebody who sleeps.
   */
  #takeDefault(): boolean {
    const [queue] = this.#ready as [number]
    let nudges: Hand[] | null = null
    while (this.#takeFrom(queue)) {
      if (this.#tail.work !== Work.Nudge) {
        if (nudges !== null) this.#announce(nudges)
        return true
      }
      this.#incoming.release()
      nudges ??= []
      nudges.push(this.#hand)
    }
    if (nudges === null) return false
    let isFound = false
    for (const level of SERVED) {
      isFound = level !== 0 && this.#takeFrom(this.#ready[level]!)
      if (isFound) break
    }
    this.#announce(nudges)
    return isFound
  }

  /** Of announcements in hand one goes back, if there still is something to announce. */
  #announce(nudges: readonly Hand[]): void {
    const isMore = this.#ready.some((queue, level) => level > 0 && native.queueSize(queue) > 0)
    for (const [k, nudge] of nudges.entries()) {
      if (k === 0 && isMore) native.deliveryRetry(nudge.queue, nudge.ticket, nudge.slot)
      else {
        this.#done(nudge)
        Atomics.sub(this.#levels, Words.Announcements, 1)
      }
    }
  }

  #takeFrom(queue: number): boolean {
    if (!this.#incoming.take(queue, joinableGet)) {
      if (this.#incoming.end === Got.Ended && queue === this.#ready[0]) this.#isRetiring = true
      return false
    }
    this.#hand = { queue, ticket: bare.takenTicket(), slot: bare.takenSlot() }
    readTaskTail(this.#incoming.view, this.#incoming.end, this.#tail)
    return true
  }

  #done({ queue, ticket, slot }: Hand): void {
    call(() => bare.joinableDone(queue, ticket, slot))
  }

  /** Runs the task whose item is in hand. */
  #handle(): void {
    const tail = this.#tail
    const incoming = this.#incoming
    const end = readTaskTail(incoming.view, incoming.end, tail)
    const hand = this.#hand
    const attempt = this.#board.claim(tail.lane, tail.ticket, this.number)
    if (attempt <= 0) {
      incoming.release()
      if (attempt < 0) this.#send(tail.lane, tail.ticket, undefined, Status.Lost, 0, -attempt)
      this.#done(hand)
      return
    }
    this.#say(State.Busy)
    if ((tail.flags & Flag.Announced) !== 0) this.#send(tail.lane, tail.ticket, undefined, Status.Begun, clock(), 0)
    const run = this.#spare
    run.id = tail.ticket
    run.lane = tail.lane
    run.attempt = attempt
    run.depth = tail.depth
    run.context = undefined
    const taken: Taken = { run, hand, began: clock() }
    let result: unknown
    try {
      const value = incoming.read(end)
      const fn = tail.fn === 0 ? null : fetchFunction(tail.fn)
      if (value instanceof Promise || fn instanceof Promise || (tail.flags & (Flag.Inline | Flag.Context)) !== 0) {
        this.#handleSlowly(taken, { ...tail }, value, fn)
        return
      }
      setCurrent(run)
      result = this.#settings.concurrency === 1 ? this.#run(tail, fn!, value) : runAs(run, () => this.#run(tail, fn!, value))
    } catch (error) {
      this.#finish(taken, error, Status.Failed)
      return
    }
    if (isThenable(result)) this.#await(taken, tail.work, result)
    else this.#succeed(taken, tail.work, result)
  }

  /** As handle, where something has to be loaded, or the value is wrapped. */
  #handleSlowly(taken: Taken, tail: TaskTail, value: unknown, fn: Runnable | Promise<Runnable> | null): void {
    const { run } = taken
    const go = async (): Promise<unknown> => {
      let inner: unknown = value instanceof Promise ? await value : value
      if ((tail.flags & Flag.Context) !== 0) ({ context: run.context, value: inner } = inner as { context: unknown, value: unknown })
      let target = fn
      if ((tail.flags & Flag.Inline) !== 0) {
        const { fn: given, args } = inner as { fn: unknown, args: unknown }
        target = callable(given)
        inner = args
      }
      const runnable = target instanceof Promise ? await target : target!
      setCurrent(run)
      return this.#settings.concurrency === 1 ? this.#run(tail, runnable, inner) : runAs(run, () => this.#run(tail, runnable, inner))
    }
    this.#await(taken, tail.work, go())
  }

  #run(tail: TaskTail, fn: Runnable, value: unknown): unknown {
    switch (tail.work) {
      case Work.One: return fn(value)
      case Work.None: return fn()
      case Work.Args: return fn(...value as unknown[])
      case Work.Range:
      case Work.Items:
      case Work.Lists: {
        const { lane, ticket } = tail
        const chunk = {
          fn, items: value as ArrayLike<unknown>, areLists: tail.work === Work.Lists, isSettled: (tail.flags & Flag.Settled) !== 0,
          words: wordsOf(tail.sheet), cell: tail.cell, isStopped: () => this.#board.stopAsked(lane, ticket),
        }
        return tail.work === Work.Range ? runRange(chunk, value as Range) : runChunk(chunk)
      }
      default: throw new SerializationError(`there is no kind ${tail.work} of task`)
    }
  }

  /** The task goes on while others may be taken. */
  #await(taken: Taken, work: Work, result: PromiseLike<unknown>): void {
    const { run } = taken
    this.#spare = new Run(this.#watch)
    this.#running.add(run)
    if (this.#settings.concurrency > 1) setCurrent(null)
    const over = (): void => {
      this.#running.delete(run)
      this.#watched.delete(run)
      this.#pump()
    }
    // On its own: what it throws is an error of the worker, not of the task.
    result.then(value => {
      this.#succeed(taken, work, value)
      over()
    }, (error: unknown) => {
      this.#finish(taken, error, Status.Failed)
      over()
    })
  }

  #succeed(taken: Taken, work: Work, result: unknown): void {
    if (work < Work.Items) {
      this.#finish(taken, result, Status.Done)
      return
    }
    const { values, errors } = result as ChunkOutcome
    if (errors.length === 0) this.#finish(taken, encodeNumbers(values), Status.Done)
    else this.#finish(taken, { values, errors }, Status.Partly)
  }

  /** Sends the outcome of a task, and is done with it. */
  #finish({ run, hand, began }: Taken, value: unknown, status: Status): void {
    const end = clock()
    if (this.#running.size === 0 || this.#settings.concurrency === 1) setCurrent(null)
    const { lane, id } = run
    this.#send(lane, id, value, status, began, end - began)
    this.#board.settle(lane, id, this.number)
    this.#done(hand)
    if (run.isShown && run === this.#spare) this.#spare = new Run(this.#watch)
    this.#tasks += 1
    if (this.#tasks >= this.#settings.maxTasksPerChild || this.#isTooLarge(end)) this.retire()
  }

  /** Puts an outcome into the queue of whoever submitted the task; nothing if that is gone. */
  #send(lane: number, ticket: number, value: unknown, status: Status, began: number, run: number): void {
    const queue = this.#queueOf(lane)
    if (queue === null) return
    try {
      this.#put(queue, ticket, value, status, began, run)
    } catch (error) {
      const [instead, as] = sendable(value, status, error)
      try {
        this.#put(queue, ticket, instead, as, began, run)
      } catch (again) {
        this.#put(queue, ticket, new SerializationError(`the outcome of the task cannot be sent: ${messageOf(again)}`), Status.Failed, began, run)
      }
    }
  }

  #put(queue: number, ticket: number, value: unknown, status: Status, began: number, run: number): void {
    const message = encode(value, typeof value === 'object' || typeof value === 'function' ? extensionsOf() : undefined, 'result')
    try {
      writeOutcomeTail(message, ticket, began, run, status, this.number)
      call(() => putInto(queue, message))
    } finally {
      message.release()
    }
  }

  #queueOf(lane: number): number | null {
    let queue = this.#lanes.get(lane)
    if (queue === undefined) {
      queue = null
      try {
        const handle = this.#board.resultsOf(lane)
        if (handle !== null) queue = native.queueOpen(handle[0], handle[1])
      } catch {
        // The submitter has gone in this moment.
      }
      this.#lanes.set(lane, queue)
    }
    return queue
  }

  /** Tells whoever supervises the pool. */
  tell(news: News): void {
    this.#put(this.#owner, 0, news, Status.News, 0, 0)
  }

  // A task's signal is wanted: it may have been asked to stop before.
  readonly #watch = (run: Run): void => {
    this.#watched.add(run)
    if (this.#board.stopAsked(run.lane, run.id)) setImmediate(() => { run.stop() })
  }

  /** Reads what it is told; true once nothing more will come. */
  #openLetters(): boolean {
    while (!this.#isOver && this.#letters.take(this.#inbox, queueGet)) {
      const letter = this.#letters.read(this.#letters.end) as { look?: boolean, retire?: boolean }
      if (letter.retire === true) this.retire()
      if (letter.look === true) for (const run of this.#watched) if (this.#board.stopAsked(run.lane, run.id)) run.stop()
    }
    return this.#isOver
  }

  #isTooLarge(now: number): boolean {
    const { maxMemoryPerChild } = this.#settings
    if (maxMemoryPerChild === Infinity || now < this.#memoryLook) return false
    this.#memoryLook = now + MEMORY_EVERY
    const kilobytes = /^RssAnon:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1]
    return Number(kilobytes) * 1024 > maxMemoryPerChild
  }

  /** A task of this worker waits for tasks of the same pool, or does no longer. */
  wait(run: Run, isWaiting: boolean): void {
    run.subtasks += isWaiting ? 1 : -1
    const all = run === this.#spare || [...this.#running].every(other => other.subtasks > 0)
    if (all && run.subtasks > 0) {
      if (this.#state === State.Waiting) return
      this.#say(State.Waiting)
      this.tell({ what: 'changed', worker: this.number })
    } else if (this.#state === State.Waiting) {
      this.#say(State.Busy)
      this.tell({ what: 'changed', worker: this.number })
    }
  }

  /** Takes no more tasks, and ends once those that it runs have ended. */
  retire(): void {
    if (this.#isRetiring) return
    this.#isRetiring = true
    this.#say(State.Retiring)
    this.tell({ what: 'retiring', worker: this.number })
    this.#line.advance()
    if (!this.#isPumping) this.#retireWhenDone()
  }

  #retireWhenDone(): void {
    if (this.#isOver || this.#running.size > 0) return
    this.#isOver = true
    this.#board.leave()
    this.#end()
  }
}

const queueGet = (queue: number, area: number): number => bare.queueGet(queue, area)
const joinableGet = (queue: number, area: number): number => bare.joinableTake(queue, area, true)

const isThenable = (value: unknown): value is PromiseLike<unknown> => typeof value === 'object' && value !== null && typeof (value as PromiseLike<unknown>).then === 'function'
const messageOf = (error: unknown): string => error instanceof Error ? error.message : String(error)
