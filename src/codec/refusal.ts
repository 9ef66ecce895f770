/**
 * What is said when a value cannot be sent: what it is, where it stands, and what to do instead. The path is found
 * only then, by a second walk over the value that is slow and calls no getter.
 */

import { types } from 'node:util'
import { SerializationError } from '../errors.js'
import type { Extensions } from './extensions.js'

/** Thrown inside the encoder with the value that cannot be sent; it never leaves the codec. */
export class Refusal extends Error {
  readonly value: unknown
  readonly reason: string

  /** @param cause An extension's own error about the value, which then stands in place of ours. */
  constructor(value: unknown, reason: string, cause?: SerializationError) {
    super(reason, { cause })
    this.value = value
    this.reason = reason
  }
}

const article = (noun: string): string => (/^[AEIOU]/i.test(noun) ? 'an ' : 'a ') + noun

/** A noun for the value, as it stands in the message. */
export function nounOf(value: unknown): string {
  if (typeof value === 'symbol') return 'a symbol'
  if (typeof value === 'function') {
    const kind = /^class\b/.test(Function.prototype.toString.call(value)) ? 'class' : 'function'
    return value.name === '' ? `a ${kind}` : `the ${kind} ${value.name}`
  }
  if (typeof value !== 'object' || value === null) return String(value)
  if (types.isPromise(value)) return 'a Promise'
  if (types.isExternal(value)) return 'a native pointer'
  if (types.isModuleNamespaceObject(value)) return 'a module namespace'
  let name: unknown
  try {
    name = (value as { constructor?: { name?: unknown } }).constructor?.name
  } catch {
    // A Proxy or a getter that throws: the noun is all that is lost.
  }
  return typeof name === 'string' && name !== '' && name !== 'Object' ? article(name) : 'an object with a prototype of its own'
}

/** What to do instead, for the kinds where there is an answer. */
export function adviceFor(value: unknown): string {
  if (types.isPromise(value)) return 'await it first, and send what it resolves to'
  if (types.isSharedArrayBuffer(value)) return 'its memory belongs to one process; use SharedMemory or SharedArray'
  if (types.isWeakMap(value) || types.isWeakSet(value) || value instanceof WeakRef) {
    return 'what it holds is known to this process alone'
  }
  if (types.isGeneratorObject(value)) return 'a running generator cannot leave its process; send what it yields'
  if (types.isModuleNamespaceObject(value)) return 'capture the variable that it was imported as, or import it where it is needed'
  if (typeof value === 'symbol') return 'symbols are known to one process alone; send a string'
  return ''
}

const identifier = /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u

function step(key: string, isArray: boolean): string {
  if (isArray && /^\d+$/.test(key)) return `[${key}]`
  return identifier.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`
}

/** Nodes that the walk looks at before it gives up: an error must not take longer than a coffee. */
const MAX_STEPS = 1_000_000

/**
 * The path from `root` to `target`, or '' if it is the root or cannot be found without calling a getter.
 * Breadth first, so that of several paths the shortest is named.
 */
export function findPath(root: unknown, target: unknown, start: string, extensions: Extensions): string {
  const seen = new Set<unknown>([root])
  const queue: [unknown, string][] = [[root, start]]
  const visit = (value: unknown, path: string): boolean => {
    if (value === target) return true
    if (((typeof value === 'object' && value !== null) || typeof value === 'function') && !seen.has(value)) {
      seen.add(value)
      queue.push([value, path])
    }
    return false
  }
  if (root === target) return start
  for (let at = 0; at < queue.length && at < MAX_STEPS; at += 1) {
    const [value, path] = queue[at]!
    try {
      for (const [suffix, child] of childrenOf(value as object, extensions)) {
        const below = path === '' ? suffix.replace(/^\./, '') : path + suffix
        if (visit(child, below)) return below
      }
    } catch {
      // A Proxy that throws: the path through it stays unknown.
    }
  }
  return start
}

/** What an object holds, each with the text that leads there. */
function* childrenOf(value: object, extensions: Extensions): Generator<[string, unknown]> {
  if (typeof value === 'function') {
    const described = extensions.fn?.describe(value as never)
    for (const part of [described?.head, described?.body]) {
      if (typeof part === 'object' && part !== null) yield* childrenOf(part, extensions)
    }
    return
  }
  if (ArrayBuffer.isView(value)) {
    yield ['.buffer', value.buffer]
    return
  }
  if (types.isMap(value)) {
    let index = 0
    for (const [key, item] of Map.prototype.entries.call(value)) {
      yield [`.keys[${index}]`, key]
      yield [typeof key === 'string' || typeof key === 'number' ? `.get(${JSON.stringify(key)})` : `.values[${index}]`, item]
      index += 1
    }
  } else if (types.isSet(value)) {
    let index = 0
    for (const item of Set.prototype.values.call(value)) yield [`.values[${index++}]`, item]
  }
  const isArray = Array.isArray(value)
  const names = types.isNativeError(value) ? Object.getOwnPropertyNames(value) : Object.keys(value)
  for (const name of names) {
    const descriptor = Object.getOwnPropertyDescriptor(value, name)
    if (descriptor !== undefined && 'value' in descriptor) {
      yield [step(name, isArray), descriptor.value]
    }
  }
}

/** The error to throw to the caller for whatever the encoder threw. */
export function toSerializationError(error: unknown, root: unknown, start: string, extensions: Extensions): unknown {
  if (error instanceof Refusal) {
    const path = findPath(root, error.value, start, extensions)
    const where = path === '' ? '' : `${path}: `
    if (error.cause instanceof SerializationError) {
      return path === '' ? error.cause : new SerializationError(where + error.cause.message, path, { cause: error.cause })
    }
    return new SerializationError(`${where}${nounOf(error.value)} cannot be sent${error.reason === '' ? '' : `: ${error.reason}`}`, path)
  }
  if (error instanceof RangeError && /call stack/.test(error.message)) {
    return new SerializationError('the value is nested too deeply to be sent', start, { cause: error })
  }
  // A getter's own error, or one of the extensions: it says more than we could.
  return error
}
