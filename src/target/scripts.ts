/**
 * The scripts of this program, as V8 has them: text, address, and what can be read from the text. Read once a script,
 * when the first function written in it is met.
 */

import { pathToFileURL } from 'node:url'
import { isAbsolute } from 'node:path'
import { withScripts, type AnyFunction, type Facts, type Location } from './inspector.js'
import { Analysis } from './analysis.js'
import type { AnyNode, ClassNode, FunctionNode, MethodDefinition, Property, ScriptKind } from './syntax.js'

/** A function or class in the text of a script. */
export interface Place {
  readonly script: Script
  readonly node: FunctionNode | ClassNode
  /** The method definition or property that the function is the value of, whose text is that of the function. */
  readonly method: MethodDefinition | Property | null
  /** The class that a method, getter or setter is written in. */
  readonly home: ClassNode | null
}

export class Script {
  readonly id: string
  /** As V8 has it: a URL for modules, a path for CommonJS, empty for code made from strings. */
  readonly url: string
  readonly text: string
  readonly kind: ScriptKind
  readonly startLine: number
  readonly startColumn: number
  private read: Analysis | undefined
  private readonly places = new Map<AnyNode, Place>()
  private lines: number[] | undefined
  private top: WeakRef<Readonly<Record<string, unknown>>> | undefined

  constructor(id: string, url: string, text: string, kind: ScriptKind, startLine: number, startColumn: number) {
    this.id = id
    this.url = url
    this.text = text
    this.kind = kind
    this.startLine = startLine
    this.startColumn = startColumn
    this.href = /^(file|data|https?|node):/.test(url) ? url : isAbsolute(url) ? pathToFileURL(url).href : null
  }

  /** The address as a URL, where there is one: what imports in it are relative to. */
  readonly href: string | null

  get program(): Analysis['program'] {
    return this.analysis.program
  }

  get analysis(): Analysis {
    return this.read ??= new Analysis(this.text, this.kind)
  }

  /** The function at a place, as V8 counts places; undefined where the text has none. */
  at(line: number, column: number): Place | undefined {
    const row = line - this.startLine
    const start = this.starts[row]
    if (start === undefined) return undefined
    const offset = start + column - (row === 0 ? this.startColumn : 0)
    this.analysis.reach(offset)
    for (const node of this.analysis.functions.keys()) {
      if (offset >= node.start && offset < node.end && this.beginsAt(node, offset)) return this.placeOf(node)
    }
    return undefined
  }

  /** Line and column, both from 0, in the file, of an offset into the text. */
  position(offset: number): { line: number, column: number } {
    const { starts } = this
    let low = 0
    let high = starts.length - 1
    while (low < high) {
      const middle = (low + high + 1) >>> 1
      if (starts[middle]! <= offset) low = middle
      else high = middle - 1
    }
    return { line: low + this.startLine, column: offset - starts[low]! + (low === 0 ? this.startColumn : 0) }
  }

  /** As stack traces write it, for messages. */
  describe(offset: number): string {
    const { line, column } = this.position(offset)
    return `${this.url === '' ? '<anonymous>' : this.url}:${line + 1}:${column + 1}`
  }

  /** The function or class that a node is; undefined for any other. */
  placeOf(node: AnyNode): Place | undefined {
    let place = this.places.get(node)
    if (place === undefined && this.analysis.functions.has(node)) {
      const method = this.analysis.methods.get(node)
      place = { script: this, node: node as FunctionNode | ClassNode, method: method?.node ?? null, home: method?.home ?? null }
      this.places.set(node, place)
    }
    return place
  }

  /** The variables of a module's top as they are now, for {@link constantPlace}. Not held: it is a copy, of variables too. */
  keepTop(scope: Readonly<Record<string, unknown>>): void {
    if (this.kind === 'module') this.top = new WeakRef(scope)
  }

  /** Where a function is written that is the value of a module's constant of its own name, told by what is known of the module. */
  constantPlace(fn: AnyFunction): Place | undefined {
    const scope = this.top?.deref()
    const { name } = fn
    if (scope === undefined || !Object.hasOwn(scope, name) || scope[name] !== fn) return undefined
    const binding = this.analysis.top.bindings.get(name)
    if (binding === undefined || (binding.kind !== 'const' && binding.kind !== 'function' && binding.kind !== 'class') || binding.init === null) return undefined
    this.analysis.settle(binding)
    return binding.writes.length === 0 ? this.placeOf(binding.init) : undefined
  }

  private get starts(): number[] {
    if (this.lines === undefined) {
      this.lines = [0]
      const { text } = this
      // V8's lines end at what ECMA-262 calls line terminators.
      if (/[\r\u2028\u2029]/.test(text)) for (const match of text.matchAll(/\r\n|[\n\r\u2028\u2029]/g)) this.lines.push(match.index + match[0].length)
      else for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) this.lines.push(at + 1)
    }
    return this.lines
  }

  /**
   * V8 places an arrow where it starts, a class too unless it has a constructor, and every other function at the
   * parenthesis that opens its parameters.
   */
  private beginsAt(node: AnyNode, offset: number): boolean {
    if (node.type === 'ClassDeclaration' || node.type === 'ClassExpression') {
      const maker = node.body.body.find(member => member.type === 'MethodDefinition' && member.kind === 'constructor')
      return offset === (maker?.type === 'MethodDefinition' ? maker.value.start : node.start)
    }
    if (node.type === 'ArrowFunctionExpression') return offset === node.start
    if (node.type !== 'FunctionDeclaration' && node.type !== 'FunctionExpression') return false
    const method = this.analysis.methods.get(node)?.node
    if (method?.type === 'MethodDefinition' && method.kind === 'constructor') return false
    return offset === this.parenthesis(node.id?.end ?? node.start)
  }

  /** The first `(` from an offset that is not in a comment. */
  private parenthesis(from: number): number {
    const comment = /\/\*[^]*?\*\/|\/\/[^\n\r\u2028\u2029]*|\(/g
    comment.lastIndex = from
    for (let match = comment.exec(this.text); match !== null; match = comment.exec(this.text)) {
      if (match[0] === '(') return match.index
    }
    return from
  }
}

const scripts = new Map<string, Script>()

/** As {@link Script.constantPlace}, of any module of which a function has been read before. The inspector need not be asked. */
export function placeByName(fn: AnyFunction): Place | undefined {
  for (const script of scripts.values()) {
    const place = script.constantPlace(fn)
    if (place !== undefined) return place
  }
  return undefined
}

/** Whether a function's text is the program's, and not Node's own; false where that cannot be asked. */
export function isOfProgram(facts: () => Facts): boolean {
  try {
    const { location } = facts()
    const url = location === null ? undefined : scriptOf(location)?.url
    return url !== undefined && !url.startsWith('node:')
  } catch {
    return false
  }
}

const isFile = (url: string): boolean => isAbsolute(url) || url.startsWith('file:')
/** The program's own files are likely to be asked for next: their texts are taken in the same pulse, if they are short. */
const isProgram = (url: string): boolean => isFile(url) && !url.includes('/node_modules/') && !url.endsWith(import.meta.filename)
/** Of such texts, together: 0.1 ms for 10,000 letters. */
const MAX_AHEAD = 200_000

/** The script with that id, read by a pulse of the debugger if it is not known yet. */
export function scriptOf({ scriptId }: Location): Script | undefined {
  const known = scripts.get(scriptId)
  if (known !== undefined) return known
  return withScripts((all, textOf) => {
    let ahead = 0
    for (const facts of all) {
      if (scripts.has(facts.id)) continue
      if (facts.id !== scriptId) {
        if (!isProgram(facts.url) || ahead + facts.length > MAX_AHEAD) continue
        ahead += facts.length
      }
      // Node's own: nothing in them is ever read, only that they are Node's matters.
      const text = facts.url.startsWith('node:') ? '' : textOf(facts.id)
      const kind = facts.isModule ? 'module' : isFile(facts.url) ? 'commonjs' : 'script'
      scripts.set(facts.id, new Script(facts.id, facts.url, text, kind, facts.startLine, facts.startColumn))
    }
    return scripts.get(scriptId)
  })
}
