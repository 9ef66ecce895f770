/**
 * What locks, semaphores, conditions, events and barriers have in common: an id of the native part, a name, closing, and
 * being sent.
 */

import { ClosedError } from './errors.js'
import { handleOf, registerKind, type Handle, type Shareable } from './handles.js'
import { allowNames, call, join, native } from './native.js'

/** Objects that are collected without having been closed are let go of. */
const collected = new FinalizationRegistry<number>(id => { try { native.sharedClose(id) } catch { /* the thread is ending */ } })

/** Set while a constructor is to wrap an opened object instead of making one. */
let opening: Handle | null = null

/** The handle that the object under construction is to open, `null` when it is to be made. */
export function takeOpening(): Handle | null {
  const handle = opening
  opening = null
  return handle
}

/** Teaches how objects of a kind are opened: by the constructor of their class, called by `make` without options. */
export function registerShared(kind: number, make: () => object): void {
  registerKind(kind, handle => {
    opening = handle
    try {
      return make()
    } finally {
      opening = null
    }
  })
}

/** The name among the options, checked. */
export function nameOf(name: string | undefined): string | null {
  if (name === undefined) return null
  if (typeof name !== 'string') throw new TypeError('name must be a string')
  allowNames()
  return name
}

/** See the module. */
export abstract class SharedObject implements Disposable, Shareable {
  readonly #native: number
  readonly #name: string | null
  readonly #noun: string
  #closed = false
  #dropped = false
  #uses = 0

  /** `make` makes or opens the object; `noun` is what errors call it. */
  protected constructor(noun: string, make: () => number) {
    join()
    this.#noun = noun
    this.#native = call(make)
    this.#name = native.sharedName(this.#native) ?? null
    collected.register(this, this.#native, this)
  }

  /** Its name, null without one. */
  get name(): string | null {
    return this.#name
  }

  /** The id by which the native part knows it. @throws {@link ClosedError} once it is closed here. */
  protected id(): number {
    if (this.#closed) throw new ClosedError(`the ${this.#noun} is closed`)
    return this.#native
  }

  /** The id for whoever still has a guard, also after closing; null once the object has been let go of: see {@link use}. */
  protected get lastingId(): number | null {
    return this.#dropped ? null : this.#native
  }

  protected get isClosed(): boolean {
    return this.#closed
  }

  [handleOf](): Handle {
    return native.sharedHandle(this.id()) as unknown as Handle
  }

  /** A guard has been given out: closing keeps the object for it. */
  protected use(): void {
    this.#uses += 1
  }

  /** A guard has come back, or what it stood for was released without it. */
  protected unuse(): void {
    if (this.#uses > 0) this.#uses -= 1
    if (this.#closed && this.#uses === 0) this.#drop()
  }

  /** Fails those who wait here. */
  protected abstract failAll(error: unknown): void

  /** Lets go of the object in this process; releases nothing. Those who wait here reject with ClosedError. Twice is harmless. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.failAll(new ClosedError(`the ${this.#noun} was closed while this waited`))
    if (this.#uses === 0) this.#drop()
  }

  #drop(): void {
    if (this.#dropped) return
    this.#dropped = true
    collected.unregister(this)
    call(() => { native.sharedClose(this.#native) })
  }

  [Symbol.dispose](): void {
    this.close()
  }

  /** `Lock "name"`, for `util.inspect`. */
  protected label(Class: string): string {
    return this.#name === null ? Class : `${Class} ${JSON.stringify(this.#name)}`
  }
}
