/**
 * What kind of thing an object is. Values made in another realm (a `vm` context, as jest has one for each test
 * file) have other prototypes than ours, so a prototype that is not known is followed by a look at the object's
 * brand, which holds across realms.
 */

import { types } from 'node:util'
import { viewTypes } from './format.js'

/** Kinds of object. `Derived` stands in the answer of {@link classify} beside the built-in kind that is extended. */
export const Shape = {
  Plain: 1, Null: 2, Array: 3, Map: 4, Set: 5, Date: 6, RegExp: 7, Error: 8, Url: 9, UrlSearchParams: 10, Boxed: 11,
  ArrayBuffer: 12, View: 13, DomException: 14, Instance: 15, Refused: 16, KeyObject: 17,
} as const

const byPrototype = new Map<object, number>([
  [Map.prototype, Shape.Map],
  [Set.prototype, Shape.Set],
  [Date.prototype, Shape.Date],
  [RegExp.prototype, Shape.RegExp],
  [URL.prototype, Shape.Url],
  [URLSearchParams.prototype, Shape.UrlSearchParams],
  [Number.prototype, Shape.Boxed],
  [String.prototype, Shape.Boxed],
  [Boolean.prototype, Shape.Boxed],
  [BigInt.prototype, Shape.Boxed],
  [ArrayBuffer.prototype, Shape.ArrayBuffer],
])
viewTypes.forEach(type => { if (type.prototype !== null) byPrototype.set(type.prototype, Shape.View) })

const { hasOwn, getPrototypeOf } = Object

/** Whether a function is not written in JavaScript, or not by a user: its text is hidden. */
export function isNative(fn: object): boolean {
  return Function.prototype.toString.call(fn).endsWith('{ [native code] }')
}

/** The constructor that a prototype names as its own, if it is a built-in one. */
function builtinConstructor(prototype: object): string | null {
  const own = Object.getOwnPropertyDescriptor(prototype, 'constructor')?.value as unknown
  if (typeof own !== 'function' || !isNative(own)) return null
  return (own as { prototype?: unknown }).prototype === prototype ? own.name : null
}

function nameOfClass(prototype: object): string {
  const own = Object.getOwnPropertyDescriptor(prototype, 'constructor')?.value as unknown
  return typeof own === 'function' ? own.name : ''
}

/** Whether a prototype is `Object.prototype` of any realm. */
export function isObjectPrototype(prototype: object): boolean {
  return prototype === Object.prototype
    || (getPrototypeOf(prototype) === null && hasOwn(prototype, 'isPrototypeOf') && builtinConstructor(prototype) === 'Object')
}

/** The built-in kind of an object by its brand, whatever its prototype, or 0. */
function brandOf(value: object): number {
  if (Array.isArray(value)) return Shape.Array
  if (ArrayBuffer.isView(value)) return Shape.View
  if (types.isNativeError(value)) return Shape.Error
  if (types.isMap(value)) return Shape.Map
  if (types.isSet(value)) return Shape.Set
  if (types.isDate(value)) return Shape.Date
  if (types.isRegExp(value)) return Shape.RegExp
  if (types.isArrayBuffer(value)) return Shape.ArrayBuffer
  if (types.isKeyObject(value)) return Shape.KeyObject
  if (types.isBoxedPrimitive(value)) return types.isSymbolObject(value) ? Shape.Refused : Shape.Boxed
  if (
    types.isPromise(value) || types.isWeakMap(value) || types.isWeakSet(value) || types.isSharedArrayBuffer(value)
    || types.isGeneratorObject(value) || types.isExternal(value) || types.isMapIterator(value) || types.isSetIterator(value)
    || types.isModuleNamespaceObject(value) || value instanceof WeakRef
  ) return Shape.Refused
  return 0
}

/** The built-in kind, or `Instance`; `derived` says that the object's class extends that kind. */
export interface Classified { shape: number; derived: boolean }

const answers = [false, true].map(derived => Object.values(Shape).reduce<Classified[]>((list, shape) => {
  list[shape] = { shape, derived }
  return list
}, []))
const answer = (shape: number, derived: boolean): Classified => answers[derived ? 1 : 0]![shape]!

/** Classifies an object that is neither plain nor an array of this realm. */
export function classify(value: object, prototype: object | null): Classified {
  if (prototype === null) return answer(brandOf(value) === Shape.Refused ? Shape.Refused : Shape.Null, false)
  const known = byPrototype.get(prototype)
  // A prototype can be borrowed, a brand cannot: `Object.create(Map.prototype)` is no Map.
  if (known !== undefined) {
    if (known === Shape.Url || known === Shape.UrlSearchParams) return answer(known, false)
    return answer(brandOf(value) === known ? known : Shape.Instance, false)
  }
  // The brand of a DOMException is that of an error in some versions of Node and none in others.
  if (nameOfClass(prototype) === 'DOMException' && value instanceof DOMException) return answer(Shape.DomException, false)
  const brand = brandOf(value)
  if (brand === Shape.Refused) return answer(brand, false)
  // Errors know their classes themselves, and keys come in classes that Node does not show.
  if (brand === Shape.Error || brand === Shape.KeyObject) return answer(brand, false)
  if (brand !== 0) return answer(brand, builtinConstructor(prototype) === null)
  if (isObjectPrototype(prototype)) return answer(Shape.Plain, false)
  return answer(Shape.Instance, false)
}

/** The number of a view's type (see `viewTypes`); a class derived from a type counts as the type. */
export function viewTypeOf(value: ArrayBufferView): number {
  const prototype = getPrototypeOf(value) as object
  for (let i = 1; i < viewTypes.length; i += 1) if (viewTypes[i]!.prototype === prototype) return i
  if (value instanceof Buffer) return 2
  // The brand of a typed array is its tag; a DataView has none of these names.
  const tag = Object.getOwnPropertyDescriptor(getPrototypeOf(Uint8Array.prototype) as object, Symbol.toStringTag)!.get!.call(value) as string | undefined
  const index = viewTypes.findIndex(type => type.name === (tag ?? 'DataView'))
  return index
}
