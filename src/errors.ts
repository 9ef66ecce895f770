/**
 * Every error that this package throws, and the one seam through which a failure of the native part
 * becomes one of them. A class is told by `instanceof`, by `name` or by `code`; codes are stable and no
 * two classes share one.
 */

/**
 * The base of all errors of this package.
 *
 * @example
 * ```ts
 * try {
 *   queue.putNowait(job)
 * } catch (error) {
 *   if (!(error instanceof PolyprocError)) throw error
 *   console.warn(error.code) // ERR_POLYPROC_FULL
 * }
 * ```
 */
export class PolyprocError extends Error {
  /** Stable across versions, for programs; the message is for people. */
  readonly code: string = 'ERR_POLYPROC'
}

/** There is nothing to take: `getNowait` of an empty queue, or a `get` whose time is over. */
export class Empty extends PolyprocError {
  override readonly code = 'ERR_POLYPROC_EMPTY'
}

/** There is no room: `putNowait` into a full queue, or a `put` whose time is over. */
export class Full extends PolyprocError {
  override readonly code = 'ERR_POLYPROC_FULL'
}

/** The queue was shut down: no more items will come (get) or may be put (put). */
export class ShutDown extends PolyprocError {
  override readonly code = 'ERR_POLYPROC_SHUT_DOWN'
}

/** The object was closed in this process. */
export class ClosedError extends PolyprocError {
  override readonly code = 'ERR_POLYPROC_CLOSED'
}

/** Wrong use: release of what is not held, send on a reader, start twice, options that differ for one name. */
export class StateError extends PolyprocError {
  override readonly code = 'ERR_POLYPROC_STATE'
}

/** A `…Sync` wait that nobody else could ever end: this thread holds what it waits for, and no other has the object. */
export class DeadlockError extends PolyprocError {
  override readonly code = 'ERR_POLYPROC_DEADLOCK'
}

/** A signal that this process listens for came while a `…Sync` call waited; the listener runs next. */
export class InterruptedError extends PolyprocError {
  override readonly code = 'ERR_POLYPROC_INTERRUPTED'
}

/** The peer of a Connection is gone and everything it sent has been read. */
export class EOFError extends PolyprocError {
  override readonly code = 'ERR_POLYPROC_EOF'
}

/** A send to a Connection whose other end nobody holds any more. */
export class BrokenPipeError extends PolyprocError {
  override readonly code = 'ERR_POLYPROC_BROKEN_PIPE'
}

/** A message is longer than the room that it was to be received into; the message is in `bytes`, and not lost. */
export class BufferTooShort extends PolyprocError {
  override readonly code = 'ERR_POLYPROC_BUFFER_TOO_SHORT'
  /** The whole message. */
  readonly bytes: Uint8Array<ArrayBuffer>

  constructor(message: string, bytes: Uint8Array<ArrayBuffer>, options?: ErrorOptions) {
    super(message, options)
    this.bytes = bytes
  }
}

/** A wait took longer than its `timeout`, where being late is an error. */
export class TimeoutError extends PolyprocError {
  override readonly code = 'ERR_POLYPROC_TIMEOUT'
}

/** The barrier is broken: aborted, timed out or reset while somebody waited. */
export class BrokenBarrierError extends PolyprocError {
  override readonly code = 'ERR_POLYPROC_BROKEN_BARRIER'
}

/** The peer could not prove that it knows the key. */
export class AuthenticationError extends PolyprocError {
  override readonly code = 'ERR_POLYPROC_AUTHENTICATION'
}

/**
 * A value, function or result cannot be sent, or a message cannot be read.
 *
 * @example
 * ```ts
 * queue.putNowait({ socket: net.connect(80) })
 * // SerializationError: socket: a Socket cannot be sent …
 * ```
 */
export class SerializationError extends PolyprocError {
  override readonly code = 'ERR_POLYPROC_SERIALIZATION'
  /** Where in the value, as one would write it: `args[0].socket`. Empty for the value itself. */
  readonly path: string

  constructor(message: string, path = '', options?: ErrorOptions) {
    super(message, options)
    this.path = path
  }
}

/** Shared memory is used up; the message names the limit and how to raise it. */
export class OutOfMemoryError extends PolyprocError {
  override readonly code = 'ERR_POLYPROC_OUT_OF_MEMORY'
}

/** What is known of a process that ended with work in hand. */
export interface WorkerLostDetails {
  pid: number
  exitCode: number
  signal?: NodeJS.Signals | null | undefined
  attempt?: number | undefined
  index?: number | null | undefined
}

/** A worker or manager process ended with work in hand. */
export class WorkerLostError extends PolyprocError {
  override readonly code = 'ERR_POLYPROC_WORKER_LOST'
  readonly pid: number
  /** As `Process.exitCode`: negative is the signal number. */
  readonly exitCode: number
  readonly signal: NodeJS.Signals | null
  /** 1 for the first time that the work was tried. */
  readonly attempt: number
  /** In a map or imap: the place of the item that it was running. */
  readonly index: number | null

  constructor(message: string, details: WorkerLostDetails, options?: ErrorOptions) {
    super(message, options)
    this.pid = details.pid
    this.exitCode = details.exitCode
    this.signal = details.signal ?? null
    this.attempt = details.attempt ?? 1
    this.index = details.index ?? null
  }
}

/** The pool cannot work: its initializer fails, or `maxRestarts` workers in a row were lost without finishing a task. */
export class BrokenPoolError extends PolyprocError {
  override readonly code = 'ERR_POLYPROC_BROKEN_POOL'
}

/** What was waited for was cancelled, by `cancel` or `terminate`. */
export class CancelledError extends PolyprocError {
  override readonly code = 'ERR_POLYPROC_CANCELLED'
}

/** Every class by its name. Keys are written out, so that names survive a bundler that renames classes. */
const classes = {
  PolyprocError, Empty, Full, ShutDown, ClosedError, StateError, DeadlockError, InterruptedError, EOFError,
  BrokenPipeError, BufferTooShort, TimeoutError, BrokenBarrierError, AuthenticationError, SerializationError,
  OutOfMemoryError, WorkerLostError, BrokenPoolError, CancelledError,
}

for (const [name, value] of Object.entries(classes)) {
  // On the prototype and hidden, as `name` of the language's own errors is.
  Object.defineProperty(value.prototype, 'name', { value: name, configurable: true, writable: true })
}

/** The classes that a code and a message are enough to make, which is all that the native part sends. */
const byCode = new Map<string, new (message: string, ...rest: never[]) => PolyprocError>([
  ['ERR_POLYPROC', PolyprocError],
  ['ERR_POLYPROC_EMPTY', Empty],
  ['ERR_POLYPROC_FULL', Full],
  ['ERR_POLYPROC_SHUT_DOWN', ShutDown],
  ['ERR_POLYPROC_CLOSED', ClosedError],
  ['ERR_POLYPROC_STATE', StateError],
  ['ERR_POLYPROC_DEADLOCK', DeadlockError],
  ['ERR_POLYPROC_INTERRUPTED', InterruptedError],
  ['ERR_POLYPROC_EOF', EOFError],
  ['ERR_POLYPROC_BROKEN_PIPE', BrokenPipeError],
  ['ERR_POLYPROC_TIMEOUT', TimeoutError],
  ['ERR_POLYPROC_BROKEN_BARRIER', BrokenBarrierError],
  ['ERR_POLYPROC_AUTHENTICATION', AuthenticationError],
  ['ERR_POLYPROC_SERIALIZATION', SerializationError],
  ['ERR_POLYPROC_OUT_OF_MEMORY', OutOfMemoryError],
  ['ERR_POLYPROC_BROKEN_POOL', BrokenPoolError],
  ['ERR_POLYPROC_CANCELLED', CancelledError],
  ['ERR_POLYPROC_RANGE', RangeError as never],
  ['ERR_POLYPROC_TYPE', TypeError as never],
])

/**
 * The error for a failure that the native part reports as a code and a message. `ERR_POLYPROC_RANGE` and
 * `ERR_POLYPROC_TYPE` are a RangeError and a TypeError; a code that is not known (a native part of another
 * version) is a PolyprocError whose message begins with it.
 *
 * @internal
 */
export function errorOfCode(code: string, message: string): Error {
  const Class = byCode.get(code)
  return Class === undefined ? new PolyprocError(`${code}: ${message}`) : new Class(message)
}

/**
 * What to throw for something caught around a native call: an error that carries one of our codes becomes
 * the class of that code, with the caller's stack; anything else is returned as it is.
 *
 * @internal
 * @example
 * ```ts
 * try {
 *   return this.#native.get(timeout)
 * } catch (error) {
 *   throw fromNative(error)
 * }
 * ```
 */
export function fromNative(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof PolyprocError) return error
  const code: unknown = (error as { code?: unknown }).code
  if (typeof code !== 'string' || !code.startsWith('ERR_POLYPROC')) return error
  const translated = errorOfCode(code, error.message)
  // Without the frames of the seam itself, the first line is the call that failed.
  Error.captureStackTrace(translated, fromNative)
  return translated
}

/** The class of this package with that name, for a message that carries one of its errors. @internal */
export function classOfName(name: string): (typeof PolyprocError) | undefined {
  return Object.hasOwn(classes, name) ? classes[name as keyof typeof classes] as typeof PolyprocError : undefined
}
