/**
 * A pool as this thread knows it: its board and queues, the desk where this thread submits, and, in the thread that made it, the
 * supervisor of its workers. The object that a program holds is a thin thing around it, so that one that is dropped can be
 * noticed while work goes on.
 */

import { encode, type Message } from '../codec/index.js'
import { BrokenPoolError, CancelledError, ClosedError, DeadlockError, Full, StateError, TimeoutError } from '../errors.js'
import { handleOf, type Handle } from '../handles.js'
import { surrender } from '../memory.js'
import { putInto } from '../message.js'
import { call, native } from '../native.js'
import { extensionsOf } from '../shipping.js'
import { sleepSync, What } from '../waiting.js'
import { Board } from './board.js'
import { Desk, type DeskListener } from './desk.js'
import { events } from './events.js'
import { forgetFunctions, type Sent } from './functions.js'
import { HiredThread, ProcessAgency, ThreadAgency, WORKER_PROGRAM, type Hired } from './hired.js'
import { Stopping, type Job } from './job.js'
import { Keeper } from './keeper.js'
import { PRIORITIES, type Settings, type TaskSettings } from './options.js'
import { pack, type Parcel } from './parcel.js'
import { sendLetter, Supervisor, type Patron } from './supervisor.js'
import { currentRun, type Run } from './task.js'
import { Flag, Status, Words, type Work, writeOutcomeTail } from './wire.js'
import { State, TURNS, type News, type Worker, type WorkerSettings } from './worker.js'

/** What travels with a pool. */
export type Shared = Pick<Settings, 'name' | 'kind' | 'processes' | 'killAfter' | 'maxQueue' | 'concurrency'>

/** What a worker is started with. */
export interface WorkerBoot {
  readonly board: Board
  readonly settings: WorkerSettings
  readonly initializer: Settings['initializer']
  readonly initArgs: readonly unknown[]
}

const QUEUE = 1
/** Tasks that wait for tasks of their own pool, one in the other. */
const DEEPEST = 64
/** Workers that are told to end have so long, in ms. */
const GRACE = 1000

/** Pools of this thread. */
let pools = 0

/** Submissions that go on for a while: maps. */
export interface Call {
  fail(error: unknown): void
  /** The scope of the pool is left: what goes on only when somebody takes more is over. */
  leave(): void
}

/** See the module. */
export class Core implements Patron, DeskListener {
  readonly board: Board
  readonly shared: Shared
  readonly desk: Desk
  readonly supervisor: Supervisor | null
  /** Where the supervisor is told things. */
  readonly #owner: number
  readonly #ready: readonly number[]
  /** Shared by all: see {@link Words}. */
  readonly levels: Int32Array<ArrayBuffer>
  readonly #levelsPiece: number
  readonly #calls = new Set<Call>()
  /** The worker that this thread is, if it is one of this pool. */
  worker: Worker | null = null
  counts = { done: 0, failed: 0, lost: 0 }
  #state: 'open' | 'closing' | 'ended' = 'open'
  #broken: (() => BrokenPoolError) | null = null
  #isResting = true
  #isToldWanted = false
  readonly #over: Promise<void>
  #finish!: () => void
  #isOver = false
  #boot: Parcel | null = null

  /** Makes a pool, or takes part in the one of a handle. */
  constructor(from: Settings | Handle) {
    this.#over = new Promise(resolve => { this.#finish = resolve })
    pools += 1
    if (Array.isArray(from)) {
      this.board = new Board(from as unknown as Handle)
      const handles = this.board.handles()
      const levels = handles.pop()!
      const piece = call(() => native.memoryOpen(levels[0], levels[1]))
      this.levels = new Int32Array(piece.buffer)
      this.#levelsPiece = piece.handle[2]!
      const queues = handles.map(([index, generation]) => call(() => native.queueOpen(index, generation)))
      this.#owner = queues.pop()!
      this.#ready = queues
      this.shared = JSON.parse(this.board.note().toString()) as Shared
      this.supervisor = null
      this.desk = new Desk(this.board, this.#ready, call(() => native.queueCreate(QUEUE, 0, 0, null)), this.levels, this, this.shared.kind === 'process')
      return
    }
    const settings = from as Settings
    const { name, kind, processes, killAfter, maxQueue, concurrency } = settings
    this.shared = { name, kind, processes, killAfter, maxQueue, concurrency }
    this.#ready = PRIORITIES.map(() => call(() => native.joinableCreate(0, 0, true, 0, [], null)))
    this.#owner = call(() => native.queueCreate(QUEUE, 0, 0, null))
    const { buffer, handle } = call(() => native.memoryAllocate(8))
    this.levels = new Int32Array(buffer)
    this.#levelsPiece = handle[2]!
    const handles = [...[...this.#ready, this.#owner].map(id => native.queueHandle(id) as unknown as Handle), handle as unknown as Handle]
    this.board = new Board({ handles, note: Buffer.from(JSON.stringify(this.shared)) })
    this.desk = new Desk(this.board, this.#ready, this.#owner, this.levels, this, kind === 'process')
    const agency = kind === 'process'
      ? new ProcessAgency(`${name}-`, () => this.#keep(settings), () => { this.#leave() })
      : new ThreadAgency(serial => this.#hireThread(settings, serial))
    this.supervisor = new Supervisor(this.board, settings, this, agency)
  }

  get handle(): Handle {
    if (this.#isOver) throw new ClosedError('the pool is closed')
    return this.board[handleOf]()
  }

  get queues(): readonly number[] {
    return this.#ready
  }

  get owner(): number {
    return this.#owner
  }

  // ── submitting ──

  /** @throws {@link ClosedError}, {@link BrokenPoolError} when nothing can be submitted any more. */
  check(): void {
    if (this.#broken !== null) throw this.#broken()
    // A task may need subtasks to come to its end.
    if (this.#state === 'open' || this.#state === 'closing' && this.worker !== null) return
    throw new ClosedError(`the pool ${this.shared.name} is closed`)
  }

  /** @throws {@link Full} when too many tasks wait. */
  checkRoom(): void {
    const { maxQueue, name } = this.shared
    // Infinity is null where it has travelled.
    if (Number.isFinite(maxQueue) && maxQueue > 0 && this.backlog >= maxQueue) throw new Full(`${this.backlog} tasks wait in the pool ${name}, which is its maxQueue`)
  }

  /**
   * Sends a task with a value that is encoded here.
   *
   * @param fn Where the function is; null for one that travels with the value.
   * @throws {@link SerializationError} for what cannot be sent, and as {@link Desk.submit}.
   */
  send(job: Job, fn: Sent, work: Work, value: unknown, root: string, task: TaskSettings, flags = 0, prepare?: (message: Message) => void): void {
    const run = this.worker === null ? null : currentRun()
    const depth = run === null ? 0 : run.depth + 1
    if (depth > DEEPEST) throw new DeadlockError(`tasks of the pool ${this.shared.name} wait for tasks of the same pool, ${DEEPEST} one in the other`)
    let key = 0
    let shape = flags
    if (fn.parcel === null) {
      value = { fn: fn.fn, args: value }
      root = ''
      shape |= Flag.Inline
    } else {
      key = fn.parcel.key
      job.keep = fn.parcel
    }
    if (task.context !== undefined) {
      value = { context: task.context, value }
      root = ''
      shape |= Flag.Context
    }
    if (events.wantsStart) shape |= Flag.Announced
    job.attempts = task.attempts
    // What a task waits for goes before what nobody's task waits for yet.
    job.level = depth > 0 && task.level === 0 ? 1 : task.level
    // Before the task is there: who takes looks at this first.
    if (job.level !== 0) Atomics.or(this.levels, Words.Used, 1 << job.level)
    // A bare value needs none of what objects do.
    const message = encode(value, typeof value === 'object' || typeof value === 'function' ? extensionsOf() : undefined, root)
    const { pieces } = message
    prepare?.(message)
    this.desk.submit(job, message, key, work, shape, depth)
    if (pieces.length > 0) surrender(pieces)
    if (run !== null) this.#wait(job, run)
    if (this.supervisor !== null) this.supervisor.want(this.desk.pending)
    else this.#tellWanted()
  }

  /** The task that submits waits for this one, until it is over. */
  #wait(job: Job, run: Run): void {
    const worker = this.worker!
    worker.wait(run, true)
    const before = job.unlisten
    job.unlisten = () => {
      before?.()
      worker.wait(run, false)
    }
  }

  #tellWanted(): void {
    if (this.shared.kind === 'process') {
      this.board.want()
      return
    }
    if (this.#isToldWanted) return
    this.#isToldWanted = true
    setImmediate(() => { this.#isToldWanted = false })
    this.tell({ what: 'wanted' })
  }

  /** Tells the supervisor. */
  tell(news: News): void {
    const message = encode(news)
    try {
      writeOutcomeTail(message, 0, 0, 0, Status.News, 0)
      call(() => putInto(this.#owner, message))
    } finally {
      message.release()
    }
  }

  /** An error as it can be sent. */
  sendable(error: unknown): unknown {
    try {
      encode(error, extensionsOf()).release()
      return error
    } catch {
      return error instanceof Error ? Object.assign(new Error(error.message), { stack: error.stack }) : new Error(String(error))
    }
  }

  /** Ends a task at its deadline, and when its signal is aborted. */
  guard(job: Job, task: TaskSettings): void {
    const { timeout, signal } = task
    if (timeout !== Infinity) {
      const late = (): void => { this.stop(job, new TimeoutError(`the task did not end within ${timeout} ms`)) }
      job.deadline = performance.now() + timeout
      job.expire = late
      job.timer = setTimeout(late, Math.min(Math.max(0, timeout), 2 ** 31 - 1))
      // Should this event loop stand still then, the worker is ended all the same.
      if (this.shared.kind === 'process' && job.ticket !== 0) this.board.limit(this.desk.lane, job.ticket, Math.min(Math.max(0, Math.ceil(timeout)), 2 ** 32 - 1))
    }
    if (signal === undefined) return
    const onAbort = (): void => { this.stop(job, signal.reason) }
    signal.addEventListener('abort', onAbort, { once: true })
    const before = job.unlisten
    job.unlisten = () => {
      before?.()
      signal.removeEventListener('abort', onAbort)
    }
  }

  /** Stops a task, queued or running; false when it was over. */
  stop(job: Job, reason: unknown): boolean {
    if (!this.#drop(job)) return false
    job.fail(reason)
    return true
  }

  /** The task is no longer waited for. */
  #drop(job: Job): boolean {
    const instead = new Stopping()
    const worker = this.desk.stop(job, instead)
    if (worker === -2) return false
    job.over()
    if (worker < 0) return true
    const { ticket } = job
    const { lane } = this.desk
    sendLetter(this.board, worker, { look: true })
    // The keeper of processes ends the worker by itself.
    if (this.shared.kind === 'process') return true
    instead.timer = setTimeout(() => {
      if (!this.desk.has(instead) || this.board.runnerOf(lane, ticket) !== worker) return
      if (this.supervisor !== null) this.supervisor.kill(worker)
      else this.tell({ what: 'kill', worker, lane, ticket })
    }, this.shared.killAfter)
    return true
  }

  /** A call that submits now and then begins, or ends. */
  begin(of: Call): void {
    this.#calls.add(of)
  }

  end(of: Call): void {
    this.#calls.delete(of)
    this.#restLater()
  }

  // ── what comes in ──

  busy(isBusy: boolean): void {
    if (isBusy) {
      if (!this.#isResting) return
      this.#isResting = false
      this.supervisor?.look()
      this.supervisor?.attend(true)
    } else this.#restLater()
  }

  /** Nothing is under way: if that is still so after this turn, nothing is waited for any more. */
  #restLater(): void {
    setImmediate(() => {
      if (this.#isOver || this.desk.pending > 0 || this.#calls.size > 0 || this.#isResting && this.#state === 'open') return
      this.#isResting = true
      if (this.#state === 'open') this.supervisor?.attend(false)
      else this.#endWorkers()
    })
  }

  refusal(): Error {
    const { name } = this.shared
    if (this.#broken !== null) return this.#broken()
    // Its workers were given up a moment ago, which this thread has not been told yet.
    return this.board.isBroken ? new BrokenPoolError(`the pool ${name} cannot work any more`) : new ClosedError(`the pool ${name} has ended`)
  }

  submitted(job: Job): void {
    if (events.wantsSubmit) events.submit({ id: job.ticket, pool: this.shared.name })
  }

  news(value: unknown): void {
    this.supervisor?.news(value as News)
  }

  begun(job: Job, tail: { slot: number, began: number }): void {
    events.start({ id: job.ticket, pool: this.shared.name, pid: this.board.pidOf(tail.slot) })
  }

  ended(job: Job, status: Status, tail: { slot: number, began: number, run: number }, error?: unknown): void {
    if (status === Status.Lost) {
      this.counts.lost += 1
      events.lost({ id: job.ticket, pool: this.shared.name, error })
      return
    }
    this.supervisor?.finished()
    if (status === Status.Done) this.counts.done += 1
    else this.counts.failed += 1
    if (events.wantsEnd) {
      events.end({
        id: job.ticket, pool: this.shared.name, pid: this.board.pidOf(tail.slot), waitTime: tail.began - job.submitted, runTime: tail.run, failed: status !== Status.Done,
      })
    }
  }

  // ── workers ──

  get pending(): number {
    return this.desk.pending
  }

  /** Tasks that wait, without what announces them. */
  get backlog(): number {
    let sum = -(this.levels[Words.Announcements] ?? 0)
    for (const queue of this.#ready) sum += native.queueSize(queue)
    return Math.max(sum, 0)
  }

  #bootOf({ maxTasksPerChild, maxMemoryPerChild, concurrency, initializer, initArgs }: Settings): WorkerBoot {
    return { board: this.board, settings: { maxTasksPerChild, maxMemoryPerChild, concurrency }, initializer, initArgs }
  }

  #keep(settings: Settings): Keeper {
    const { name, processes, maxRestarts, killAfter, env, cwd, execArgv, stdio } = settings
    return new Keeper(this.board, {
      processes, maxRestarts, killAfter, letter: { look: true },
      ready: this.#ready.map(id => native.queueHandle(id) as unknown as Handle),
    }, { env, cwd, execArgv, stdio: stdio === 'ignore' ? stdio : ['ignore', stdio, stdio] }, `${name}-`, { target: { module: WORKER_PROGRAM }, args: [this.#bootOf(settings)] })
  }

  #hireThread(settings: Settings, serial: number): Hired {
    if (this.#boot === null) {
      const message = encode(this.#bootOf(settings), extensionsOf())
      try {
        this.#boot = pack(message)
      } finally {
        message.release()
      }
    }
    return new HiredThread(settings, this.#boot.key, serial, `${settings.name}-${serial}`)
  }

  workerEnded(): void {
    this.desk.findLost()
  }

  broken(error: () => BrokenPoolError): void {
    this.#broken = error
    for (const open of this.#calls) open.fail(error())
    this.desk.failAll(error)
  }

  empty(): void {
    if (this.#state !== 'open') this.release()
  }

  /** Workers and their work, as they are now. */
  workerStates(): { workers: number, busy: number } {
    this.supervisor?.look()
    const states = this.board.workers().map(({ state }) => state % TURNS)
    return { workers: this.supervisor?.workers.size ?? states.length, busy: states.filter(state => state === State.Busy || state === State.Waiting).length }
  }

  // ── the end ──

  /** No more work. `isLeft`: nobody is in the pool's scope any more. */
  close(cancelQueued: boolean, isLeft = false): void {
    if (this.supervisor === null) throw new StateError('a pool is closed where it was made')
    if (this.#state === 'open') this.#state = 'closing'
    if (cancelQueued) {
      const reason = (): CancelledError => new CancelledError(`the pool ${this.shared.name} was closed before the task began`)
      for (const job of this.desk.jobs()) if (this.desk.isQueued(job)) this.stop(job, reason())
    }
    if (isLeft) for (const open of this.#calls) open.leave()
    this.supervisor.look()
    this.supervisor.attend(true)
    this.#isResting = false
    this.#restLater()
  }

  /** Everything submitted is done: the workers end once they have taken what is left. */
  #endWorkers(): void {
    if (this.#state === 'ended') return
    this.#state = 'ended'
    this.#shutDown()
    this.supervisor!.end()
    this.supervisor!.killAfter(GRACE)
  }

  #shutDown(): void {
    for (const queue of [...this.#ready].reverse()) call(() => { native.queueShutDown(queue) })
  }

  /** The program has nothing left to do: idle workers end, as if the pool had been closed. */
  #leave(): void {
    if (this.#state === 'open') this.#state = 'closing'
    this.supervisor!.attend(true)
    this.#endWorkers()
  }

  /** Stops now. */
  terminate(): void {
    if (this.supervisor === null) throw new StateError('a pool is terminated where it was made')
    if (this.#isOver) return
    this.#state = 'ended'
    const error = (): CancelledError => new CancelledError(`the pool ${this.shared.name} was terminated`)
    for (const open of this.#calls) open.fail(error())
    this.desk.failAll(error)
    this.supervisor.attend(true)
    this.supervisor.killAll()
  }

  /** Resolves once all workers have ended. */
  get over(): Promise<void> {
    return this.#over
  }

  get isOver(): boolean {
    return this.#isOver
  }

  get isOpen(): boolean {
    return this.#state === 'open'
  }

  /** Lets go of everything in this thread. */
  release(): void {
    if (this.#isOver) return
    this.#isOver = true
    // Its queues' numbers may be another pool's from here on.
    this.#state = 'ended'
    this.supervisor?.attend(false)
    this.desk.close()
    for (const queue of this.#ready) call(() => { native.queueClose(queue) })
    this.board.close()
    // Now, and not when this is collected.
    call(() => { native.memoryRelease(this.levels.buffer, this.#levelsPiece) })
    this.#boot = null
    pools -= 1
    if (pools === 0) forgetFunctions()
    this.#finish()
  }

  /** The object that a program had of the pool is gone. */
  abandon(): void {
    if (this.supervisor !== null) this.close(false)
  }

  // ── blocking ──

  /** Blocks until the condition holds; false after `timeout` ms. @throws {@link InterruptedError}. */
  block(isDone: () => boolean, timeout: number): boolean {
    const end = performance.now() + timeout
    const run = this.worker === null ? null : currentRun()
    if (run !== null) this.worker!.wait(run, true)
    try {
      for (;;) {
        this.desk.drain(Infinity)
        this.supervisor?.look()
        const isTold = this.desk.tellLost()
        if (isDone()) return true
        const left = timeout === Infinity ? Infinity : end - performance.now()
        if (left <= 0) return false
        const keys = this.supervisor === null ? [] : [...this.supervisor.workers].map(worker => worker.key).filter(key => key !== 0)
        // A thread that ends, and an exit code that comes late, wake nobody.
        const most = !isTold ? 2 : this.shared.kind === 'thread' ? 50 : Infinity
        sleepSync([What.Getter, ...keys.map(() => What.End)], [this.desk.results, ...keys], Math.min(left, most))
      }
    } finally {
      if (run !== null) this.worker!.wait(run, false)
    }
  }

  /** Ends the pool while nothing else runs; false after `timeout` ms. */
  joinSync(timeout: number): boolean {
    return this.block(() => {
      if (this.#state === 'closing' && this.desk.pending === 0 && this.#calls.size === 0) this.#endWorkers()
      return this.#isOver
    }, timeout)
  }
}
