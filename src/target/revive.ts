/**
 * The receiving side: makes the function that a head describes, then fills in what its body brings. Made first and
 * filled later, because what it captured may lead back to it.
 */

/* eslint-disable @typescript-eslint/unbound-method -- accessors are looked at as values here, and called by nobody */

import { createRequire } from 'node:module'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { FunctionExtension } from '../codec/extensions.js'
import { SerializationError, StateError } from '../errors.js'
import { hashOf } from './exports.js'
import type { AnyFunction } from './inspector.js'
import { evaluate, importFrom, namespaceOf, needOf } from './modules.js'
import { resolveName } from './names.js'
import { arrived, makerOf } from './per-process.js'
import {
  keyFromText, type BoundBody, type BoundHead, type Head, type MakerBody, type Properties, type ReferenceHead, type ValueBody, type ValueHead,
} from './record.js'
import { cellVariable, type Code, type SystemName } from './text.js'

/** A variable that several functions share. */
export interface Cell { v: unknown }

/** What the text of a function is called with. */
interface Environment {
  set: (name: string, value: unknown) => void
  privates?: (values: object) => void
  readonly base: AnyFunction
  readonly early: Readonly<Record<string, unknown>>
  readonly imports: Readonly<Record<string, unknown>>
  readonly keys: readonly PropertyKey[]
}

/** What is remembered of a function that arrived, to send it on. */
export interface Origin {
  head: ValueHead
  readonly code: Code
  readonly environment: Environment
  isFilled: boolean
  captured: Readonly<Record<string, unknown>>
  cells: readonly { readonly id: string, readonly own: boolean, readonly cell: Cell }[]
}

const factories = new Map<string, { code: Code, run: (environment: Environment) => unknown }>()
const kept = new Map<string, AnyFunction>()
const origins = new WeakMap<object, Origin>()
const bounds = new WeakMap<object, { head: BoundHead, body: BoundBody }>()
const references = new WeakMap<object, ReferenceHead>()
/** Cells that a function here assigns: this process's own from the first shipment on. */
const ownCells = new Map<string, Cell>()

/** Functions of this process that were sent by value: when one comes back, it is itself again. */
const homes = new Map<string, WeakRef<AnyFunction>>()
const gone = new FinalizationRegistry<string>(id => homes.delete(id))

/** Remembers who a function of this process is called in messages. */
export function registerHome(id: string, fn: AnyFunction): void {
  homes.set(id, new WeakRef(fn))
  gone.register(fn, id)
}

/** Where a function that arrived by value came from. */
export const originOf = (fn: object): Origin | undefined => origins.get(fn)
export const boundOrigin = (fn: object): { head: BoundHead, body: BoundBody } | undefined => bounds.get(fn)
export const referenceOrigin = (fn: object): ReferenceHead | undefined => references.get(fn)

/** Forgets functions that their sender no longer has and so will not name again. */
export function forget(ids: readonly string[]): void {
  for (const id of ids) kept.delete(id)
}

/**
 * Part of a message means nothing here: a reference leads to a module that has another text (a transformed copy, a newer
 * version), or a function is named that this process was never sent. The sender is to send the message again in full
 * where that is concerned: `new Shipment(peer, [error.id])`.
 */
export class IncompleteError extends SerializationError {
  /** Of what is wanted. */
  readonly id: string

  constructor(id: string, message: string) {
    super(message)
    this.id = id
  }
}

const differs = (head: ReferenceHead, problem: string): IncompleteError =>
  new IncompleteError(head.id, `the function ${head.path.join('.')} of ${head.url} ${problem}`)

let generation: boolean | undefined
/** Whether this process may make code from text (`--disallow-code-generation-from-strings` forbids it). */
export function canGenerateCode(): boolean {
  if (generation === undefined) {
    try {
      // The one way to ask: V8's flags cannot be read.
      // eslint-disable-next-line @typescript-eslint/no-implied-eval
      new Function('')
      generation = true
    } catch {
      generation = false
    }
  }
  return generation
}

/**
 * The receiver of the functions of one message. Give it to the codec as `fn`, after what the message needs is loaded.
 *
 * @example
 * ```ts
 * await preload(needsOf(kind, bytes))
 * const value = decode(kind, bytes, 0, length, handles, blobs, { fn: new Arrival(), instance: instances })
 * ```
 */
export class Arrival implements FunctionExtension {
  /** Variables of this message that functions share, and who has been given each. */
  private readonly cells = new Map<string, { cell: Cell, readonly users: ((cell: Cell) => void)[] }>()

  /**
   * Makes a function, class or bound function; what it needs to run comes by {@link fill}.
   *
   * @throws {@link SerializationError} for a module that cannot be loaded, or where code may not be generated;
   *   {@link IncompleteError} where the sender has to send more.
   */
  create(head: unknown): AnyFunction {
    const record = head as Head
    if (typeof record === 'string') {
      const known = kept.get(record)
      if (known === undefined) throw new IncompleteError(record, 'a function was announced as known, but this process does not have it')
      return known
    }
    switch (record.t) {
      // An object that has a name comes in the same way.
      case 'name': return resolveName(record.path) as AnyFunction
      case 'namespace': return namespaceOf(record.need) as unknown as AnyFunction
      case 'reference': return followReference(record)
      case 'maker': return arrived(record.id).get
      case 'bound': return makeBound(record)
      case 'value': return this.createByValue(record)
      default: throw new SerializationError('a function has a form that this version does not know')
    }
  }

  /** An arriving message sends nothing. */
  describe(): never {
    throw new StateError('a message that is read cannot send a function')
  }

  /** Gives a function what its body holds. */
  fill(fn: AnyFunction, body: unknown): void {
    if (body === undefined) return
    const maker = makerOf(fn)
    if (maker !== undefined) {
      maker.create ??= (body as MakerBody).create as () => unknown
      return
    }
    const bound = bounds.get(fn)
    if (bound !== undefined) {
      bound.body = body as BoundBody
      return
    }
    const origin = origins.get(fn)
    if (origin !== undefined) this.fillByValue(fn, origin, body as ValueBody)
  }

  private createByValue(head: ValueHead): AnyFunction {
    const home = homes.get(head.id)?.deref()
    if (home !== undefined) return home
    const existing = head.keep ? kept.get(head.id) : undefined
    const factory = factoryOf(head.code)
    const { code } = factory
    // A class is itself again, with its captured variables as they are now; another function is a new one each time, so
    // that a task that still runs keeps what it was sent with.
    if (existing !== undefined && code.isClass) {
      origins.get(existing)!.head = head
      return existing
    }
    const imports: Record<string, unknown> = {}
    for (const [name, specifier, exported, attributes] of code.imports) {
      const namespace = namespaceOf(needOf(specifier, code.module, attributes))
      imports[name] = exported === '*' ? namespace : namespace[exported]
    }
    const base = function (): void { /* stands in for the superclass until it is known */ }
    const environment: Environment = { set: () => undefined, base, early: head.early ?? {}, imports, keys: (head.keys ?? []).map(keyFromText) }
    const made = factory.run(environment)
    const fn = takeFrom(made, code)
    if (fn.name !== head.name) Object.defineProperty(fn, 'name', { value: head.name, configurable: true })
    origins.set(fn, { head, code, environment, isFilled: false, captured: {}, cells: [] })
    if (head.keep) kept.set(head.id, fn)
    return fn
  }

  private fillByValue(fn: AnyFunction, origin: Origin, body: ValueBody): void {
    const { code, environment, head } = origin
    const isNew = !origin.isFilled
    origin.isFilled = true
    for (const name of code.names) {
      const path = head.named?.[name]
      environment.set(name, path === undefined ? systemValue(code.system[name], code, body.captured[name]) : resolveName(path))
    }
    for (const [place, path] of Object.entries(head.named ?? {})) {
      const [name, member] = place.split('.') as [string, string | undefined]
      if (member !== undefined) (body.captured[name] as Record<string, unknown>)[member] = resolveName(path)
    }
    origin.captured = body.captured
    origin.cells = body.cells.map(([id, own, value], i) => {
      const cell = this.share(id, own, value, shared => environment.set(cellVariable(code.cells[i]!), shared))
      return { id, own, cell }
    })
    if (body.superclass !== undefined) {
      const { superclass } = body
      Object.setPrototypeOf(fn, superclass)
      Object.setPrototypeOf(prototypeOf(fn), superclass === null ? null : prototypeOf(superclass as AnyFunction))
    }
    if (body.privates !== undefined) environment.privates?.(body.privates)
    // What hangs on a class is, like its variables, this process's own once it is here.
    if (body.own !== undefined && (isNew || !code.isClass)) define(fn, body.own)
    if (body.prototype !== undefined) define(prototypeOf(fn), body.prototype)
    if (body.inherits !== undefined) Object.setPrototypeOf(prototypeOf(fn), prototypeOf(body.inherits as AnyFunction))
  }

  /** The variable with that id: one for all functions of the message that use it, and for ever if one of them assigns it. */
  private share(id: string, own: boolean, value: unknown, use: (cell: Cell) => void): Cell {
    let shared = this.cells.get(id)
    if (shared === undefined) this.cells.set(id, shared = { cell: { v: value }, users: [] })
    shared.users.push(use)
    if (own) {
      const persistent = ownCells.get(id)
      if (persistent === undefined) ownCells.set(id, shared.cell)
      else if (persistent !== shared.cell) {
        shared.cell = persistent
        for (const user of shared.users) user(persistent)
      }
    }
    use(shared.cell)
    return shared.cell
  }
}

function prototypeOf(fn: AnyFunction): object {
  return (fn as unknown as { prototype: object }).prototype
}

function factoryOf(code: Code | string): { code: Code, run: (environment: Environment) => unknown } {
  const id = typeof code === 'string' ? code : code.id
  let factory = factories.get(id)
  if (factory === undefined) {
    if (typeof code === 'string') throw new IncompleteError(id, 'the text of a function was announced as known, but this process does not have it')
    if (!canGenerateCode()) throw noCodeGeneration(code.file)
    const run = evaluate(code.text, code.file, code.line) as (environment: Environment) => unknown
    factories.set(id, factory = { code, run })
  }
  return factory
}

export function noCodeGeneration(what: string): SerializationError {
  return new SerializationError(`a function of ${what} can only be sent by value, and --disallow-code-generation-from-strings forbids making it from its text: `
    + 'export it from a module other than the entry, or name it as { module, export }')
}

function takeFrom(made: unknown, { take }: Code): AnyFunction {
  if (take === 'self') return made as AnyFunction
  const [key] = Reflect.ownKeys(made as object)
  return Object.getOwnPropertyDescriptor(made, key!)![take] as AnyFunction
}

/** What the module system gives to every module is made here; anything else is what was sent. */
function systemValue(kind: SystemName | undefined, code: Code, value: unknown): unknown {
  if (kind === undefined) return value
  const file = code.module?.startsWith('file:') === true ? fileURLToPath(code.module) : code.file
  switch (kind) {
    case 'require': return createRequire(code.module ?? code.file)
    case '__filename': return file
    case '__dirname': return dirname(file)
    case 'import.meta': return metaOf(code.module ?? code.file, file)
    case 'import()': return importFrom(code.module ?? code.file)
    case 'arguments': return (function (..._args: unknown[]) {
      // The object itself is what a function would see.
      // eslint-disable-next-line prefer-rest-params
      return arguments
    })(...(value as unknown[]))
  }
}

const metas = new Map<string, object>()
function metaOf(url: string, file: string): object {
  let meta = metas.get(url)
  if (meta === undefined) {
    const resolve = (specifier: string): string => /^(?:\.{0,2}\/|[a-z][a-z\d+.-]+:)/i.test(specifier)
      ? new URL(specifier, url).href
      : new URL(`file://${createRequire(url).resolve(specifier)}`).href
    meta = Object.assign(Object.create(null) as object, url.startsWith('file:') ? { dirname: dirname(file), filename: file, resolve, url } : { resolve, url })
    metas.set(url, meta)
  }
  return meta
}

function followReference(head: ReferenceHead): AnyFunction {
  const known = kept.get(head.id)
  if (known !== undefined) return known
  let at: unknown = namespaceOf(needOf(head.url))
  // What a CommonJS module exports is the default of its namespace, however it was loaded.
  if (head.commonJs) at = (at as { default: unknown }).default
  for (const step of head.path) {
    at = typeof at === 'object' || typeof at === 'function' ? (at as Record<string, unknown> | null)?.[step] : undefined
  }
  if (typeof at !== 'function') throw differs(head, 'does not exist here')
  if (hashOf(at as AnyFunction) !== head.hash) throw differs(head, 'has another text here')
  kept.set(head.id, at as AnyFunction)
  references.set(at, head)
  return at as AnyFunction
}

function makeBound(head: BoundHead): AnyFunction {
  const record: { head: BoundHead, body: BoundBody } = { head, body: { target: undefined, self: undefined, args: [] } }
  const forward = function (this: unknown, ...rest: unknown[]): unknown {
    const { target, self, args } = record.body
    // The type says that a function is only ever called; a bound class is constructed.
    if ((new.target as unknown) !== undefined) return Reflect.construct(target as new () => unknown, [...args, ...rest])
    return Reflect.apply(target as AnyFunction, self, [...args, ...rest] as never)
  }
  const bound = forward.bind(undefined) as AnyFunction
  Object.defineProperty(bound, 'name', { value: head.name, configurable: true })
  Object.defineProperty(bound, 'length', { value: head.length, configurable: true })
  bounds.set(bound, record)
  return bound
}

function define(target: object, properties: Properties): void {
  for (const [text, first, second, flags] of properties) {
    const common = { enumerable: (flags & 1) !== 0, configurable: (flags & 4) !== 0 }
    const key = keyFromText(text)
    const current = Object.getOwnPropertyDescriptor(target, key)
    if (current?.configurable === false) {
      if (current.writable === true && (flags & 8) === 0) (target as Record<PropertyKey, unknown>)[key] = first
      continue
    }
    const descriptor = (flags & 8) !== 0 ? { ...common, get: first, set: second } : { ...common, writable: (flags & 2) !== 0, value: first }
    Object.defineProperty(target, key, descriptor as PropertyDescriptor)
  }
}
