/**
 * A worker as its supervisor sees it: a process, or a thread of this process.
 */

import { join } from 'node:path'
import type { Worker as Thread } from 'node:worker_threads'
import { Process } from '../process.js'
import { native } from '../native.js'
import type { Keeper, KeptWorker } from './keeper.js'
import type { Settings } from './options.js'

/** What a worker is started with. */
export const WORKER_PROGRAM = 'polyproc:worker'

/** See the module. */
export abstract class Hired {
  /** Its number on the board, -1 before it is ready. */
  number = -1
  /** It is to end, or has said that it will. */
  isRetiring = false
  /** It was ended for what it did. */
  isKilled = false
  /** What it said when it was seen idle, and since when it says so. */
  idleState = -1
  idleSince = 0

  abstract readonly pid: number
  /** NaN while it is not known. */
  abstract readonly exitCode: number
  /** Whether a worker that calls itself so is this one. */
  abstract matches(pid: number, serial: number): boolean
  /** Tells of its end, until the signal is aborted: meanwhile this process does not end by itself. */
  abstract attend(signal: AbortSignal, listener: () => void): void
  abstract hasEnded(): boolean
  /** It is to end, and not to be replaced. */
  expect(): void {
    this.isRetiring = true
  }
  abstract kill(): void
  abstract killAfter(ms: number): void
  /** What to wait for, for who blocks until it ends; 0 when there is nothing. */
  abstract readonly key: number
}

/** Where a supervisor gets workers from. */
export interface Agency {
  /** Losses are counted, and workers replaced, without the supervisor. */
  readonly isNative: boolean
  /** Starts a worker; null when there are as many as there may be. @throws When it cannot be started. */
  hire(serial: number): Hired | null
  /** Workers that have been started without having been asked for here. */
  arrivals(): Hired[]
  /** Starts no more. */
  close(): void
}

/** A worker process. */
export class HiredProcess extends Hired {
  readonly #process: Process
  readonly #keeper: Keeper
  readonly pid: number
  readonly key: number

  /** `end` is called when the program has nothing left to do. */
  constructor(keeper: Keeper, { key, pid, serial }: KeptWorker, name: string, end: () => void) {
    super()
    const child = Process.adopt(`${name}${serial}`, key, pid)
    // Not a field of the object that would be sent: the pool ends its workers in its own way.
    Object.defineProperty(child, 'retire', { value: end })
    this.#process = child
    this.#keeper = keeper
    this.pid = pid
    this.key = key
  }

  get exitCode(): number {
    return this.#process.exitCode ?? NaN
  }

  matches(pid: number): boolean {
    return pid === this.pid
  }

  attend(signal: AbortSignal, listener: () => void): void {
    this.#process.join({ signal }).then(listener, () => undefined)
  }

  hasEnded(): boolean {
    return this.#process.exitCode !== null
  }

  override expect(): void {
    super.expect()
    this.#keeper.expect(this.key)
  }

  kill(): void {
    if (!this.hasEnded() && !this.#keeper.kill(this.key)) this.#process.kill()
  }

  killAfter(ms: number): void {
    if (!this.hasEnded()) native.processKillAfter(this.key, ms)
  }
}

/** Worker processes, kept natively. */
export class ProcessAgency implements Agency {
  readonly isNative = true
  readonly #open: () => Keeper
  readonly #name: string
  readonly #end: () => void
  #keeper: Keeper | null = null
  /** Processes that have been told of. */
  #known = new Set<number>()

  /** `open` is called when the first worker is needed; `end` when the program has nothing left to do. */
  constructor(name: string, open: () => Keeper, end: () => void) {
    this.#name = name
    this.#open = open
    this.#end = end
  }

  hire(): Hired | null {
    this.#keeper ??= this.#open()
    const kept = this.#keeper.start()
    return kept === null ? null : this.#take(this.#keeper, kept)
  }

  arrivals(): Hired[] {
    const keeper = this.#keeper
    if (keeper === null) return []
    const all = keeper.workers()
    const arrived = all.filter(({ key }) => !this.#known.has(key)).map(kept => this.#take(keeper, kept))
    // What is not kept any more is never told of again.
    if (this.#known.size > all.length) this.#known = new Set(all.map(({ key }) => key))
    return arrived
  }

  #take(keeper: Keeper, kept: KeptWorker): Hired {
    this.#known.add(kept.key)
    return new HiredProcess(keeper, kept, this.#name, this.#end)
  }

  close(): void {
    this.#keeper?.close()
  }
}

/** Worker threads. */
export class ThreadAgency implements Agency {
  readonly isNative = false
  readonly #hire: (serial: number) => Hired

  constructor(hire: (serial: number) => Hired) {
    this.#hire = hire
  }

  hire(serial: number): Hired {
    return this.#hire(serial)
  }

  arrivals(): Hired[] {
    return []
  }

  close(): void { /* Nothing is started but by the supervisor. */ }
}

/** A worker thread. */
export class HiredThread extends Hired {
  readonly #thread: Thread
  readonly #serial: number
  readonly pid = process.pid
  readonly key = 0
  readonly #listeners = new Set<() => void>()
  #exitCode = NaN

  constructor(settings: Settings, boot: number, serial: number, name: string) {
    super()
    this.#serial = serial
    // Loaded here: no process that has no worker threads needs it.
    const { Worker } = process.getBuiltinModule('node:worker_threads')
    this.#thread = new Worker(join(import.meta.dirname, 'entry/thread.cjs'), {
      name, workerData: { polyproc: { boot, serial } }, stdin: false, trackUnmanagedFds: false,
      ...(settings.env === undefined ? {} : { env: settings.env }), ...(settings.execArgv === undefined ? {} : { execArgv: [...settings.execArgv] }),
      ...(settings.stdio === 'ignore' ? { stdout: true, stderr: true } : {}),
    })
    // What nothing catches there ends the thread; the supervisor sees that.
    this.#thread.on('error', () => undefined)
    this.#thread.on('exit', code => {
      this.#exitCode = code
      for (const listener of this.#listeners) listener()
    })
    this.#thread.unref()
  }

  get exitCode(): number {
    return this.#exitCode
  }

  matches(_pid: number, serial: number): boolean {
    return serial === this.#serial
  }

  attend(signal: AbortSignal, listener: () => void): void {
    if (this.hasEnded()) {
      queueMicrotask(listener)
      return
    }
    this.#thread.ref()
    this.#listeners.add(listener)
    signal.addEventListener('abort', () => {
      this.#listeners.delete(listener)
      this.#thread.unref()
    }, { once: true })
  }

  hasEnded(): boolean {
    return !Number.isNaN(this.#exitCode)
  }

  kill(): void {
    void this.#thread.terminate()
  }

  killAfter(ms: number): void {
    setTimeout(() => { this.kill() }, ms).unref()
  }
}
