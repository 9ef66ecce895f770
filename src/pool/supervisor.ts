/**
 * Starts the workers of a pool, replaces those that end, ends those that are too many. In the process that made the pool.
 */

import { setMaxListeners } from 'node:events'
import { BrokenPoolError, type WorkerLostError } from '../errors.js'
import { encode } from '../codec/index.js'
import { putInto } from '../message.js'
import { call, native } from '../native.js'
import type { Board } from './board.js'
import { lostError } from './desk.js'
import { events } from './events.js'
import type { Agency, Hired } from './hired.js'
import type { Settings } from './options.js'
import { State, TURNS, type News } from './worker.js'

/** Who is told by a supervisor. */
export interface Patron {
  /** Tasks under way in this thread. */
  readonly pending: number
  /** Tasks that wait, of whoever submitted them. */
  readonly backlog: number
  /** A worker has ended: what it had in hand may be lost. */
  workerEnded(): void
  /** The pool cannot work any more. */
  broken(error: () => BrokenPoolError): void
  /** The last worker has ended. */
  empty(): void
}

/** How often it is looked for workers that have nothing to do and are not needed, in ms. */
const SURPLUS = 100

/** See the module. */
export class Supervisor {
  readonly #board: Board
  readonly #settings: Settings
  readonly #patron: Patron
  readonly #agency: Agency
  readonly #workers = new Set<Hired>()
  #serial = 0
  /** Workers that run or could run tasks: those that wait for the pool itself do not count. */
  #live = 0
  /** Deaths with no task finished between, where nobody else counts them. */
  #losses = 0
  /** How the last worker that was lost ended. */
  #last: WorkerLostError | null = null
  #isEnding = false
  #timer: NodeJS.Timeout | null = null
  #attention: AbortController | null = null

  constructor(board: Board, settings: Settings, patron: Patron, agency: Agency) {
    this.#board = board
    this.#settings = settings
    this.#patron = patron
    this.#agency = agency
  }

  /** Workers that have been started and have not ended. */
  get workers(): ReadonlySet<Hired> {
    return this.#workers
  }

  /** A task was submitted here; there are so many under way. Starts a worker if nobody can be idle. */
  want(pending: number): void {
    if (this.#live < this.#settings.processes && pending > this.#live * this.#settings.concurrency) this.#start()
  }

  /** Something has changed: starts workers for what waits, ends those that are too many. */
  consider(): void {
    if (this.#isEnding) return
    this.#count()
    const idle = [...this.#workers].filter(worker => this.#kindOf(worker) <= State.Idle).length
    const { backlog } = this.#patron
    for (let wanted = backlog - idle; wanted > 0 && this.#live < this.#settings.processes; wanted -= 1) if (!this.#start()) return
    this.#watch()
  }

  #kindOf(worker: Hired): number {
    if (worker.number < 0) return State.Starting
    const state = this.#board.state(worker.number)
    return state < 0 ? State.Retiring : state % TURNS
  }

  #count(): void {
    this.#live = 0
    for (const worker of this.#workers) {
      const kind = this.#kindOf(worker)
      if (!worker.isRetiring && kind !== State.Waiting && kind !== State.Retiring) this.#live += 1
    }
  }

  #start(): boolean {
    this.#serial += 1
    let worker: Hired | null
    try {
      worker = this.#agency.hire(this.#serial)
    } catch (error) {
      // With others at work it is tried again when one of them ends.
      if (this.#workers.size === 0) this.#break('no worker could be started', error)
      return false
    }
    if (worker === null) {
      this.#meet()
      this.#count()
      return false
    }
    this.#take(worker)
    return true
  }

  #take(worker: Hired): void {
    this.#workers.add(worker)
    this.#live += 1
    events.workerStart({ pool: this.#settings.name, pid: worker.pid })
    if (this.#attention !== null) this.#attendTo(worker)
    this.#watch()
  }

  /** Takes in workers that were started meanwhile. */
  #meet(): void {
    if (!this.#isEnding) for (const worker of this.#agency.arrivals()) this.#take(worker)
  }

  /** Tasks are under way, or none are: whether the ends of workers are waited for. Later they are found by {@link look}. */
  attend(isBusy: boolean): void {
    if (isBusy === (this.#attention !== null)) return
    if (!isBusy) {
      this.#attention?.abort()
      this.#attention = null
      return
    }
    this.#attention = new AbortController()
    setMaxListeners(0, this.#attention.signal)
    this.#meet()
    for (const worker of this.#workers) this.#attendTo(worker)
    if (this.#agency.isNative) void this.#attendToBoard(this.#attention.signal)
  }

  /** Workers are lost and replaced, and the pool breaks, without having been asked for here. */
  async #attendToBoard(signal: AbortSignal): Promise<void> {
    try {
      for (let epoch = this.#board.epoch; !this.#isEnding;) {
        epoch = await this.#board.wait(epoch, { signal })
        this.#meet()
        this.#patron.workerEnded()
        if (this.#board.isBroken) this.#breakDown()
      }
    } catch {
      // Nothing is under way any more, or the pool has ended.
    }
  }

  #attendTo(worker: Hired): void {
    const attention = this.#attention!
    worker.attend(attention.signal, () => { if (!attention.signal.aborted) this.#ended(worker) })
  }

  /** News of a worker have come. */
  news(news: News): void {
    switch (news.what) {
      case 'ready':
        this.#meet()
        for (const worker of this.#workers) if (worker.matches(news.pid, news.serial)) worker.number = news.worker
        break
      case 'changed': this.consider(); break
      case 'wanted': this.consider(); break
      case 'retiring':
        for (const worker of this.#workers) if (worker.number === news.worker) worker.isRetiring = true
        this.consider()
        break
      case 'unfit': this.#break('its initializer failed', news.error); break
      case 'kill':
        if (this.#board.runnerOf(news.lane, news.ticket) === news.worker) this.kill(news.worker)
    }
  }

  /** A task has ended by itself: whatever else happens, the pool can work. */
  finished(): void {
    this.#losses = 0
  }

  /** Looks for workers that have ended, where no event can tell. */
  look(): void {
    for (const worker of this.#workers) {
      // A thread's end is told by an event, which does not come while this thread is blocked; the board knows it.
      if (worker.hasEnded() || worker.key === 0 && worker.number >= 0 && this.#board.state(worker.number) < 0) this.#ended(worker)
    }
    this.#meet()
    if (this.#agency.isNative && !this.#isEnding && this.#board.isBroken) this.#breakDown()
  }

  #ended(worker: Hired): void {
    if (!this.#workers.delete(worker)) return
    const { exitCode, pid } = worker
    events.workerEnd({ pool: this.#settings.name, pid, exitCode })
    this.#patron.workerEnded()
    this.#count()
    if (!worker.isRetiring && !this.#isEnding) {
      this.#last = lostError(pid, exitCode, 1)
      if (this.#isTooMuch(worker)) {
        this.#breakDown()
        return
      }
    }
    this.#meet()
    if (this.#isEnding) {
      if (this.#workers.size === 0) this.#patron.empty()
      return
    }
    this.want(this.#patron.pending)
    this.consider()
  }

  /** Counts the loss of a worker. */
  #isTooMuch(worker: Hired): boolean {
    if (this.#agency.isNative) return this.#board.isBroken
    if (!worker.isKilled) this.#losses = worker.number >= 0 && this.#board.losses <= 1 ? 1 : this.#losses + 1
    return this.#losses >= this.#settings.maxRestarts
  }

  #breakDown(): void {
    for (const worker of this.#workers) {
      if (!worker.isRetiring && worker.hasEnded()) this.#last = lostError(worker.pid, worker.exitCode, 1)
    }
    const { maxRestarts } = this.#settings
    this.#break(`${maxRestarts} workers in a row ended without finishing a task`, this.#last ?? lostError(NaN, NaN, 1))
  }

  #break(why: string, cause: unknown): void {
    if (this.#isEnding) return
    const { name } = this.#settings
    this.#board.giveUp()
    this.#patron.broken(() => new BrokenPoolError(`the pool ${name} cannot work: ${why}`, { cause }))
    this.killAll()
  }

  /** SIGKILL to a worker. */
  kill(number: number): void {
    for (const worker of this.#workers) {
      if (worker.number !== number) continue
      worker.isKilled = true
      worker.kill()
    }
  }

  /** No worker is started any more. Those that there are get all that is queued, and end. */
  end(): void {
    this.#meet()
    this.#isEnding = true
    this.#agency.close()
    for (const worker of this.#workers) worker.isRetiring = true
    this.#unwatch()
    if (this.#workers.size === 0) this.#patron.empty()
  }

  /** Ends all workers at once. */
  killAll(): void {
    this.#meet()
    this.#isEnding = true
    this.#agency.close()
    this.#unwatch()
    for (const worker of this.#workers) {
      worker.isRetiring = true
      worker.kill()
    }
    if (this.#workers.size === 0) this.#patron.empty()
  }

  /** Ends what stays although it has nothing to do, after so many ms. */
  killAfter(ms: number): void {
    for (const worker of this.#workers) worker.killAfter(ms)
  }

  /** Looks now and then, as long as there may be more workers than are wanted. */
  #watch(): void {
    const { processes, minProcesses, idleTimeout } = this.#settings
    const isSurplus = this.#workers.size > processes
    if (!isSurplus && (idleTimeout === Infinity || this.#workers.size <= minProcesses)) {
      this.#unwatch()
      return
    }
    if (this.#timer !== null) return
    const every = isSurplus ? SURPLUS : Math.max(10, Math.min(idleTimeout / 2, 60_000))
    this.#timer = setTimeout(() => {
      this.#timer = null
      this.#endSurplus()
      this.#watch()
    }, every).unref()
  }

  #unwatch(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
  }

  #endSurplus(): void {
    const { processes, minProcesses, idleTimeout } = this.#settings
    const now = performance.now()
    let active = [...this.#workers].filter(worker => !worker.isRetiring).length
    this.#count()
    for (const worker of this.#workers) {
      if (worker.number < 0 || worker.isRetiring) continue
      const state = this.#board.state(worker.number)
      if (state % TURNS !== State.Idle) {
        worker.idleState = -1
        continue
      }
      if (worker.idleState !== state) {
        worker.idleState = state
        worker.idleSince = now
      }
      const isTooMany = this.#live > processes
      const isIdle = active > minProcesses && now - worker.idleSince >= idleTimeout
      if (!isTooMany && !isIdle) continue
      worker.expect()
      active -= 1
      this.#live -= 1
      sendLetter(this.#board, worker.number, { retire: true })
    }
  }
}

/** Tells a worker something. Nothing if it is gone. */
export function sendLetter(board: Board, worker: number, letter: object): void {
  const handle = board.inboxOf(worker)
  if (handle === null) return
  let queue: number
  try {
    queue = call(() => native.queueOpen(handle[0], handle[1]))
  } catch {
    return
  }
  try {
    const message = encode(letter)
    try {
      call(() => putInto(queue, message))
    } finally {
      message.release()
    }
  } finally {
    native.queueClose(queue)
  }
}
