/**
 * The board of a pool: what has become of each task, told by one word a task, and who works. Lanes, tickets and workers are
 * numbers; those of other uses of the same place are others. docs/pool.md tells how it works.
 */

import { fromNative } from '../errors.js'
import { flat, pairs, type Handle } from '../handles.js'
import { bare, call, native } from '../native.js'
import { SharedObject } from '../shared-object.js'
import { Line, notYet, What, type WaitOptions } from '../waiting.js'

/** Boards, among the kinds of shared objects. */
export const BOARD_KIND = 16

/** The most attempts of a task. */
export const MOST_ATTEMPTS = 1023

/** What a new board carries for whoever opens it. */
export interface Kept {
  /** Objects that it keeps alive, at most 64. */
  handles: readonly Handle[]
  /** At most a MiB. */
  note?: Buffer | undefined
}

/** A worker, as the board shows it. */
export interface BoardWorker {
  number: number
  /** What was last said of it by {@link Board.setState}; 0 when it has just entered. */
  state: number
  pid: number
}

/** Whose the number of a worker is, or was. */
export interface WorkerProcess {
  pid: number
  /** It has ended without having left. */
  hasDied: boolean
  /** The exit code of its process, negative for a signal; undefined while nobody has seen it. */
  exitCode?: number | undefined
  /** It may still become known. */
  mayBeKnown: boolean
}

/**
 * A board that this process holds.
 *
 * @example
 * ```ts
 * const board = new Board({ handles: [queue] })
 * const lane = board.lane(results)                  // who submits
 * const ticket = board.submit(lane, 1)
 * const worker = board.enter()                      // who works
 * if (board.claim(lane, ticket, worker) > 0) run()
 * board.settle(lane, ticket, worker)
 * board.release(lane, ticket)                       // who submitted
 * ```
 */
export class Board extends SharedObject {
  /** Tells it from other classes of the same shape. */
  declare protected readonly kind: 'Board'
  readonly #line = new Line(What.Shared, () => this.id())

  /** Makes a board, or opens the one of a handle. @throws {@link ClosedError} when that is gone. */
  constructor(from: Kept | Handle) {
    super('pool', () => 'handles' in from
      ? native.boardCreate(flat(from.handles), from.note ?? Buffer.alloc(0))
      : native.boardOpen(from[0], from[1]))
  }

  /** The id by which the native part knows it. @internal */
  get native(): number {
    return this.id()
  }

  /** The handles that it keeps alive. */
  handles(): Handle[] {
    return pairs(call(() => native.boardHandles(this.id())))
  }

  /** The note that it was made with. */
  note(): Buffer {
    return call(() => native.boardNote(this.id()))
  }

  /** This thread's lane: it submits from now on, and outcomes go into the queue of that handle. Twice is harmless. */
  lane(results: Handle): number {
    return call(() => native.boardLane(this.id(), results[0], results[1]))
  }

  /** The queue for the outcomes of a lane; null when its submitter is gone. */
  resultsOf(lane: number): Handle | null {
    return (call(() => native.boardResults(this.id(), lane)) ?? null) as Handle | null
  }

  /** A row for a task that may be begun `attempts` times, 1 to 1023: its ticket. @throws {@link OutOfMemoryError} at 2^24 tasks. */
  submit(lane: number, attempts: number): number {
    try {
      return bare.boardSubmit(this.id(), lane, attempts)
    } catch (error) {
      throw fromNative(error)
    }
  }

  /**
   * For whoever has the task's item in hand. n > 0: run it, this is attempt n. 0: mark the item done. -n: the task is lost
   * after n attempts; tell its submitter, then mark the item done.
   */
  claim(lane: number, ticket: number, worker: number): number {
    try {
      return bare.boardClaim(this.id(), lane, ticket, worker)
    } catch (error) {
      throw fromNative(error)
    }
  }

  /** For the worker, once the outcome has been sent, before it marks the item done. False when the task is not its own any more. */
  settle(lane: number, ticket: number, worker: number): boolean {
    try {
      return bare.boardSettle(this.id(), lane, ticket, worker) === 1
    } catch (error) {
      throw fromNative(error)
    }
  }

  /** Stops a task: -1 it will not run; -2 it was over; else the number of the worker that runs it, which has been asked to stop. */
  stop(lane: number, ticket: number): number {
    return call(() => bare.boardStop(this.id(), lane, ticket))
  }

  /**
   * The task is to be over in `ms` milliseconds, 0 to 2^32 - 1. From then on its worker is asked to stop and, after the time
   * that the pool gives, killed, by the native thread of the process that made the pool. It stays in its queue while nobody has begun it.
   */
  limit(lane: number, ticket: number, ms: number): void {
    call(() => { bare.boardLimit(this.id(), lane, ticket, ms) })
  }

  /** There is work, and nobody may be idle: the process that made the pool looks whether it should start a worker. */
  want(): void {
    call(() => { bare.boardWant(this.id()) })
  }

  /** Whether the worker that runs the task is to stop: it was asked to, or nobody waits for the task any more. */
  stopAsked(lane: number, ticket: number): boolean {
    return call(() => bare.boardStopAsked(this.id(), lane, ticket)) === 1
  }

  /**
   * After how many attempts a task is lost: its worker has ended, and it has no attempts left or was asked to stop. 0 when that
   * is not so: it goes on, or somebody else takes it.
   */
  lost(lane: number, ticket: number): number {
    return call(() => bare.boardLost(this.id(), lane, ticket))
  }

  /** The outcome of a task is known, or not wanted: its row is free for another. False when it was. */
  release(lane: number, ticket: number): boolean {
    try {
      return bare.boardRelease(this.id(), lane, ticket) === 1
    } catch (error) {
      throw fromNative(error)
    }
  }

  /** Who runs a task, or ran it last; -1 when nobody has, or the row has been released. */
  runnerOf(lane: number, ticket: number): number {
    return call(() => native.boardRunner(this.id(), lane, ticket))
  }

  /** This thread runs tasks from now on: its number. `inbox` is the queue by which it is told things. */
  enter(inbox?: Handle): number {
    return call(() => native.boardEnter(this.id(), inbox === undefined ? [] : [...inbox]))
  }

  /** This thread runs no more tasks: it ends in peace. Whoever waits for the board is told. */
  leave(): void {
    call(() => { native.boardLeave(this.id()) })
  }

  /** What was last said of a worker; -1 when it has left, or its death has been seen. */
  state(worker: number): number {
    return call(() => bare.boardState(this.id(), worker))
  }

  /** Says something of a worker, 0 to 2^32 - 1. False when there is no such worker any more. */
  setState(worker: number, state: number): boolean {
    return call(() => bare.boardSetState(this.id(), worker, state)) === 1
  }

  /** All workers that have entered and not left. */
  workers(): BoardWorker[] {
    return call(() => native.boardWorkers(this.id()))
  }

  /** The queue by which a worker is told things; null when it has none, or has left. */
  inboxOf(worker: number): Handle | null {
    return (call(() => native.boardInbox(this.id(), worker)) ?? null) as Handle | null
  }

  /** The process of a worker, also after its death, until 32 more have died; null when it is not known. */
  processOf(worker: number): WorkerProcess | null {
    return call(() => native.boardProcess(this.id(), worker)) ?? null
  }

  /** Its pid; -1 when it is not known. */
  pidOf(worker: number): number {
    return this.processOf(worker)?.pid ?? -1
  }

  /** Counts what {@link wait} tells of: a worker has died or left, the pool is broken. */
  get epoch(): number {
    return call(() => native.boardEpoch(this.id()))
  }

  /** Resolves with the epoch once it is another than `epoch`; with the same after the timeout. Keeps the process alive. */
  wait(epoch: number, options?: WaitOptions): Promise<number> {
    const attempt = (): number | typeof notYet => {
      const now = this.epoch
      return now === epoch ? notYet : now
    }
    return this.#line.wait(attempt, options, () => epoch)
  }

  /** Workers that died since a task was settled last. */
  get losses(): number {
    return call(() => native.boardLosses(this.id()))
  }

  /** Nobody replaces workers any more. Whoever waits for the board is told. */
  giveUp(): void {
    call(() => { native.boardGiveUp(this.id()) })
  }

  /** Whether nobody replaces workers any more. */
  get isBroken(): boolean {
    return call(() => native.boardIsBroken(this.id()))
  }

  protected override failAll(error: unknown): void {
    this.#line.fail(error)
  }
}
