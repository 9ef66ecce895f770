/**
 * The simple queue: unbounded, without timeouts.
 */

import { inspect } from 'node:util'
import { Channel } from './channel.js'
import { ClosedError, StateError } from './errors.js'
import { handleOf, registerKind, type Handle, type Shareable } from './handles.js'
import { allowNames, call, join, native } from './native.js'
import type { Named } from './queue.js'
import { readiness, What, type Readiness } from './waiting.js'

const KIND = 3
const collected = new FinalizationRegistry<number>(id => { try { native.queueClose(id) } catch { /* the thread is ending */ } })
const impossible = (): never => { throw new StateError('a simple queue has no bound and is never shut down') }
const refusals = {
  full: impossible, empty: impossible, putEnded: impossible, getEnded: impossible,
  closed(): never { throw new ClosedError('the queue is closed') },
}

let opening: Handle | null = null

/** First in, first out, unbounded; put and get only. See {@link Queue} for what it promises. */
export class SimpleQueue<T = any> implements Disposable, Shareable {
  readonly #native: number
  readonly #name: string | null
  readonly #channel: Channel<T, T>
  #closed = false

  constructor(options: Named = {}) {
    join()
    const handle = opening
    if (options.name !== undefined) allowNames()
    this.#native = call(() => handle === null ? native.queueCreate(KIND, 0, 0, options.name ?? null) : native.queueOpen(handle[0], handle[1]))
    this.#name = native.queueName(this.#native) ?? null
    this.#channel = new Channel(this.#native, refusals, 'item')
    collected.register(this, this.#native, this)
  }

  /** Its name, null without one. */
  get name(): string | null {
    return this.#name
  }

  #id(): number {
    if (this.#closed) refusals.closed()
    return this.#native
  }

  [handleOf](): Handle {
    return native.queueHandle(this.#id()) as unknown as Handle
  }

  /** Puts an item. @throws {@link SerializationError} for what cannot be sent. */
  put(item: T): Promise<void> {
    return this.#channel.put(item)
  }

  /** As put; never waits. */
  putSync(item: T): void {
    this.#channel.putSync(item)
  }

  /** Takes the first item, waiting for one. */
  get(): Promise<T> {
    return this.#channel.get()
  }

  /** As get, blocking this thread. */
  getSync(): T {
    return this.#channel.getSync()
  }

  /** True when it has no items. */
  empty(): boolean {
    return call(() => native.queueSize(this.#id())) === 0
  }

  /** What `wait` asks. @internal */
  [readiness](): Readiness {
    return { isReady: () => this.#channel.isReadable(), wait: options => this.#channel.readable(options), what: What.Getter, id: this.#id() }
  }

  /** Lets go of the queue in this process. Twice is harmless. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#channel.close(new ClosedError('the queue was closed while this waited'))
    collected.unregister(this)
    call(() => { native.queueClose(this.#native) })
  }

  [Symbol.dispose](): void {
    this.close()
  }

  [inspect.custom](): string {
    const name = this.#name === null ? '' : ` ${JSON.stringify(this.#name)}`
    return this.#closed ? `SimpleQueue${name} { closed }` : `SimpleQueue${name} { ${native.queueSize(this.#native)} items }`
  }
}

registerKind(KIND, handle => {
  opening = handle
  try {
    return new SimpleQueue()
  } finally {
    opening = null
  }
})
