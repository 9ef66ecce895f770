/** Reads what encode-builtins.ts writes: the kinds of the language and of Node, handles, functions, instances. */

import type { Decoder } from './decoder.js'
import { decodeDomException, decodeError } from './error-values.js'
import { MalformedError, Tag, viewTypes } from './format.js'

/** Reads the value behind a tag that is none of the common ones. */
export function decodeOther(from: Decoder, tag: number): unknown {
  switch (tag) {
    case Tag.NamedArray: {
      const array = from.read()
      if (!Array.isArray(array)) throw new MalformedError('an array is missing')
      return from.readInto(array)
    }
    case Tag.Map: {
      const map = from.settle(from.reserve(), new Map<unknown, unknown>())
      for (let count = from.readCount(2); count > 0; count -= 1) {
        const key = from.read()
        Map.prototype.set.call(map, key, from.read())
      }
      return map
    }
    case Tag.Set: {
      const set = from.settle(from.reserve(), new Set<unknown>())
      for (let count = from.readCount(1); count > 0; count -= 1) Set.prototype.add.call(set, from.read())
      return set
    }
    case Tag.Date: {
      const place = from.reserve()
      return from.settle(place, new Date(from.readFloat64()))
    }
    case Tag.RegExp: {
      const place = from.reserve()
      const source = readText(from)
      return from.settle(place, new RegExp(source, readText(from)))
    }
    case Tag.Url: {
      const place = from.reserve()
      return from.settle(place, new URL(readText(from)))
    }
    case Tag.UrlSearchParams: {
      const place = from.reserve()
      return from.settle(place, new URLSearchParams(readText(from)))
    }
    case Tag.Boxed: {
      const place = from.reserve()
      const value = from.read()
      if (typeof value === 'object' || typeof value === 'function' || value === undefined) {
        throw new MalformedError('a boxed value is not a primitive')
      }
      return from.settle(place, Object(value) as object)
    }
    case Tag.Error: return decodeError(from)
    case Tag.DomException: return decodeDomException(from)
    case Tag.KeyObject: {
      const place = from.reserve()
      const type = readText(from)
      return from.settle(place, makeKey(type, Buffer.from(readText(from), 'base64')))
    }
    case Tag.ArrayBuffer: {
      const place = from.reserve()
      return from.settle(place, from.bufferAt(from.readVaruint()).buffer)
    }
    case Tag.View: return readView(from)
    case Tag.Handle: {
      const place = from.reserve()
      const index = from.readVaruint()
      if (index >= from.handles.length) throw new MalformedError('a handle is missing')
      const { handle } = from.extensions
      if (handle === undefined) throw new MalformedError('the message holds an object of shared memory')
      return from.settle(place, handle.fromHandle(from.handles[index]))
    }
    case Tag.Function: {
      const place = from.reserve()
      const { fn } = from.extensions
      if (fn === undefined) throw new MalformedError('the message holds a function')
      const made = from.settle(place, fn.create(from.read()))
      fn.fill(made, from.read())
      return made
    }
    case Tag.Instance: {
      const place = from.reserve()
      from.announce(place)
      const prototype = readClass(from)
      return from.readInto(from.settle(place, from.anticipated(place, prototype)))
    }
    case Tag.Derived: {
      const place = from.reserve()
      const prototype = readClass(from)
      const value = from.readAdopted(place, prototype)
      if (from.nextIsUndefined()) return value
      return from.readInto(value)
    }
    default: throw new MalformedError(`there is no tag ${tag}`)
  }
}

function makeKey(type: string, key: Buffer): object {
  // Loaded when a key comes: most programs that exchange messages exchange no keys.
  const crypto = process.getBuiltinModule('node:crypto')
  switch (type) {
    case 'secret': return crypto.createSecretKey(key)
    case 'public': return crypto.createPublicKey({ key, format: 'der', type: 'spki' })
    case 'private': return crypto.createPrivateKey({ key, format: 'der', type: 'pkcs8' })
    default: throw new MalformedError('a key has no type')
  }
}

function readText(from: Decoder): string {
  const text = from.read()
  if (typeof text !== 'string') throw new MalformedError('a text is missing')
  return text
}

/** The prototype of the class that follows. */
function readClass(from: Decoder): object {
  const Class = from.read()
  const prototype: unknown = typeof Class === 'function' ? Class.prototype : null
  if (typeof prototype !== 'object' || prototype === null) throw new MalformedError('a class is missing')
  return prototype
}

function readView(from: Decoder): ArrayBufferView {
  const place = from.reserve()
  const type = viewTypes[from.readByte()]
  const { buffer, start } = from.bufferAt(from.readVaruint())
  const offset = from.readVaruint() - start
  const length = from.readVaruint()
  if (type === undefined || type.name === 'ArrayBuffer' || offset < 0) throw new MalformedError('a view does not fit')
  // The constructor checks that offset and length fit, and throws.
  return from.settle(place, type.make(buffer, offset, length))
}
