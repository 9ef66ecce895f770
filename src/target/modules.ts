/**
 * Loading what functions need where they arrive: modules that they are exported from, and what they import. Everything
 * is loaded before a message is decoded (asynchronously), so that decoding itself never waits; where a message must be
 * decoded at once, what `require` can load is loaded then.
 */

import { createRequire, isBuiltin } from 'node:module'
import { fileURLToPath } from 'node:url'
import vm from 'node:vm'
import { SerializationError } from '../errors.js'
import { isMainThread } from '../native.js'

/** A module that a message needs: a URL, or a specifier with the module that wrote it and its import attributes. One line each. */
export type Need = string

export function needOf(specifier: string, parent: string | null = null, attributes: Readonly<Record<string, string>> | null = null): Need {
  if (parent === null && attributes === null) return specifier
  return `${specifier}\n${parent ?? ''}${attributes === null ? '' : `\n${JSON.stringify(attributes)}`}`
}

type Namespace = Readonly<Record<string, unknown>>
type Importer = (specifier: string, options?: object) => Promise<Namespace>

const loaded = new Map<Need, Namespace>()
const importers = new Map<string, Importer>()

/**
 * Loads what a message needs.
 *
 * @returns A promise, or undefined if everything is there: then the message can be decoded in the same turn.
 * @throws {@link SerializationError} (by rejection) naming the module that cannot be loaded, with the reason as `cause`.
 * @example
 * ```ts
 * const needs = needsOf(kind, bytes)
 * if (needs.length > 0) await preload(needs)
 * const value = decode(kind, bytes)
 * ```
 */
export function preload(needs: readonly Need[]): Promise<void> | undefined {
  const missing = needs.filter(need => !loaded.has(need))
  if (missing.length === 0) return undefined
  return Promise.all(missing.map(async need => {
    const { specifier, parent, attributes } = parts(need)
    try {
      const options = attributes === undefined ? undefined : { with: attributes }
      loaded.set(need, await importFrom(parent ?? import.meta.filename)(specifier, options))
    } catch (error) {
      throw unloadable(specifier, parent, error)
    }
  })).then(() => undefined)
}

/**
 * The namespace of a module that a message needs; loads it now if nobody has done so before.
 *
 * @throws {@link SerializationError} if it cannot be loaded synchronously (top-level await).
 */
export function namespaceOf(need: Need): Namespace {
  const known = loaded.get(need)
  if (known !== undefined) return known
  const { specifier, parent } = parts(need)
  let found: Namespace
  try {
    // `require` of an ES module gives its namespace, of anything else what `import` has as its default.
    const value: unknown = isBuiltin(specifier) || parent === null ? requireUrl(specifier) : createRequire(parent)(specifier)
    found = isNamespace(value) ? value : asNamespace(value)
  } catch (error) {
    throw unloadable(specifier, parent, error)
  }
  loaded.set(need, found)
  return found
}

/** `import()` as the module with that URL has it; this package's own files have none that would not warn in a child. */
export function importFrom(parent: string): Importer {
  let importer = importers.get(parent)
  if (importer === undefined) {
    // Data URLs and code from strings cannot be a script's file name that things are relative to.
    const load = evaluate('(specifier,options)=>import(specifier,options)', parent) as Importer
    importer = (specifier, options) => quietly(() => load(specifier, options))
    importers.set(parent, importer)
  }
  return importer
}

/**
 * What an expression gives in a script whose `import()` is that of its file.
 *
 * In a worker thread it is the body of a function: where a thread is ended while it makes a `vm.Script`, Node takes for granted
 * that an error was thrown, reads the one that is not there, and takes the whole process with it.
 */
export function evaluate(expression: string, file: string, line = 0): unknown {
  const importModuleDynamically = vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER
  if (isMainThread) return new vm.Script(expression, { filename: file, lineOffset: line, importModuleDynamically }).runInThisContext()
  const run = vm.compileFunction(`return (\n${expression}\n)`, [], { filename: file, lineOffset: line - 1, importModuleDynamically }) as () => unknown
  return run()
}

let warned = false
/** Node 20 and 22 print, once, that this way of compiling is experimental: nothing that a user of ours could act on. */
function quietly<T>(run: () => T): T {
  if (warned) return run()
  // Put back as it was, and called by Node as its own.
  // eslint-disable-next-line @typescript-eslint/unbound-method
  const { emitWarning } = process
  process.emitWarning = ((warning: string | Error, ...rest: never[]) => {
    if (!String(warning).includes('USE_MAIN_CONTEXT_DEFAULT_LOADER')) emitWarning(warning, ...rest)
  })
  try {
    return run()
  } finally {
    process.emitWarning = emitWarning
    warned = true
  }
}

function parts(need: Need): { specifier: string, parent: string | null, attributes: Record<string, string> | undefined } {
  const [specifier, parent, attributes] = need.split('\n')
  return {
    specifier: specifier!, parent: parent === undefined || parent === '' ? null : parent,
    attributes: attributes === undefined ? undefined : JSON.parse(attributes) as Record<string, string>,
  }
}

function requireUrl(specifier: string): unknown {
  const url = specifier.startsWith('file:') ? specifier : null
  const load = createRequire(import.meta.filename)
  if (url === null) return load(specifier)
  if (/[?#]/.test(url)) throw new Error('a module with a query can only be loaded asynchronously')
  return load(fileURLToPath(url))
}

function isNamespace(value: unknown): value is Namespace {
  return typeof value === 'object' && value !== null && Object.prototype.toString.call(value) === '[object Module]'
}

/** What `import * as` gives for a CommonJS module or one of Node's. */
function asNamespace(value: unknown): Namespace {
  const names = (typeof value === 'object' && value !== null) || typeof value === 'function' ? value as Namespace : {}
  return new Proxy(Object.create(null) as Record<string, unknown>, {
    get: (_target, key) => key === 'default' ? value : (names as Record<PropertyKey, unknown>)[key],
    has: (_target, key) => key === 'default' || key in names,
    ownKeys: () => [...new Set(['default', ...Object.keys(names)])],
    getOwnPropertyDescriptor: (_target, key) => ({ value: key === 'default' ? value : (names as Record<PropertyKey, unknown>)[key], enumerable: true, configurable: true }),
  })
}

function unloadable(specifier: string, parent: string | null, cause: unknown): SerializationError {
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new SerializationError(`a function needs the module '${specifier}'${parent === null ? '' : ` (imported by ${parent})`}, which cannot be loaded here: ${reason}`, '', { cause })
}
