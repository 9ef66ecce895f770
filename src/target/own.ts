/** What hangs on a function or class besides what its text gives it: own properties, a prototype that was added to, a superclass. */

/* eslint-disable @typescript-eslint/unbound-method -- accessors are looked at as values here, and called by nobody */

import { SerializationError } from '../errors.js'
import type { AnyFunction } from './inspector.js'
import { isClass, type Plan } from './plan.js'
import { keyToText, type Properties, type ValueBody } from './record.js'

const STANDARD: ReadonlySet<PropertyKey> = new Set(['length', 'name', 'prototype', 'arguments', 'caller'])

/** Own properties, without those that the text of a class defines; undefined for none. `plan` is that of a function of this process. */
export function ownProperties(fn: AnyFunction, plan: Plan | undefined): Properties | undefined {
  const keys = Reflect.ownKeys(fn)
  // A function starts with two or three: the common case is told by the count.
  let extra: PropertyKey[] | undefined
  for (const key of keys) {
    if (!STANDARD.has(key)) (extra ??= []).push(key)
    else if ((key === 'length' || key === 'name') && typeof Object.getOwnPropertyDescriptor(fn, key)?.value !== (key === 'name' ? 'string' : 'number')) (extra ??= []).push(key)
  }
  if (extra === undefined) return undefined
  const written = staticMethodsOf(fn, plan)
  return collect(fn, extra.filter(key => !isWritten(fn, key, written)))
}

/** Properties of the prototype that its text does not give it. */
export function prototypeProperties(fn: AnyFunction, isClassText: boolean): Pick<ValueBody, 'prototype' | 'inherits'> | undefined {
  const prototype = (fn as { prototype?: unknown }).prototype
  if (typeof prototype !== 'object' || prototype === null || Object.getOwnPropertyDescriptor(prototype, 'constructor')?.value !== fn) return undefined
  const keys = Reflect.ownKeys(prototype).filter(key => key !== 'constructor')
  const inner = isClassText ? undefined : inheritsOf(prototype)
  if (keys.length === 0 && inner === undefined) return undefined
  const text = isClassText ? Function.prototype.toString.call(fn) : ''
  const properties = collect(prototype, isClassText ? keys.filter(key => !isWritten(prototype, key, text)) : keys)
  return { ...(properties === undefined ? {} : { prototype: properties }), ...(inner === undefined ? {} : { inherits: inner }) }
}

function inheritsOf(prototype: object): unknown {
  const parent = Object.getPrototypeOf(prototype) as object | null
  if (parent === null || parent === Object.prototype) return undefined
  const maker: unknown = Object.getOwnPropertyDescriptor(parent, 'constructor')?.value
  return typeof maker === 'function' && (maker as { prototype?: unknown }).prototype === parent ? maker : undefined
}

/** What a class extends: a class, or null; undefined for nothing. */
export function superclassOf(fn: AnyFunction): unknown {
  const parent: unknown = Object.getPrototypeOf(fn)
  return parent === Function.prototype ? undefined : parent
}

function staticMethodsOf(fn: AnyFunction, plan: Plan | undefined): string {
  return (plan === undefined || isClass(plan.place.node)) ? Function.prototype.toString.call(fn) : ''
}

/** Whether a property is a method or accessor that the class's own text defines: the text of the method is part of it. */
function isWritten(holder: object, key: PropertyKey, text: string): boolean {
  const item = Object.getOwnPropertyDescriptor(holder, key)
  const fn: unknown = item?.value ?? item?.get ?? item?.set
  if (item === undefined || typeof fn !== 'function' || item.enumerable === true) return false
  const method = Function.prototype.toString.call(fn)
  return !method.startsWith('class') && !method.startsWith('function') && text.includes(method)
}

/** What the computed names of a class's methods were, found by the methods' text. */
export function computedKeys(fn: AnyFunction, { place: { script }, keyed }: Plan): string[] {
  return keyed.map(member => {
    const holder = (member.static ? fn : (fn as { prototype?: unknown }).prototype) as object
    const text = script.text.slice(member.start, member.end).replace(/^static(?:\s|\/\*[^]*?\*\/)*/, '')
    const key = Reflect.ownKeys(holder).find(candidate => {
      const item = Object.getOwnPropertyDescriptor(holder, candidate)
      const method: unknown = member.kind === 'get' ? item?.get : member.kind === 'set' ? item?.set : item?.value
      return typeof method === 'function' && Function.prototype.toString.call(method) === text
    })
    return (key === undefined ? undefined : keyToText(key)) ?? `@@gone:${member.start}`
  })
}

function collect(holder: object, keys: readonly PropertyKey[]): Properties | undefined {
  if (keys.length === 0) return undefined
  return keys.map(key => {
    const text = keyToText(key)
    if (text === undefined) throw new SerializationError(`a property of a function has the key ${String(key)}: symbols are known to one process alone; use Symbol.for, or a string`)
    const item = Object.getOwnPropertyDescriptor(holder, key)!
    const flags = (item.enumerable === true ? 1 : 0) | (item.writable === true ? 2 : 0) | (item.configurable === true ? 4 : 0) | ('value' in item ? 0 : 8)
    return 'value' in item ? [text, item.value, undefined, flags] as const : [text, item.get, item.set, flags] as const
  })
}
