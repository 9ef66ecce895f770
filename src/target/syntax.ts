/**
 * The syntax tree of a script's text, and the full parser, acorn: loaded when a text is met that the quick reader
 * (reader/) leaves alone.
 */

import { createRequire } from 'node:module'
import type * as acorn from 'acorn'

export type { AnyNode, Identifier, ImportDeclaration, MethodDefinition, Program, Property, PropertyDefinition } from 'acorn'
export type FunctionNode =
  acorn.FunctionDeclaration | acorn.AnonymousFunctionDeclaration | acorn.FunctionExpression | acorn.ArrowFunctionExpression
export type ClassNode = acorn.ClassDeclaration | acorn.AnonymousClassDeclaration | acorn.ClassExpression

let parser: typeof acorn | undefined

/** How a script was compiled: it decides what its top level means. */
export type ScriptKind = 'module' | 'commonjs' | 'script'

/**
 * The syntax tree of a script's text as V8 has it: plain JavaScript, whatever language it was written in.
 *
 * @throws SyntaxError where acorn cannot read what V8 could (syntax newer than the parser).
 */
export function parse(text: string, kind: ScriptKind): acorn.Program {
  parser ??= createRequire(import.meta.filename)('acorn') as typeof acorn
  return parser.parse(text, {
    ecmaVersion: 'latest',
    sourceType: kind === 'module' ? 'module' : 'script',
    // CommonJS is compiled as the body of a function.
    allowReturnOutsideFunction: kind !== 'module',
    allowAwaitOutsideFunction: kind === 'module',
    allowSuperOutsideMethod: true,
    allowHashBang: true,
    // A private name is checked by V8 already; a function taken out of its class would not pass.
    checkPrivateFields: false,
  })
}

const none: readonly never[] = []

/** Every node directly below another, in the order of the text as far as the tree keeps it. */
export function childrenOf(node: acorn.AnyNode): readonly acorn.AnyNode[] {
  // Half of all nodes are names and constants, which have nothing below.
  if (node.type === 'Identifier' || node.type === 'Literal') return none
  const children: acorn.AnyNode[] = []
  // Faster than a list of the values: a node's properties are all its own.
  for (const key in node) {
    const value = (node as unknown as Record<string, unknown>)[key]
    if (typeof value !== 'object' || value === null) continue
    if (Array.isArray(value)) {
      for (const item of value) if (isNode(item)) children.push(item)
    } else if (isNode(value)) children.push(value)
  }
  return children
}

function isNode(value: unknown): value is acorn.AnyNode {
  return typeof value === 'object' && value !== null && typeof (value as { type?: unknown }).type === 'string'
}
