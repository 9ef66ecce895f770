/**
 * Pipes: two connected ends, each in any process.
 */

import { inspect } from 'node:util'
import { Channel } from './channel.js'
import { BrokenPipeError, BufferTooShort, ClosedError, EOFError, StateError, TimeoutError } from './errors.js'
import { handleOf, registerKind, type Handle, type Shareable } from './handles.js'
import { call, join, native } from './native.js'
import { readiness, timeoutOf, What, type Readiness, type SyncWaitOptions, type WaitOptions } from './waiting.js'

const KIND = 2
interface NativeEnd { id: number; reads: number; writes: number }
const collected = new FinalizationRegistry<number>(id => { try { native.pipeClose(id) } catch { /* the thread is ending */ } })

const refusals = {
  full(): never { throw new TimeoutError('the message was not sent in time') },
  empty(): never { throw new TimeoutError('no message came in time') },
  putEnded(): never { throw new BrokenPipeError('the other end of the pipe is gone') },
  getEnded(): never { throw new EOFError('the other end of the pipe is gone and everything it sent has been read') },
}

/** A slice of bytes to send. */
export interface SliceOptions {
  /** First byte; default 0. */
  offset?: number
  /** Bytes; default up to the end. */
  size?: number
}

/** Only this module makes connections. */
const making: unique symbol = Symbol('making')

/**
 * One end of a pipe. Messages keep their boundaries and their order; several readers or writers of one end each get and
 * send whole messages. The other end reads end of file once the last holder of this one is gone: closed, ended or killed.
 */
export class Connection<in S = any, out R = any> implements AsyncIterable<R>, Disposable, Shareable {
  readonly #end: NativeEnd
  readonly #reads: Channel<never, unknown>
  readonly #writes: Channel<unknown, never>
  #closed = false

  /** @internal */
  constructor(token: typeof making, end: NativeEnd) {
    if (token !== making) throw new TypeError('Connections are made by Pipe()')
    this.#end = end
    this.#reads = new Channel(end.reads, { ...refusals, closed: () => this.#refuse('read') }, 'value')
    this.#writes = new Channel(end.writes, { ...refusals, closed: () => this.#refuse('written') }, 'value')
    collected.register(this, end.id, this)
  }

  #refuse(what: string): never {
    if (this.#closed) throw new ClosedError('the connection is closed')
    throw new StateError(`this end of a one-way pipe cannot be ${what}`)
  }

  /** False for the writing end of a one-way pipe. */
  get readable(): boolean {
    return this.#end.reads >= 0
  }

  /** False for the reading end of a one-way pipe. */
  get writable(): boolean {
    return this.#end.writes >= 0
  }

  /** True once this process has let go of the end. */
  get closed(): boolean {
    return this.#closed
  }

  [handleOf](): Handle {
    if (this.#closed) throw new ClosedError('the connection is closed')
    return native.pipeHandle(this.#end.id) as unknown as Handle
  }

  /** Sends a value. @throws {@link BrokenPipeError} when the other end is gone; {@link SerializationError}; {@link StateError} on a reader. */
  send(value: S, options?: WaitOptions): Promise<void> {
    return this.#writes.put(value, options)
  }

  /** As send, blocking this thread. */
  sendSync(value: S, options?: SyncWaitOptions): void {
    this.#writes.putSync(value, options)
  }

  /** The next value. @throws {@link EOFError} at end of file; {@link TimeoutError}; {@link StateError} on a writer. */
  recv(options?: WaitOptions): Promise<R> {
    return this.#reads.get<R>(options)
  }

  /** As recv, blocking this thread. */
  recvSync(options?: SyncWaitOptions): R {
    return this.#reads.getSync<R>(options)
  }

  /** Sends bytes, or a slice of them. @throws RangeError for a slice that is not inside. */
  sendBytes(bytes: ArrayBufferView | ArrayBuffer, options: WaitOptions & SliceOptions = {}): Promise<void> {
    try {
      return this.#writes.put(sliceOf(bytes, options), options)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** As sendBytes, blocking this thread. */
  sendBytesSync(bytes: ArrayBufferView | ArrayBuffer, options: SyncWaitOptions & SliceOptions = {}): void {
    this.#writes.putSync(sliceOf(bytes, options), options)
  }

  /**
   * The next message, which must be bytes.
   *
   * @throws {@link StateError} for a message that is not bytes, and for one longer than `maxLength`; then the connection is closed.
   */
  async recvBytes(options: WaitOptions & { maxLength?: number } = {}): Promise<Uint8Array<ArrayBuffer>> {
    checkLength(options.maxLength)
    return this.#bytes(await this.#reads.get(options), options.maxLength)
  }

  /** As recvBytes, blocking this thread. */
  recvBytesSync(options: SyncWaitOptions & { maxLength?: number } = {}): Uint8Array<ArrayBuffer> {
    checkLength(options.maxLength)
    return this.#bytes(this.#reads.getSync(options), options.maxLength)
  }

  #bytes(value: unknown, maxLength = Infinity): Uint8Array<ArrayBuffer> {
    if (!(value instanceof Uint8Array)) throw new StateError('the next message was a value, not bytes: receive it by recv()')
    if (value.length > maxLength) {
      this.close()
      throw new StateError(`a message of ${value.length} bytes came where at most ${maxLength} were expected; the connection is closed`)
    }
    return value as Uint8Array<ArrayBuffer>
  }

  /**
   * Receives bytes into a buffer; the number of bytes.
   *
   * @throws {@link BufferTooShort}, with the whole message, when it does not fit.
   */
  async recvBytesInto(target: ArrayBufferView, options: WaitOptions & { offset?: number } = {}): Promise<number> {
    checkOffset(target, options.offset)
    return fill(target, options.offset, await this.recvBytes(options))
  }

  /** As recvBytesInto, blocking this thread. */
  recvBytesIntoSync(target: ArrayBufferView, options: SyncWaitOptions & { offset?: number } = {}): number {
    checkOffset(target, options.offset)
    return fill(target, options.offset, this.recvBytesSync(options))
  }

  /** Is there a message, or end of file? An omitted `timeout` is 0; `Infinity` waits for ever. */
  poll(options: WaitOptions = {}): Promise<boolean> {
    return this.#reads.readable({ ...options, timeout: timeoutOf({ timeout: options.timeout ?? 0 }) })
  }

  /** As poll, blocking this thread. */
  pollSync(options: SyncWaitOptions = {}): boolean {
    return this.#reads.readableSync({ timeout: timeoutOf({ timeout: options.timeout ?? 0 }) })
  }

  /** What `wait` asks. @internal */
  [readiness](): Readiness {
    return {
      isReady: () => this.#reads.isReadable(),
      wait: options => this.#reads.readable(options),
      what: What.Getter, id: this.#closed || this.#end.reads < 0 ? this.#refuse('read') : this.#end.reads,
    }
  }

  /** Lets go of this end in this process. Twice is harmless. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    const error = new ClosedError('the connection was closed while this waited')
    this.#reads.close(error)
    this.#writes.close(error)
    collected.unregister(this)
    call(() => { native.pipeClose(this.#end.id) })
  }

  [Symbol.dispose](): void {
    this.close()
  }

  /** Values as they come, until end of file. */
  async *[Symbol.asyncIterator](): AsyncIterableIterator<R> {
    for (;;) {
      let value: R
      try {
        value = await this.recv()
      } catch (error) {
        if (error instanceof EOFError) return
        throw error
      }
      yield value
    }
  }

  [inspect.custom](): string {
    const ways = [this.readable ? 'readable' : '', this.writable ? 'writable' : ''].filter(way => way !== '').join(', ')
    return `Connection { ${this.#closed ? 'closed' : ways} }`
  }
}

function sliceOf(bytes: ArrayBufferView | ArrayBuffer, { offset = 0, size }: SliceOptions): Uint8Array {
  const all = bytes instanceof ArrayBuffer ? new Uint8Array(bytes) : new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const end = size === undefined ? all.length : offset + size
  if (!Number.isInteger(offset) || offset < 0 || offset > all.length) throw new RangeError(`offset must be 0 to ${all.length}, not ${offset}`)
  if (!Number.isInteger(end) || end < offset || end > all.length) throw new RangeError(`size must be 0 to ${all.length - offset}, not ${String(size)}`)
  return all.subarray(offset, end)
}

function checkLength(maxLength: number | undefined): void {
  if (maxLength !== undefined && !(maxLength >= 0)) throw new RangeError(`maxLength must be 0 or more, not ${maxLength}`)
}

function checkOffset(target: ArrayBufferView, offset = 0): void {
  if (!Number.isInteger(offset) || offset < 0 || offset > target.byteLength) throw new RangeError(`offset must be 0 to ${target.byteLength}, not ${offset}`)
}

function fill(target: ArrayBufferView, offset = 0, message: Uint8Array<ArrayBuffer>): number {
  if (message.length > target.byteLength - offset) {
    throw new BufferTooShort(`a message of ${message.length} bytes does not fit into ${target.byteLength - offset}`, message)
  }
  new Uint8Array(target.buffer, target.byteOffset + offset, message.length).set(message)
  return message.length
}

/** `[a, b]`; one way: `[reader, writer]`. */
export function Pipe<T = any>(options: { duplex: false }): [reader: Connection<never, T>, writer: Connection<T, never>]
export function Pipe<S = any, R = S>(options?: { duplex?: true | undefined }): [Connection<S, R>, Connection<R, S>]
export function Pipe(options: { duplex?: boolean | undefined } = {}): any {
  join()
  const [first, second] = call(() => native.pipeCreate(options.duplex ?? true)) as [NativeEnd, NativeEnd]
  return [new Connection(making, first), new Connection(making, second)]
}

registerKind(KIND, handle => new Connection(making, call(() => native.pipeOpen(handle[0], handle[1]))))

