/**
 * Errors: class, message, stack, cause, the errors of an AggregateError and own properties. An error always gets
 * through: where its class cannot travel, the nearest class that can takes its place and the name is kept. Only what
 * hangs on it can still refuse.
 *
 * On the wire: tag, then the class (a built-in name, the name of one of this package's, or the class itself), the
 * stack, and the number of own properties with a key, whether it is enumerable, and a value each.
 */

import { classOfName } from '../errors.js'
import { isNative } from './classify.js'
import type { Decoder } from './decoder.js'
import { classOf } from './encode-builtins.js'
import type { Encoder } from './encoder.js'
import { MalformedError, Tag } from './format.js'
import { Refusal } from './refusal.js'

const builtin: Record<string, ErrorConstructor> = {
  Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError,
  AggregateError: AggregateError as unknown as ErrorConstructor,
}
const nameOfPrototype = new Map<object, string>(Object.entries(builtin).map(([name, Class]) => [Class.prototype as object, name]))

/** The name under which the receiver finds a class of the language or of this package, walking up to one. */
function nearestName(value: Error): { name: string; exact: boolean } {
  let exact = true
  let prototype = Object.getPrototypeOf(value) as object | null
  while (prototype !== null) {
    const known = nameOfPrototype.get(prototype)
    if (known !== undefined) return { name: known, exact }
    const own: unknown = Object.getOwnPropertyDescriptor(prototype, 'constructor')?.value
    if (typeof own === 'function') {
      if (classOfName(own.name)?.prototype === prototype) return { name: own.name, exact }
      // The built-in classes of another realm.
      if (Object.hasOwn(builtin, own.name) && isNative(own)) {
        return { name: own.name, exact }
      }
    }
    exact = false
    prototype = Object.getPrototypeOf(prototype) as object | null
  }
  return { name: 'Error', exact: false }
}

/** The class to send an error of a user's class with, or null where it cannot travel. */
function shippedClass(to: Encoder, value: Error): ((...args: never) => unknown) | null {
  if (to.extensions.instance === undefined || to.extensions.fn === undefined) return null
  try {
    const Class = classOf(to, value)
    // Asked here and not left to the encoder, because halfway through there is no way back.
    to.extensions.fn.describe(Class)
    return Class
  } catch {
    return null
  }
}

export function encodeError(to: Encoder, value: Error): void {
  const { name, exact } = nearestName(value)
  const Class = exact ? null : shippedClass(to, value)
  const own = Object.getOwnPropertyNames(value).filter(key => key !== 'stack')
  // Without its class, the name that the class gave it is what is left of it.
  const keepName = !exact && Class === null && !own.includes('name')
  to.writeTag(Tag.Error)
  to.write(Class ?? name)
  to.write(stackOf(value))
  to.write(own.length + (keepName ? 1 : 0))
  for (const key of own) {
    to.write(key)
    to.write(Object.prototype.propertyIsEnumerable.call(value, key))
    to.write((value as unknown as Record<string, unknown>)[key])
  }
  if (keepName) {
    to.write('name')
    to.write(false)
    to.write(typeof value.name === 'string' ? value.name : name)
  }
}

/** The stack, if there is one that can be had: `prepareStackTrace` is the program's own and may throw or return anything. */
function stackOf(value: Error): string | undefined {
  try {
    return typeof value.stack === 'string' ? value.stack : undefined
  } catch {
    return undefined
  }
}

/** Reads what {@link encodeError} wrote, behind its tag. */
export function decodeError(from: Decoder): Error {
  const place = from.reserve()
  const Class = from.read()
  let prototype: object
  if (typeof Class === 'function') prototype = (Class as { prototype: object }).prototype
  else if (typeof Class !== 'string') throw new MalformedError('an error has no class')
  else prototype = (Object.hasOwn(builtin, Class) ? builtin[Class]! : classOfName(Class) ?? Error).prototype
  const error = blankError()
  if (Object.getPrototypeOf(error) !== prototype) Object.setPrototypeOf(error, prototype)
  from.settle(place, error)
  define(error, 'stack', from.read(), false)
  const count = from.readCount(3)
  for (let i = 0; i < count; i += 1) {
    const key = from.read()
    if (typeof key !== 'string') throw new MalformedError('a property has no name')
    const enumerable = from.read() === true
    define(error, key, from.read(), enumerable)
  }
  return error
}

function define(target: object, key: string, value: unknown, enumerable: boolean): void {
  Object.defineProperty(target, key, { value, enumerable, writable: true, configurable: true })
}

/** An error without a stack of its own, which would cost more than the rest and is replaced anyway. */
function blankError(): Error {
  const limit = Error.stackTraceLimit
  Error.stackTraceLimit = 0
  try {
    return new Error()
  } finally {
    Error.stackTraceLimit = limit
  }
}

/** A DOMException (an AbortError, a TimeoutError): its name and message are hidden in the object. */
export function encodeDomException(to: Encoder, value: DOMException): void {
  if (typeof value.name !== 'string') throw new Refusal(value, '')
  to.writeTag(Tag.DomException)
  to.write(value.message)
  to.write(value.name)
  to.write(stackOf(value))
  to.write((value as { cause?: unknown }).cause)
}

/** Reads what {@link encodeDomException} wrote, behind its tag. */
export function decodeDomException(from: Decoder): DOMException {
  const place = from.reserve()
  const error = new DOMException(String(from.read()), String(from.read()))
  from.settle(place, error)
  define(error, 'stack', from.read(), false)
  const cause = from.read()
  if (cause !== undefined) define(error, 'cause', cause, false)
  return error
}
