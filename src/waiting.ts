/**
 * Waiting, in both faces. A synchronous wait is a loop of "try, then sleep in the native part". An asynchronous one is
 * an entry in a line: each thing that can be waited for has a line of those who wait for it here, in order, and the native
 * part is asked for one wake-up for the whole line.
 *
 * An operation that can finish at once does so for at most a millisecond of a turn of the event loop; after that it
 * resolves by `setImmediate`, so that a busy `for await` starves no timer.
 */

import { fromNative, InterruptedError, StateError } from './errors.js'
import { bare, call, isMainThread, native, onLeaving } from './native.js'

/** How long to wait, and what ends the wait early. */
export interface WaitOptions {
  /** Milliseconds; 0 or less: do not wait; omitted, undefined or Infinity: wait for ever. NaN throws RangeError. */
  timeout?: number | undefined
  /** Aborting rejects with `signal.reason`; nothing is taken, put or acquired after that. */
  signal?: AbortSignal | undefined
}
/** How long a blocking call may take. */
export type SyncWaitOptions = Pick<WaitOptions, 'timeout'>

/** What the native part can wait for. */
export const What = { Getter: 0, Putter: 1, End: 2, Shared: 3, Joiner: 4 } as const
export type What = (typeof What)[keyof typeof What]

/** "Not yet", of an attempt. */
export const notYet: unique symbol = Symbol('not yet')

/** The timeout in ms, `Infinity` for none. */
export function timeoutOf(options: SyncWaitOptions | undefined): number {
  const timeout = options?.timeout
  if (timeout === undefined) return Infinity
  if (typeof timeout !== 'number' || Number.isNaN(timeout)) throw new RangeError(`timeout must be a number of milliseconds, not ${String(timeout)}`)
  return timeout
}

/** What is left of a timeout, each time it is asked. */
export function remaining(options: SyncWaitOptions | undefined): () => number {
  return remainingOf(timeoutOf(options))
}

const forEver = (): number => Infinity

/** What is left of so many ms from now, each time it is asked. */
export function remainingOf(all: number): () => number {
  if (all === Infinity) return forEver
  const began = performance.now()
  return () => all - (performance.now() - began)
}

/**
 * Blocks the thread until `attempt` succeeds. `late` makes the result (or throws) when time is up; `block` sleeps in the native
 * part, for so many ms (negative: for ever).
 *
 * @throws {@link InterruptedError} when SIGINT comes and this process listens for it.
 */
export function waitSync<T>(
  what: What, id: () => number, attempt: () => T | typeof notYet, timeout: number, late: () => T,
  block = (left: number, interruptible: boolean): number => native.waitSync(what, id(), left, interruptible),
): T {
  const first = attempt()
  if (first !== notYet) return first
  if (timeout <= 0) return late()
  const end = performance.now() + timeout
  for (;;) {
    const left = timeout === Infinity ? -1 : Math.max(0, end - performance.now())
    const interruptible = isMainThread && process.listenerCount('SIGINT') > 0
    const outcome = call(() => block(left, interruptible))
    if (outcome === 2) throw new InterruptedError('a signal came while this call waited')
    const result = attempt()
    if (result !== notYet) return result
    if (outcome === 1) return late()
  }
}

/** What objects answer that can be waited for together. */
export const readiness: unique symbol = Symbol('polyproc.readiness')
export interface Readiness {
  /** True when a take would find something. Throws once the object is closed. */
  isReady(): boolean
  /** Resolves with true once it is, with false on timeout. */
  wait(options: WaitOptions): Promise<boolean>
  /** How the native part names it. */
  readonly what: What
  readonly id: number
}
/** Objects that can be awaited together: queues, connections, processes, events. */
export interface Waitable { [readiness](): Readiness }

function answers<T extends Waitable>(objects: Iterable<T>): [T, Readiness][] {
  return [...objects].map(object => {
    if (typeof (object as Partial<Waitable> | null)?.[readiness] !== 'function') throw new TypeError('only queues, connections, processes and events can be waited for')
    return [object, object[readiness]()]
  })
}

function readyOf<T>(all: readonly [T, Readiness][]): T[] {
  return all.filter(([, object]) => object.isReady()).map(([object]) => object)
}

/**
 * Resolves with those that are ready (data, end of file, shut down, exited); `[]` on timeout. Takes nothing: somebody else
 * may be faster, so follow it with `tryGet`, or `recv` with `timeout: 0`.
 *
 * @throws TypeError for what cannot be waited for; {@link ClosedError}; `signal.reason` when aborted.
 * @example
 * ```ts
 * for (const ready of await wait([queue, connection, child], { timeout: 1000 })) handle(ready)
 * ```
 */
export async function wait<T extends Waitable>(objects: Iterable<T>, options: WaitOptions = {}): Promise<T[]> {
  const timeout = timeoutOf(options)
  options.signal?.throwIfAborted()
  const all = answers(objects)
  const now = readyOf(all)
  if (now.length > 0 || timeout <= 0) return now
  const done = new AbortController()
  const signal = options.signal === undefined ? done.signal : AbortSignal.any([options.signal, done.signal])
  if (all.length === 0) all.push([undefined as unknown as T, { isReady: () => false, wait: sleep, what: What.End, id: 0 }])
  try {
    await Promise.race(all.map(([, object]) => object.wait({ timeout, signal })))
  } finally {
    done.abort()
  }
  return readyOf(all)
}

/** Nothing to wait for: only time passes. */
function sleep({ timeout, signal }: WaitOptions): Promise<boolean> {
  return new Promise((resolve, reject) => {
    if (timeout !== undefined && timeout !== Infinity) setTimeout(resolve, timeout, false)
    signal?.addEventListener('abort', () => { reject(signal.reason) }, { once: true })
  })
}

/** As {@link wait}, blocking this thread. @throws {@link InterruptedError}. */
export function waitAllSync<T extends Waitable>(objects: Iterable<T>, options: SyncWaitOptions = {}): T[] {
  const timeout = timeoutOf(options)
  const all = answers(objects)
  const end = performance.now() + timeout
  for (;;) {
    const now = readyOf(all)
    const left = timeout === Infinity ? -1 : end - performance.now()
    if (now.length > 0 || timeout <= 0 || timeout !== Infinity && left <= 0) return now
    const interruptible = isMainThread && process.listenerCount('SIGINT') > 0
    const outcome = call(() => native.waitSyncMany(all.map(([, { what }]) => what), all.map(([, { id }]) => id), left, interruptible))
    if (outcome === 2) throw new InterruptedError('a signal came while this call waited')
  }
}

/**
 * Blocks this thread until one of the things is ready, or so many ms have passed.
 *
 * @throws {@link InterruptedError} when SIGINT comes and this process listens for it.
 */
export function sleepSync(what: readonly What[], ids: readonly number[], ms: number): void {
  const interruptible = isMainThread && process.listenerCount('SIGINT') > 0
  const outcome = call(() => native.waitSyncMany([...what], [...ids], ms === Infinity ? -1 : Math.max(0, ms), interruptible))
  if (outcome === 2) throw new InterruptedError('a signal came while this call waited')
}

const lines = new Map<number, Line>()
let listening = false

function listen(): void {
  if (listening) return
  call(() => { native.onCall(onCall) })
  listening = true
}

/**
 * The line whose wait goes on though nobody stands in it: until the event loop is about to sleep, since whoever got something
 * often waits for more in the same turn.
 */
let resting: Line | null = null

function rest(line: Line | null): void {
  resting = line
  bare.rests(line !== null)
}

function onCall(): void {
  resting?.leave()
  let wait = bare.waitCalled(true)
  for (;;) {
    const isLast = !bare.isMore()
    if (wait >= 0) lines.get(wait)?.advance()
    if (isLast) return
    wait = bare.waitCalled(false)
  }
}

onLeaving(() => {
  const left = new StateError('another copy of polyproc has been loaded in this thread while this waited')
  for (const line of [...lines.values()]) line.fail(left)
})

/** A millisecond's worth of operations may finish in the turn that began them. */
const TURN = 1
const LONGEST_STRIDE = 64
/** So many operations may go by before a turn is watched: for who does one or two a turn, and then sleeps, that costs too much. */
const UNWATCHED = 16
let unwatched = 0
let isWatched = false
let isOver = false
let turnBegan = 0
/** The clock costs as much as an operation: it is looked at so many operations apart that they take about an eighth of a turn. */
let stride = 1
let untilLook = 0
let lookedAt = 0

/** Counts an operation that needed no wait; true when the next ones should wait for the next turn of the event loop. */
export function isTurnOver(): boolean {
  if (!isWatched) {
    unwatched += 1
    if (unwatched === UNWATCHED) watch()
    return false
  }
  if (isOver) return true
  untilLook -= 1
  if (untilLook > 0) return false
  const now = performance.now()
  stride = Math.max(1, Math.min(LONGEST_STRIDE, Math.floor(stride * TURN / 8 / Math.max(now - lookedAt, 0.001))))
  untilLook = stride
  lookedAt = now
  isOver = now - turnBegan > TURN
  return isOver
}

function watch(): void {
  isWatched = true
  isOver = false
  turnBegan = lookedAt = performance.now()
  untilLook = stride
  setImmediate(endTurn).unref()
}

function endTurn(): void {
  isWatched = false
  unwatched = 0
  lookedInVain = false
}

let lookedInVain = false

/**
 * Looks a little longer for what is not there yet, by `glance`, which spins for some microseconds where that has paid lately (1: it
 * is there, 0: it is not, -1: nor is it, without a spin): who answers at once spares both sides the way through the event loop.
 * Not again in a turn in which it spun in vain.
 */
export function isThereSoon(glance: () => number): boolean {
  if (lookedInVain || isTurnOver()) return false
  const found = glance()
  if (found === 0) {
    lookedInVain = true
    if (!isWatched) watch()
  }
  return found === 1
}

/** Says that the operation at hand takes long by itself: the clock is looked at after it. */
export function isLong(): void {
  if (!isWatched) watch()
  untilLook = 0
}

/** How a line begins and ends the one wait that stands for it. */
export interface Source {
  /** Returns the number of the wait. */
  begin(): number
  /** Right after `begin`: false when that has looked itself, and found nothing. */
  mustLook(): boolean
  /** True where the wait may go on for the rest of the turn when nobody stands in line any more, and who comes has tried before. */
  readonly mayRest: boolean
  end(wait: number): void
  /** One has got it, and others are left in the line. */
  again?(wait: number): void
}

/** The wait for a thing by its id, which throws once the thing is closed here. */
class Plain implements Source {
  readonly mayRest: boolean = false
  readonly #what: What
  readonly #id: () => number
  #begun = 0

  constructor(what: What, id: () => number) {
    this.#what = what
    this.#id = id
  }

  begin(): number {
    this.#begun = this.#id()
    try {
      return bare.waitBegin(this.#what, this.#begun)
    } catch (error) {
      throw fromNative(error)
    }
  }

  mustLook(): boolean {
    return true
  }

  end(wait: number): void {
    try {
      bare.waitEnd(this.#what, this.#begun, wait)
    } catch (error) {
      throw fromNative(error)
    }
  }
}

/** For what goes to those who wait in turn: when one has got it, the rest of its line stands behind all others, of every process. */
export class TakingTurns extends Plain {
  constructor(id: () => number) {
    super(What.Shared, id)
  }

  again(wait: number): void {
    call(() => { native.waitAgain(wait) })
  }
}

/** For the next message of a queue: an attempt is made only where there is one. */
export class ForMessage extends Plain {
  override readonly mayRest = true

  constructor(id: () => number) {
    super(What.Getter, id)
  }

  override mustLook(): boolean {
    return bare.isMore()
  }
}

/** Somebody in a line, which is a list of them. */
abstract class Standing {
  next: Standing | null = null
  previous: Standing | null = null
  isInLine = false

  /** True when it is settled: it leaves the line. */
  abstract advance(): boolean
  abstract fail(error: unknown): void
}

/** See {@link Line.stand}. */
class Entry<T> extends Standing {
  readonly #attempt: () => T | typeof notYet
  readonly #resolve: (result: T) => void
  readonly #reject: (reason: unknown) => void
  /** Lets go of what may end the wait early. */
  release: (() => void) | null = null

  constructor(attempt: () => T | typeof notYet, resolve: (result: T) => void, reject: (reason: unknown) => void) {
    super()
    this.#attempt = attempt
    this.#resolve = resolve
    this.#reject = reject
  }

  advance(): boolean {
    let result: T | typeof notYet
    try {
      result = this.#attempt()
    } catch (error) {
      this.fail(error)
      return true
    }
    if (result === notYet) return false
    this.release?.()
    this.#resolve(result)
    return true
  }

  fail(error: unknown): void {
    this.release?.()
    this.#reject(error)
  }

  /** Settles it by `end`, which may throw. */
  finish(end: () => T): void {
    this.release?.()
    try {
      this.#resolve(end())
    } catch (error) {
      this.#reject(error)
    }
  }
}

const settled = Promise.resolve()

/** Those of this thread who wait for one thing, first come, first served. */
export class Line {
  readonly #source: Source
  #first: Standing | null = null
  #last: Standing | null = null
  #wait: number | null = null
  /** True when somebody waits: whoever comes now stands behind them. Not to be set from outside. */
  isBusy = false

  /** For a thing by its number and id, or for what begins and ends in another way. */
  constructor(what: What, id: () => number)
  constructor(source: Source)
  constructor(what: What | Source, id?: () => number) {
    this.#source = typeof what === 'object' ? what : new Plain(what, id as () => number)
  }

  #enter(entry: Standing): void {
    const last = this.#last
    entry.previous = last
    if (last === null) this.#first = entry
    else last.next = entry
    this.#last = entry
    entry.isInLine = this.isBusy = true
  }

  #remove(entry: Standing): void {
    // Whoever tried may have closed the thing meanwhile, which empties the line.
    if (!entry.isInLine) return
    const { next, previous } = entry
    if (previous === null) this.#first = next
    else previous.next = next
    if (next === null) this.#last = previous
    else next.previous = previous
    entry.isInLine = false
    this.isBusy = this.#first !== null
  }

  /** What an operation without a result returns that needed no wait: mostly one promise for all of them. */
  done(): Promise<void> {
    return isTurnOver() ? new Promise(resolve => { setImmediate(resolve) }) : settled
  }

  /** What an operation returns that needed no wait. */
  give<T>(result: T): Promise<T> {
    // What is a promise itself takes its time anyhow, and would have nobody to hear of its failure meanwhile.
    return isTurnOver() && !(result instanceof Promise) ? new Promise(resolve => { setImmediate(resolve, result) }) : Promise.resolve(result)
  }

  /**
   * Resolves with the result of `attempt` once it has one.
   *
   * @param late Makes the result, or throws, when time is up.
   */
  wait<T>(attempt: () => T | typeof notYet, options: WaitOptions | undefined, late: () => T): Promise<T> {
    let timeout: number
    try {
      timeout = timeoutOf(options)
      options?.signal?.throwIfAborted()
      if (!this.isBusy || timeout <= 0) {
        const result = attempt()
        if (result !== notYet) return this.give(result)
        if (timeout <= 0) return Promise.resolve(late())
      }
    } catch (error) {
      return Promise.reject(error)
    }
    return this.stand(attempt, timeout, options?.signal, late)
  }

  /** As wait, without trying before it stands in line. */
  stand<T>(attempt: () => T | typeof notYet, timeout: number, signal: AbortSignal | undefined, late: () => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const entry = new Entry<T>(attempt, resolve, reject)
      const begin = timeout === Infinity && signal === undefined ? null : this.#limit(entry, timeout, signal, late)
      this.#enter(entry)
      let mustLook = true
      try {
        mustLook = this.#begin()
      } catch (error) {
        this.#remove(entry)
        entry.fail(error)
        return
      }
      if (mustLook) this.advance()
      // Last: on a crowded machine a short timeout may be over by now, and then it must have stood in line to leave it.
      if (begin !== null && entry.isInLine) begin()
    })
  }

  /** Ends the wait of an entry when it is aborted or time is up; returns what makes time count. */
  #limit<T>(entry: Entry<T>, timeout: number, signal: AbortSignal | undefined, late: () => T): () => void {
    let timer: NodeJS.Timeout | null = null
    const quit = (end: () => T): void => {
      this.#remove(entry)
      entry.finish(end)
      this.leave()
    }
    const onAbort = (): void => { quit(() => { throw signal?.reason as Error }) }
    const began = performance.now()
    const tick = (): void => {
      // A timer may be a little early, and takes no more than 2^31 ms.
      const left = timeout - (performance.now() - began)
      if (left > 0) timer = setTimeout(tick, Math.min(Math.ceil(left), 2 ** 31 - 1))
      else quit(late)
    }
    entry.release = () => {
      if (timer !== null) clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
    }
    signal?.addEventListener('abort', onAbort, { once: true })
    return () => { if (timeout !== Infinity) tick() }
  }

  /** Sees to it that a wait stands for the line; true when somebody must look. */
  #begin(): boolean {
    if (this.#wait !== null) {
      if (resting !== this) return true
      rest(null)
      return false
    }
    listen()
    const wait = this.#source.begin()
    this.#wait = wait
    lines.set(wait, this)
    return this.#source.mustLook()
  }

  /** Lets those in the line try, in order, for at most a millisecond. */
  advance(): void {
    const began = this.#first === this.#last ? 0 : performance.now()
    let settled = false
    for (let entry = this.#first; entry !== null && entry.advance(); entry = this.#first) {
      settled = true
      this.#remove(entry)
      if (this.#first !== null && performance.now() - began > TURN) {
        setImmediate(() => { this.advance() })
        return
      }
    }
    const wait = this.#wait
    if (wait === null) return
    if (this.#first !== null) {
      if (settled) this.#source.again?.(wait)
    } else if (settled && this.#source.mayRest) {
      if (resting !== this) resting?.leave()
      rest(this)
    } else {
      this.leave()
    }
  }

  /** Ends the wait when nobody stands in line. */
  leave(): void {
    const wait = this.#wait
    if (wait === null || this.#first !== null) return
    if (resting === this) rest(null)
    this.#wait = null
    lines.delete(wait)
    this.#source.end(wait)
  }

  /** Fails everybody in the line: the thing is closed here. */
  fail(error: unknown): void {
    for (let entry = this.#first; entry !== null; entry = this.#first) {
      this.#remove(entry)
      entry.fail(error)
    }
    this.leave()
  }
}
