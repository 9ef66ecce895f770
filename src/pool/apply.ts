/**
 * Single tasks: what waits for one, as a promise, as an AsyncResult, or blocking.
 */

import type { WorkerLostError } from '../errors.js'
import { Job } from './job.js'
import { Status } from './wire.js'

/** Settles a promise. */
export class ApplyJob extends Job {
  readonly #resolve: (value: unknown) => void
  readonly #reject: (error: unknown) => void

  constructor(resolve: (value: unknown) => void, reject: (error: unknown) => void) {
    super()
    this.#resolve = resolve
    this.#reject = reject
  }

  outcome(status: Status, value: unknown): void {
    if (status === Status.Done) this.#resolve(value)
    else this.#reject(value)
  }

  lost(error: WorkerLostError): void {
    this.#reject(error)
  }

  fail(error: unknown): void {
    this.#reject(error)
  }
}

/** Keeps the outcome for who blocks until it comes. */
export class SyncJob extends Job {
  #result: { readonly value: unknown } | { readonly error: unknown } | null = null

  get isOver(): boolean {
    return this.#result !== null
  }

  /** The result. @throws What the task threw. */
  take(): unknown {
    const result = this.#result!
    if ('error' in result) throw result.error
    return result.value
  }

  outcome(status: Status, value: unknown): void {
    this.#result = status === Status.Done ? { value } : { error: value }
  }

  lost(error: WorkerLostError): void {
    this.#result = { error }
  }

  fail(error: unknown): void {
    this.#result = { error }
  }
}
