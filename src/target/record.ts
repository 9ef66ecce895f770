/**
 * What stands in a message for a function. The head is enough to make it; the body, written after it in the same
 * message, holds live values that the codec encodes, so that identity and cycles are kept.
 */

import type { ExportPath } from './exports.js'
import type { NamePath } from './names.js'
import type { Code } from './text.js'

/** A function that this process was sent before and keeps: its id alone. */
export type KnownHead = string

/** By name: of the language, of Node's modules, of this package. */
export interface NameHead { readonly t: 'name', readonly path: NamePath }

/** A module of Node as `import * as` gives it. */
export interface NamespaceHead { readonly t: 'namespace', readonly need: string }

/** By reference: an export of a module, which has that text there. */
export interface ReferenceHead { readonly t: 'reference', readonly id: string, readonly url: string, readonly path: ExportPath, readonly hash: string, readonly commonJs: boolean }

export interface BoundHead { readonly t: 'bound', readonly id: string, readonly name: string, readonly length: number }
export interface BoundBody { readonly target: unknown, readonly self: unknown, readonly args: readonly unknown[] }

/** Made by `perProcess`. */
export interface MakerHead { readonly t: 'maker', readonly id: string }
export interface MakerBody { readonly create: unknown }

/** By value: its text, or the id of a text that this process was sent before. */
export interface ValueHead {
  readonly t: 'value'
  readonly id: string
  readonly code: Code | string
  readonly name: string
  /** The receiver keeps the function under its id: it may come as a KnownHead from now on, and a class is that class again. */
  readonly keep: boolean
  /** Captured objects that have a name everywhere, by the variable's name. */
  readonly named?: Readonly<Record<string, NamePath>>
  /** Captured values that computed names of a class need. */
  readonly early?: Readonly<Record<string, unknown>>
  /** Computed names of a class's methods, as text. */
  readonly keys?: readonly string[]
}

export interface ValueBody {
  /** Values by the variable's name, so that an error inside one can name it. */
  readonly captured: Readonly<Record<string, unknown>>
  /** In the order of the code's cells: who the variable is, and its value now. */
  readonly cells: readonly CellRecord[]
  readonly own?: Properties
  /** Of the prototype of a function that is a class in the old way, or of a class that something was added to. */
  readonly prototype?: Properties
  readonly superclass?: unknown
  /** The class whose prototype the prototype's own prototype is, for `util.inherits`. */
  readonly inherits?: unknown
  /** Static private fields. */
  readonly privates?: Readonly<Record<string, unknown>>
}

/** `own`: a function of this shipment assigns it, so the receiver's variable is its own from then on. */
export type CellRecord = readonly [id: string, own: boolean, value: unknown]

/** `[key, value, flags]` or `[key, getter, setter, flags]` each; flags: 1 enumerable, 2 writable, 4 configurable, 8 accessor. */
export type Properties = readonly (readonly [key: string, first: unknown, second: unknown, flags: number])[]

export type Head = KnownHead | NameHead | NamespaceHead | ReferenceHead | BoundHead | MakerHead | ValueHead

/** A property's key as text: symbols of the language as `@@iterator`, registered ones as `@@for:name`; undefined for others. */
export function keyToText(key: PropertyKey): string | undefined {
  if (typeof key !== 'symbol') return String(key).startsWith('@@') ? `@@text:${String(key)}` : String(key)
  const registered = Symbol.keyFor(key)
  if (registered !== undefined) return `@@for:${registered}`
  const name = key.description?.replace(/^Symbol\./, '') ?? ''
  return (Symbol as unknown as Record<string, unknown>)[name] === key ? `@@${name}` : undefined
}

export function keyFromText(text: string): PropertyKey {
  if (!text.startsWith('@@')) return text
  if (text.startsWith('@@text:')) return text.slice(7)
  if (text.startsWith('@@for:')) return Symbol.for(text.slice(6))
  const symbol = (Symbol as unknown as Record<string, unknown>)[text.slice(2)]
  return typeof symbol === 'symbol' ? symbol : text
}
