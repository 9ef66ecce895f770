/**
 * Functions and objects that every process has, by their names: those of the language and of Node's modules
 * (`Math.sqrt`, `fs.readFileSync`, `process`), and those of this package. They are never copied.
 */

/* eslint-disable @typescript-eslint/unbound-method -- accessors are looked at as values here, and called by nobody */

import { createRequire, builtinModules } from 'node:module'
import type { AnyFunction } from './inspector.js'

/**
 * `[root, …steps]`: root is `global`, `package` or a module's name with `node:`; a step is a property's name, or
 * `get x` / `set x` for an accessor's function.
 */
export type NamePath = readonly string[]

const load = createRequire(import.meta.filename)
const names = new Map<object, NamePath>()
let known: Set<string> | undefined
let packageExports: Readonly<Record<string, unknown>> = {}

/**
 * Tells that these are this package's own functions and classes: they travel by name, and mean those of the process
 * that they arrive in.
 */
export function registerPackage(exports: Readonly<Record<string, unknown>>): void {
  packageExports = exports
  for (const [name, value] of Object.entries(exports)) if (isObject(value)) names.set(value, ['package', name])
}

/**
 * The name of a function, as {@link nameOf}, without looking through all that has one unless it may be among them: that
 * takes some 10 ms the first time, which a program whose functions are its own need not spend.
 *
 * @param isOfProgram Says whether its text is in a script of the program's; asked if nothing simpler tells.
 */
export function nameOfFunction(fn: AnyFunction, isOfProgram: () => boolean): NamePath | undefined {
  const found = names.get(fn)
  if (found !== undefined) return found
  if (known === undefined && isExported(fn)) return nameOf(fn)
  if (isNative(fn) || !isOfProgram()) return nameOf(fn)
  isListed = true
  return undefined
}

/** Functions of the program were asked for: the inspector has listed its scripts, and telling what is in them is cheap. */
let isListed = false

/** Whether one of Node's modules exports a function, or the global object has it, under its own name. */
function isExported(fn: AnyFunction): boolean {
  const { name } = fn
  if (name === '' || isListed) return false
  const has = (holder: unknown): boolean => isObject(holder) && Object.getOwnPropertyDescriptor(holder, name)?.value === fn
  return has(globalThis) || loadedModules().some(module => has(load(`node:${module}`)))
}

function isNative(fn: AnyFunction): boolean {
  return Function.prototype.toString.call(fn).endsWith('{ [native code] }')
}

/**
 * Whether an object may have a name, by what it looks like: a plain one that has one is a module, most of which begin
 * with a function, or shows nothing but a tag, as `Math` does.
 */
export function mayHaveName(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype === Array.prototype) return false
  if (prototype !== Object.prototype) return true
  for (const key in value) return UNLIKE.has(key) || typeof Object.getOwnPropertyDescriptor(value, key)?.value === 'function'
  return (value as { [Symbol.toStringTag]?: unknown })[Symbol.toStringTag] !== undefined
}

/** What the modules of Node begin with that do not begin with a function: worker_threads, tls, domain, constants. */
const UNLIKE = new Set(['isMainThread', 'CLIENT_RENEG_LIMIT', '_stack', 'RTLD_LAZY'])

/** The name of a function or object, if it has one that any process understands. */
export function nameOf(value: object): NamePath | undefined {
  if (known === undefined) {
    known = new Set()
    // Getters are not called: some of the global object's (fetch, crypto, localStorage) load a library or print a warning.
    for (const key of Object.getOwnPropertyNames(globalThis)) {
      const item = Object.getOwnPropertyDescriptor(globalThis, key)
      if (item !== undefined && 'value' in item && isStandard(key)) add(item.value, ['global', key], 3)
    }
    names.set(globalThis, ['global'])
    for (const key of ['process', 'Buffer', 'console', 'performance'] as const) add(globalThis[key], ['global', key], 2)
    // Prototypes that no global names, through something that has them.
    for (const [index, root] of unnamed().entries()) add(root, ['unnamed', String(index)], 2)
  }
  const found = names.get(value)
  if (found !== undefined) return found
  return addLoadedModules() ? names.get(value) : undefined
}

/** The value behind a name. @throws TypeError if this process has nothing of that name. */
export function resolveName(path: NamePath): unknown {
  const [root, ...steps] = path
  let at: unknown = root === 'global' ? globalThis : root === 'package' ? packageExports : root === 'unnamed' ? unnamed() : load(root!)
  for (const step of steps) {
    const accessor = /^([gs]et) (.*)$/s.exec(step)
    if (accessor !== null && !Object.hasOwn(at as object, step)) {
      at = Object.getOwnPropertyDescriptor(at, symbolOr(accessor[2]!))?.[accessor[1] as 'get' | 'set']
    } else at = (at as Record<PropertyKey, unknown>)[symbolOr(step)]
    if (at === undefined || at === null) throw new TypeError(`this process has no ${path.join('.')}`)
  }
  return at
}

function unnamed(): unknown[] {
  return [
    Object.getPrototypeOf(Uint8Array), Object.getPrototypeOf([][Symbol.iterator]()), Object.getPrototypeOf(new Map()[Symbol.iterator]()),
    Object.getPrototypeOf(new Set()[Symbol.iterator]()), Object.getPrototypeOf(''[Symbol.iterator]()),
    Object.getPrototypeOf(async function () { /* only its constructor */ }), Object.getPrototypeOf(function* () { /* as above */ }),
    Object.getPrototypeOf(async function* () { /* as above */ }),
  ]
}

/** Symbols of the language stand as `@@iterator`. */
function symbolOr(step: string): PropertyKey {
  return step.startsWith('@@') ? (Symbol as unknown as Record<string, symbol>)[step.slice(2)] ?? step : step
}

/** Names of the global object before a program added to it cannot be told from later ones: those of a fresh context can. */
let standard: Set<string> | undefined
function isStandard(key: string): boolean {
  standard ??= new Set([
    'Object', 'Function', 'Array', 'Number', 'parseFloat', 'parseInt', 'Boolean', 'String', 'Symbol', 'Date', 'Promise', 'RegExp', 'Error',
    'AggregateError', 'EvalError', 'RangeError', 'ReferenceError', 'SyntaxError', 'TypeError', 'URIError', 'JSON', 'Math', 'Intl', 'ArrayBuffer',
    'Atomics', 'Uint8Array', 'Int8Array', 'Uint16Array', 'Int16Array', 'Uint32Array', 'Int32Array', 'Float32Array', 'Float64Array',
    'Uint8ClampedArray', 'BigUint64Array', 'BigInt64Array', 'DataView', 'Map', 'BigInt', 'Set', 'Iterator', 'WeakMap', 'WeakSet', 'WeakRef', 'Proxy',
    'Reflect', 'FinalizationRegistry', 'decodeURI', 'decodeURIComponent', 'encodeURI', 'encodeURIComponent', 'escape', 'unescape', 'eval',
    'isFinite', 'isNaN', 'console', 'SharedArrayBuffer', 'WebAssembly', 'URL', 'URLSearchParams', 'TextEncoder', 'TextDecoder', 'AbortController',
    'AbortSignal', 'EventTarget', 'Event', 'MessageChannel', 'MessagePort', 'MessageEvent', 'Blob', 'DOMException', 'BroadcastChannel',
    'clearInterval', 'clearTimeout', 'setInterval', 'setTimeout', 'queueMicrotask', 'structuredClone', 'atob', 'btoa', 'setImmediate',
    'clearImmediate', 'fetch', 'performance', 'Float16Array',
  ])
  return standard.has(key)
}

function isObject(value: unknown): value is object {
  return (typeof value === 'object' && value !== null) || typeof value === 'function'
}

function add(value: unknown, path: NamePath, depth: number): void {
  if (!isObject(value) || names.has(value)) return
  names.set(value, path)
  if (depth === 0) return
  for (const key of Reflect.ownKeys(value)) {
    const step = typeof key === 'string' ? key : key.description?.startsWith('Symbol.') === true ? `@@${key.description.slice(7)}` : undefined
    const item = Object.getOwnPropertyDescriptor(value, key)
    if (step === undefined || item === undefined || key === 'constructor') continue
    if ('value' in item) {
      // Objects below that are not namespaces are somebody's data (process.env), and plain ones are sent as data.
      if (typeof item.value === 'function' || isNamespace(step, item.value)) add(item.value, [...path, step], depth - 1)
    } else {
      if (item.get !== undefined) add(item.get, [...path, `get ${step}`], 0)
      if (item.set !== undefined) add(item.set, [...path, `set ${step}`], 0)
    }
  }
}

function isNamespace(step: string, value: unknown): boolean {
  return step === 'prototype' || (isObject(value) && Object.prototype.toString.call(value) !== '[object Object]' && !Array.isArray(value))
}

const COMMON = ['assert', 'buffer', 'child_process', 'crypto', 'events', 'fs', 'fs/promises', 'http', 'https', 'net', 'os', 'path', 'perf_hooks',
  'querystring', 'readline', 'stream', 'stream/promises', 'string_decoder', 'timers', 'timers/promises', 'url', 'util', 'v8', 'vm', 'worker_threads', 'zlib']

/** Entries of Node's list of loaded modules that were looked at. */
let seen = -1

function loadList(): readonly string[] {
  // A test runner's `process` may be a copy without the list: then what programs use most is loaded.
  return (process as unknown as { moduleLoadList?: string[] }).moduleLoadList ?? COMMON.map(name => `NativeModule ${name}`)
}

/** Modules of Node that have been loaded. */
function loadedModules(): string[] {
  const loaded = new Set(loadList())
  return builtinModules.filter(name => !name.startsWith('_') && !['punycode', 'sys', 'wasi', 'repl'].includes(name) && loaded.has(`NativeModule ${name}`))
}

/** Adds the modules of Node that have been loaded since; true if there were any. Loads none. */
function addLoadedModules(): boolean {
  const { length } = loadList()
  if (length === seen) return false
  seen = length
  let added = false
  for (const name of loadedModules()) {
    if (known!.has(name)) continue
    known!.add(name)
    added = true
    const exports: unknown = load(`node:${name}`)
    add(exports, [`node:${name}`], 2)
    // Objects that hang on a module and hold functions: `fs.promises`, `path.posix`, `util.types`.
    for (const key of ['promises', 'posix', 'win32', 'types', 'webcrypto', 'constants']) {
      if (isObject(exports) && Object.hasOwn(exports, key)) add((exports as Record<string, unknown>)[key], [`node:${name}`, key], 2)
    }
  }
  return added
}
