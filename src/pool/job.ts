/**
 * What a submitter keeps of a task under way.
 */

import type { WorkerLostError } from '../errors.js'
import type { OutcomeTail, Status } from './wire.js'

/** A task under way, as the desk sees it. */
export abstract class Job {
  /** Names it on the board; 0 before it was put there. */
  ticket = 0
  /** When it was submitted, in ms of the machine's clock. */
  submitted = 0
  /** What must stay in shared memory while it is under way: its function. */
  keep: unknown = null
  /** The queue that it went into, and how often it may be begun. */
  level = 0
  attempts = 1

  /** When it is to be over, in ms of the process's clock, and what ends it then. */
  deadline = Infinity
  expire: (() => void) | null = null

  /** Ends its wait for a deadline and for a signal. */
  timer: NodeJS.Timeout | null = null
  unlisten: (() => void) | null = null

  /** Its outcome has come: the result, an error, or of items what {@link Status} says. */
  abstract outcome(status: Status, value: unknown, tail: OutcomeTail): void
  /** It ran in a worker that ended, and may not run again. */
  abstract lost(error: WorkerLostError): void
  /** There will be no outcome: the pool has ended, or what came cannot be read. */
  abstract fail(error: unknown): void

  /** It is no longer under way: whatever else could end it is called off. */
  over(): void {
    if (this.timer !== null) clearTimeout(this.timer)
    this.unlisten?.()
    this.timer = this.unlisten = null
  }
}

/** In the place of a task that nobody waits for any more, until its worker is done with it. */
export class Stopping extends Job {
  outcome(): void { /* Too late. */ }
  lost(): void { /* As it was to be. */ }
  fail(): void { /* As above. */ }
}
