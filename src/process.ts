/**
 * Processes: real ones, with Python's exit codes and names, started at a cost that does not grow with the heap.
 */

import { isAbsolute, resolve } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { debuglog, inspect } from 'node:util'
import { launch, type Boot } from './boot.js'
import { children, currentRecord, settings } from './children.js'
import { ClosedError, SerializationError, StateError } from './errors.js'
import { programFor, type Stdio } from './launch.js'
import { call, isMainThread, join, native } from './native.js'
import { Line, notYet, readiness, timeoutOf, waitSync, What, type Readiness, type SyncWaitOptions, type WaitOptions } from './waiting.js'
import { privatesAgainst } from './target/index.js'

const log = debuglog('polyproc')

/** A module and one of its exports, by name. */
export interface ModuleTarget {
  /** A URL, an absolute path, or a package's name. */
  module: string | URL
  /** Default: `default`; a dotted path reaches into objects. */
  export?: string | undefined
}
/**
 * What another process can run: any function (a module's export travels by reference, every other function by value, with
 * the variables that it captures), or a module and export by name.
 */
export type Target<A extends readonly unknown[] = any[], R = unknown> = ((...args: A) => R) | ModuleTarget

/** Options of a process that do not depend on what it runs. */
export interface ProcessSettings {
  /** Default `Process-1`, in a child of it `Process-1:1`; a subclass uses its own name. */
  name?: string | undefined
  /** Ends with its parent, however the parent ends (SIGKILL included). Default: the creator's own flag. */
  daemon?: boolean | undefined
  /** Default: the parent's. What polyproc needs is added. */
  env?: NodeJS.ProcessEnv | undefined
  cwd?: string | URL | undefined
  /** Default `process.execPath`. */
  execPath?: string | undefined
  /** Default: the parent's, without what would run its program again (`-e`, `--test`, `--watch`, `--inspect` …). */
  execArgv?: readonly string[] | undefined
  stdio?: Stdio | readonly [stdin: Stdio, stdout: Stdio, stderr: Stdio] | undefined
  /** Aborting terminates it. */
  signal?: AbortSignal | undefined
}
/** Options of a process. `args` may be left out where the function can be called without any. */
export type ProcessOptions<A extends readonly unknown[] = any[]> = ProcessSettings & (
  | { target: (...args: A) => unknown; args: readonly [...A] }
  | { target?: (() => unknown) | undefined; args?: readonly [] | undefined }
  | { target: ModuleTarget; args?: readonly unknown[] | undefined })

interface State {
  /** How the native part names it; 0 before start. */
  key: number
  pid: number | null
  exitCode: number | null
  /** Why the program could not be run. */
  failure: string | null
  closed: boolean
  /** A process of somebody else's, or the current one. */
  foreign: 'current' | 'parent' | null
  line: Line
}

/** Processes described here so far, named or not: one row of numbers for all classes, as Python has it. */
let described = 0

function defaultName(type: string, number: number): string {
  const above = currentRecord()
  return above.isMain ? `${type}-${number}` : `${above.name}:${number}`
}

let key = 0
/** How the family names this process. */
function ownKey(): number {
  if (key === 0) key = call(() => native.processKey())
  return key
}

/** Set while the constructor is to describe a process that exists already. */
let describing: { name: string; daemon: boolean; authKey: Uint8Array; key: number; pid: number; kind: 'current' | 'parent' | 'child' } | null = null

/**
 * A process: an operating system process that runs a function, a module's export, or a subclass's own `run`.
 *
 * @example
 * ```ts
 * const child = new Process({ target: (n: number) => { console.log(n) }, args: [7] })
 * child.start()
 * await child.join()
 * console.log(child.exitCode) // 0
 * ```
 */
export class Process<A extends readonly unknown[] = any[]> implements AsyncDisposable, Disposable {
  readonly #state: State
  #options: ProcessOptions<A> | null
  #name: string
  #daemon: boolean
  #authKey: Uint8Array<ArrayBuffer>
  #stdin: Writable | null = null
  #stdout: Readable | null = null
  #stderr: Readable | null = null

  /** @throws TypeError for options of the wrong kind. */
  constructor(options: ProcessOptions<A> = {}) {
    const line = new Line(What.End, () => this.#key())
    if (describing !== null) {
      const { name, daemon, authKey, key, pid, kind } = describing
      this.#state = { key, pid, exitCode: null, failure: null, closed: false, foreign: kind === 'child' ? null : kind, line }
      this.#options = null
      this.#name = name
      this.#daemon = daemon
      this.#authKey = Uint8Array.from(authKey)
      return
    }
    check(options)
    this.#state = { key: 0, pid: null, exitCode: null, failure: null, closed: false, foreign: null, line }
    this.#options = { ...options }
    described += 1
    this.#name = options.name ?? defaultName(new.target.name === '' ? 'Process' : new.target.name, described)
    this.#daemon = options.daemon ?? currentRecord().daemon
    this.#authKey = Uint8Array.from(settings().authKey)
  }

  /** Its name, for people; need not be unique. */
  get name(): string {
    return this.#name
  }

  set name(name: string) {
    if (typeof name !== 'string') throw new TypeError('name must be a string')
    this.#name = name
  }

  /** Ends with its parent. To be set before start. */
  get daemon(): boolean {
    return this.#daemon
  }

  set daemon(daemon: boolean) {
    if (typeof daemon !== 'boolean') throw new TypeError('daemon must be a boolean')
    if (this.#state.key !== 0) throw new StateError('daemon can only be set before the process is started')
    this.#daemon = daemon
  }

  /** The key with which connections over the network are authenticated; children inherit it. */
  get authKey(): Uint8Array<ArrayBuffer> {
    return this.#authKey
  }

  set authKey(key: Uint8Array) {
    if (!(key instanceof Uint8Array)) throw new TypeError('authKey must be a Uint8Array')
    this.#authKey = Uint8Array.from(key)
    if (this.#state.foreign === 'current') settings().authKey = this.#authKey
  }

  /** Process id, null before start. */
  get pid(): number | null {
    this.#open()
    return this.#state.pid
  }

  /** Null while it runs; 0 or more: its exit status; negative: -N, killed by signal N. */
  get exitCode(): number | null {
    this.#open()
    this.#look()
    return this.#state.exitCode
  }

  /** The signal that ended it, else null. */
  get signal(): NodeJS.Signals | null {
    const code = this.exitCode
    return code !== null && code < 0 ? native.signalName(-code) as NodeJS.Signals | null : null
  }

  /** A stream to its standard input, where `stdio` says 'pipe'. */
  get stdin(): Writable | null {
    return this.#stdin
  }

  /** A stream of its standard output, where `stdio` says 'pipe'. */
  get stdout(): Readable | null {
    return this.#stdout
  }

  /** A stream of its standard error, where `stdio` says 'pipe'. */
  get stderr(): Readable | null {
    return this.#stderr
  }

  #open(): void {
    if (this.#state.closed) throw new ClosedError('the process object is closed')
  }

  #key(): number {
    this.#open()
    if (this.#state.key === 0) throw new StateError('the process has not been started')
    return this.#state.key
  }

  /** Learns of its end. */
  #look(): boolean {
    const state = this.#state
    if (state.exitCode !== null) return true
    if (state.key === 0 || state.foreign === 'current') return false
    if (state.foreign === 'parent') return !call(() => native.processIsAlive(state.key))
    const ended = call(() => native.processExit(state.key))
    if (ended === null || ended === undefined) return false
    state.exitCode = ended.code
    state.failure = ended.reason ?? null
    native.processForget(state.key)
    children.delete(this)
    log('%s (pid %d) ended with %d%s', this.#name, state.pid, ended.code, ended.reason === undefined ? '' : `: ${ended.reason}`)
    return true
  }

  /**
   * Starts the process; returns once it exists (`pid` is set), in under a millisecond whatever the size of this heap.
   *
   * @throws {@link StateError} when it has been started; {@link SerializationError} for a target, argument or field that
   * cannot be sent; an error of the file system for an `execPath` or `cwd` that is not there.
   */
  start(): this {
    this.#open()
    if (this.#state.foreign !== null) throw new StateError('this process runs already: it was started by another')
    if (this.#state.key !== 0 || this.#options === null) throw new StateError('the process has been started already')
    this.#options.signal?.throwIfAborted()
    join()
    const options = this.#options
    const program = programFor(options, this.#daemon)
    const privates = this.constructor === Process ? undefined : privatesAgainst(this.constructor as never, Process as never)
    if (privates !== undefined) throw new SerializationError(`a ${this.constructor.name} cannot be started: ${privates}`)
    const parent = { key: ownKey(), pid: process.pid, name: currentRecord().name }
    const started = launch(program, this.#name, this.#daemon, this.#authKey, parent, {
      type: this.constructor === Process ? null : this.constructor as new () => Process,
      fields: { ...this as object },
      target: targetOf(options.target),
      args: [...options.args ?? []],
    })
    this.#state.key = started.key
    this.#state.pid = started.pid
    // The target and its arguments are the child's now.
    this.#options = null
    children.add(this)
    this.#attach(started.fds)
    this.#obey(options.signal)
    log('%s started, pid %d', this.#name, started.pid)
    return this
  }

  #attach([stdin = -1, stdout = -1, stderr = -1]: number[]): void {
    if (stdin < 0 && stdout < 0 && stderr < 0) return
    // Loaded here, so that a child that starts nothing starts sooner.
    const { Socket } = process.getBuiltinModule('node:net')
    if (stdin >= 0) this.#stdin = new Socket({ fd: stdin, readable: false, writable: true })
    if (stdout >= 0) this.#stdout = new Socket({ fd: stdout, readable: true, writable: false })
    if (stderr >= 0) this.#stderr = new Socket({ fd: stderr, readable: true, writable: false })
  }

  #obey(signal: AbortSignal | undefined): void {
    if (signal === undefined) return
    const onAbort = (): void => { if (!this.#state.closed) this.#signal('SIGTERM', false) }
    signal.addEventListener('abort', onAbort, { once: true })
    // The signal may outlive many processes.
    ended.register(this, () => { signal.removeEventListener('abort', onAbort) })
  }

  /** Runs in the child. Override it in a subclass; the instance's own fields travel with it. */
  run(): unknown {
    const { target, args } = this.#options ?? {}
    return typeof target === 'function' ? target(...(args ?? []) as unknown as A) : undefined
  }

  #end(): true | typeof notYet {
    if (this.#state.foreign === 'current') throw new StateError('a process cannot join itself')
    this.#key()
    return this.#look() ? true : notYet
  }

  /** True once it has ended, whatever its exit code; false on timeout. @throws {@link StateError} before start. */
  join(options?: WaitOptions): Promise<boolean> {
    return this.#state.line.wait<boolean>(() => this.#end(), options, () => false)
  }

  /** As join, blocking this thread. A handled signal other than SIGINT does not cut it short. */
  joinSync(options?: SyncWaitOptions): boolean {
    return waitSync<boolean>(What.End, () => this.#key(), () => this.#end(), timeoutOf(options), () => false)
  }

  /** What `wait` asks. @internal */
  [readiness](): Readiness {
    return {
      isReady: () => this.#end() === true,
      wait: options => this.join(options),
      what: What.End, id: this.#key(),
    }
  }

  /** True from start until it has ended. */
  isAlive(): boolean {
    this.#open()
    if (this.#state.foreign === 'current') return true
    return this.#state.key !== 0 && !this.#look()
  }

  #signal(name: NodeJS.Signals, tree: boolean): void {
    const key = this.#key()
    if (this.#state.foreign !== null) {
      process.kill(this.#state.pid ?? 0, name)
      return
    }
    call(() => { native.processSignal(key, native.signalNumber(name) ?? 0, tree) })
  }

  /** SIGINT. */
  interrupt(): void {
    this.#signal('SIGINT', false)
  }

  /** SIGTERM. Nothing happens once it has ended. `tree`: also to every descendant alive at that moment. */
  terminate(options: { tree?: boolean } = {}): void {
    this.#signal('SIGTERM', options.tree === true)
  }

  /** SIGKILL. `tree`: also to every descendant alive at that moment. */
  kill(options: { tree?: boolean } = {}): void {
    this.#signal('SIGKILL', options.tree === true)
  }

  /** Lets go of what this object keeps of the process; every other method throws ClosedError then. Twice is harmless. */
  close(): void {
    if (this.#state.closed) return
    if (this.#state.foreign === 'current' || this.isAlive()) throw new StateError('the process is running: terminate and join it before it is closed')
    this.#state.closed = true
    this.#options = null
    this.#stdin?.destroy()
    this.#stdout?.destroy()
    this.#stderr?.destroy()
    ended.get(this)?.()
  }

  /** `terminate()` if it runs, as Node's ChildProcess does. */
  [Symbol.dispose](): void {
    if (!this.#state.closed && this.#state.foreign === null && this.isAlive()) this.terminate()
  }

  /** `terminate()` if it runs, then `join()` and `close()`. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#state.closed || this.#state.key === 0) return
    this[Symbol.dispose]()
    await this.join()
    this.close()
  }

  [inspect.custom](): string {
    const { closed, foreign, pid, key } = this.#state
    const kind = this.constructor.name
    if (closed) return `${kind} ${JSON.stringify(this.#name)} { closed }`
    const state = foreign === 'current' ? 'this process'
      : key === 0 ? 'initial' : this.isAlive() ? 'running' : `ended with ${this.#state.exitCode}${this.#state.failure === null ? '' : `: ${this.#state.failure}`}`
    return `${kind} ${JSON.stringify(this.#name)} { ${pid === null ? '' : `pid ${pid}, `}${state}${this.#daemon ? ', daemon' : ''} }`
  }

  /** In the child: becomes the process that the parent described. @internal */
  static become(boot: Boot, key: number): Process {
    const type = boot.type ?? Process
    const { name, daemon } = currentRecord()
    describing = { name, daemon, authKey: settings().authKey, key, pid: process.pid, kind: 'current' }
    let self: Process
    try {
      // The subclass's constructor ran in the parent; its fields come with the message.
      self = Reflect.construct(Process as new () => Process, [], type)
    } finally {
      describing = null
    }
    Object.assign(self, boot.fields)
    if (typeof boot.target === 'function') self.#options = { target: boot.target, args: boot.args }
    return self
  }

  /** A process that exists already. @internal */
  static describe(what: NonNullable<typeof describing>): Process {
    describing = what
    try {
      return new Process()
    } finally {
      describing = null
    }
  }

  /** A daemon of this process that was started natively. @internal */
  static adopt(name: string, key: number, pid: number): Process {
    const child = Process.describe({ name, daemon: true, authKey: settings().authKey, key, pid, kind: 'child' })
    children.add(child)
    return child
  }

  /** Ends it when the parent has nothing left to do: SIGTERM, and SIGKILL after a second. @internal */
  retire(): void {
    const key = this.#key()
    this.#signal('SIGTERM', false)
    native.processKillAfter(key, 1000)
  }
}

/** What to undo when a process object is closed. */
const ended = new class {
  readonly #actions = new WeakMap<Process, () => void>()
  register(of: Process, action: () => void): void { this.#actions.set(of, action) }
  get(of: Process): (() => void) | undefined { return this.#actions.get(of) }
}()

function check(options: ProcessOptions): void {
  if (typeof options !== 'object' || options === null) throw new TypeError('a Process takes an object of options')
  const { target, args, name, daemon, execArgv } = options
  if (target !== undefined && typeof target !== 'function' && (typeof target !== 'object' || target === null || !('module' in target))) {
    throw new TypeError('target must be a function or { module, export }')
  }
  if (args !== undefined && typeof (args as Partial<Iterable<unknown>>)[Symbol.iterator] !== 'function') throw new TypeError('args must be an array')
  if (name !== undefined && typeof name !== 'string') throw new TypeError('name must be a string')
  if (daemon !== undefined && typeof daemon !== 'boolean') throw new TypeError('daemon must be a boolean')
  if (execArgv !== undefined && !Array.isArray(execArgv)) throw new TypeError('execArgv must be an array of strings')
}

/** A module target with its path made absolute; paths are relative to the working directory, as `import` from the command line. */
export function targetOf(target: Target | undefined): Target | null {
  if (target === undefined) return null
  if (typeof target === 'function') return target
  const { module, export: name } = target
  const text = module instanceof URL ? module.href : module
  if (typeof text !== 'string' || text === '') throw new TypeError('target.module must be a URL, a path or a package')
  return { module: isAbsolute(text) || text.startsWith('.') ? new URL(`file://${encodeURI(resolve(text))}`).href : text, export: name }
}

let current: Process | null = null
let parent: Process | null = null

/** The process that this code runs in. */
export function currentProcess(): Process {
  if (current === null) {
    const { name, daemon } = currentRecord()
    current = Process.describe({ name, daemon, authKey: settings().authKey, key: -1, pid: process.pid, kind: 'current' })
  }
  return current
}

/** In a child: becomes the process that the parent described. @internal */
export function enter(boot: Boot): Process {
  current = Process.become(boot, native.processKey())
  return current
}

/** The process that started this one, null in one that the user started. */
export function parentProcess(): Process | null {
  const info = settings().parent
  if (info === null) return null
  parent ??= Process.describe({ name: info.name, daemon: false, authKey: settings().authKey, key: info.key, pid: info.pid, kind: 'parent' })
  return parent
}

/** Children of this process that are alive: a new array each time. */
export function activeChildren(): Process[] {
  return [...children].filter(child => child.isAlive())
}

/** CPUs that this process may use: affinity and cgroup quota counted, at least 1. */
export function cpuCount(): number {
  return native.cpuCount()
}

/** True in the process that the user started, false in every process started by polyproc. */
export const isMainProcess: boolean = !settings().isChild

if (isMainThread) {
  // The parent has nothing left to do: daemons are ended first, then ordinary children are waited for, without a limit.
  process.on('beforeExit', () => {
    const running = activeChildren()
    for (const child of running) if (child.daemon) child.retire()
    for (const child of running) void child.join()
  })
}
