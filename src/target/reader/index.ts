/**
 * A reader of scripts that leaves the bodies of functions unread until somebody asks: of a module of 500 lines, the
 * few that a function needs are read in a millisecond or two, while the full parser takes a hundred, most of which it
 * needs to get warm. Its nodes are those of ESTree as acorn writes them, character by character.
 */

import type { AnyNode, Program } from 'acorn'
import type { FunctionNode } from '../syntax.js'
import { node, type FunctionType } from './operands.js'
import { runAt, type Passed, type Run } from './runs.js'
import { skipBody, skipParameters, skipValue, UnreadableError } from './skip.js'
import { Statements } from './statements.js'
import { Kind } from './tokens.js'

export { UnreadableError }
export type { Passed, Run }

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

/** How most constants begin, up to the value. */
const CONSTANT = /((?:export )?)const ([\w$]+)[ \t]*=/y
/** Words that begin a statement and go on with no expression, unless they are the name of a member. */
const BEGINS_STATEMENT = new Set(['const', 'var', 'export', 'if', 'for', 'while', 'do', 'switch', 'try', 'throw', 'return'])
/** Words that go on with an expression after an operand. */
const GOES_ON = new Set(['in', 'instanceof', 'extends'])
/** What ends an operand that is no word, which might be an operator. */
const CLOSED_ENDS = ')]}"\'`0123456789'
const OPERAND_ENDS = `${CLOSED_ENDS}$_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ`

export class Reader extends Statements {
  /** Functions that were found and whose inside was not read. */
  readonly unread = new Map<AnyNode, Unread>()
  /** Functions and constants at the top of the script that no node was made for. */
  readonly runs: Run[] = []
  readonly constants: Passed[] = []
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

  /** The statement for a function that was passed over, whose inside stays unread. */
  declare({ start, end, at, name, nameAt }: Passed): AnyNode {
    const id = node({ type: 'Identifier', start: nameAt, end: nameAt + name.length, name })
    const open = this.text.indexOf('(', nameAt)
    const body = node({ type: 'BlockStatement', start: open, end, body: [] })
    const declaration = this.leave(node<FunctionNode>({
      type: 'FunctionDeclaration', start: at, end, id, generator: false, async: false, expression: false, params: [], body,
    }), open, false, false)
    return start === at ? declaration : node({ type: 'ExportNamedDeclaration', start, end, declaration, specifiers: [], source: null, attributes: [] })
  }

  /**
   * Reads a statement that was passed over.
   *
   * @returns It, and those of its functions that were left unread.
   * @throws {@link UnreadableError} for what is left to the full parser.
   */
  readPassed({ start, end }: Passed): { readonly statement: AnyNode, readonly inner: readonly Unread[] } {
    this.left = []
    try {
      this.goTo(start)
      const statement = this.parseStatement()
      // Spaces after it may have been counted to it.
      if (statement.end > end) throw this.unreadable()
      return { statement, inner: this.left }
    } catch (error) {
      for (const inner of this.left) this.unread.delete(inner.node)
      // As at the top, wherever in it the reader gave up.
      this.isAsync = this.isGenerator = false
      this.withIn = true
      throw error
    }
  }

  /** Most of a long module is what nobody asks for: that is not even taken apart into words. */
  protected override passStatements(): boolean {
    if (this.isEager || this.kind !== Kind.Name) return false
    const { start, value } = this
    if (value === 'function' || value === 'export') {
      const run = runAt(this.text, start)
      if (run !== undefined) {
        this.runs.push(run)
        this.goTo(run.end)
        return true
      }
    }
    if ((value === 'const' || value === 'export') && this.passConstant(start)) return true
    if (this.start !== start) this.goTo(start)
    return false
  }

  /**
   * Goes past `const x = …`, if it is certain where it ends: at a semicolon; at the end of a line after an operand, if the
   * next one begins with a word that no expression goes on with, or, after a bracket, a quote or a digit, with any but a few.
   */
  private passConstant(start: number): boolean {
    const { text } = this
    CONSTANT.lastIndex = start
    const found = CONSTANT.exec(text)
    if (found === null) return false
    let end: number
    try {
      end = skipValue(text, CONSTANT.lastIndex)
    } catch (error) {
      if (!(error instanceof UnreadableError)) throw error
      return false
    }
    if (end < 0) return false
    if (text[end] === ';') this.goTo(end += 1)
    else {
      const last = text.slice(start, end).trimEnd().at(-1)!
      this.goTo(end)
      const isEnd = this.kind === Kind.Name ? (OPERAND_ENDS.includes(last) && BEGINS_STATEMENT.has(this.value)) || (CLOSED_ENDS.includes(last) && !GOES_ON.has(this.value))
        : this.kind === Kind.End && CLOSED_ENDS.includes(last)
      if (!isEnd) return false
    }
    const [, exported, name] = found as unknown as readonly [string, string, string]
    const at = start + exported.length
    this.constants.push({ isConstant: true, name, start, end, at, nameAt: at + 'const '.length })
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
