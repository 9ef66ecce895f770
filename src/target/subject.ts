/**
 * A function of this process that is sent by value: its plan and text, made once, and the values of what it captures,
 * which are read again when they can have changed.
 */

import { realpathSync, statSync } from 'node:fs'
import { isAbsolute } from 'node:path'
import { pathToFileURL } from 'node:url'
import { nextId } from './ids.js'
import { atEntryOf, inspect, isBeingDebugged, type AnyFunction, type Facts } from './inspector.js'
import { exportPathOf, hashOf, type ExportPath } from './exports.js'
import { planOf, MODULE_NAMES, SYNTAX_NAMES, type Capture, type Plan } from './plan.js'
import { registerHome } from './revive.js'
import { scriptOf, type Place } from './scripts.js'
import { refuseNative, refuseThis } from './refuse.js'
import { standFor, writeCode, type Code, type Layout, type Stand, type SystemName } from './text.js'

export type Scopes = Facts['scopes']

/** What is known of a function without asking again. */
export interface Subject {
  readonly id: string
  readonly plan: Plan
  readonly code: Code
  readonly layout: Layout
  readonly stand: Stand
  /** Values that nothing can change any more, by name. */
  readonly fixed: Map<string, unknown>
  /** `this` and `new.target` of an arrow, once read. */
  surroundings: { self: unknown, newTarget: unknown } | undefined
  /** Whether a shipment need not bring its captured variables again, apart from functions that they hold. */
  isSteady: boolean
  /** Functions captured by fixed variables. */
  captured: readonly AnyFunction[]
  /** True once all that it reaches is known to be steady as well. */
  isSettled: boolean
  shipments: number
  /** The cell ids of shared variables that are not of a script's top level. */
  readonly cellIds: Map<string, string>
}

export type Kind =
  | { readonly kind: 'value', readonly subject: Subject }
  | { readonly kind: 'reference', readonly id: string, readonly url: string, readonly path: ExportPath, readonly hash: string, readonly commonJs: boolean, readonly place: Place }
  | { readonly kind: 'bound', readonly id: string, readonly target: AnyFunction, readonly self: unknown, readonly args: readonly unknown[] }

const kinds = new WeakMap<object, Kind>()
const values = new WeakMap<object, Subject>()
const layouts = new WeakMap<Plan, { layout: Layout, code: Code, stand: Stand }>()

/** Modules whose evaluation is the program itself: nothing that stands there is imported anywhere. */
const entries = new Set<string>()
let entriesRead = false
/** Adds entry modules (URLs) of the processes above, whose functions may have arrived here. */
export function addEntries(urls: readonly string[]): void {
  for (const url of urls) entries.add(url)
}
/** The entry modules of this process and of those above it, for the children's {@link addEntries}. */
export function entryUrls(): string[] {
  readEntries()
  return [...entries]
}
function readEntries(): void {
  if (entriesRead) return
  entriesRead = true
  // A worker thread has its own file there; loaders and test runners put the program's in its place.
  const main = process.argv[1]
  if (main === undefined || !isAbsolute(main)) return
  entries.add(pathToFileURL(main).href)
  const real = realPathOf(main)
  if (real !== main) entries.add(pathToFileURL(real).href)
}

function realPathOf(file: string): string {
  // `node main` means main.js.
  for (const ending of ['', '.js', '.mjs', '.cjs', '.ts', '/index.js']) {
    try {
      if (statSync(file + ending).isFile()) return realpathSync.native(file + ending)
    } catch {
      // Not that one.
    }
  }
  return file
}

export function isEntry(url: string): boolean {
  readEntries()
  return entries.has(url.replace(/[?#].*$/, ''))
}

/** What a function is to a sender, if that is known already. */
export function knownKind(fn: AnyFunction): Kind | undefined {
  return kinds.get(fn)
}

/**
 * What a function is to a sender.
 *
 * @param hint Where it stands and the variables around it, if the caller has them: saves asking the inspector.
 * @param ask What the inspector says of it, if the caller has asked already.
 * @throws {@link SerializationError} for one that has no text.
 */
export function kindOf(fn: AnyFunction, hint?: Hint, ask = () => inspect(fn)): Kind {
  let kind = kinds.get(fn)
  if (kind === undefined) kinds.set(fn, kind = findKind(fn, hint, ask))
  return kind
}

/** A function's place and, where they are known, its scopes, as found on the way to another one. */
export interface Hint { readonly place: Place, readonly scopes?: Scopes }

function findKind(fn: AnyFunction, hint: Hint | undefined, ask: () => Facts): Kind {
  let place = hint?.place
  if (place === undefined) {
    const facts = ask()
    if (facts.bound !== null) return { kind: 'bound', id: nextId(), ...facts.bound }
    if (facts.location === null) throw refuseNative(fn, 'is a native function of an addon, or a Proxy')
    const script = scriptOf(facts.location)
    if (script === undefined) throw refuseNative(fn, 'comes from a script that V8 no longer has')
    if (script.url.startsWith('node:')) throw refuseNative(fn, `was made by Node's own ${script.url}`)
    if (script.url.startsWith('wasm:')) throw refuseNative(fn, 'is an export of a WebAssembly module')
    place = script.at(facts.location.line, facts.location.column)
    if (facts.moduleScope !== null) script.keepTop(facts.moduleScope)
    if (place === undefined) throw refuseNative(fn, `stands in ${script.url === '' ? 'a script without a name' : script.url}, where its text cannot be found`)
  }
  const url = place.script.href
  if (url !== null && /^(file|https?):/.test(url) && !isEntry(url)) {
    const path = exportPathOf(fn, place)
    if (path !== undefined) return { kind: 'reference', id: nextId(), url: place.script.kind === 'module' ? place.script.url : url, path, hash: hashOf(fn), commonJs: place.script.kind !== 'module', place }
  }
  return { kind: 'value', subject: subjectAt(fn, place) }
}

/** A function that is to be sent by value whatever other form it has: the other side found another text where a reference leads. */
export function subjectOf(fn: AnyFunction): Subject {
  const kind = kindOf(fn)
  if (kind.kind === 'value') return kind.subject
  if (kind.kind === 'reference') return values.get(fn) ?? subjectAt(fn, kind.place)
  throw refuseNative(fn, 'has no text')
}

function subjectAt(fn: AnyFunction, place: Place): Subject {
  const plan = planOf(place)
  const { code, layout, stand } = writtenFor(plan)
  const subject: Subject = {
    id: nextId(), plan, code, layout, stand, fixed: new Map(), surroundings: undefined, isSteady: false, captured: [], isSettled: false, shipments: 0, cellIds: new Map(),
  }
  values.set(fn, subject)
  registerHome(subject.id, fn)
  return subject
}

function writtenFor(plan: Plan): { layout: Layout, code: Code, stand: Stand } {
  let written = layouts.get(plan)
  if (written === undefined) {
    const { script } = plan.place
    const stand = standFor(script.id, script.text)
    const imports: Capture[] = []
    const cells: Capture[] = []
    const plain: Capture[] = []
    const system = new Map<string, SystemName>()
    for (const capture of plan.captures) {
      // The entry is not imported again: what it exports travels as the value that it is.
      if (capture.mode === 'import' && script.href !== null && !importsEntry(capture, script.href)) imports.push(capture)
      else if (capture.mode === 'cell' && !isModuleName(capture)) cells.push(capture)
      else plain.push(capture)
      if (isModuleName(capture) && capture.name !== 'module' && capture.name !== 'exports') system.set(capture.name, capture.name as SystemName)
      else if (Object.hasOwn(SYNTAX_NAMES, capture.name) && capture.binding?.kind === 'parameter') system.set(capture.name, SYNTAX_NAMES[capture.name]!)
    }
    const layout = { values: plain, cells, imports, system }
    written = { layout, stand, code: writeCode(plan, layout, stand, nextId()) }
    layouts.set(plan, written)
  }
  return written
}

function importsEntry({ binding }: Capture, parent: string): boolean {
  const { specifier } = binding!.imported!
  return /^(?:\.{0,2}\/|file:)/.test(specifier) && URL.canParse(specifier, parent) && isEntry(new URL(specifier, parent).href)
}

/** What CommonJS, or a test runner in its stead, gives to a module: parameters of the function around it. */
export function isModuleName({ name, binding }: Capture): boolean {
  if (!MODULE_NAMES.has(name)) return false
  return binding === null || (binding.kind === 'parameter' && binding.scope.bindings.has('require') && binding.scope.bindings.has('module'))
}

/** Reads `this` and `new.target` of an arrow, which the inspector does not list, by stopping it where it begins. Once a function. */
export function readSurroundings(fn: AnyFunction, subject: Subject): { self: unknown, newTarget: unknown } {
  if (subject.surroundings !== undefined) return subject.surroundings
  const { plan } = subject
  const wantsTarget = plan.lexicals.some(item => item.kind === 'new.target')
  const wantsSelf = plan.lexicals.some(item => item.kind === 'this')
  let found = { self: undefined as unknown, newTarget: undefined as unknown }
  // At the top of an ES module both are undefined.
  const isTop = plan.place.script.kind === 'module' && plan.lexicals.every(item => item.owner === null || (item.kind !== 'this' && item.kind !== 'new.target'))
  if ((wantsSelf || wantsTarget) && !isTop) {
    if (isBeingDebugged()) throw refuseThis(plan, fn, wantsSelf ? 'this' : 'new.target')
    const stopped = atEntryOf(fn, evaluate => {
      found = { self: wantsSelf ? evaluate('this').value : undefined, newTarget: wantsTarget ? evaluate('new.target').value : undefined }
    })
    if (!stopped) throw refuseThis(plan, fn, wantsSelf ? 'this' : 'new.target')
  }
  subject.surroundings = found
  return found
}
