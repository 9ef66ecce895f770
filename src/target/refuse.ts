/**
 * What is said of what cannot travel: what it is, where it was declared, and what to do instead. A silent difference
 * between two processes is the worst bug of all, so everything here is refused before anything is sent.
 */

import { types } from 'node:util'
import { SerializationError } from '../errors.js'
import { inspect, type AnyFunction } from './inspector.js'
import { nameOf } from './names.js'
import { scriptOf } from './scripts.js'
import type { Capture, Obstacle, Plan } from './plan.js'

/** How a function is called in messages. */
export function titleOf(fn: AnyFunction): string {
  return fn.name === '' ? 'an anonymous function' : `'${fn.name}'`
}

/** Where a captured variable is declared, as `file:line:column`. */
function declaredAt({ place: { script } }: Plan, { binding, uses }: Capture): string {
  return script.describe(binding?.at ?? uses[0]!.node.start)
}

/** A captured variable holds what cannot be sent. */
export function refuseValue(plan: Plan, capture: Capture, fn: AnyFunction, reason: string): SerializationError {
  return new SerializationError(`${titleOf(fn)} captures '${capture.name}' (declared at ${declaredAt(plan, capture)}), which cannot be sent: ${reason}`, capture.name)
}

export function refuseAssignment(plan: Plan, capture: Capture, fn: AnyFunction, at: number): SerializationError {
  return new SerializationError(`${titleOf(fn)} assigns the captured variable '${capture.name}' (declared at ${declaredAt(plan, capture)}, assigned at `
    + `${plan.place.script.describe(at)}): the assignment would be lost, because another process has a copy of the variable. Return the value, `
    + 'share a number with Value, or keep what each process has of its own in perProcess', capture.name)
}

export function refuseUninitialised(plan: Plan, capture: Capture, fn: AnyFunction): SerializationError {
  return new SerializationError(`${titleOf(fn)} captures '${capture.name}' (declared at ${declaredAt(plan, capture)}), which has no value yet: `
    + 'send the function after the declaration has run', capture.name)
}

export function refuseObstacle(plan: Plan, fn: AnyFunction, { kind, name, at }: Obstacle): SerializationError {
  const where = plan.place.script.describe(at)
  const reason = kind === 'eval'
    ? `uses eval or with, or stands in a function that does (${where}), so what it captures cannot be read from its text: write it without, or export it from a module other than the entry`
    : kind === 'super'
      ? `uses super (${where}), which belongs to the object or class that it was written in: send that class or an instance of it, or a function that does not use super`
      : `uses the private name ${name} (${where}), which only its class has: send the class itself`
  return new SerializationError(`${titleOf(fn)} ${reason}`, '')
}

export function refuseShared(plan: Plan, capture: Capture, fn: AnyFunction): SerializationError {
  return new SerializationError(`${titleOf(fn)} shares the variable '${capture.name}' (declared at ${declaredAt(plan, capture)}) with another function of this message, `
    + 'or has one of its own that looks the same, and while a debugger is attached the two cannot be told apart: put the variable into an object, or detach the debugger', capture.name)
}

export function refuseNative(fn: AnyFunction, where: string): SerializationError {
  return new SerializationError(`${titleOf(fn)} ${where}: it has no text that could be sent. Wrap it in a function that `
    + 'imports or makes it where it runs, or keep it in perProcess', '')
}

export function refuseThis(plan: Plan, fn: AnyFunction, what: string): SerializationError {
  const use = plan.lexicals.find(item => item.kind === what)
  return new SerializationError(`${titleOf(fn)} uses ${what} of the function around it (${plan.place.script.describe(use?.node.start ?? plan.place.node.start)}), `
    + 'which cannot be read while a debugger is attached: copy it into a variable first (const self = this), or detach the debugger', what)
}

/** Why a captured value cannot be sent, or undefined if nothing is known against it: its inside is the codec's to judge. */
export function reasonAgainst(value: unknown): string | undefined {
  if (typeof value === 'symbol') {
    return Symbol.keyFor(value) === undefined && !isWellKnown(value) ? 'a symbol is known to one process alone; use Symbol.for, or a string' : undefined
  }
  if (typeof value !== 'object' || value === null) return undefined
  if (types.isPromise(value)) return 'a Promise belongs to this process; await it first, and capture what it resolves to'
  if (types.isWeakMap(value) || types.isWeakSet(value) || value instanceof WeakRef) {
    return `a ${types.isWeakMap(value) ? 'WeakMap' : types.isWeakSet(value) ? 'WeakSet' : 'WeakRef'} is about objects of this process alone; use a Map, or keep one in perProcess`
  }
  if (types.isGeneratorObject(value)) return 'a running generator cannot leave its process; send what it yields'
  if (types.isExternal(value)) return 'a native pointer means nothing to another process; make what it points to there, in perProcess'
  if (value instanceof AbortSignal || value instanceof AbortController) {
    return `an ${value instanceof AbortSignal ? 'AbortSignal' : 'AbortController'} reaches no other process; pass it as the task's signal option, and ask currentTask().signal in the task`
  }
  const native = nativeNoun(value)
  if (native !== undefined) return `it is ${native}, which belongs to this process (a handle of the operating system, or native memory); open one where the function runs, or keep one there in perProcess`
  return undefined
}

/** Classes whose instances are a handle of this process, by name: they are told without loading their modules. */
const NATIVE_CLASSES: ReadonlySet<string> = new Set([
  'Socket', 'Server', 'TLSSocket', 'ChildProcess', 'Worker', 'MessagePort', 'MessageChannel', 'BroadcastChannel', 'FileHandle', 'ReadStream',
  'WriteStream', 'FSWatcher', 'StatWatcher', 'Timeout', 'Immediate', 'ClientRequest', 'IncomingMessage', 'ServerResponse', 'Http2Session', 'Hash',
  'Hmac', 'Cipheriv', 'Decipheriv', 'Sign', 'Verify', 'Readable', 'Writable', 'Duplex', 'Transform', 'PassThrough', 'ReadableStream',
  'WritableStream', 'TransformStream', 'Interface', 'Gzip', 'Gunzip', 'Deflate', 'Inflate', 'Script', 'Context', 'Dir', 'FinalizationRegistry', 'Session',
  'AsyncLocalStorage', 'AsyncResource', 'DatabaseSync', 'StatementSync', 'Module', 'Instance', 'Memory',
])

function nativeNoun(value: object): string | undefined {
  // Walks up, so that a class of the user's own that extends one of them is told as well.
  for (let at: unknown = Object.getPrototypeOf(value); typeof at === 'object' && at !== null && at !== Object.prototype; at = Object.getPrototypeOf(at)) {
    const name = (Object.getOwnPropertyDescriptor(at, 'constructor')?.value as { name?: unknown } | undefined)?.name
    if (typeof name !== 'string' || !NATIVE_CLASSES.has(name)) continue
    const maker = (at as { constructor: unknown }).constructor
    // A class of the user's may have such a name: Node's own are not written in a file of the program.
    if (isNodesOwn(maker as object)) return /^[AEIOU]/.test(name) ? `an ${name}` : `a ${name}`
  }
  return undefined
}

/** Whether a class is one of Node's: by its name there, or by where its text is. */
function isNodesOwn(maker: object): boolean {
  if (nameOf(maker) !== undefined) return true
  try {
    const { location } = inspect(maker as AnyFunction)
    return location === null || scriptOf(location)?.url.startsWith('node:') === true
  } catch {
    // Without the inspector the name has to do.
    return true
  }
}

function isWellKnown(value: symbol): boolean {
  return value.description?.startsWith('Symbol.') === true && (Symbol as unknown as Record<string, unknown>)[value.description.slice(7)] === value
}
