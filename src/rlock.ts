/**
 * The reentrant lock.
 */

import type { AsyncLocalStorage } from 'node:async_hooks'
import { inspect } from 'node:util'
import { Acquirable, inTime, isInterruptible, type LockGuard } from './acquirable.js'
import { StateError } from './errors.js'
import { handleOf } from './handles.js'
import { bare, call, native } from './native.js'
import { describeOwner } from './owners.js'
import type { Named } from './queue.js'
import { nameOf, registerShared, takeOpening } from './shared-object.js'
import type { WaitOptions } from './waiting.js'

const KIND = 9
/** The owner that a thread is for `acquireSync` and `tryAcquire`. */
const THREAD = 0
/** In the number of a context that may enter again; others are good for one acquisition. */
const SHARED = 2 ** 31

/** The asynchronous context of a `runExclusive`, while it runs. */
interface Inside { readonly context: number; over: boolean }
/** For each lock that is held around it, the context. */
type Around = ReadonlyMap<string, Inside>

let storage: AsyncLocalStorage<Around> | null = null
let contexts = 0

function nextContext(): number {
  contexts = contexts % (SHARED - 1) + 1
  return contexts
}

/**
 * A lock that its owner may acquire again, and must release as often. The owner is the thread for `acquireSync` and
 * `tryAcquire`, the asynchronous context for `runExclusive` (within it also for `acquireSync` and `tryAcquire`). An
 * asynchronous `acquire()` is an owner by itself: it excludes every other task of this thread too, also a second `acquire()`
 * of the same task; its guard, or `release()` in this thread, gives it back.
 *
 * @example
 * ```ts
 * const lock = new RLock()
 * await lock.runExclusive(async () => {
 *   await lock.runExclusive(() => { tally += 1 })
 * })
 * ```
 */
export class RLock extends Acquirable {
  /** Tells it from other classes of the same shape. */
  declare protected readonly kind: 'RLock'
  readonly #key: string

  /** @throws {@link StateError} for a name of 0 or more than 1024 bytes. */
  constructor(options: Named = {}) {
    const handle = takeOpening()
    const name = handle === null ? nameOf(options.name) : null
    super('lock', () => handle === null ? native.lockCreate(true, name) : native.lockOpen(true, handle[0], handle[1]))
    this.#key = this[handleOf]().join()
  }

  /** True while somebody holds it. */
  get locked(): boolean {
    return call(() => native.lockLocked(this.id()))
  }

  #inside(): Inside | undefined {
    const inside = storage?.getStore()?.get(this.#key)
    return inside?.over === false ? inside : undefined
  }

  protected override context(): number {
    return this.#inside()?.context ?? THREAD
  }

  protected override newContext(): number {
    return nextContext()
  }

  protected try(id: number, context: number): number {
    return bare.rlockTry(id, context)
  }

  protected block(id: number, context: number, timeout: number): number {
    return call(() => native.rlockWait(id, context, timeout, isInterruptible()))
  }

  protected giveBackTurn(id: number, turn: number): void {
    bare.lockReleaseTurn(id, turn)
  }

  /** Only this thread can release what it holds, and it would be blocked. */
  protected override isDeadlock(): boolean {
    return native.lockState(this.id()).mine
  }

  /** Gives it back once. @throws {@link StateError} when nobody holds it, or another owner. */
  release(): void {
    const outcome = call(() => native.rlockRelease(this.id(), this.context()))
    if (outcome === 1) throw new StateError('the lock is not locked')
    if (outcome === 2) throw new StateError('the lock is held by another owner, who alone may release it')
    this.unuse()
  }

  override async runExclusive<T>(fn: (guard: LockGuard) => T, options?: WaitOptions): Promise<Awaited<T>> {
    const outer = this.#inside()
    if (outer !== undefined) {
      // Within itself it must not stand in line behind those who wait for it.
      using again = this.tryAs(outer.context)
      if (again !== null) return await fn(again)
    }
    const inside: Inside = { context: SHARED + nextContext(), over: false }
    using guard = inTime(await this.acquireAs(inside.context, options))
    if (storage === null) {
      const { AsyncLocalStorage } = process.getBuiltinModule('node:async_hooks')
      storage = new AsyncLocalStorage()
    }
    const around = new Map(storage.getStore())
    around.set(this.#key, inside)
    try {
      return await storage.run(around, () => fn(guard))
    } finally {
      inside.over = true
    }
  }

  [inspect.custom](): string {
    const label = this.label('RLock')
    return this.isClosed ? `${label} { closed }` : `${label} { ${describeOwner(this.id())} }`
  }
}

registerShared(KIND, () => new RLock())
