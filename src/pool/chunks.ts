/**
 * A call that runs a function on many items: reads them, sends them in chunks, has those run again that were lost with a worker,
 * and tells what became of each item. What is done with that is for {@link ChunksListener}: a map collects, an imap hands on.
 */

import type { Message } from '../codec/index.js'
import { WorkerLostError } from '../errors.js'
import { encodeNumbers } from './numbers.js'
import type { ChunkOutcome } from './chunk.js'
import type { Core } from './core.js'
import type { Sent } from './functions.js'
import { Job } from './job.js'
import type { TaskSettings } from './options.js'
import { Planner } from './planner.js'
import { InputError, type Source } from './source.js'
import type { TypedMap } from './typed.js'
import { Flag, Status, Work, writeNoteTail, type OutcomeTail } from './wire.js'

/** What becomes of the items. */
export interface ChunksListener {
  /** Results of consecutive items. */
  results(at: number, values: ArrayLike<unknown>): void
  /** An item has failed. */
  failed(at: number, error: unknown): void
  /** The input has failed. */
  inputFailed(error: unknown): void
  /** How many more items may be read now. */
  room(): number
  /** Something has changed: a chunk is over, the input has ended. */
  changed(): void
}

/** How a call runs. */
export interface ChunksOptions {
  readonly fn: Sent
  readonly source: Source
  readonly typed: TypedMap | null
  readonly areLists: boolean
  readonly isSettled: boolean
  readonly chunkSize: number | undefined
  readonly task: TaskSettings
  /** How far the input is read is for {@link ChunksListener.room} alone. */
  readonly readsByRoom: boolean
  /** Whether each chunk has the deadline, or the whole call. */
  readonly eachHasDeadline: boolean
}

/** See the module. */
export class Chunks {
  readonly #core: Core
  readonly #options: ChunksOptions
  readonly #listener: ChunksListener
  readonly #planner: Planner
  readonly #jobs = new Set<ChunkJob>()
  /** Lost, to be sent again. */
  #again: ChunkJob[] = []
  #read = 0
  #isReading = false
  #isEnded = false
  #isStopped = false

  constructor(core: Core, options: ChunksOptions, listener: ChunksListener) {
    this.#core = core
    this.#options = options
    this.#listener = listener
    this.#planner = new Planner(options.chunkSize, core.shared.processes)
  }

  /** Items read so far. */
  get count(): number {
    return this.#read
  }

  /** How many there are in all, as far as that is known. */
  get total(): number | undefined {
    return this.#options.source.length
  }

  /** Nothing is under way, and nothing more will be. */
  get isOver(): boolean {
    return this.#jobs.size === 0 && (this.#isEnded || this.#isStopped) && this.#again.length === 0 && !this.#isReading
  }

  /** Nothing is under way for now. */
  get isIdle(): boolean {
    return this.#jobs.size === 0 && !this.#isReading
  }

  /** Items of the next chunk. */
  get chunkSize(): number {
    return this.#planner.next(undefined)
  }

  /** Sends what may be sent. @throws {@link SerializationError} for an item that cannot be sent. */
  fill(): void {
    while (!this.#isStopped && (this.#options.readsByRoom || this.#jobs.size < this.#planner.window)) {
      const again = this.#again.pop()
      if (again !== undefined) {
        this.#send(again)
        continue
      }
      if (this.#isReading || this.#isEnded || !this.#readOn()) return
    }
  }

  /** Reads a chunk and sends it; false when that has to wait. */
  #readOn(): boolean {
    const { source, typed } = this.#options
    const room = this.#listener.room()
    if (room <= 0) return false
    const { length } = source
    const size = Math.min(room, this.#planner.next(length === undefined ? undefined : length - this.#read))
    if (typed !== null) return this.#took(null, Math.min(size, length! - this.#read))
    let items: ArrayLike<unknown> | Promise<unknown[]>
    try {
      items = source.take(size)
    } catch (error) {
      this.#failInput(error)
      return false
    }
    if (items instanceof Promise) {
      this.#isReading = true
      items.then(part => {
        this.#isReading = false
        if (!this.#isStopped) this.#took(part, part.length)
        this.fill()
        this.#listener.changed()
      }, (error: unknown) => {
        this.#isReading = false
        this.#failInput(error)
        this.#listener.changed()
      }).catch((error: unknown) => { this.#listener.inputFailed(error) })
      return false
    }
    return this.#took(items, items.length)
  }

  #took(items: ArrayLike<unknown> | null, length: number): boolean {
    if (length === 0) {
      this.#isEnded = true
      this.#listener.changed()
      return false
    }
    const job = new ChunkJob(this, this.#read, length, items)
    this.#read += length
    if (this.#options.source.length === this.#read) this.#isEnded = true
    this.#send(job)
    return true
  }

  #failInput(error: unknown): void {
    this.#isEnded = true
    if (error instanceof InputError) {
      if (error.before.length > 0) this.#took(error.before, error.before.length)
      this.#listener.inputFailed(error.error)
    } else this.#listener.inputFailed(error)
  }

  #send(job: ChunkJob): void {
    const { fn, task, areLists, isSettled, typed, eachHasDeadline } = this.#options
    const { sheet } = this.#core.desk
    const { items, length } = job
    job.cell = sheet.take()
    const note = (message: Message): void => { writeNoteTail(message, sheet.key, job.cell) }
    const own = { ...task, attempts: 1 }
    this.#jobs.add(job)
    try {
      if (items === null) this.#core.send(job, fn, Work.Range, typed!.range(job.at, length), 'items', own, 0, note)
      else this.#core.send(job, fn, areLists ? Work.Lists : Work.Items, areLists ? items : encodeNumbers(items), `items[${job.at}…]`, own, isSettled ? Flag.Settled : 0, note)
    } catch (error) {
      this.#jobs.delete(job)
      sheet.give(job.cell)
      if (length > 1) {
        // Which of them cannot be sent is found one by one.
        this.#again.push(...job.single().reverse())
        return
      }
      this.#listener.failed(job.at, error)
      return
    }
    if (eachHasDeadline) this.#core.guard(job, { ...task, signal: undefined })
  }

  /** A chunk is over. */
  ended(job: ChunkJob, status: Status, value: unknown, tail: OutcomeTail): void {
    this.#over(job)
    this.#planner.measured(job.length, tail.run)
    if (status === Status.Done) {
      // Of a typed array they are in their place already.
      this.#listener.results(job.at, job.items === null ? { length: job.length } : value as ArrayLike<unknown>)
    } else if (status === Status.Partly) this.#partly(job, value as ChunkOutcome)
    else for (let k = 0; k < job.length; k += 1) this.#listener.failed(job.at + k, value)
    this.#goOn()
  }

  #partly(job: ChunkJob, { values, errors }: ChunkOutcome): void {
    const failed = new Map(errors)
    for (const [k, value] of Array.from(values).entries()) if (!failed.has(k) && k in values) this.#listener.results(job.at + k, [value])
    for (const [k, error] of failed) this.#listener.failed(job.at + k, error)
  }

  /** A chunk is lost: the item that its worker was at has failed or is tried again, the others are run again. */
  lost(job: ChunkJob, error: WorkerLostError): void {
    const { at, length } = job
    const place = length === 1 ? 0 : this.#core.desk.sheet.at(job.cell)
    this.#over(job)
    const again: ChunkJob[] = []
    if (place < 0 || place >= length) {
      // It ended before the first of them: perhaps by reading one.
      again.push(...job.single())
    } else {
      if (place > 0) again.push(job.part(0, place))
      if (job.tries < this.#options.task.attempts) again.push(job.part(place, place + 1, job.tries + 1))
      else this.#listener.failed(at + place, atItem(error, at + place, job.tries))
      if (place + 1 < length) again.push(job.part(place + 1, length))
    }
    if (!this.#isStopped) this.#again.push(...again.reverse())
    this.#goOn()
  }

  /** A chunk came to nothing: stopped, or it cannot be read here. */
  failed(job: ChunkJob, error: unknown): void {
    this.#over(job)
    for (let k = 0; k < job.length; k += 1) this.#listener.failed(job.at + k, error)
    this.#goOn()
  }

  #over(job: ChunkJob): void {
    this.#jobs.delete(job)
    this.#core.desk.sheet.give(job.cell)
  }

  #goOn(): void {
    this.fill()
    this.#listener.changed()
  }

  /** Starts nothing new. What runs goes on, unless it `isUrgent`: then it is asked to stop, and nobody waits for it. */
  stop(isUrgent: boolean): void {
    if (this.#isStopped && !isUrgent) return
    this.#isStopped = true
    this.#again = []
    this.#options.source.close()
    for (const job of [...this.#jobs]) {
      if (!isUrgent && !this.#core.desk.isQueued(job)) continue
      this.#jobs.delete(job)
      job.isDropped = true
      this.#core.stop(job, undefined)
      this.#core.desk.sheet.give(job.cell)
    }
  }
}

/** A chunk under way. */
export class ChunkJob extends Job {
  readonly #of: Chunks
  readonly at: number
  readonly length: number
  /** Null for those of a typed array, which is there. */
  readonly items: ArrayLike<unknown> | null
  /** Which time it is that its items are tried. */
  readonly tries: number
  cell = 0
  /** Nobody waits for it. */
  isDropped = false

  constructor(of: Chunks, at: number, length: number, items: ArrayLike<unknown> | null, tries = 1) {
    super()
    this.#of = of
    this.at = at
    this.length = length
    this.items = items
    this.tries = tries
  }

  /** A part of it, to be sent by itself. */
  part(from: number, to: number, tries = this.tries): ChunkJob {
    return new ChunkJob(this.#of, this.at + from, to - from, this.items === null ? null : Array.prototype.slice.call(this.items, from, to), tries)
  }

  /** Its items one by one. */
  single(): ChunkJob[] {
    return Array.from({ length: this.length }, (_, k) => this.part(k, k + 1))
  }

  outcome(status: Status, value: unknown, tail: OutcomeTail): void {
    if (!this.isDropped) this.#of.ended(this, status, value, tail)
  }

  lost(error: WorkerLostError): void {
    if (!this.isDropped) this.#of.lost(this, error)
  }

  fail(error: unknown): void {
    if (!this.isDropped) this.#of.failed(this, error)
  }
}

function atItem(error: WorkerLostError, index: number, attempt: number): WorkerLostError {
  const { pid, exitCode, signal } = error
  return new WorkerLostError(`${error.message}; it was at item ${index}`, { pid, exitCode, signal, attempt, index })
}
