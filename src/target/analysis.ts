/**
 * What is known of a script's text, and how more of it comes to be known: the insides of functions are read when a
 * question needs them. Text that the quick reader leaves alone is read by the full parser.
 */

import { Reader, UnreadableError, type Passed, type Run, type Unread } from './reader/index.js'
import type { Binding, Lexical, Reference, Scope } from './scopes.js'
import { childrenOf, parse, type AnyNode, type FunctionNode, type Program, type ScriptKind } from './syntax.js'
import { Walker, type Method } from './walker.js'

/** What a name must be followed by to be read for certain, so that nothing that assigns it is missed. */
const CERTAIN_READ = /\s*(?:[([.`]|\?[^?])/y
const NAME_PART = /[\w$\u0080-\uFFFF]/

/** A part of a text that has not been read: the inside of a function, or statements at the top. */
type Closed = Unread | Run | Passed

export class Analysis {
  private readonly tree: Program
  private readonly text: string
  private readonly kind: ScriptKind
  private readonly walker: Walker
  /** Null where the full parser has read everything. */
  private readonly reader: Reader | null
  /** In the order of the text. The ranges of no two overlap. */
  private closed: Closed[] = []
  /** Statements by a name that is not declared yet: constants, and functions of runs that were taken apart. Two functions may have one name. */
  private readonly passed = new Map<string, Passed[]>()
  private readonly settled = new Set<Binding>()
  private isSorted = false

  /** @throws SyntaxError where neither reader can read what V8 could (syntax newer than both). */
  constructor(text: string, kind: ScriptKind) {
    this.text = text
    this.kind = kind
    let reader: Reader | null = new Reader(text, kind === 'module')
    try {
      this.tree = reader.read()
    } catch (error) {
      if (!(error instanceof UnreadableError)) throw error
      reader = null
      this.tree = parse(text, kind)
    }
    this.reader = reader
    this.walker = new Walker(this.tree, reader === null ? undefined : { isUnread: node => reader.unread.has(node), declare: name => { this.declare(name) } })
    if (reader !== null) {
      this.closed = [...reader.runs, ...reader.constants, ...reader.unread.values()].sort(byStart)
      for (const constant of reader.constants) this.passed.set(constant.name, [constant])
    }
    this.walker.run()
  }

  /** All of it, but for the insides of functions that nothing needed; the statements in no particular order. */
  get program(): Program {
    for (let index = 0; index < this.closed.length;) {
      if ('node' in this.closed[index]!) index += 1
      else this.open(index, false)
    }
    return this.tree
  }

  get top(): Scope {
    return this.walker.top
  }

  /** Of what has been read, in the order of the text. */
  get references(): readonly Reference[] {
    this.sort()
    return this.walker.references
  }

  /** As {@link references}. */
  get lexicals(): readonly Lexical[] {
    this.sort()
    return this.walker.lexicals
  }

  /** Functions and classes that have been met, each with the scope around it. */
  get functions(): ReadonlyMap<AnyNode, Scope> {
    return this.walker.functions
  }

  /** Functions that are methods, getters or setters, by their node. */
  get methods(): ReadonlyMap<AnyNode, Method> {
    return this.walker.methods
  }

  /** Sees to it that the functions around a place in the text have been read, and so every function that begins there is met. */
  reach(offset: number): void {
    for (;;) {
      const index = this.around(offset)
      if (index < 0) return
      const part = this.closed[index]!
      if ('statementAt' in part) {
        const statement = part.statementAt(offset)
        if (statement === undefined) return
        this.takeOut(part, [statement])
      } else this.open(index, false)
    }
  }

  /** Sees to it that everything in a function or class has been read. */
  readWhole(node: AnyNode): void {
    this.readWithin(node, () => true)
  }

  /** Sees to it that it is known whether a function has an `eval` or `with` somewhere in it. */
  revealTaint(node: AnyNode): void {
    if (this.closed.length > 0) this.readWithin(node, ({ start, end }) => /\b(?:eval|with)\b/.test(this.text.slice(start, end)))
  }

  /** Sees to it that all is known that assigns a variable. */
  settle(binding: Binding): void {
    if (this.closed.length === 0 || binding.kind === 'const' || binding.kind === 'import' || binding.kind === 'own-name' || this.settled.has(binding)) return
    this.settled.add(binding)
    const { text } = this
    const { name, scope: { node } } = binding
    for (let at = text.indexOf(name, node.start); at >= 0 && at < node.end; at = text.indexOf(name, at + name.length)) {
      const end = at + name.length
      if (NAME_PART.test(text[end] ?? '') || NAME_PART.test(text[at - 1] ?? '')) continue
      CERTAIN_READ.lastIndex = end
      if (!CERTAIN_READ.test(text)) this.reach(at)
    }
  }

  private sort(): void {
    if (this.isSorted) return
    this.isSorted = true
    this.walker.references.sort(byPlace)
    this.walker.lexicals.sort(byPlace)
  }

  private readWithin(node: AnyNode, isWanted: (closed: Closed) => boolean): void {
    for (let index = this.firstFrom(node.start); index < this.closed.length && this.closed[index]!.start < node.end;) {
      if (isWanted(this.closed[index]!)) this.open(index, true)
      else index += 1
    }
  }

  private firstFrom(offset: number): number {
    let low = 0
    let high = this.closed.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.closed[middle]!.start < offset) low = middle + 1
      else high = middle
    }
    return low
  }

  /** The unread part that has a place inside it, or -1. A function begins at its parenthesis, which is not inside. */
  private around(offset: number): number {
    const index = this.firstFrom(offset) - 1
    return index >= 0 && offset < this.closed[index]!.end ? index : -1
  }

  private open(index: number, whole: boolean): void {
    const part = this.closed[index]!
    if (!('node' in part)) {
      if ('name' in part) this.openPassed(part)
      else this.takeOut(part, part.statements())
      return
    }
    const { node } = part
    const reader = this.reader!
    let inner: readonly Unread[] = []
    try {
      inner = reader.fill(node, whole)
    } catch (error) {
      if (!(error instanceof UnreadableError)) throw error
      this.fillByParser(part)
      reader.unread.delete(node)
    }
    this.replace(index, inner)
    this.walker.enter(node)
    this.isSorted = false
  }

  private replace(index: number, parts: readonly Closed[]): void {
    this.closed = [...this.closed.slice(0, index), ...[...parts].sort(byStart), ...this.closed.slice(index + 1)]
  }

  /** From now on these statements of a run are known one by one. */
  private takeOut(run: Run, statements: readonly Passed[]): void {
    let rest: Run[] = [run]
    for (const statement of statements) {
      const others = this.passed.get(statement.name)
      if (others === undefined) this.passed.set(statement.name, [statement])
      else others.push(statement)
      rest = [...rest.slice(0, -1), ...rest.at(-1)!.without(statement)]
    }
    this.reader!.runs.splice(this.reader!.runs.indexOf(run), 1, ...rest)
    this.replace(this.closed.indexOf(run), [...rest, ...statements])
  }

  /** Sees to it that a name which the top of the script may declare is declared, if it does. */
  private declare(name: string): void {
    for (const run of [...this.reader!.runs]) {
      const found = run.find(name)
      if (found.length > 0) this.takeOut(run, found)
    }
    const statements = this.passed.get(name)
    if (statements === undefined) return
    this.passed.delete(name)
    for (const statement of statements.sort((a, b) => a.start - b.start)) {
      if (statement.isConstant) this.walker.promise(name, statement.nameAt, () => { this.openPassed(statement) })
      else this.add(statement, this.reader!.declare(statement))
    }
  }

  private openPassed(passed: Passed): void {
    this.declare(passed.name)
    // A function is there by that; of a constant there is no more than the name.
    if (passed.isConstant && this.closed.includes(passed)) this.add(passed, ...this.readPassed(passed))
  }

  private readPassed(passed: Passed): [statement: AnyNode, inner: readonly Unread[]] {
    try {
      const { statement, inner } = this.reader!.readPassed(passed)
      return [statement, inner]
    } catch (error) {
      if (!(error instanceof UnreadableError)) throw error
      const { start, end } = passed
      const statement = parse(this.text.slice(start, end), this.kind).body[0]!
      shift(statement, start)
      return [statement, []]
    }
  }

  /** A statement of the script's top that was passed over is there. */
  private add(passed: Passed, statement: AnyNode, inner: readonly Unread[] = [this.reader!.unread.get(statement.type === 'ExportNamedDeclaration' ? statement.declaration! : statement)!]): void {
    this.tree.body.push(statement as Program['body'][number])
    this.replace(this.closed.indexOf(passed), inner)
    this.walker.add(statement)
    this.isSorted = false
  }

  /** Reads one function's inside with the full parser, in a frame in which its words mean the same. */
  private fillByParser({ node: fn, start, end, isAsync, isGenerator }: Unread): void {
    const isArrow = fn.type === 'ArrowFunctionExpression'
    const frame = isArrow ? `({m(){${isAsync ? 'async' : ''}()=>` : `({${isAsync ? 'async ' : ''}${isGenerator ? '*' : ''}m`
    const program = parse(`${frame}${this.text.slice(start, end)}${isArrow ? '}})' : '})'}`, this.kind)
    let found: FunctionNode | undefined
    const search = (node: AnyNode): void => {
      if (found !== undefined) return
      if (node.type === 'ArrowFunctionExpression' || (!isArrow && node.type === 'FunctionExpression')) found = node
      else for (const child of childrenOf(node)) search(child)
    }
    search(program)
    for (const parameter of found!.params) shift(parameter, start - frame.length)
    shift(found!.body, start - frame.length)
    if (!isArrow) fn.params = found!.params
    fn.body = found!.body
  }
}

/** Moves a tree to where its text is. */
function shift(node: AnyNode, by: number): void {
  node.start += by
  node.end += by
  for (const child of childrenOf(node)) shift(child, by)
}

function byStart(a: Closed, b: Closed): number {
  return a.start - b.start
}

function byPlace(a: { readonly node: AnyNode }, b: { readonly node: AnyNode }): number {
  return a.node.start - b.node.start
}
