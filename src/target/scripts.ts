/**
 * The scripts of this program, as V8 has them: text, address, and what can be read from the text. Read once a script,
 * when the first function written in it is met.
 */

import { pathToFileURL } from 'node:url'
import { isAbsolute } from 'node:path'
import { withScripts, type Location } from './inspector.js'
import { analyse, type Analysis } from './scopes.js'
import { childrenOf, parse, type AnyNode, type ClassNode, type FunctionNode, type MethodDefinition, type Program, type Property, type ScriptKind } from './syntax.js'

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
  private parsed: Program | undefined
  private analysed: Analysis | undefined
  private places: Map<number, Place> | undefined
  private lines: number[] | undefined

  constructor(id: string, url: string, text: string, kind: ScriptKind, startLine: number, startColumn: number) {
    this.id = id
    this.url = url
    this.text = text
    this.kind = kind
    this.startLine = startLine
    this.startColumn = startColumn
  }

  /** The address as a URL, where there is one: what imports in it are relative to. */
  get href(): string | null {
    if (/^(file|data|https?|node):/.test(this.url)) return this.url
    return isAbsolute(this.url) ? pathToFileURL(this.url).href : null
  }

  get program(): Program {
    return this.parsed ??= this.isAhead()?.program ?? parse(this.text, this.kind)
  }

  get analysis(): Analysis {
    return this.analysed ??= this.isAhead()?.analysis ?? analyse(this.program)
  }

  /** What was read ahead, if it was read in the same way: a module's text means something else in a classic script. */
  private isAhead(): { program: Program, analysis: Analysis } | undefined {
    const found = ahead.get(this.text)
    return found?.program.sourceType === (this.kind === 'module' ? 'module' : 'script') ? found : undefined
  }

  /** The function at a place, as V8 counts places; undefined where the text has none. */
  at(line: number, column: number): Place | undefined {
    this.places ??= this.indexPlaces()
    const row = line - this.startLine
    const start = this.starts[row]
    if (start === undefined) return undefined
    return this.places.get(start + column - (row === 0 ? this.startColumn : 0))
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

  placeOf(node: AnyNode): Place | undefined {
    this.places ??= this.indexPlaces()
    return this.byNode.get(node)
  }

  private readonly byNode = new Map<AnyNode, Place>()

  private get starts(): number[] {
    if (this.lines === undefined) {
      this.lines = [0]
      // V8's lines end at what ECMA-262 calls line terminators.
      for (const match of this.text.matchAll(/\r\n|[\n\r\u2028\u2029]/g)) this.lines.push(match.index + match[0].length)
    }
    return this.lines
  }

  /**
   * V8 places an arrow where it starts, a class too unless it has a constructor, and every other function at the
   * parenthesis that opens its parameters.
   */
  private indexPlaces(): Map<number, Place> {
    const places = new Map<number, Place>()
    const add = (offset: number, place: Place): void => {
      places.set(offset, place)
      this.byNode.set(place.node, place)
    }
    for (const node of this.analysis.functions.keys()) {
      if (node.type === 'ClassDeclaration' || node.type === 'ClassExpression') {
        const maker = node.body.body.find(member => member.type === 'MethodDefinition' && member.kind === 'constructor')
        add(maker?.type === 'MethodDefinition' ? maker.value.start : node.start, { script: this, node, method: null, home: null })
      } else if (node.type === 'ArrowFunctionExpression') {
        add(node.start, { script: this, node, method: null, home: null })
      } else if (node.type === 'FunctionDeclaration' || node.type === 'FunctionExpression') {
        const method = this.methods.get(node) ?? null
        if (method?.node.type === 'MethodDefinition' && method.node.kind === 'constructor') continue
        const place = { script: this, node, method: method?.node ?? null, home: method?.home ?? null }
        add(this.parenthesis(node.id?.end ?? node.start), place)
      }
    }
    return places
  }

  /** Functions that are methods, by their value's node. */
  private get methods(): Map<AnyNode, { node: MethodDefinition | Property, home: ClassNode | null }> {
    const found = new Map<AnyNode, { node: MethodDefinition | Property, home: ClassNode | null }>()
    const search = (node: AnyNode): void => {
      if (node.type === 'ClassDeclaration' || node.type === 'ClassExpression') {
        for (const member of node.body.body) if (member.type === 'MethodDefinition') found.set(member.value, { node: member, home: node })
      } else if (node.type === 'Property' && (node.method || node.kind !== 'init')) {
        found.set(node.value, { node: node, home: null })
      }
      for (const child of childrenOf(node)) search(child)
    }
    search(this.program)
    Object.defineProperty(this, 'methods', { value: found })
    return found
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
/** Files that were parsed ahead, by their text: what a file holds need not be what V8 was given. */
const ahead = new Map<string, { program: Program, analysis: Analysis }>()

/**
 * Does ahead what the first function of a program costs, apart from the inspector's pulse: loads the parser and reads a
 * file that functions are likely to be sent from. Some tens of milliseconds; to be called when the program has nothing to do.
 *
 * @param text What the file holds, in JavaScript. Text that the parser cannot read is left alone.
 * @example
 * ```ts
 * setImmediate(() => { prepare(readFileSync(process.argv[1]!, 'utf8'), 'module') })
 * ```
 */
export function prepare(text: string, kind: ScriptKind): void {
  if (ahead.has(text)) return
  try {
    const program = parse(text, kind)
    ahead.set(text, { program, analysis: analyse(program) })
  } catch {
    // Another language, which a loader will have turned into JavaScript by the time that V8 sees it.
  }
}

const isFile = (url: string): boolean => isAbsolute(url) || url.startsWith('file:')
/** The program's own files are likely to be asked for next: their texts are taken in the same pulse. */
const isProgram = (url: string): boolean => isFile(url) && !url.includes('/node_modules/')

/** The script with that id, read by a pulse of the debugger if it is not known yet. */
export function scriptOf({ scriptId }: Location): Script | undefined {
  const known = scripts.get(scriptId)
  if (known !== undefined) return known
  return withScripts((all, textOf) => {
    for (const facts of all) {
      if (scripts.has(facts.id) || (facts.id !== scriptId && !isProgram(facts.url))) continue
      // Node's own: nothing in them is ever read, only that they are Node's matters.
      const text = facts.url.startsWith('node:') ? '' : textOf(facts.id)
      const kind = facts.isModule ? 'module' : isFile(facts.url) ? 'commonjs' : 'script'
      scripts.set(facts.id, new Script(facts.id, facts.url, text, kind, facts.startLine, facts.startColumn))
    }
    return scripts.get(scriptId)
  })
}
