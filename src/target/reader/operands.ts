/**
 * Reads operands into the nodes of ESTree, as acorn writes them: names, constants, objects, functions, what stands in
 * brackets. It need not find mistakes, since V8 has read the text before; what it does not know it leaves to the full parser.
 */

import type { AnyNode, Expression, Identifier } from 'acorn'
import type { FunctionNode } from '../syntax.js'
import { Kind, Tokens, unquote } from './tokens.js'

/** A node as it is written down; that its fields are those of its type is shown by the tests, against acorn. */
interface Written { readonly type: string, readonly start: number, readonly end: number, readonly [field: string]: unknown }

// The type is the caller's knowledge.
// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters
export function node<T extends AnyNode = AnyNode>(written: Written): T {
  return written as unknown as T
}

export type FunctionType = 'FunctionDeclaration' | 'FunctionExpression'

export abstract class Operands extends Tokens {
  protected isAsync = false
  protected isGenerator = false
  /** Whether `await` is never a name: in modules. */
  protected isModule = false

  /** A function from the parenthesis before its parameters on; its inside may be left for later. */
  protected abstract parseRest(type: FunctionType, start: number, id: AnyNode | null, isAsync: boolean, isGenerator: boolean): FunctionNode
  protected abstract parseArrow(start: number, params: readonly AnyNode[], isAsync: boolean): AnyNode
  protected abstract parseClass(isStatement: boolean): AnyNode
  protected abstract parseExpression(withIn?: boolean): AnyNode
  protected abstract parseAssign(withIn?: boolean): AnyNode
  protected abstract parseSubscripts(withCalls?: boolean): AnyNode

  protected parseProperty(): AnyNode {
    return this.kind === Kind.Private ? this.parsePrivate() : this.parseIdentifier()
  }

  protected parsePrivate(): AnyNode {
    const { start, value } = this
    this.next()
    return node({ type: 'PrivateIdentifier', start, end: this.lastEnd, name: value })
  }

  /** Any word, keywords too. */
  protected parseIdentifier(): Identifier {
    if (this.kind !== Kind.Name) throw this.unreadable()
    const { start, value } = this
    this.next()
    return node<Identifier>({ type: 'Identifier', start, end: this.lastEnd, name: value })
  }

  /** What stands between brackets, spread elements and holes included; begins at the bracket that opens. */
  protected parseList(close: string): (AnyNode | null)[] {
    this.next()
    const items: (AnyNode | null)[] = []
    while (!this.isSign(close)) {
      if (close === ']' && this.isSign(',')) {
        this.next()
        items.push(null)
        continue
      }
      items.push(this.isSign('...') ? this.parseSpread() : this.parseAssign())
      if (!this.isSign(close)) this.expect(',')
    }
    this.next()
    return items
  }

  protected parseSpread(): AnyNode {
    const { start } = this
    this.next()
    const argument = this.parseAssign()
    return node({ type: 'SpreadElement', start, end: this.lastEnd, argument })
  }

  protected parseAtom(withCalls: boolean): AnyNode {
    const { start, value } = this
    switch (this.kind) {
      case Kind.Name: return this.parseWord(withCalls)
      case Kind.Number: {
        this.next()
        const raw = value.replaceAll('_', '')
        const isBig = raw.endsWith('n')
        return node({ type: 'Literal', start, end: this.lastEnd, value: isBig ? BigInt(raw.slice(0, -1)) : Number(raw), raw: value, ...(isBig ? { bigint: raw.slice(0, -1) } : {}) })
      }
      case Kind.String: return this.parseString()
      case Kind.Template: return this.parseTemplate()
      case Kind.Sign: break
      default: throw this.unreadable()
    }
    switch (value) {
      case '(': return this.parseParenthesis()
      case '[': {
        const elements = this.parseList(']')
        return node({ type: 'ArrayExpression', start, end: this.lastEnd, elements })
      }
      case '{': return this.parseObject()
      case '/':
      case '/=': {
        this.takeRegex()
        const raw = this.text.slice(start, this.end)
        this.next()
        const [, pattern, flags] = /^\/([^]*)\/(\w*)$/.exec(raw)!
        return node({ type: 'Literal', start, end: this.lastEnd, value: undefined, raw, regex: { pattern, flags } })
      }
      default: throw this.unreadable()
    }
  }

  protected parseString(): AnyNode {
    const { start } = this
    const raw = this.text.slice(start, this.end)
    this.next()
    return node({ type: 'Literal', start, end: this.lastEnd, value: unquote(raw), raw })
  }

  private parseWord(withCalls: boolean): AnyNode {
    const { start, value } = this
    switch (value) {
      case 'this':
        this.next()
        return node({ type: 'ThisExpression', start, end: this.lastEnd })
      case 'super':
        this.next()
        return node({ type: 'Super', start, end: this.lastEnd })
      case 'null':
      case 'true':
      case 'false':
        this.next()
        return node({ type: 'Literal', start, end: this.lastEnd, value: value === 'null' ? null : value === 'true', raw: value })
      case 'function': return this.parseFunction(start, false)
      case 'class': return this.parseClass(false)
      case 'new': return this.parseNew()
      case 'import': return this.parseImportCall(withCalls)
      case 'async': {
        const next = this.peek()
        if (next.kind === Kind.Name && next.value === 'function' && !next.newline) {
          this.next()
          return this.parseFunction(start, true)
        }
      }
    }
    return this.parseIdentifier()
  }

  /** At `function`. */
  private parseFunction(start: number, isAsync: boolean): AnyNode {
    this.next()
    const generator = this.eat('*')
    const id = this.kind === Kind.Name ? this.parseIdentifier() : null
    return this.parseRest('FunctionExpression', start, id, isAsync, generator)
  }

  private parseNew(): AnyNode {
    const { start } = this
    this.next()
    const meta = { start, end: this.lastEnd }
    if (this.eat('.')) {
      const property = this.parseIdentifier()
      return node({ type: 'MetaProperty', start, end: this.lastEnd, meta: node({ type: 'Identifier', ...meta, name: 'new' }), property })
    }
    if (this.isName('import')) throw this.unreadable()
    const callee = this.parseSubscripts(false)
    const args = this.isSign('(') ? this.parseList(')') : []
    return node({ type: 'NewExpression', start, end: this.lastEnd, callee, arguments: args })
  }

  private parseImportCall(withCalls: boolean): AnyNode {
    const { start } = this
    this.next()
    const meta = { start, end: this.lastEnd }
    if (this.eat('.')) {
      if (!this.isName('meta')) throw this.unreadable()
      const property = this.parseIdentifier()
      return node({ type: 'MetaProperty', start, end: this.lastEnd, meta: node({ type: 'Identifier', ...meta, name: 'import' }), property })
    }
    if (!withCalls) throw this.unreadable()
    this.expect('(')
    const source = this.parseAssign()
    let options: AnyNode | null = null
    if (this.eat(',') && !this.isSign(')')) {
      options = this.parseAssign()
      this.eat(',')
    }
    this.expect(')')
    return node({ type: 'ImportExpression', start, end: this.lastEnd, source, options })
  }

  private parseParenthesis(): AnyNode {
    const { start } = this
    this.next()
    const from = this.start
    const items: AnyNode[] = []
    let mustBeArrow = this.isSign(')')
    while (!this.isSign(')')) {
      if (this.isSign('...')) {
        mustBeArrow = true
        items.push(this.parseSpread())
      } else items.push(this.parseAssign())
      if (this.isSign(')')) break
      this.expect(',')
      if (this.isSign(')')) mustBeArrow = true
    }
    const end = this.lastEnd
    this.next()
    if (this.isSign('=>') && !this.newline) return this.parseArrow(start, items.map(item => this.toPattern(item)), false)
    if (mustBeArrow) throw this.unreadable()
    return items.length === 1 ? items[0]! : node({ type: 'SequenceExpression', start: from, end, expressions: items })
  }

  protected parseTemplate(): AnyNode {
    const { text, start } = this
    const quasis: AnyNode[] = []
    const expressions: AnyNode[] = []
    let from = start + 1
    for (let at = from; ; at += 1) {
      const unit = text.charCodeAt(at)
      if (unit === 0x5c) at += 1
      else if (unit === 0x60) {
        quasis.push(node({ type: 'TemplateElement', start: from, end: at, tail: true, value: { raw: text.slice(from, at) } }))
        this.end = at + 1
        this.next()
        return node({ type: 'TemplateLiteral', start, end: this.lastEnd, expressions, quasis })
      } else if (unit === 0x24 && text.charCodeAt(at + 1) === 0x7b) {
        quasis.push(node({ type: 'TemplateElement', start: from, end: at, tail: false, value: { raw: text.slice(from, at) } }))
        this.goTo(at + 2)
        expressions.push(this.parseExpression())
        if (!this.isSign('}')) throw this.unreadable()
        from = this.end
        at = from - 1
      } else if (Number.isNaN(unit)) throw this.unreadable()
    }
  }

  private parseObject(): AnyNode {
    const { start } = this
    this.next()
    const properties: AnyNode[] = []
    while (!this.isSign('}')) {
      properties.push(this.isSign('...') ? this.parseSpread() : this.parseMember())
      if (!this.isSign('}')) this.expect(',')
    }
    this.next()
    return node({ type: 'ObjectExpression', start, end: this.lastEnd, properties })
  }

  /** A property of an object, which may also be one of a pattern. */
  private parseMember(): AnyNode {
    const { start } = this
    let [isAsync, generator, kind] = [false, false, 'init']
    if (this.kind === Kind.Name && (this.value === 'get' || this.value === 'set' || this.value === 'async')) {
      const next = this.peek()
      const isWord = next.kind === Kind.Sign && (next.value === ',' || next.value === ':' || next.value === '(' || next.value === '}' || next.value === '=')
      if (!isWord) {
        if (this.value === 'async') isAsync = true
        else kind = this.value
        this.next()
      }
    }
    if (this.eat('*')) generator = true
    const { key, computed } = this.parseKey()
    const common = { type: 'Property', start, computed, key }
    if (kind !== 'init' || generator || isAsync || this.isSign('(')) {
      const value = this.parseMethod(isAsync, generator)
      return node({ ...common, end: this.lastEnd, method: kind === 'init', shorthand: false, value, kind })
    }
    if (this.eat(':')) {
      const value = this.parseAssign()
      return node({ ...common, end: this.lastEnd, method: false, shorthand: false, value, kind })
    }
    // acorn's value of a shorthand is a copy of its key, so that the two can be told apart.
    let value = node({ ...(key as Identifier & Written) })
    if (this.isSign('=')) {
      this.next()
      const right = this.parseAssign()
      value = node({ type: 'AssignmentPattern', start, end: this.lastEnd, left: value, right })
    }
    return node({ ...common, end: this.lastEnd, method: false, shorthand: true, value, kind })
  }

  protected parseKey(): { key: AnyNode, computed: boolean } {
    if (this.eat('[')) {
      const key = this.parseAssign()
      this.expect(']')
      return { key, computed: true }
    }
    if (this.kind === Kind.Name) return { key: this.parseIdentifier(), computed: false }
    if (this.kind === Kind.Private) return { key: this.parsePrivate(), computed: false }
    if (this.kind === Kind.String || this.kind === Kind.Number) return { key: this.parseAtom(false), computed: false }
    throw this.unreadable()
  }

  /** From the parenthesis on. */
  protected parseMethod(isAsync: boolean, generator: boolean): FunctionNode {
    return this.parseRest('FunctionExpression', this.start, null, isAsync, generator)
  }

  /** An expression that turned out to be what is assigned to, or an arrow's parameter. */
  protected toPattern(item: AnyNode): AnyNode {
    switch (item.type) {
      case 'ObjectExpression':
        for (const property of item.properties) {
          if (property.type === 'Property') property.value = this.toPattern(property.value) as Expression
        }
        return node({ ...(item as unknown as Written), type: 'ObjectPattern', properties: item.properties.map(property => property.type === 'SpreadElement' ? this.toPattern(property) : property) })
      case 'ArrayExpression':
        return node({ type: 'ArrayPattern', start: item.start, end: item.end, elements: item.elements.map(element => element === null ? null : this.toPattern(element)) })
      case 'AssignmentExpression':
        if (item.operator !== '=') throw this.unreadable()
        return node({ type: 'AssignmentPattern', start: item.start, end: item.end, left: item.left, right: item.right })
      case 'SpreadElement':
        return node({ type: 'RestElement', start: item.start, end: item.end, argument: this.toPattern(item.argument) })
      default: return item
    }
  }
}
