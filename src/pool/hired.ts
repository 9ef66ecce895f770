/**
 * A worker as its supervisor sees it: a process, or a thread of this process.
 */

import { join } from 'node:path'
import type { Worker as Thread } from 'node:worker_threads'
import { Process } from '../process.js'
import { native } from '../native.js'
import { readiness } from '../waiting.js'
import type { Settings } from './options.js'

/** What a worker is started with. */
export const WORKER_PROGRAM = 'polyproc:worker'

/** See the module. */
export abstract class Hired {
  /** Its number on the board, -1 before it is ready. */
  number = -1
  /** It is to end, or has said that it will. */
  isRetiring = false
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
  abstract kill(): void
  abstract killAfter(ms: number): void
  /** What to wait for, for who blocks until it ends; 0 when there is nothing. */
  abstract readonly key: number
}

/** A worker process. */
export class HiredProcess extends Hired {
  readonly #process: Process
  readonly pid: number
  readonly key: number

  /** @throws As `Process.start`. `end` is called when the program has nothing left to do. */
  constructor(settings: Settings, boot: unknown, name: string, end: () => void) {
    super()
    const { env, cwd, execArgv, stdio } = settings
    const child = new Process({ target: { module: WORKER_PROGRAM }, args: [boot], name, daemon: true, env, cwd, execArgv, stdio: stdio === 'ignore' ? stdio : ['ignore', stdio, stdio] })
    child.start()
    // Not a field of the object that would be sent: the pool ends its workers in its own way.
    Object.defineProperty(child, 'retire', { value: end })
    this.#process = child
    this.pid = child.pid!
    this.key = child[readiness]().id
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

  kill(): void {
    if (!this.hasEnded()) this.#process.kill()
  }

  killAfter(ms: number): void {
    if (!this.hasEnded()) native.processKillAfter(this.key, ms)
  }
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
