/**
 * A reader of scripts that leaves the bodies of functions unread until somebody asks: of a module of 500 lines, the
 * few that a function needs are read in a millisecond or two, while the full parser takes a hundred, most of which it
 * needs to get warm. Its nodes are those of ESTree as acorn writes them, character by character.
 */

import type { AnyNode, Program } from 'acorn'
import type { FunctionNode } from '../syntax.js'
import { node, type FunctionType } from './operands.js'
import { skipBody, skipParameters, UnreadableError } from './skip.js'
import { Statements } from './statements.js'
import { Kind } from './tokens.js'

export { UnreadableError }

/** What of a function has not been read: from its parenthesis on, or an arrow's body. */
export interface Unread {
  readonly node: FunctionNode
  readonly start: number
  readonly end: number
  /** Whether `await` is an operator in it. */
  readonly isAsync: boolean
  /** Whether `yield` is. */
  readonly isGenerator: boolean
}

/** A function at the top of a script of which no more than this is known: there is no node for it yet. */
export interface Declared {
  readonly name: string
  /** Of the statement. */
  readonly start: number
  readonly end: number
  /** Where the word `function` is, where the name, and where the parameters. */
  readonly at: number
  readonly nameAt: number
  readonly open: number
}

/** How most functions at the top of a module begin, up to the body. */
const DECLARATION = /(\s*)((?:export[ \t]+)?)(function[ \t]+)([\w$]+)[ \t]*\([^()"'`/]*\)\s*(?=\{)/y

export class Reader extends Statements {
  /** Functions that were found and whose inside was not read. */
  readonly unread = new Map<AnyNode, Unread>()
  /** Functions at the top of the script that no node was made for; {@link declare} makes it. */
  readonly declared = new Map<string, Declared>()
  private isEager = false
  /** Functions that were left unread since the last {@link fill} began. */
  private left: Unread[] = []

  constructor(text: string, isModule: boolean) {
    super(text)
    this.isModule = isModule
  }

  /**
   * The script, with the insides of its functions unread.
   *
   * @throws {@link UnreadableError} for what is left to the full parser.
   */
  read(): Program {
    const { text } = this
    // In old scripts these begin comments, too.
    if (!this.isModule && (text.includes('<!--') || /^\s*-->/m.test(text))) throw new UnreadableError('a comment as in HTML')
    this.goTo(text.startsWith('#!') ? /^[^\n\r\u2028\u2029]*/.exec(text)![0].length : 0)
    const body = this.parseBody(true)
    return node<Program>({ type: 'Program', start: 0, end: text.length, body, sourceType: this.isModule ? 'module' : 'script' })
  }

  /**
   * Reads the inside of a function that was left unread.
   *
   * @param whole The functions in it as well.
   * @returns Those of its functions that were left unread.
   * @throws {@link UnreadableError} for what is left to the full parser; the function stays unread.
   */
  fill(fn: FunctionNode, whole: boolean): readonly Unread[] {
    const part = this.unread.get(fn)!
    const outer = [this.isEager, this.isAsync, this.isGenerator, this.withIn] as const
    this.left = []
    const { params, body } = fn
    this.isEager = whole
    this.withIn = true
    try {
      this.goTo(part.start)
      this.readInside(fn, part.isAsync, part.isGenerator)
      this.unread.delete(fn)
      return this.left
    } catch (error) {
      // What was found on the way is found again by whoever reads it next.
      for (const inner of this.left) this.unread.delete(inner.node)
      Object.assign(fn, { params, body })
      throw error
    } finally {
      ;[this.isEager, this.isAsync, this.isGenerator, this.withIn] = outer
    }
  }

  /** The statement for a function of {@link declared}, whose inside is unread. */
  declare({ name, start, end, at, nameAt, open }: Declared): AnyNode {
    this.declared.delete(name)
    const id = node({ type: 'Identifier', start: nameAt, end: nameAt + name.length, name })
    const body = node({ type: 'BlockStatement', start: open, end, body: [] })
    const declaration = this.leave(node<FunctionNode>({
      type: 'FunctionDeclaration', start: at, end, id, generator: false, async: false, expression: false, params: [], body,
    }), open, false, false)
    return start === at ? declaration : node({ type: 'ExportNamedDeclaration', start, end, declaration, specifiers: [], source: null, attributes: [] })
  }

  /** Most of a long module is functions that nobody asks for: they are not even taken apart into words. */
  protected override passDeclarations(): boolean {
    const { text } = this
    if (this.isEager || (this.value !== 'export' && this.value !== 'function') || this.kind !== Kind.Name) return false
    let end = this.start
    for (;;) {
      DECLARATION.lastIndex = end
      const match = DECLARATION.exec(text)
      if (match === null) break
      const name = match[4]!
      // A second one of that name assigns the first.
      if (this.declared.has(name)) break
      const closed = skipBody(text, DECLARATION.lastIndex)
      const start = end + match[1]!.length
      const at = start + match[2]!.length
      const nameAt = at + match[3]!.length
      this.declared.set(name, { name, start, end: closed, at, nameAt, open: text.indexOf('(', nameAt) })
      end = closed
    }
    if (end === this.start) return false
    this.goTo(end)
    return true
  }

  protected override parseRest(type: FunctionType, start: number, id: AnyNode | null, isAsync: boolean, isGenerator: boolean): FunctionNode {
    const { start: open } = this
    if (!this.isSign('(')) throw this.unreadable()
    if (this.isEager) {
      const fn = node<FunctionNode>({ type, start, end: open, id, generator: isGenerator, async: isAsync, expression: false, params: [], body: null })
      this.readInside(fn, isAsync, isGenerator)
      fn.end = this.lastEnd
      return fn
    }
    this.goTo(skipParameters(this.text, open))
    if (!this.isSign('{')) throw this.unreadable()
    const end = skipBody(this.text, this.start)
    this.goTo(end)
    const body = node({ type: 'BlockStatement', start: open, end, body: [] })
    return this.leave(node<FunctionNode>({ type, start, end, id, generator: isGenerator, async: isAsync, expression: false, params: [], body }), open, isAsync, isGenerator)
  }

  private leave(fn: FunctionNode, start: number, isAsync: boolean, isGenerator: boolean): FunctionNode {
    const part = { node: fn, start, end: fn.end, isAsync, isGenerator }
    this.unread.set(fn, part)
    this.left.push(part)
    return fn
  }

  protected override parseArrow(start: number, params: readonly AnyNode[], isAsync: boolean): AnyNode {
    this.expect('=>')
    const { start: open, withIn } = this
    const fn = node<FunctionNode>({ type: 'ArrowFunctionExpression', start, end: open, id: null, generator: false, async: isAsync, expression: !this.isSign('{'), params, body: null })
    if (fn.expression) this.within(isAsync, false, () => fn.body = this.parseAssign(withIn) as typeof fn.body)
    else if (this.isEager) this.readInside(fn, isAsync, false)
    else {
      const end = fn.end = skipBody(this.text, open)
      this.goTo(end)
      fn.body = node({ type: 'BlockStatement', start: open, end, body: [] })
      return this.leave(fn, open, isAsync, false)
    }
    fn.end = this.lastEnd
    return fn
  }

  /** Parameters, but for arrows, and a body in braces. */
  private readInside(fn: FunctionNode, isAsync: boolean, isGenerator: boolean): void {
    this.within(isAsync, isGenerator, () => {
      if (fn.type !== 'ArrowFunctionExpression') fn.params = this.parseParameters() as FunctionNode['params']
      const { start } = this
      this.expect('{')
      const body = this.parseBody(false)
      fn.body = node({ type: 'BlockStatement', start, end: this.lastEnd, body })
    })
  }

  private within(isAsync: boolean, isGenerator: boolean, read: () => void): void {
    const outer = [this.isAsync, this.isGenerator] as const
    this.isAsync = isAsync
    this.isGenerator = isGenerator
    read()
    ;[this.isAsync, this.isGenerator] = outer
  }
}
