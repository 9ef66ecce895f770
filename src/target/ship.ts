/**
 * The sending side: what stands in a message for a function. One shipment is one message; it knows which functions are
 * sent for themselves and which are only captured, and which variables they share.
 */

import { types } from 'node:util'
import { isLoadedAlike } from './alike.js'
import type { FunctionDescription, FunctionExtension } from '../codec/extensions.js'
import { StateError } from '../errors.js'
import { isClass, type Capture } from './plan.js'
import { inspect, type AnyFunction, type Facts } from './inspector.js'
import { needOf, type Need } from './modules.js'
import { nameOf, nameOfFunction, type NamePath } from './names.js'
import { computedKeys, ownProperties, prototypeProperties, superclassOf } from './own.js'
import { makerOf } from './per-process.js'
import type { BoundBody, CellRecord, ReferenceHead, ValueBody, ValueHead } from './record.js'
import { noCodeGeneration, boundOrigin, canGenerateCode, originOf, referenceOrigin, type Origin } from './revive.js'
import { reasonAgainst, refuseAssignment, refuseObstacle, refuseValue } from './refuse.js'
import { kindOf, knownKind, readSurroundings, subjectOf, type Hint, type Scopes, type Subject } from './subject.js'
import { cellIdOf, type SharedCells } from './cells.js'
import { readValue, type Found } from './values.js'
import { isOfProgram, placeByName, type Place } from './scripts.js'
import type { Code } from './text.js'

/** What one other process is known to have. Goes with the connection to it, and ends with it. */
export class Peer {
  private readonly ids = new Set<string>()

  /** Whether a text or function was sent to it before, in a message that arrived. */
  has(id: string): boolean {
    return this.ids.has(id)
  }

  add(id: string): void {
    this.ids.add(id)
  }

  delete(id: string): void {
    this.ids.delete(id)
  }
}

/** Ids of functions that were collected here: receivers need not keep them. */
const collected: string[] = []
const collector = new FinalizationRegistry<string>(id => collected.push(id))

/** Takes the ids of functions that no longer exist here, for the receivers' `forget`. */
export function takeForgotten(): string[] {
  return collected.splice(0)
}

let isHandle: (value: object) => boolean = () => false
/** Tells which objects are this package's handles: one captured by a constant need not be sent twice. */
export function setIsHandle(test: (value: object) => boolean): void {
  isHandle = test
}

const nothing: readonly never[] = []

/**
 * The functions of one message. Give it to the codec as `fn`; after the message has been handed over, call
 * {@link commit}, so that the next one need not bring the same texts.
 *
 * @example
 * ```ts
 * const shipment = new Shipment(peer)
 * const message = encode([fn, args], { fn: shipment, instance })
 * send(message)
 * shipment.commit()
 * ```
 */
export class Shipment implements FunctionExtension {
  private readonly peer: Peer | undefined
  private readonly sent: string[] = []
  /** More than 0 while what a function captured is being written. */
  private depth = 0
  private hints: Map<object, Hint> | undefined
  private facts: Map<AnyFunction, Facts> | undefined
  private cells: SharedCells | undefined
  private readonly inFull: ReadonlySet<string> | undefined

  /**
   * @param peer Who receives it, and can answer; without one, everything is sent in full, and by value what the receiver
   *   might find changed.
   * @param inFull What the receiver turned out not to have (`IncompleteError`, by its `id`): sent in full, and by value.
   */
  constructor(peer?: Peer, inFull?: Iterable<string>) {
    this.peer = peer
    this.inFull = inFull === undefined ? undefined : new Set(inFull)
  }

  /** The message is on its way: the receiver has what it brought. */
  commit(): void {
    for (const id of this.sent) this.peer?.add(id)
    this.sent.length = 0
  }

  /**
   * What stands in the message for a function.
   *
   * @throws {@link SerializationError} for what cannot be sent, naming the variable and where it is declared.
   */
  describe(fn: AnyFunction): FunctionDescription {
    const known = knownKind(fn)
    if (known !== undefined) {
      if (known.kind === 'value') {
        const { subject } = known
        if (subject.isSteady && this.isKnown(subject.id) && isBare(fn, subject)) {
          // What it captures was described after it, in the message that brought it.
          if (!subject.isSettled) settle(subject)
          if (subject.isSettled) return { head: subject.id, body: undefined }
        }
      } else if (known.kind === 'reference') {
        if (this.mayRefer(known)) return this.describeReference({ t: 'reference', ...known })
      }
    } else {
      const early = this.describeUnread(fn)
      if (early !== undefined) return early
    }
    const kind = kindOf(fn, this.hints?.get(fn), () => this.factsOf(fn))
    if (kind.kind === 'bound') return this.describeBound(fn, kind.id, kind)
    if (kind.kind === 'reference' && this.mayRefer(kind)) return this.describeReference({ t: 'reference', ...kind })
    return this.describeByValue(fn, kind.kind === 'value' ? kind.subject : subjectOf(fn))
  }

  /** An object that every process has: of the language, of Node, of this package. */
  nameOf(value: object): FunctionDescription | undefined {
    return describeNamed(value)
  }

  /** A message that is sent brings nothing here. */
  create(): never {
    throw new StateError('a message that is written cannot bring a function')
  }

  /** As {@link create}. */
  fill(): never {
    throw new StateError('a message that is written cannot bring a function')
  }

  private isForced(id: string): boolean {
    return this.inFull?.has(id) === true
  }

  /** A receiver that cannot ask for more is sent a reference only where it is sure to find the same text. */
  private mayRefer({ id, place }: { readonly id: string, readonly place: Place }): boolean {
    return !this.isForced(id) && (this.peer !== undefined || isLoadedAlike(place.script))
  }

  private isKnown(id: string): boolean {
    return this.peer?.has(id) === true && !this.isForced(id)
  }

  /** What can be told without the inspector: names, what arrived from elsewhere, what `perProcess` made. */
  private describeUnread(fn: AnyFunction): FunctionDescription | undefined {
    const maker = makerOf(fn)
    if (maker !== undefined) {
      if (this.isKnown(maker.id)) return { head: { t: 'maker', id: maker.id }, body: undefined }
      this.sent.push(maker.id)
      return { head: { t: 'maker', id: maker.id }, body: this.body({ create: maker.create }) }
    }
    const origin = originOf(fn)
    if (origin !== undefined) return this.describeOrigin(fn, origin)
    const bound = boundOrigin(fn)
    if (bound !== undefined) return this.describeBound(fn, bound.head.id, bound.body)
    const reference = referenceOrigin(fn)
    if (reference !== undefined && !this.isForced(reference.id)) return this.describeReference(reference)
    // One that stands in a script of the program's has no name.
    if (this.hints?.has(fn) === true) return undefined
    const place = placeByName(fn)
    if (place !== undefined) {
      this.hint(fn, { place })
      return undefined
    }
    const path = nameOfFunction(fn, () => isOfProgram(() => this.factsOf(fn)))
    return path === undefined ? undefined : { head: { t: 'name', path }, body: undefined }
  }

  private describeReference(head: ReferenceHead): FunctionDescription {
    if (this.isKnown(head.id)) return { head: head.id, body: undefined }
    this.sent.push(head.id)
    const { id, url, path, hash, commonJs } = head
    return { head: { t: 'reference', id, url, path, hash, commonJs }, body: undefined, needs: [needOf(url)] }
  }

  private describeBound(fn: AnyFunction, id: string, { target, self, args }: BoundBody): FunctionDescription {
    return { head: { t: 'bound', id, name: fn.name, length: fn.length }, body: this.body({ target, self, args }) }
  }

  /** Everything below is captured, until the codec has read the last property. */
  private body<T extends object>(content: T): T {
    let isOpen = false
    const properties = Object.keys(content)
    const guarded: Record<string, unknown> = {}
    Object.defineProperty(guarded, 'begin', { enumerable: true, get: () => {
      isOpen = true
      this.depth += 1
    } })
    for (const key of properties) guarded[key] = (content as Record<string, unknown>)[key]
    Object.defineProperty(guarded, 'end', { enumerable: true, get: () => {
      if (isOpen) this.depth -= 1
      isOpen = false
    } })
    return guarded as T
  }

  private codeFor(code: Code): Code | string {
    if (this.isKnown(code.id)) return code.id
    this.sent.push(code.id)
    return code
  }

  private describeByValue(fn: AnyFunction, subject: Subject): FunctionDescription {
    const { plan, layout, code } = subject
    if (plan.obstacle !== null) throw refuseObstacle(plan, fn, plan.obstacle)
    if (!canGenerateCode()) throw noCodeGeneration(code.file === '' ? 'a script' : code.file)
    if (this.depth === 0 && plan.assigns.length > 0) throw refuseAssignment(plan, plan.assigns[0]!.capture, fn, plan.assigns[0]!.at)

    const read = new Reading(this, fn, subject)
    const named: Record<string, NamePath> = {}
    const early: Record<string, unknown> = {}
    const functions: AnyFunction[] = []
    let isSteady = layout.cells.length === 0
    const captured: Record<string, unknown> = {}
    for (const capture of layout.values) {
      if (layout.system.has(capture.name)) continue
      const found = readValue(capture, subject, fn, read)
      if (found.path !== undefined) {
        named[capture.name] = found.path
        if (!capture.fixed) isSteady = false
        continue
      }
      const { value } = found
      const reason = reasonAgainst(value)
      if (reason !== undefined) throw refuseValue(plan, capture, fn, reason)
      for (const [member, path] of found.members ?? []) named[`${capture.name}.${member}`] = path
      if (capture.early) early[capture.name] = value
      captured[capture.name] = value
      if (typeof value === 'function') functions.push(value as AnyFunction)
      const isConstant = capture.fixed && (typeof value !== 'object' || value === null || isHandle(value))
      if (!isConstant) isSteady = false
    }
    this.addSurroundings(fn, subject, captured)
    if (code.names.length > layout.values.length && subject.surroundings?.self !== undefined) isSteady = false
    const cells = layout.cells.map((capture): CellRecord => {
      const found = readValue(capture, subject, fn, read)
      const reason = reasonAgainst(found.value)
      if (reason !== undefined) throw refuseValue(plan, capture, fn, reason)
      this.cells ??= new Map()
      return [cellIdOf(capture, subject, fn, read.scopes, this.cells), plan.assigns.some(item => item.capture === capture), found.value]
    })

    const own = ownProperties(fn, plan)
    if (own !== undefined && !isClass(plan.place.node)) isSteady = false
    subject.isSteady = isSteady
    subject.captured = functions
    subject.shipments += 1
    const keep = isClass(plan.place.node) || (isSteady && (subject.shipments > 1 || read.isTopLevel))
    if (keep) {
      if (!this.isKnown(subject.id)) {
        this.sent.push(subject.id)
        collector.register(fn, subject.id)
      }
    }
    const head: ValueHead = {
      t: 'value', id: subject.id, code: this.codeFor(code), name: fn.name, keep,
      ...(Object.keys(named).length > 0 ? { named } : {}), ...(Object.keys(early).length > 0 ? { early } : {}),
      ...(plan.keyed.length > 0 ? { keys: computedKeys(fn, plan) } : {}),
    }
    return { head, body: this.valueBody(fn, code, captured, cells, own, plan.dropped.length > 0 ? fn : undefined), needs: needsOf(code, named) }
  }

  private valueBody(
    fn: AnyFunction, code: Code, captured: Readonly<Record<string, unknown>>, cells: readonly CellRecord[], own: ValueBody['own'], privateStatics: AnyFunction | undefined,
  ): ValueBody | undefined {
    const superclass = code.isClass ? superclassOf(fn) : undefined
    const prototype = prototypeProperties(fn, code.isClass)
    const privates = privateStatics === undefined ? null : inspect(privateStatics).privates
    if (code.names.length === 0 && cells.length === 0 && own === undefined && superclass === undefined && prototype === undefined && privates === null) return undefined
    return this.body<ValueBody>({
      captured, cells,
      ...(own === undefined ? {} : { own }),
      ...(superclass === undefined ? {} : { superclass }),
      ...prototype,
      ...(privates === null ? {} : { privates }),
    })
  }

  /** `this`, `new.target` and `arguments` of the function around an arrow, in the order of the code's names. */
  private addSurroundings(fn: AnyFunction, subject: Subject, captured: Record<string, unknown>): void {
    const { code, stand, layout } = subject
    for (let i = layout.values.length; i < code.names.length; i += 1) {
      const name = code.names[i]!
      if (name === stand.self) captured[name] = readSurroundings(fn, subject).self
      else if (name === stand.newTarget) captured[name] = readSurroundings(fn, subject).newTarget
      else if (name === stand.args) {
        captured[name] = Array.from(inspect(fn).scopes.find(scope => 'arguments' in scope)?.['arguments'] as ArrayLike<unknown> | undefined ?? [])
      }
    }
  }

  /** A function that arrived from another process is sent on with the text that it came with. */
  private describeOrigin(fn: AnyFunction, origin: Origin): FunctionDescription {
    const { head, code } = origin
    const sent: ValueHead = { ...head, code: this.codeFor(code) }
    if (head.keep && !this.isKnown(head.id)) this.sent.push(head.id)
    const cells = origin.cells.map(({ id, own, cell }): CellRecord => [id, own, cell.v])
    return {
      head: sent, body: this.valueBody(fn, code, origin.captured, cells, ownProperties(fn, undefined), origin.environment.privates === undefined ? undefined : fn),
      needs: needsOf(code, head.named ?? {}),
    }
  }

  /** What the inspector says of a function, asked once a message: its variables are copies of what they are now. */
  factsOf(fn: AnyFunction): Facts {
    let facts = this.facts?.get(fn)
    if (facts === undefined) (this.facts ??= new Map()).set(fn, facts = inspect(fn))
    return facts
  }

  /** A function that was met on the way, so that it need not be asked about. */
  hint(fn: object, hint: Hint): void {
    this.hints ??= new Map()
    if (!this.hints.has(fn)) this.hints.set(fn, hint)
  }

  hintFor(fn: object): Hint | undefined {
    return this.hints?.get(fn)
  }
}

/** The scopes of a function, asked for when the first value is not known already, at most once a message. */
export class Reading {
  private readonly shipment: Shipment
  private readonly fn: AnyFunction
  private readonly subject: Subject
  private found: Scopes | undefined

  constructor(shipment: Shipment, fn: AnyFunction, subject: Subject) {
    this.shipment = shipment
    this.fn = fn
    this.subject = subject
  }

  get scopes(): Scopes {
    return this.found ??= this.shipment.hintFor(this.fn)?.scopes ?? this.shipment.factsOf(this.fn).scopes
  }

  /** Tells where a captured function stands, if its variable says so, so that it need not be asked about. */
  hint(capture: Capture, found: Found): void {
    if (!capture.fixed || typeof found.value !== 'function' || found.depth < 0) return
    // What its variable begins with is read only now.
    const init = capture.binding?.init
    if (!init) return
    const place = this.subject.plan.place.script.placeOf(init)
    if (place !== undefined) this.shipment.hint(found.value, { place, scopes: this.scopes.slice(found.depth) })
  }

  /** Whether all that it captures is the script's own, so that there is one such function and not one a call. */
  get isTopLevel(): boolean {
    return this.subject.plan.captures.every(({ binding }) => binding === null || binding.scope.parent === null)
  }
}

/** What stands in a message for an object that every process has by its name; undefined for any other. */
export function describeNamed(value: object): FunctionDescription | undefined {
  const path = nameOf(value)
  if (path !== undefined) return { head: { t: 'name', path }, body: undefined }
  if (!types.isModuleNamespaceObject(value)) return undefined
  // Of the modules that `import * as` gives, Node's own have a name.
  const { default: exported } = value as { default?: unknown }
  const own = typeof exported === 'object' || typeof exported === 'function' ? nameOf(exported!) : undefined
  if (own === undefined || !own[0]!.startsWith('node:')) return undefined
  if (own.length > 1) return { head: { t: 'name', path: own }, body: undefined }
  const need = needOf(own[0]!)
  return { head: { t: 'namespace', need }, body: undefined, needs: [need] }
}

/** Whether nothing hangs on a function that did not when it was sent: what is known there is then still true. */
function isBare(fn: AnyFunction, { plan }: Subject): boolean {
  return isClass(plan.place.node) || ownProperties(fn, plan) === undefined
}

/**
 * Whether all that a message says of a function it will say again: nothing that it captures, and nothing that hangs on it,
 * can change. False of one that was never described.
 */
export function isSteady(fn: AnyFunction): boolean {
  const kind = knownKind(fn)
  if (kind === undefined) {
    const origin = originOf(fn)
    return origin?.head.keep === true && origin.cells.length === 0 && ownProperties(fn, undefined) === undefined
  }
  if (kind.kind === 'reference') return isLoadedAlike(kind.place.script)
  if (kind.kind === 'bound') return false
  const { subject } = kind
  if (!subject.isSteady || !isBare(fn, subject)) return false
  if (!subject.isSettled) settle(subject)
  return subject.isSettled && prototypeProperties(fn, subject.code.isClass) === undefined
}

/**
 * Names of the language that no program gives to something of its own. Others are given: a `Map` of some library, the `setTimeout`
 * of `node:timers/promises`, Node's own `process` as an import; of those the text says too little.
 */
const COMMON: ReadonlySet<string> = new Set(
  'Array BigInt Infinity JSON Math NaN Number Object isFinite isNaN parseFloat parseInt undefined'.split(' '))

/**
 * Whether the text of an arrow function says all about it: of what stands around it, it uses nothing. So another one of the
 * same text is the same function. Known once it has been described.
 */
export function isSelfContained(fn: AnyFunction): boolean {
  const kind = knownKind(fn)
  if (kind?.kind !== 'value') return false
  const { form, captures, lexicals, assigns, unresolved } = kind.subject.plan
  return form === 'arrow' && captures.length === 0 && lexicals.length === 0 && assigns.length === 0 && unresolved.every(name => COMMON.has(name)) && isSteady(fn)
}

/** A function needs no captured variables again if none of those that it reaches does. */
function settle(subject: Subject): void {
  const reached = new Set<Subject>([subject])
  for (const item of reached) {
    if (!item.isSteady) return
    for (const fn of item.captured) {
      const kind = knownKind(fn)
      if (kind?.kind === 'value') reached.add(kind.subject)
      else if (kind?.kind === 'bound') return
    }
  }
  // Those below were sent as part of this one; they are known by themselves only once they were sent so.
  subject.isSettled = true
}

function needsOf(code: Code, named: Readonly<Record<string, NamePath>>): readonly Need[] {
  if (code.imports.length === 0 && Object.keys(named).length === 0) return nothing
  return code.imports.map(([, specifier, , attributes]) => needOf(specifier, code.module, attributes))
}
