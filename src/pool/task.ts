/**
 * What a task can ask about itself.
 */

import type { AsyncLocalStorage } from 'node:async_hooks'
import { CancelledError } from '../errors.js'

/** Inside a task: what it is, and the signal that asks it to stop. */
export interface CurrentTask {
  /** Its number: no other task of the pool under way has it. */
  readonly id: number
  /** 1 for the first time that it is run. */
  readonly attempt: number
  /** Aborted when somebody cancels the task or its time is over. It has `killAfter` ms from then on. */
  readonly signal: AbortSignal
  /** What `context` of its options was. */
  readonly context: unknown
}

/** Who is told when a task asks for its signal: from then on somebody has to look whether it is to stop. */
type Watch = (run: Run) => void

/** A task that is being run. Used again for the next one unless somebody has looked at it. */
export class Run implements CurrentTask {
  id = 0
  lane = 0
  attempt = 1
  depth = 0
  context: unknown = undefined
  /** Somebody has it. */
  isShown = false
  /** Tasks of the same pool that it has submitted and that are under way. */
  subtasks = 0
  readonly #watch: Watch
  #abort: AbortController | null = null

  constructor(watch: Watch) {
    this.#watch = watch
  }

  get signal(): AbortSignal {
    if (this.#abort === null) {
      this.#abort = new AbortController()
      this.#watch(this)
    }
    return this.#abort.signal
  }

  /** Its signal, if it has asked for it. */
  stop(): void {
    this.#abort?.abort(new CancelledError('the task was asked to stop'))
  }
}

let current: Run | null = null
let several: AsyncLocalStorage<Run> | null = null

/** Says what this thread runs from here on. */
export function setCurrent(run: Run | null): void {
  current = run
}

/** Runs a function as part of a task where others are under way at the same time. Costs every await of the thread something. */
export function runAs<R>(run: Run, fn: () => R): R {
  several ??= new (process.getBuiltinModule('node:async_hooks').AsyncLocalStorage)()
  return several.run(run, fn)
}

/** What this thread runs, for the submission of a subtask. */
export function currentRun(): Run | null {
  return several === null ? current : several.getStore() ?? current
}

/**
 * Inside a task of a pool: what it is, and the signal that asks it to stop; null anywhere else.
 *
 * @example
 * ```ts
 * await pool.apply(async () => {
 *   const { signal } = currentTask()!
 *   await fetch(url, { signal })
 * }, [], { timeout: 5000 })
 * ```
 */
export function currentTask(): CurrentTask | null {
  const run = currentRun()
  if (run !== null) run.isShown = true
  return run
}
