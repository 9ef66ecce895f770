/** Reads operators and what they join into the nodes of ESTree; see {@link Operands}. */

import type { AnyNode } from 'acorn'
import { node, Operands } from './operands.js'
import { Kind } from './tokens.js'

/** What an operand that stands alone is followed by. */
const ENDS = ',)];}'
/** Words that mean more than a variable. */
const SPECIAL = new Set(['this', 'super', 'null', 'true', 'false', 'function', 'class', 'new', 'import', 'async', 'await', 'yield'])

/** Binary operators by how strongly they bind. */
const BINARY: ReadonlyMap<string, number> = new Map([
  ['??', 1], ['||', 1], ['&&', 2], ['|', 3], ['^', 4], ['&', 5], ['==', 6], ['!=', 6], ['===', 6], ['!==', 6], ['<', 7], ['>', 7], ['<=', 7], ['>=', 7],
  ['instanceof', 7], ['in', 7], ['<<', 8], ['>>', 8], ['>>>', 8], ['+', 9], ['-', 9], ['*', 10], ['/', 10], ['%', 10],
])
const ASSIGNMENT = new Set(['=', '+=', '-=', '*=', '/=', '%=', '**=', '<<=', '>>=', '>>>=', '&=', '|=', '^=', '&&=', '||=', '??='])
const UNARY = new Set(['!', '-', '+', '~', 'typeof', 'void', 'delete'])

export abstract class Expressions extends Operands {
  /** False after `for (`, where `in` ends an expression. */
  protected withIn = true

  protected override parseExpression(withIn = true): AnyNode {
    const { start } = this
    const first = this.parseAssign(withIn)
    if (!this.isSign(',')) return first
    const expressions = [first]
    while (this.eat(',')) expressions.push(this.parseAssign(withIn))
    return node({ type: 'SequenceExpression', start, end: this.lastEnd, expressions })
  }

  protected override parseAssign(withIn = true): AnyNode {
    const outer = this.withIn
    this.withIn = withIn
    const found = this.parseAssignHere()
    this.withIn = outer
    return found
  }

  private parseAssignHere(): AnyNode {
    const { start } = this
    const { kind } = this
    // Half of all operands are a name or a constant alone: the ten steps down to one are spared them.
    if ((kind === Kind.Name || kind === Kind.Number || kind === Kind.String) && ENDS.includes(this.text[this.end] ?? '')) {
      if (kind !== Kind.Name) return this.parseAtom(true)
      if (!SPECIAL.has(this.value)) return this.parseIdentifier()
    }
    if (this.isGenerator && this.isName('yield')) return this.parseYield()
    if (this.kind === Kind.Name) {
      // Arrows of one name.
      const { value } = this
      if (value === 'async') {
        const next = this.peek()
        if (next.kind === Kind.Name && !next.newline && next.value !== 'function' && next.value !== 'in' && next.value !== 'of' && next.value !== 'instanceof') {
          this.next()
          const parameter = this.parseIdentifier()
          if (!this.isSign('=>')) throw this.unreadable()
          return this.parseArrow(start, [parameter], true)
        }
      }
    }
    const isParenthesis = this.isSign('(')
    const left = this.parseConditional()
    if (this.kind !== Kind.Sign) return left
    if (this.value === '=>' && !this.newline && left.type === 'Identifier' && !isParenthesis) return this.parseArrow(start, [left], false)
    if (!ASSIGNMENT.has(this.value)) return left
    const operator = this.value
    const target = operator === '=' ? this.toPattern(left) : left
    this.next()
    const right = this.parseAssign(this.withIn)
    return node({ type: 'AssignmentExpression', start, end: this.lastEnd, operator, left: target, right })
  }

  private parseYield(): AnyNode {
    const { start } = this
    this.next()
    const ends = this.newline || this.kind === Kind.End || (this.kind === Kind.Sign && (this.value === ')' || this.value === ']' || this.value === '}'
      || this.value === ',' || this.value === ';' || this.value === ':')) || this.isName('in') || this.isName('of')
    let delegate = false
    let argument: AnyNode | null = null
    if (!ends) {
      delegate = this.eat('*')
      argument = this.parseAssign(this.withIn)
    }
    return node({ type: 'YieldExpression', start, end: this.lastEnd, delegate, argument })
  }

  private parseConditional(): AnyNode {
    const { start } = this
    const test = this.parseBinary(this.parseUnary(), start, 0)
    if (!this.isSign('?') || this.isArrow(test)) return test
    this.next()
    const consequent = this.parseAssign()
    this.expect(':')
    const alternate = this.parseAssign(this.withIn)
    return node({ type: 'ConditionalExpression', start, end: this.lastEnd, test, consequent, alternate })
  }

  private parseBinary(left: AnyNode, start: number, least: number): AnyNode {
    let at = left
    if (this.isArrow(at)) return at
    while (this.kind === Kind.Sign || this.kind === Kind.Name) {
      const operator = this.value
      const strength = BINARY.get(operator)
      if (strength === undefined || strength <= least || (operator === 'in' && !this.withIn)) break
      this.next()
      const from = this.start
      const right = this.parseBinary(this.parseUnary(), from, strength)
      const type = operator === '&&' || operator === '||' || operator === '??' ? 'LogicalExpression' : 'BinaryExpression'
      at = node({ type, start, end: this.lastEnd, left: at, operator, right })
    }
    return at
  }

  private parseUnary(): AnyNode {
    const { start, value } = this
    if (this.kind === Kind.Name ? UNARY.has(value) : this.kind === Kind.Sign && UNARY.has(value)) {
      this.next()
      const argument = this.parseUnary()
      return node({ type: 'UnaryExpression', start, end: this.lastEnd, operator: value, prefix: true, argument })
    }
    if (this.kind === Kind.Sign && (value === '++' || value === '--')) {
      this.next()
      const argument = this.parseUnary()
      return node({ type: 'UpdateExpression', start, end: this.lastEnd, operator: value, prefix: true, argument })
    }
    let operand: AnyNode
    if (this.kind === Kind.Name && value === 'await' && (this.isAsync || this.isModule)) {
      this.next()
      const argument = this.parseUnary()
      operand = node({ type: 'AwaitExpression', start, end: this.lastEnd, argument })
    } else if (this.kind === Kind.Private) {
      // `#field in object`
      const name = this.parsePrivate()
      if (!this.isName('in')) throw this.unreadable()
      return name
    } else {
      operand = this.parseSubscripts()
      if (this.kind === Kind.Sign && (this.value === '++' || this.value === '--') && !this.newline) {
        const operator = this.value
        this.next()
        operand = node({ type: 'UpdateExpression', start, end: this.lastEnd, operator, prefix: false, argument: operand })
      }
    }
    if (this.isSign('**') && !this.isArrow(operand)) {
      this.next()
      const right = this.parseUnary()
      return node({ type: 'BinaryExpression', start, end: this.lastEnd, left: operand, operator: '**', right })
    }
    return operand
  }

  /** Whether what was just read is an arrow, which is no operand unless it stands in parentheses. */
  private isArrow(found: AnyNode): boolean {
    return found.type === 'ArrowFunctionExpression' && found.end === this.lastEnd
  }

  protected override parseSubscripts(withCalls = true): AnyNode {
    const { start } = this
    const isParenthesis = this.isSign('(')
    let at = this.parseAtom(withCalls)
    if (this.isArrow(at)) return at
    let isChain = false
    for (;;) {
      if (this.kind === Kind.Template) {
        const quasi = this.parseTemplate()
        at = node({ type: 'TaggedTemplateExpression', start, end: this.lastEnd, tag: at, quasi })
        continue
      }
      if (this.kind !== Kind.Sign) break
      let optional = false
      if (this.value === '?.') {
        if (!withCalls) break
        optional = isChain = true
        this.next()
        if (!this.isSign('(') && !this.isSign('[')) {
          const property = this.parseProperty()
          at = node({ type: 'MemberExpression', start, end: this.lastEnd, object: at, property, computed: false, optional })
          continue
        }
      }
      if (this.value === '.') {
        this.next()
        const property = this.parseProperty()
        at = node({ type: 'MemberExpression', start, end: this.lastEnd, object: at, property, computed: false, optional })
      } else if (this.value === '[') {
        this.next()
        const property = this.parseExpression()
        this.expect(']')
        at = node({ type: 'MemberExpression', start, end: this.lastEnd, object: at, property, computed: true, optional })
      } else if (this.value === '(' && withCalls) {
        const mayBeArrow = at.type === 'Identifier' && at.name === 'async' && at.end === this.lastEnd && !isParenthesis && !optional && !this.newline
        const args = this.parseList(')')
        if (mayBeArrow && this.isSign('=>') && !this.newline) return this.parseArrow(start, args.map(item => this.toPattern(item!)), true)
        at = node({ type: 'CallExpression', start, end: this.lastEnd, callee: at, arguments: args, optional })
      } else break
    }
    return isChain ? node({ type: 'ChainExpression', start, end: this.lastEnd, expression: at }) : at
  }
}
