/**
 * What a function needs from around it, read from its text once: the names that it uses and does not declare, where
 * each is declared, who assigns it, and what else it has only where it stands (`this` of an arrow, `import.meta`).
 */

import type { Analysis } from './analysis.js'
import type { Place } from './scripts.js'
import { contains, firstFrom, type Binding, type Lexical, type Reference, type Scope } from './scopes.js'
import type { AnyNode, ClassNode, MethodDefinition } from './syntax.js'

/** A variable that a function uses and somebody else declares. */
export interface Capture {
  readonly name: string
  /** Null for what CommonJS gives every module (`require`, `exports`, …) and for names that no text declares. */
  readonly binding: Binding | null
  /**
   * `cell`: functions other than the one that declares it assign it, so those that share it must see one variable;
   * `import`: bound by an import declaration; `value`: the rest.
   */
  readonly mode: 'import' | 'cell' | 'value'
  /** Nothing assigns it after its first value. */
  readonly fixed: boolean
  readonly uses: readonly Reference[]
  /** The names read from it, if all that is done with it is `name.member`; null otherwise. */
  readonly members: readonly string[] | null
  /** Needed to make the class, not only to run it: it stands in a computed name. */
  readonly early: boolean
}

export type Form = 'arrow' | 'function' | 'class' | 'method' | 'getter' | 'setter'

export interface Plan {
  readonly place: Place
  readonly form: Form
  readonly strict: boolean
  readonly captures: readonly Capture[]
  /** Names that no text declares: globals, unless the scopes say otherwise. */
  readonly unresolved: readonly string[]
  /** What it has from where it stands, to be rewritten: `this`, `new.target` and `arguments` of an arrow, `import.meta`, `import()`. */
  readonly lexicals: readonly Lexical[]
  /** A captured variable that the function, or one written inside it, assigns. */
  readonly assigns: readonly { capture: Capture, at: number }[]
  /** Why it cannot be sent whatever its variables hold, or null. */
  readonly obstacle: Obstacle | null
  /** It calls itself by a name that something assigns: the name must not be its own. */
  readonly renamed: boolean
  /** Static parts of a class that are not run again where it arrives: their values travel. */
  readonly dropped: readonly AnyNode[]
  /** Methods of a class whose computed names travel as what they were: V8 keeps nothing for an expression that has been evaluated. */
  readonly keyed: readonly MethodDefinition[]
}

export interface Obstacle {
  readonly kind: 'super' | 'private' | 'eval'
  readonly name: string
  readonly at: number
}

/** Names that CommonJS gives to every module. */
export const MODULE_NAMES: ReadonlySet<string> = new Set(['require', 'module', 'exports', '__filename', '__dirname'])

/** What a bundler's test runner gives to a module in the place of syntax: parameters of the function around it. */
export const SYNTAX_NAMES: Readonly<Record<string, 'import()' | 'import.meta'>> = {
  __vite_ssr_dynamic_import__: 'import()', __vi_ssr_dynamic_import__: 'import()', __vite_ssr_import_meta__: 'import.meta', __vi_ssr_import_meta__: 'import.meta',
}

const plans = new WeakMap<AnyNode, Plan>()

/** The plan of the function at a place; made once. */
export function planOf(place: Place): Plan {
  let plan = plans.get(place.node)
  if (plan === undefined) plans.set(place.node, plan = makePlan(place))
  return plan
}

function makePlan(place: Place): Plan {
  const { script, node } = place
  const { analysis } = script
  const around = analysis.functions.get(node)!
  analysis.readWhole(node)
  for (let at = around; at.parent !== null; at = at.parent) if (at.isFunction) analysis.revealTaint(at.node)
  settleFreeNames(analysis, node)
  const { references, lexicals } = analysis
  const dropped = isClass(node) ? node.body.body.filter(member =>
    member.type === 'StaticBlock' || (member.type === 'PropertyDefinition' && member.static)) : []
  const skipped: AnyNode[] = [...dropped]
  if (isClass(node) && node.superClass) skipped.push(node.superClass)
  const keyed = isClass(node) ? node.body.body.filter((member): member is MethodDefinition =>
    member.type === 'MethodDefinition' && member.computed && !isPlainKey(member.key)) : []
  for (const { key } of keyed) skipped.push(key)
  const isSkipped = (at: number): boolean => skipped.some(item => contains(item, at))

  const byBinding = new Map<Binding | string, Reference[]>()
  const unresolved = new Set<string>()
  let renamed = false
  for (let i = firstFrom(references, node.start); i < references.length && references[i]!.node.start < node.end; i += 1) {
    const reference = references[i]!
    const { binding } = reference
    const { name } = reference.node
    if (isSkipped(reference.node.start)) continue
    let key: Binding | string
    if (binding === null) {
      if (name === 'arguments') continue
      if (!(script.kind === 'commonjs' && MODULE_NAMES.has(name))) {
        unresolved.add(name)
        continue
      }
      key = name
    } else {
      const home = binding.scope.node
      const isOwnName = binding.kind === 'function' && binding.init === node
      if (home.start >= node.start && home.end <= node.end && !isOwnName) continue
      if (isOwnName) {
        // Its own name, seen from inside: the name of the function expression that it becomes means the same.
        if (binding.writes.length === 0) continue
        renamed = true
      }
      key = binding
    }
    const known = byBinding.get(key)
    if (known === undefined) byBinding.set(key, [reference])
    else known.push(reference)
  }

  const computed = isClass(node) ? node.body.body.flatMap(member =>
    member.type !== 'StaticBlock' && member.computed && !dropped.includes(member) ? [member.key as AnyNode] : []) : []
  const captures: Capture[] = []
  const assigns: { capture: Capture, at: number }[] = []
  for (const [key, uses] of byBinding) {
    const binding = typeof key === 'string' ? null : key
    const capture: Capture = {
      name: uses[0]!.node.name, binding, uses,
      mode: binding === null ? 'value' : binding.kind === 'import' ? 'import' : isAssignedByOthers(binding) ? 'cell' : 'value',
      fixed: binding !== null && binding.writes.length === 0,
      members: membersOf(uses),
      early: uses.some(use => computed.some(item => contains(item, use.node.start))),
    }
    captures.push(capture)
    const write = uses.find(use => use.write) ?? binding?.writes.find(item => contains(node, item.node.start) && !isSkipped(item.node.start))
    if (write !== undefined) assigns.push({ capture, at: write.node.start })
  }

  const own: Lexical[] = []
  let obstacle: Obstacle | null = null
  for (let i = firstFrom(lexicals, node.start); i < lexicals.length && lexicals[i]!.node.start < node.end; i += 1) {
    const lexical = lexicals[i]!
    const at = lexical.node.start
    if (isSkipped(at)) continue
    const { owner } = lexical
    const inside = owner !== null && owner.start >= node.start && owner.end <= node.end
    switch (lexical.kind) {
      case 'eval': obstacle ??= { kind: 'eval', name: 'eval', at }; break
      case 'private': if (!inside) obstacle ??= { kind: 'private', name: `#${(lexical.node as { name?: string }).name ?? ''}`, at }; break
      // A method has its object's `super` only inside the object; a class brings its own.
      case 'super': if (!inside || owner === node) obstacle ??= { kind: 'super', name: 'super', at }; break
      case 'import.meta':
      case 'import()': own.push(lexical); break
      case 'arguments': {
        const resolved = references[firstFrom(references, at)]
        if (!inside && !resolved?.binding) own.push(lexical)
        break
      }
      default: if (!inside) own.push(lexical)
    }
  }
  if (obstacle === null && isTainted(around)) obstacle = { kind: 'eval', name: 'eval', at: node.start }
  return {
    place, form: formOf(place), strict: isStrict(place, around), captures, unresolved: [...unresolved], lexicals: own, assigns, obstacle, renamed, dropped, keyed,
  }
}

/** Whether what a function captures is assigned must be known before anything is concluded from it. */
function settleFreeNames(analysis: Analysis, node: AnyNode): void {
  const { references } = analysis
  const bindings = new Set<Binding>()
  for (let i = firstFrom(references, node.start); i < references.length && references[i]!.node.start < node.end; i += 1) {
    const { binding } = references[i]!
    if (binding !== null && !(binding.scope.node.start >= node.start && binding.scope.node.end <= node.end && binding.init !== node)) bindings.add(binding)
  }
  for (const binding of bindings) analysis.settle(binding)
}

export function isClass(node: AnyNode): node is ClassNode {
  return node.type === 'ClassDeclaration' || node.type === 'ClassExpression'
}

/** A literal, or a symbol of the language: the same everywhere. */
function isPlainKey(key: AnyNode): boolean {
  return key.type === 'Literal' || (key.type === 'MemberExpression' && key.object.type === 'Identifier' && key.object.name === 'Symbol' && !key.computed)
}

function formOf({ node, method }: Place): Form {
  if (isClass(node)) return 'class'
  if (node.type === 'ArrowFunctionExpression') return 'arrow'
  if (method === null) return 'function'
  return method.kind === 'get' ? 'getter' : method.kind === 'set' ? 'setter' : 'method'
}

/** Whether functions other than the one whose variable it is assign it. */
function isAssignedByOthers(binding: Binding): boolean {
  if (binding.writes.length === 0) return false
  const home = functionOf(binding.scope)
  return binding.writes.some(write => functionOf(write.scope) !== home)
}

function functionOf(scope: Scope): Scope {
  let at = scope
  while (!at.isFunction && at.parent !== null) at = at.parent
  return at
}

function isTainted(scope: Scope): boolean {
  // The top of a script is tainted by any `eval` in it; only one around the function, or one that sees its variables, counts.
  for (let at = scope; at.parent !== null; at = at.parent) if (at.tainted && at.isFunction) return true
  return false
}

function isStrict({ script, home }: Place, around: Scope): boolean {
  if (script.kind === 'module' || home !== null) return true
  for (let at: Scope | null = around; at !== null; at = at.parent) {
    const { node } = at
    if (isClass(node)) return true
    const body = node.type === 'Program' ? node.body : 'body' in node && (node.body as AnyNode).type === 'BlockStatement' ? (node.body as { body: AnyNode[] }).body : []
    for (const statement of body) {
      if (statement.type !== 'ExpressionStatement' || statement.directive === undefined) break
      if (statement.directive === 'use strict') return true
    }
  }
  return false
}

function membersOf(uses: readonly Reference[]): string[] | null {
  const members = new Set<string>()
  for (const { node, parent, write } of uses) {
    if (write || parent?.type !== 'MemberExpression' || parent.object !== node || parent.computed || parent.property.type !== 'Identifier') return null
    members.add(parent.property.name)
  }
  return [...members]
}
