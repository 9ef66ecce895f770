/**
 * The text that is sent for a function: its own, character for character and at its own line and column, but for what
 * could not mean the same elsewhere: `this` of an arrow, `import.meta`, a shared variable, the static parts of a class,
 * which become names that the receiver fills in. Replacements keep the length where they can, so that stack traces fit.
 */

import { contains } from './scopes.js'
import { isClass, type Capture, type Plan } from './plan.js'
import type { ClassNode } from './syntax.js'

/** Everything that the receiver needs to make functions of one place in a text; sent to each process once. */
export interface Code {
  readonly id: string
  /** A script whose value is a function of the environment, which returns the function. */
  readonly text: string
  readonly file: string
  /** Line of the script's first line, from 0; -1 is possible. */
  readonly line: number
  /** How the function is taken from what the script gives. */
  readonly take: 'self' | 'value' | 'get' | 'set'
  /** The captured variables that are plain values, in the order of a body's values. */
  readonly names: readonly string[]
  /** The captured variables that are shared cells, in the order of a body's cells. */
  readonly cells: readonly string[]
  /** Imports to bind: name, specifier, export, attributes. */
  readonly imports: readonly (readonly [name: string, specifier: string, exported: string, attributes: Readonly<Record<string, string>> | null])[]
  /** The module that wrote it, for `import.meta`, `import()`, `require` and the specifiers. */
  readonly module: string | null
  readonly isClass: boolean
  /** Names whose value is made where the function arrives. */
  readonly system: Readonly<Record<string, SystemName>>
}

/** What the module system gives to a module, and a call to a function: made anew where a function arrives. */
export type SystemName = 'require' | '__filename' | '__dirname' | 'import.meta' | 'import()' | 'arguments'

/** Names that stand for what has no name of its own, chosen so that the script uses them nowhere else. */
export interface Stand {
  readonly self: string
  readonly newTarget: string
  readonly args: string
  readonly meta: string
  readonly load: string
  readonly env: string
}

interface Edit { start: number, end: number, text: string }

/** Beyond this column (minified code) the text is not moved to its place: the spaces would outweigh it. */
const MAX_INDENT = 500

const stands = new Map<string, Stand>()

/** The names of stand-ins for a script's text: the usual ones, and others only where the text has those. */
export function standFor(id: string, text: string): Stand {
  let stand = stands.get(id)
  if (stand === undefined) stands.set(id, stand = chooseStand(text))
  return stand
}

function chooseStand(text: string): Stand {
  const unused = (wanted: string): string => {
    let name = wanted
    while (text.includes(name)) name = `${wanted.slice(0, Math.max(1, wanted.length - 2))}$${Math.random().toString(36).slice(2, 4)}`
    return name
  }
  return {
    self: unused('thi$'), newTarget: unused('new_target'), args: unused('argument$'), meta: unused('import_meta'), load: unused('impor$'), env: unused('$polyproc'),
  }
}

/** The captures that become variables of the environment, apart from imports. */
export interface Layout {
  readonly values: readonly Capture[]
  readonly cells: readonly Capture[]
  readonly imports: readonly Capture[]
  /** Which of the values are what the module system gives. */
  readonly system: ReadonlyMap<string, SystemName>
}

/** Writes the script for a function. */
export function writeCode(plan: Plan, layout: Layout, stand: Stand, id: string): Code {
  const { place: { script, node, method }, form } = plan
  const source = method ?? node
  const edits: Edit[] = []
  const cellName = (name: string): string => `${name}$cell`
  for (const capture of layout.cells) addCellEdits(edits, capture, cellName(capture.name))
  const stands = new Set<string>()
  const system: Record<string, SystemName> = {}
  for (const capture of layout.values) {
    const given = layout.system.get(capture.name)
    if (given !== undefined) system[capture.name] = given
  }
  for (const { kind, node: { start, end } } of plan.lexicals) {
    const text = kind === 'this' ? stand.self : kind === 'new.target' ? stand.newTarget : kind === 'arguments' ? stand.args
      : kind === 'import.meta' ? stand.meta : stand.load
    stands.add(text)
    if (kind === 'import.meta' || kind === 'import()' || kind === 'arguments') system[text] = kind
    edits.push({ start, end: kind === 'import()' ? start + 'import'.length : end, text })
  }
  if (isClass(node)) addClassEdits(edits, plan, node, stand, script.text)

  let { start } = source
  if (method !== null) {
    const computed = method.computed || method.key.type === 'PrivateIdentifier'
    if (method.type === 'MethodDefinition' && method.static) start = skipStatic(script.text, start)
    // Evaluated here already: the name is set when the function is made.
    if (computed) edits.push({ start: keyStart(script.text, method.key.start, method.computed), end: keyEnd(script.text, method.key.end, method.computed), text: 'm' })
  }
  if (plan.renamed && !isClass(node) && node.type !== 'ArrowFunctionExpression' && node.id) edits.push({ start: node.id.start, end: node.id.end, text: '' })

  const names = layout.values.map(capture => capture.name)
  for (const name of stands) names.push(name)
  const cells = layout.cells.map(capture => capture.name)
  const variables = [...names, ...cells.map(cellName), ...layout.imports.map(capture => capture.name)]
  const [key, value] = [`${stand.env}_key`, `${stand.env}_value`]
  const fill = variables.map(name => `case ${JSON.stringify(name)}:${name}=${value};break;`).join('')
  const { line, column } = script.position(start)
  const wrap = form === 'method' || form === 'getter' || form === 'setter'
  const head = `(function(${stand.env}){${plan.strict ? '"use strict";' : ''}${variables.length === 0 ? '' : `let ${variables.join(',')};`}`
    + `${stand.env}.set=function(${key},${value}){switch(${key}){${fill}}};`
    // Computed names of a class are evaluated when it is made.
    + layout.values.filter(item => item.early).map(item => `${item.name}=${stand.env}.early[${JSON.stringify(item.name)}];`).join('')
    + `${layout.imports.map(item => `${item.name}=${stand.env}.imports[${JSON.stringify(item.name)}];`).join('')}return(${wrap ? '{' : ''}`
  const indent = column <= MAX_INDENT ? ' '.repeat(column) : ''
  const text = `${head}\n${indent}${apply(script.text, start, source.end, edits)}\n${wrap ? '}' : ''})})`
  return {
    id, text, file: script.url, line: line - 1,
    take: wrap ? (form === 'getter' ? 'get' : form === 'setter' ? 'set' : 'value') : 'self',
    names, cells, system, module: script.href, isClass: isClass(node),
    imports: layout.imports.map(({ name, binding }) => {
      const { specifier, export: exported, attributes } = binding!.imported!
      return [name, specifier, exported, attributes]
    }),
  }
}

/** The variable of the environment that holds a cell. */
export const cellVariable = (name: string): string => `${name}$cell`

function addCellEdits(edits: Edit[], { uses }: Capture, cell: string): void {
  for (const { node: { start, end, name }, parent, shorthand } of uses) {
    const member = `${cell}.v`
    const isCall = (parent?.type === 'CallExpression' && parent.callee.start === start) || (parent?.type === 'TaggedTemplateExpression' && parent.tag.start === start)
    edits.push({ start, end, text: shorthand ? `${name}:${member}` : isCall ? `(0,${member})` : member })
  }
}

function addClassEdits(edits: Edit[], { dropped, keyed }: Plan, node: ClassNode, stand: Stand, text: string): void {
  const { superClass } = node
  // The real one is put in its place afterwards: it may be a class that leads back to this one.
  if (superClass && !(superClass.type === 'Literal' && superClass.value === null)) {
    const { start, end } = outerParentheses(text, superClass.start, superClass.end)
    edits.push({ start, end, text: `${stand.env}.base`.padEnd(end - start) })
  }
  keyed.forEach(({ key: { start, end } }, i) => edits.push({ start, end, text: `${stand.env}.keys[${i}]` }))
  const privates: string[] = []
  for (const member of dropped) {
    if (member.type === 'PropertyDefinition' && member.key.type === 'PrivateIdentifier') {
      privates.push(member.key.name)
      edits.push({ start: member.key.end, end: member.end, text: `;${blank(text.slice(member.key.end + 1, member.end))}` })
    } else edits.push({ start: member.start, end: member.end, text: blank(text.slice(member.start, member.end)) })
  }
  if (privates.length > 0) {
    const sets = privates.map(name => `if("#${name}" in ${stand.env}_value)this.#${name}=${stand.env}_value["#${name}"];`).join('')
    edits.push({ start: node.end - 1, end: node.end - 1, text: `;static{${stand.env}.privates=${stand.env}_value=>{${sets}}}` })
  }
}

/** The same lines and columns with nothing in them. */
function blank(text: string): string {
  return text.replace(/[^\n\r\u2028\u2029]/g, ' ')
}

/** `extends (expression)`: the parentheses belong to no node. */
function outerParentheses(text: string, start: number, end: number): { start: number, end: number } {
  let [from, to] = [start, end]
  for (;;) {
    const before = /\(\s*$/.exec(text.slice(Math.max(0, from - 200), from))
    const after = /^\s*\)/.exec(text.slice(to, to + 200))
    if (before === null || after === null) return { start: from, end: to }
    from -= before[0].length
    to += after[0].length
  }
}

function skipStatic(text: string, start: number): number {
  return start + /^static(?:\s|\/\*[^]*?\*\/)*/.exec(text.slice(start))![0].length
}

function keyStart(text: string, start: number, computed: boolean): number {
  return computed ? text.lastIndexOf('[', start) : start
}

function keyEnd(text: string, end: number, computed: boolean): number {
  return computed ? text.indexOf(']', end) + 1 : end
}

function apply(text: string, start: number, end: number, edits: Edit[]): string {
  const outermost = edits.filter(edit => !edits.some(other => other !== edit && other.end - other.start > edit.end - edit.start
    && contains({ start: other.start, end: other.end } as never, edit.start)))
  outermost.sort((a, b) => a.start - b.start)
  let out = ''
  let at = start
  for (const edit of outermost) {
    if (edit.start < at || edit.end > end) continue
    out += text.slice(at, edit.start) + edit.text
    at = edit.end
  }
  return out + text.slice(at, end)
}
