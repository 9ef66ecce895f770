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
import type { Hired } from './hired.js'
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
  readonly #hire: (serial: number) => Hired
  readonly #workers = new Set<Hired>()
  #serial = 0
  /** Workers that run or could run tasks: those that wait for the pool itself do not count. */
  #live = 0
  /** Deaths with no task finished between. */
  #losses = 0
  #isEnding = false
  #timer: NodeJS.Timeout | null = null
  #attention: AbortController | null = null

  constructor(board: Board, settings: Settings, patron: Patron, hire: (serial: number) => Hired) {
    this.#board = board
    this.#settings = settings
    this.#patron = patron
    this.#hire = hire
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
    let worker: Hired
    try {
      worker = this.#hire(this.#serial)
    } catch (error) {
      // With others at work it is tried again when one of them ends.
      if (this.#workers.size === 0) this.#break('no worker could be started', error)
      return false
    }
    this.#workers.add(worker)
    this.#live += 1
    events.workerStart({ pool: this.#settings.name, pid: worker.pid })
    if (this.#attention !== null) this.#attendTo(worker)
    this.#watch()
    return true
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
    for (const worker of this.#workers) this.#attendTo(worker)
  }

  #attendTo(worker: Hired): void {
    const attention = this.#attention!
    worker.attend(attention.signal, () => { if (!attention.signal.aborted) this.#ended(worker) })
  }

  /** News of a worker have come. */
  news(news: News): void {
    switch (news.what) {
      case 'ready':
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
  }

  #ended(worker: Hired): void {
    if (!this.#workers.delete(worker)) return
    const { exitCode, pid } = worker
    events.workerEnd({ pool: this.#settings.name, pid, exitCode })
    this.#patron.workerEnded()
    this.#count()
    if (!worker.isRetiring && !this.#isEnding) {
      this.#losses = worker.number >= 0 && this.#board.losses <= 1 ? 1 : this.#losses + 1
      if (this.#losses >= this.#settings.maxRestarts) {
        const last: WorkerLostError = lostError(pid, exitCode, 1)
        this.#break(`${this.#losses} workers in a row ended without finishing a task`, last)
        return
      }
    }
    if (this.#isEnding) {
      if (this.#workers.size === 0) this.#patron.empty()
      return
    }
    this.want(this.#patron.pending)
    this.consider()
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
    for (const worker of this.#workers) if (worker.number === number) worker.kill()
  }

  /** No worker is started any more. Those that there are get all that is queued, and end. */
  end(): void {
    this.#isEnding = true
    for (const worker of this.#workers) worker.isRetiring = true
    this.#unwatch()
    if (this.#workers.size === 0) this.#patron.empty()
  }

  /** Ends all workers at once. */
  killAll(): void {
    this.#isEnding = true
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
      worker.isRetiring = true
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
