/**
 * Where a thread submits to a pool: its lane on the board, its queue of outcomes, and what it keeps of each task under way.
 *
 * Tasks go straight into the queues that workers take from; outcomes come back into one queue, which is read in batches.
 * Nothing has to run here for tasks to run there.
 */

import { encode, type Message } from '../codec/index.js'
import { ClosedError, fromNative, SerializationError, StateError, WorkerLostError } from '../errors.js'
import { Put, putInto } from '../message.js'
import { bare, call, native } from '../native.js'
import { Line, notYet, What } from '../waiting.js'
import type { Board } from './board.js'
import { Incoming } from './incoming.js'
import { type Job } from './job.js'
import { Sheet } from './notes.js'
import { Timing } from './timing.js'
import { clock, OUTCOME_TAIL, readOutcomeTail, shapeOf, Status, Words, Work, writeTaskTail, type OutcomeTail } from './wire.js'

const ROW = 2 ** 24 - 1
/** Receiving areas of this module: outcomes may be read while an outcome is being read. */
const AREA = 16
/** How long outcomes are read before the event loop goes on, in ms. */
const TURN = 1
/** The clock is looked at every so many outcomes. */
const STRIDE = 16
/** How long the exit code of a worker is waited for, in ms: the kernel may be writing a core file. */
const EXIT_CODE = 5000

/** A task that is lost, and how its worker ended is not known yet. */
interface Losing { readonly job: Job, readonly worker: number, readonly attempts: number, readonly since: number }

/** Who hears of what comes in. */
export interface DeskListener {
  /** Tasks are under way, where none were; or none are, where some were. */
  busy(isBusy: boolean): void
  /** A task is about to be sent. */
  submitted(job: Job): void
  /** Why nothing can be submitted any more. */
  refusal(): Error
  /** News of a worker. */
  news(value: unknown): void
  /** A task is to be counted: it ended so, after that long. */
  ended(job: Job, status: Status, tail: OutcomeTail, error?: unknown): void
  /** A task has been begun, of one that asked to be told. */
  begun(job: Job, tail: OutcomeTail): void
}

/** See the module. One a thread and pool. */
export class Desk {
  readonly board: Board
  readonly lane: number
  /** Tasks that wait, by level; ids of queues. */
  readonly #ready: readonly number[]
  readonly #levels: Int32Array
  readonly #results: number
  readonly #line: Line
  readonly #listener: DeskListener
  /** Workers have exit codes of their own. */
  readonly #areProcesses: boolean
  readonly #jobs: (Job | null)[] = []
  readonly #incoming: Incoming[] = []
  readonly #tail: OutcomeTail = { ticket: 0, began: 0, run: 0, status: Status.Done, slot: 0 }
  readonly waitTime = new Timing()
  readonly runTime = new Timing()
  #pending = 0
  #losing: Losing[] = []
  #reading = 0
  #isListening = false
  #isLastTurnOver = true
  #isQuiet = false
  #isLooking = false
  #sheet: Sheet | null = null
  #closed = false

  /** `results` is the id of a queue that nobody else takes from. */
  constructor(board: Board, ready: readonly number[], results: number, levels: Int32Array, listener: DeskListener, areProcesses: boolean) {
    this.board = board
    this.#ready = ready
    this.#levels = levels
    this.#listener = listener
    this.#areProcesses = areProcesses
    this.#results = results
    this.lane = board.lane(native.queueHandle(this.#results) as unknown as [number, number])
    this.#line = new Line(What.Getter, () => this.#id())
  }

  #id(): number {
    if (this.#closed) throw new ClosedError('the pool is closed')
    return this.#results
  }

  /** Tasks under way. */
  get pending(): number {
    return this.#pending
  }

  /** The queue of outcomes, for who blocks until something comes. */
  get results(): number {
    return this.#results
  }

  /** Where workers note the item that they are at. */
  get sheet(): Sheet {
    this.#sheet ??= new Sheet()
    return this.#sheet
  }

  /**
   * Sends a task: `message` is its encoded value, which is given back. Returns once it is in shared memory.
   *
   * @throws {@link OutOfMemoryError}; {@link ClosedError} when the pool has ended.
   */
  submit(job: Job, message: Message, fn: number, work: Work, flags: number, depth: number): void {
    const { board, lane } = this
    let ticket: number
    try {
      ticket = board.submit(lane, job.attempts)
    } catch (error) {
      message.release()
      throw fromNative(error)
    }
    try {
      writeTaskTail(message, ticket, fn, lane, shapeOf(work, flags, depth))
      job.ticket = ticket
      job.submitted = clock()
      this.#jobs[ticket & ROW] = job
      this.#listener.submitted(job)
      const put = putInto(this.#ready[job.level]!, message)
      if (put !== Put.Done) throw put === Put.ShutDown ? this.#listener.refusal() : new StateError('a queue of the pool is full')
      if (job.level !== 0) this.#nudge()
    } catch (error) {
      this.#jobs[ticket & ROW] = null
      board.release(lane, ticket)
      throw fromNative(error)
    } finally {
      message.release()
    }
    this.#pending += 1
    this.#isQuiet = false
    if (!this.#isListening) this.#listen()
  }

  /**
   * Workers wait for one queue: whatever is in another is announced there. Counted before it is there, so that who is killed
   * in between leaves one too many in the count, and a queue that looks shorter by one.
   */
  #nudge(): void {
    const message = encode(undefined)
    Atomics.add(this.#levels, Words.Announcements, 1)
    try {
      writeTaskTail(message, 0, 0, 0, shapeOf(Work.Nudge, 0, 0))
      putInto(this.#ready[0]!, message)
    } catch (error) {
      Atomics.sub(this.#levels, Words.Announcements, 1)
      throw error
    } finally {
      message.release()
    }
  }

  /** Waits for outcomes, as long as there is a task under way: so the process lives as long, and no longer. */
  #listen(): void {
    this.#isListening = true
    this.#listener.busy(true)
    const attempt = (): true | typeof notYet => this.#turn() ? true : notYet
    this.#line.stand<true>(attempt, Infinity, undefined, () => true).then(this.#rest, this.#rest)
  }

  readonly #rest = (): void => {
    this.#isListening = false
    if (this.#closed) return
    if (this.#pending > 0) this.#listen()
    else this.#listener.busy(false)
  }

  /** Reads outcomes for a while; true once none is to come. */
  #turn(): boolean {
    if (!this.#isLastTurnOver) return false
    if (!this.drain(TURN)) {
      this.#isLastTurnOver = false
      setImmediate(() => {
        this.#isLastTurnOver = true
        this.#line.advance()
      })
      return false
    }
    return this.#isDone()
  }

  /** Nothing is under way, and has not been for a turn: whoever awaits a task often submits the next one at once. */
  #isDone(): boolean {
    if (this.#pending > 0) {
      this.#isQuiet = false
      return false
    }
    if (this.#isQuiet) return true
    if (!this.#isLooking) {
      this.#isLooking = true
      setImmediate(this.#lookAgain)
    }
    return false
  }

  readonly #lookAgain = (): void => {
    this.#isLooking = false
    this.#isQuiet = this.#pending === 0
    if (this.#isQuiet && this.#isListening) this.#line.advance()
  }

  /** Reads outcomes that are there, for at most so many ms; true when none is left. */
  drain(ms: number): boolean {
    const depth = this.#reading
    const incoming = this.#incoming[depth] ??= new Incoming(AREA + depth)
    this.#reading = depth + 1
    try {
      const began = performance.now()
      for (let count = 1; ; count += 1) {
        if (this.#closed || !incoming.take(this.#results, queueGet)) return true
        this.#outcome(incoming)
        if (count % STRIDE === 0 && performance.now() - began > ms) return false
      }
    } finally {
      this.#reading = depth
    }
  }

  #outcome(incoming: Incoming): void {
    const tail = this.#tail
    readOutcomeTail(incoming.view, incoming.end, tail)
    const end = incoming.end - OUTCOME_TAIL
    if (tail.status === Status.News) {
      this.#listener.news(incoming.read(end))
      return
    }
    const job = this.#jobs[tail.ticket & ROW]
    if (job?.ticket !== tail.ticket) {
      // The second outcome of a worker that died after the first.
      incoming.release()
      return
    }
    if (tail.status === Status.Begun) {
      incoming.release()
      this.#listener.begun(job, tail)
      return
    }
    if (tail.status === Status.Lost) {
      incoming.release()
      this.#lose(job, tail.run)
      return
    }
    this.#forget(job)
    this.#listener.ended(job, tail.status, tail)
    this.waitTime.add(tail.began - job.submitted)
    this.runTime.add(tail.run)
    let value: unknown
    try {
      value = incoming.read(end)
    } catch (error) {
      job.fail(unreadable(error))
      return
    }
    if (value instanceof Promise) {
      const kept = { ...tail }
      this.#pending += 1
      value.then(read => { job.outcome(kept.status, read, kept) }, (error: unknown) => { job.fail(unreadable(error)) })
        .finally(() => { this.#settled() })
    } else job.outcome(tail.status, value, tail)
  }

  /** The task is over: its row is free. */
  #forget(job: Job): void {
    job.over()
    this.#jobs[job.ticket & ROW] = null
    this.board.release(this.lane, job.ticket)
    this.#pending -= 1
  }

  #settled(): void {
    this.#pending -= 1
    if (this.#pending === 0 && !this.#closed) this.#line.advance()
  }

  /** A task is lost: who waits for it is told once it is known how its worker ended. */
  #lose(job: Job, attempts: number): void {
    if (performance.now() >= job.deadline) {
      // Its worker was ended for it, and this is read before the timer has run.
      job.expire?.()
      return
    }
    const worker = this.board.runnerOf(this.lane, job.ticket)
    this.#forget(job)
    this.#pending += 1
    this.#losing.push({ job, worker, attempts, since: performance.now() })
    this.tellLost()
  }

  /** Tells of lost tasks whose workers' ends are known. True when none is left to tell of. */
  readonly tellLost = (): boolean => {
    const losing = this.#losing
    if (losing.length === 0) return true
    this.#losing = []
    for (const loss of losing) {
      const known = this.board.processOf(loss.worker)
      // One that has died may not have ended yet.
      const mayCome = known !== null && known.exitCode === undefined && (known.mayBeKnown || this.#areProcesses)
      if (mayCome && performance.now() - loss.since < EXIT_CODE) {
        this.#losing.push(loss)
        continue
      }
      const error = lostError(known?.pid ?? NaN, known?.exitCode ?? NaN, loss.attempts)
      this.#listener.ended(loss.job, Status.Lost, this.#tail, error)
      loss.job.lost(error)
      this.#settled()
    }
    if (this.#losing.length === 0) return true
    setTimeout(this.tellLost, 1)
    return false
  }

  /** A worker has ended: finds those of this thread's tasks that it had in hand and that may not run again. */
  findLost(): void {
    this.drain(Infinity)
    for (const job of this.#jobs) {
      if (job === null) continue
      const attempts = this.board.lost(this.lane, job.ticket)
      if (attempts > 0) this.#lose(job, attempts)
    }
  }

  /**
   * Stops a task: it is over for whoever submitted it. Returns the worker that runs it and has been asked to stop, -1 when
   * nobody has begun it, -2 when it was over. In the first case `instead` takes its place until it ends.
   */
  stop(job: Job, instead: Job): number {
    if (this.#jobs[job.ticket & ROW] !== job) return -2
    const stopped = this.board.stop(this.lane, job.ticket)
    if (stopped < 0) {
      // Its worker may have been ended for it, at its deadline: nobody need be told of that.
      const isOver = stopped !== -1 && this.board.lost(this.lane, job.ticket) === 0
      if (!isOver) this.#forget(job)
      if (this.#pending === 0) this.#line.advance()
      return isOver ? -2 : -1
    }
    instead.ticket = job.ticket
    instead.submitted = job.submitted
    this.#jobs[job.ticket & ROW] = instead
    return stopped
  }

  /** True while a task is under way. */
  has(job: Job): boolean {
    return this.#jobs[job.ticket & ROW] === job
  }

  /** Whether a task waits for a worker, and was never begun. */
  isQueued(job: Job): boolean {
    return this.has(job) && this.board.runnerOf(this.lane, job.ticket) < 0
  }

  /** The tasks under way. */
  jobs(): Job[] {
    return this.#jobs.filter(job => job !== null)
  }

  /** Fails everything that is under way. */
  failAll(error: () => unknown): void {
    const jobs = this.jobs()
    for (const job of jobs) {
      this.board.stop(this.lane, job.ticket)
      this.#forget(job)
      job.fail(error())
    }
    if (jobs.length > 0) this.#line.advance()
  }

  /** Somebody waits for other things than a task that is under way: looks again whether to wait on. */
  look(): void {
    this.#line.advance()
  }

  /** Lets go of everything; nothing must be under way. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#line.fail(new ClosedError('the pool is closed'))
    call(() => { native.queueClose(this.#results) })
    this.#sheet?.close()
    this.#sheet = null
  }
}

const queueGet = (queue: number, area: number): number => bare.queueGet(queue, area)

function unreadable(error: unknown): unknown {
  return error instanceof SerializationError ? error : new SerializationError(`the outcome of a task cannot be read here: ${error instanceof Error ? error.message : String(error)}`, '', { cause: error })
}

/** The error of a task whose worker has ended. */
export function lostError(pid: number, exitCode: number, attempt: number): WorkerLostError {
  const signal = exitCode < 0 ? native.signalName(-exitCode) as NodeJS.Signals | null : null
  const end = signal !== null ? `was ended by ${signal}` : Number.isNaN(exitCode) ? 'ended' : `exited with ${exitCode}`
  const tried = attempt > 1 ? `, in attempt ${attempt}` : ''
  return new WorkerLostError(`the worker that ran the task (process ${pid}) ${end}${tried}`, { pid, exitCode, signal, attempt })
}
