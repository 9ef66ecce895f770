/**
 * Options of pools and tasks, checked.
 */

import { inspect } from 'node:util'
import { cpuCount, type ModuleTarget } from '../process.js'

/** How a pool is made. */
export interface PoolOptions {
  /** Most workers at a time; they start when there is work. Default `cpuCount()`. */
  processes?: number | undefined
  /** 'process' (default): isolated, killable; 'thread': worker_threads, cheaper to start. */
  kind?: 'process' | 'thread' | undefined
  /** Runs in each worker before its first task; a closure needs no `initArgs`. What it should keep belongs in `perProcess`. */
  // Any function, as the arguments go to it as they are.
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  initializer?: ((...args: any[]) => unknown) | ModuleTarget | undefined
  initArgs?: readonly unknown[] | undefined
  /** Tasks after which a worker is replaced; a chunk of a map is one task. Default: no limit. */
  maxTasksPerChild?: number | undefined
  /** Bytes of memory of its own (RssAnon, not the shared memory) over which a worker is replaced once idle. */
  maxMemoryPerChild?: number | undefined
  /** Workers kept when idle; the others end after `idleTimeout` ms. Default: all are kept. */
  minProcesses?: number | undefined
  /** In ms; default 10,000 where `minProcesses` is given. */
  idleTimeout?: number | undefined
  /** Tasks waiting; over it `apply…` rejects with Full at once. Default: no limit. */
  maxQueue?: number | undefined
  /** Tasks that a worker runs at the same time, for those that mostly wait. Default 1. */
  concurrency?: number | undefined
  /** Between asking a task to stop and SIGKILL to its worker, in ms. Default 1000. */
  killAfter?: number | undefined
  /** Workers lost in a row, with no task finished between, before BrokenPoolError. Default 10. */
  maxRestarts?: number | undefined
  /** Environment of the workers; default: this process's. */
  env?: NodeJS.ProcessEnv | undefined
  cwd?: string | URL | undefined
  execArgv?: readonly string[] | undefined
  stdio?: 'inherit' | 'ignore' | undefined
  /** For people; default `Pool-1`, and so on. Workers are called after it. */
  name?: string | undefined
}

/** Options with their defaults. */
export interface Settings {
  readonly processes: number
  readonly kind: 'process' | 'thread'
  readonly initializer: PoolOptions['initializer']
  readonly initArgs: readonly unknown[]
  readonly maxTasksPerChild: number
  readonly maxMemoryPerChild: number
  readonly minProcesses: number
  readonly idleTimeout: number
  readonly maxQueue: number
  readonly concurrency: number
  readonly killAfter: number
  readonly maxRestarts: number
  readonly env: NodeJS.ProcessEnv | undefined
  readonly cwd: string | URL | undefined
  readonly execArgv: readonly string[] | undefined
  readonly stdio: 'inherit' | 'ignore'
  readonly name: string
}

const show = (value: unknown): string => inspect(value)

/** @throws RangeError naming the option. */
function whole(name: string, value: unknown, least: number, fallback: number): number {
  if (value === undefined) return fallback
  if (value === Infinity && fallback === Infinity) return Infinity
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < least) {
    throw new RangeError(`${name} must be a whole number of ${least} or more, not ${show(value)}`)
  }
  return value
}

/** @throws RangeError naming the option. */
function ms(name: string, value: unknown, fallback: number): number {
  if (value === undefined) return fallback
  if (typeof value !== 'number' || Number.isNaN(value) || value < 0) throw new RangeError(`${name} must be a number of milliseconds, not ${show(value)}`)
  return value
}

function oneOf<T extends string>(name: string, value: unknown, words: readonly T[]): T {
  if (value === undefined) return words[0]!
  if (!words.includes(value as T)) throw new TypeError(`${name} must be ${words.map(word => `'${word}'`).join(' or ')}, not ${show(value)}`)
  return value as T
}

let made = 0

/** @throws RangeError, TypeError for what cannot be meant. */
export function settingsOf(given: PoolOptions | number | undefined): Settings {
  if (given !== undefined && typeof given !== 'number' && (typeof given !== 'object' || (given as unknown) === null)) throw new TypeError('a Pool takes a number of processes or an object of options')
  const options = typeof given === 'number' ? { processes: given } : given ?? {}
  const { initializer, initArgs = [], env, cwd, execArgv, name } = options
  if (initializer !== undefined && typeof initializer !== 'function' && (typeof initializer !== 'object' || (initializer as unknown) === null || !('module' in initializer))) {
    throw new TypeError('initializer must be a function or { module, export }')
  }
  if (typeof (initArgs as Partial<Iterable<unknown>>)[Symbol.iterator] !== 'function') throw new TypeError('initArgs must be an array')
  if (name !== undefined && typeof name !== 'string') throw new TypeError('name must be a string')
  const processes = whole('processes', options.processes, 1, cpuCount())
  const idles = options.minProcesses !== undefined || options.idleTimeout !== undefined
  made += 1
  return {
    processes, initializer, initArgs: [...initArgs], env, cwd, execArgv,
    kind: oneOf('kind', options.kind, ['process', 'thread']),
    stdio: oneOf('stdio', options.stdio, ['inherit', 'ignore']),
    maxTasksPerChild: whole('maxTasksPerChild', options.maxTasksPerChild, 1, Infinity),
    maxMemoryPerChild: whole('maxMemoryPerChild', options.maxMemoryPerChild, 1, Infinity),
    minProcesses: Math.min(processes, whole('minProcesses', options.minProcesses, 0, idles ? 0 : processes)),
    idleTimeout: ms('idleTimeout', options.idleTimeout, idles ? 10_000 : Infinity),
    maxQueue: whole('maxQueue', options.maxQueue, 1, Infinity),
    concurrency: whole('concurrency', options.concurrency, 1, 1),
    killAfter: ms('killAfter', options.killAfter, 1000),
    maxRestarts: whole('maxRestarts', options.maxRestarts, 1, 10),
    name: name ?? `Pool-${made}`,
  }
}

/** Options of a task. */
export interface TaskOptions {
  /** Aborting stops it, queued or running; rejects with `signal.reason`. */
  signal?: AbortSignal | undefined
  /** From submission, TimeoutError; the worker is stopped (cooperatively, then killed) when it passes. For `map…` of the whole call, for `imap…` of each item's chunk. */
  timeout?: number | undefined
  /** Times to run it again after WorkerLostError, never after an error that it throws. Default 0. In maps: only items without a result; a chunk that is lost is run again item by item. */
  retries?: number | undefined
  /** Higher first, -4 to 3 (RangeError otherwise); waiting raises it. Default 0. */
  priority?: number | undefined
  /** Travels to the task: `currentTask().context`. */
  context?: unknown
}

const MOST_RETRIES = 1000

/** Options of a task, checked; shared by all tasks that have none. */
export interface TaskSettings {
  readonly signal: AbortSignal | undefined
  readonly timeout: number
  /** How often it may be begun. */
  readonly attempts: number
  /** 0 for the default priority, else see {@link levelOf}. */
  readonly level: number
  readonly context: unknown
}

/** Priorities from the highest: the place of each is its level, but for the default, which is level 0. */
export const PRIORITIES = [0, 3, 2, 1, -1, -2, -3, -4] as const
/** Levels in the order in which they are served. */
export const SERVED = [1, 2, 3, 0, 4, 5, 6, 7] as const

function levelOf(priority: number | undefined): number {
  if (priority === undefined || priority === 0) return 0
  const level = PRIORITIES.indexOf(priority as never)
  if (level < 0) throw new RangeError(`priority must be a whole number from -4 to 3, not ${String(priority)}`)
  return level
}

export const plainTask: TaskSettings = { signal: undefined, timeout: Infinity, attempts: 1, level: 0, context: undefined }

/** @throws RangeError, TypeError for what cannot be meant. */
export function taskSettingsOf(options: TaskOptions | undefined): TaskSettings {
  if (options === undefined) return plainTask
  const { signal, timeout, context } = options
  if (signal !== undefined && !(signal instanceof AbortSignal)) throw new TypeError('signal must be an AbortSignal')
  if (timeout !== undefined && (typeof timeout !== 'number' || Number.isNaN(timeout))) throw new RangeError(`timeout must be a number of milliseconds, not ${String(timeout)}`)
  return {
    signal, context, timeout: timeout ?? Infinity, level: levelOf(options.priority),
    attempts: Math.min(MOST_RETRIES, whole('retries', options.retries, 0, 0)) + 1,
  }
}

/** Items a chunk, undefined for the planner's choice. @throws RangeError. */
export function chunkSizeOf(chunkSize: number | undefined): number | undefined {
  return chunkSize === undefined ? undefined : whole('chunkSize', chunkSize, 1, 1)
}

/** Inputs read ahead, undefined for the default. @throws RangeError. */
export function bufferSizeOf(bufferSize: number | undefined): number | undefined {
  return bufferSize === undefined || bufferSize === Infinity ? bufferSize : whole('bufferSize', bufferSize, 1, 1)
}
