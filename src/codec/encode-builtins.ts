/**
 * Encodes objects that are neither plain nor arrays: what the language and Node bring along, handles, and instances
 * of classes.
 */

import type { KeyObject } from 'node:crypto'
import { classify, Shape } from './classify.js'
import { type Encoder, isIndex } from './encoder.js'
import { encodeDomException, encodeError } from './error-values.js'
import { Tag } from './format.js'
import { adviceFor, Refusal } from './refusal.js'

/** Writes an object whose prototype is not `Object.prototype`, and which has its number already. */
export function encodeOther(to: Encoder, value: object, prototype: object | null): void {
  const { handle } = to.extensions
  if (handle?.isHandle(value) === true) {
    to.writeHandle(value)
    return
  }
  const { shape, derived } = classify(value, prototype)
  if (derived) {
    encodeDerived(to, value, shape)
    return
  }
  encodeBuiltin(to, value, shape)
}

function encodeBuiltin(to: Encoder, value: object, shape: number): void {
  switch (shape) {
    case Shape.Plain:
      to.writeProperties(value)
      return
    case Shape.Null:
      to.writeTag(Tag.NullObject)
      to.writeProperties(value)
      return
    case Shape.Array:
      to.writeArray(value as unknown[])
      return
    case Shape.Map: {
      // The entries as they are now: a getter among them may change the map.
      const entries = [...Map.prototype.entries.call(value)] as [unknown, unknown][]
      to.writeTag(Tag.Map)
      to.writeVaruint(entries.length)
      for (const [key, item] of entries) {
        to.write(key)
        to.write(item)
      }
      return
    }
    case Shape.Set: {
      const items = [...Set.prototype.values.call(value)] as unknown[]
      to.writeTag(Tag.Set)
      to.writeVaruint(items.length)
      for (const item of items) to.write(item)
      return
    }
    case Shape.Date:
      to.writeDate(Date.prototype.getTime.call(value))
      return
    case Shape.RegExp:
      to.writeTag(Tag.RegExp)
      to.writeString((value as RegExp).source)
      to.write((value as RegExp).flags)
      return
    case Shape.Url:
      to.writeTag(Tag.Url)
      to.writeString((value as URL).href)
      return
    case Shape.UrlSearchParams:
      to.writeTag(Tag.UrlSearchParams)
      to.writeString(new URLSearchParams(value as URLSearchParams).toString())
      return
    case Shape.Boxed:
      to.writeTag(Tag.Boxed)
      to.write(unbox(value))
      return
    case Shape.ArrayBuffer:
    case Shape.View:
      to.writeBuffer(value as ArrayBuffer)
      return
    case Shape.Error:
      encodeError(to, value as Error)
      return
    case Shape.DomException:
      encodeDomException(to, value as DOMException)
      return
    case Shape.KeyObject:
      encodeKey(to, value as KeyObject)
      return
    case Shape.Instance:
      if (to.writeNamed(value)) return
      to.writeTag(Tag.Instance)
      to.write(classOf(to, value))
      to.writeProperties(value)
      return
    default:
      if (!to.writeNamed(value)) throw new Refusal(value, adviceFor(value))
  }
}

/** An instance of a class that extends a built-in one: both, and its own fields. */
function encodeDerived(to: Encoder, value: object, shape: number): void {
  to.writeTag(Tag.Derived)
  to.unmade ??= new Set()
  to.unmade.add(value)
  to.write(classOf(to, value))
  to.unmade.delete(value)
  encodeBuiltin(to, value, shape)
  // The keys of a view are its indices, and would be a string each.
  const keys = shape === Shape.View ? [] : Object.keys(value)
  const named = shape === Shape.Array || shape === Shape.Boxed ? keys.filter(key => !isIndex(key)) : keys
  if (named.length === 0) to.write(undefined)
  else to.writeKeyed(value, named)
}

/** The class that an instance travels with. */
export function classOf(to: Encoder, value: object): (...args: never) => unknown {
  const extension = to.extensions.instance
  if (extension === undefined) throw new Refusal(value, '')
  const prototype = Object.getPrototypeOf(value) as object
  const constructor: unknown = (value as { constructor?: unknown }).constructor
  if (typeof constructor !== 'function' || constructor.prototype !== prototype) {
    throw new Refusal(value, 'its prototype belongs to no class')
  }
  const found = extension.classOf(value, constructor)
  if (typeof found === 'string') throw new Refusal(value, found)
  return found
}

/** A key of `node:crypto`; one of another thread or process must be made of its exported form. */
function encodeKey(to: Encoder, key: KeyObject): void {
  const bytes = key.type === 'secret' ? key.export()
    : key.export(key.type === 'public' ? { format: 'der', type: 'spki' } : { format: 'der', type: 'pkcs8' })
  to.writeTag(Tag.KeyObject)
  to.write(key.type)
  to.write(bytes.toString('base64'))
}

function unbox(value: object): unknown {
  for (const Class of [Number, String, Boolean, BigInt]) {
    try {
      return (Class.prototype.valueOf as () => unknown).call(value)
    } catch {
      // Not boxed by this one.
    }
  }
  throw new Refusal(value, '')
}
