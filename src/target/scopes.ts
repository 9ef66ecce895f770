/**
 * Names of a script: who declares each, who uses it, and in which scopes of ECMA-262. The inspector gives values by name
 * only; what a name means is read from the text.
 */

import type { AnyNode, Identifier } from './syntax.js'

export type BindingKind = 'import' | 'const' | 'let' | 'var' | 'function' | 'class' | 'parameter' | 'catch' | 'own-name'

/** A declared variable. */
export interface Binding {
  readonly name: string
  readonly kind: BindingKind
  /** Where it is declared, in the text. */
  readonly at: number
  readonly scope: Scope
  /** The expression or declaration that gives it its first value, if it stands alone (`const a = …`, `function a…`). */
  readonly init: AnyNode | null
  /** For an import: of what, from where. */
  readonly imported: Imported | null
  /** Places, other than its own declaration, that assign it. */
  readonly writes: Reference[]
}

/** `export` is the exported name, `*` for the whole namespace. */
export interface Imported {
  readonly specifier: string
  readonly export: string
  /** Import attributes (`with { type: 'json' }`), or null. */
  readonly attributes: Readonly<Record<string, string>> | null
}

export interface Scope {
  readonly node: AnyNode
  readonly parent: Scope | null
  readonly bindings: Map<string, Binding>
  /** Functions catch `var`; blocks do not. */
  readonly isFunction: boolean
  /** A direct `eval` or a `with` inside: names may mean what nobody can read from the text. */
  tainted: boolean
}

/** A use of a name. */
export interface Reference {
  readonly node: Identifier
  readonly scope: Scope
  readonly write: boolean
  /** `{ name }`: to rewrite it, the key must be written out. */
  readonly shorthand: boolean
  /** The node around it: says whether it is called, or only a member of it is read. */
  readonly parent: AnyNode | null
  binding: Binding | null
}

/** A use of something that a function has from where it stands, without a name of its own. */
export interface Lexical {
  readonly kind: 'this' | 'super' | 'new.target' | 'arguments' | 'import.meta' | 'import()' | 'eval' | 'private'
  readonly node: AnyNode
  /** Whose it is: the nearest function that has its own, a class for private names, null for the script. */
  readonly owner: AnyNode | null
}

/** The variable that a name means in a scope; null for a global. */
export function lookup(scope: Scope, name: string): Binding | null {
  for (let at: Scope | null = scope; at !== null; at = at.parent) {
    const binding = at.bindings.get(name)
    if (binding !== undefined) return binding
  }
  return null
}

/** Whether a place in the text lies within a node. */
export function contains(node: AnyNode, at: number): boolean {
  return at >= node.start && at < node.end
}

/** The index of the first of `items`, ordered by their place in the text, that starts at `at` or later. */
export function firstFrom(items: readonly { readonly node: AnyNode }[], at: number): number {
  let low = 0
  let high = items.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (items[middle]!.node.start < at) low = middle + 1
    else high = middle
  }
  return low
}
