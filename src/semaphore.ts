/**
 * Semaphores: a number of permits, and those whose number is a limit.
 */

import { inspect } from 'node:util'
import { Acquirable, isInterruptible } from './acquirable.js'
import { fromNative } from './errors.js'
import { bare, call, native } from './native.js'
import type { Named } from './queue.js'
import { nameOf, registerShared, takeOpening } from './shared-object.js'

const KIND = 10
const BOUNDED = 11
const MOST = 2 ** 20 - 1

/** How a semaphore is made. */
export interface SemaphoreOptions extends Named {
  /** Permits that it begins with, 0 to 1,048,575, which is also the most that it can have. Default 1. */
  value?: number | undefined
  /**
   * Permits of a process or worker thread that has ended come back, each once. Default: true for BoundedSemaphore (a limit),
   * false for Semaphore (which may be a signal: one process acquires what another released).
   */
  robust?: boolean | undefined
}

/**
 * A number of permits, acquired and released by whomever. A guard gives one back once; `release()` gives one more, whoever
 * acquired it. With `robust` a bare `release()` gives back a permit of this thread if it has one.
 *
 * @example
 * ```ts
 * const semaphore = new Semaphore(3)
 * await semaphore.runExclusive(() => fetch(url))
 * ```
 */
export class Semaphore extends Acquirable {
  /** Tells it from other classes of the same shape. */
  declare protected readonly kind: 'Semaphore'
  /** The value never exceeds the first one. */
  protected static readonly bounded: boolean = false

  /** @throws RangeError for a value that is not whole or out of range; {@link StateError} when the one of that name differs. */
  constructor(options: SemaphoreOptions | number = {}) {
    const { value = 1, robust, name } = typeof options === 'number' ? { value: options } as SemaphoreOptions : options
    if (!Number.isInteger(value) || value < 0 || value > MOST) {
      throw new RangeError(`the value of a semaphore must be a whole number from 0 to ${MOST}, not ${String(value)}`)
    }
    const { bounded } = new.target
    const handle = takeOpening()
    const named = handle === null ? nameOf(name) : null
    super('semaphore', () => handle === null
      ? native.semaphoreCreate(value, bounded, robust ?? bounded, named)
      : native.semaphoreOpen(handle[0], handle[1]))
  }

  /** Permits that nobody has. */
  get value(): number {
    try {
      return bare.semaphoreValue(this.id())
    } catch (error) {
      throw fromNative(error)
    }
  }

  protected try(id: number): number {
    return bare.semaphoreTry(id)
  }

  protected block(id: number, _context: number, timeout: number): number {
    return call(() => native.semaphoreWait(id, timeout, isInterruptible()))
  }

  protected giveBackTurn(id: number): void {
    bare.semaphoreRelease(id, 1)
  }

  /** Gives a permit back, or one more. @throws {@link StateError} above what it can have, or a bounded one began with. */
  release(): void {
    const id = this.id()
    call(() => bare.semaphoreRelease(id, 0))
    this.unuse()
  }

  [inspect.custom](): string {
    const label = this.label(this.constructor.name)
    if (this.isClosed) return `${label} { closed }`
    const { value, robust } = call(() => native.semaphoreOptions(this.id()))
    const waiting = call(() => native.sharedWaiters(this.id()))
    return `${label} { ${this.value} of ${value} permits${robust ? ', robust' : ''}${waiting > 0 ? `, ${waiting} waiting` : ''} }`
  }
}

/** A semaphore as a limit: releasing above the first value throws, and permits of processes that end come back. */
export class BoundedSemaphore extends Semaphore {
  protected static override readonly bounded: boolean = true
}

registerShared(KIND, () => new Semaphore())
registerShared(BOUNDED, () => new BoundedSemaphore())
