/** Reads statements and declarations into the nodes of ESTree; see {@link Expressions}. */

import type { AnyNode } from 'acorn'
import { Expressions } from './expressions.js'
import { node } from './operands.js'
import { Kind } from './tokens.js'

export abstract class Statements extends Expressions {
  /** Statements up to the brace that closes, or the end of the text; goes past the brace. */
  protected parseBody(isTop: boolean): AnyNode[] {
    const body: AnyNode[] = []
    let isPrologue = true
    while (isTop ? this.kind !== Kind.End : !this.isSign('}')) {
      if (isTop && this.passStatements()) {
        isPrologue = false
        continue
      }
      const isString: boolean = this.kind === Kind.String
      const raw = isString ? this.text.slice(this.start + 1, this.end - 1) : ''
      const { end } = this
      const statement = this.parseStatement()
      isPrologue &&= isString && statement.type === 'ExpressionStatement' && statement.expression.type === 'Literal' && statement.expression.end === end
      if (isPrologue) (statement as unknown as { directive: string }).directive = raw
      body.push(statement)
    }
    if (!isTop) this.next()
    return body
  }

  /** Goes past statements at the top of a script that are left for later; false if there is none. */
  protected abstract passStatements(): boolean

  protected parseBlock(): AnyNode {
    const { start } = this
    this.expect('{')
    const body: AnyNode[] = []
    while (!this.isSign('}')) body.push(this.parseStatement())
    this.next()
    return node({ type: 'BlockStatement', start, end: this.lastEnd, body })
  }

  /** A semicolon, or where one may be left out. */
  private endStatement(): void {
    if (this.eat(';') || this.kind === Kind.End || this.isSign('}') || this.newline) return
    throw this.unreadable()
  }

  protected parseStatement(): AnyNode {
    const { start, value } = this
    if (this.kind === Kind.Sign) {
      if (value === '{') return this.parseBlock()
      if (value === ';') {
        this.next()
        return node({ type: 'EmptyStatement', start, end: this.lastEnd })
      }
    } else if (this.kind === Kind.Name) {
      const found = this.parseKeyword(start, value)
      if (found !== undefined) return found
    }
    const expression = this.parseExpression()
    this.endStatement()
    return node({ type: 'ExpressionStatement', start, end: this.lastEnd, expression })
  }

  private parseKeyword(start: number, word: string): AnyNode | undefined {
    switch (word) {
      case 'var':
      case 'const': return this.parseVariables(start, word)
      case 'let': {
        const next = this.peek()
        return next.kind === Kind.Name && next.value !== 'in' && next.value !== 'instanceof' && next.value !== 'of' || (next.kind === Kind.Sign && (next.value === '[' || next.value === '{'))
          ? this.parseVariables(start, 'let') : undefined
      }
      case 'function': return this.parseFunctionDeclaration(start, false)
      case 'class': return this.parseClass(true)
      case 'async': {
        const next = this.peek()
        if (next.kind !== Kind.Name || next.value !== 'function' || next.newline) return undefined
        this.next()
        return this.parseFunctionDeclaration(start, true)
      }
      case 'import': {
        const next = this.peek()
        return next.kind === Kind.Sign && (next.value === '(' || next.value === '.') ? undefined : this.parseImport(start)
      }
      case 'export': return this.parseExport(start)
      case 'if': {
        this.next()
        const test = this.parseCondition()
        const consequent = this.parseStatement()
        const alternate = this.eatName('else') ? this.parseStatement() : null
        return node({ type: 'IfStatement', start, end: this.lastEnd, test, consequent, alternate })
      }
      case 'for': return this.parseFor(start)
      case 'while': {
        this.next()
        const test = this.parseCondition()
        const body = this.parseStatement()
        return node({ type: 'WhileStatement', start, end: this.lastEnd, test, body })
      }
      case 'do': {
        this.next()
        const body = this.parseStatement()
        this.expectName('while')
        const test = this.parseCondition()
        this.eat(';')
        return node({ type: 'DoWhileStatement', start, end: this.lastEnd, body, test })
      }
      case 'return':
      case 'throw': {
        this.next()
        const isEmpty = this.isSign(';') || this.isSign('}') || this.kind === Kind.End || this.newline
        const argument = isEmpty ? null : this.parseExpression()
        this.endStatement()
        return node({ type: word === 'return' ? 'ReturnStatement' : 'ThrowStatement', start, end: this.lastEnd, argument })
      }
      case 'break':
      case 'continue': {
        this.next()
        const label = this.kind === Kind.Name && !this.newline ? this.parseIdentifier() : null
        this.endStatement()
        return node({ type: word === 'break' ? 'BreakStatement' : 'ContinueStatement', start, end: this.lastEnd, label })
      }
      case 'try': return this.parseTry(start)
      case 'switch': return this.parseSwitch(start)
      case 'debugger':
        this.next()
        this.endStatement()
        return node({ type: 'DebuggerStatement', start, end: this.lastEnd })
      // Read by the full parser: what is in one cannot be sent anyway, or is newer than this reader.
      case 'with':
      case 'using': throw this.unreadable()
      case 'await':
        if (this.peek().value === 'using') throw this.unreadable()
        return undefined
      default: {
        const next = this.peek()
        if (next.kind !== Kind.Sign || next.value !== ':') return undefined
        const label = this.parseIdentifier()
        this.next()
        const body = this.parseStatement()
        return node({ type: 'LabeledStatement', start, end: this.lastEnd, body, label })
      }
    }
  }

  private parseCondition(): AnyNode {
    this.expect('(')
    const test = this.parseExpression()
    this.expect(')')
    return test
  }

  private parseVariables(start: number, kind: string): AnyNode {
    const declaration = this.parseDeclarations(start, kind, true)
    this.endStatement()
    declaration.end = this.lastEnd
    return declaration
  }

  private parseDeclarations(start: number, kind: string, withIn: boolean): AnyNode {
    this.next()
    const declarations: AnyNode[] = []
    do {
      const from = this.start
      const id = this.parsePattern()
      const init = this.eat('=') ? this.parseAssign(withIn) : null
      declarations.push(node({ type: 'VariableDeclarator', start: from, end: this.lastEnd, id, init }))
    } while (this.eat(','))
    return node({ type: 'VariableDeclaration', start, end: this.lastEnd, declarations, kind })
  }

  /** What a declaration names. */
  private parsePattern(): AnyNode {
    if (this.kind === Kind.Name) return this.parseIdentifier()
    // As an expression, which cannot go further than its bracket: no operator follows a pattern but `=`, which stands outside.
    return this.toPattern(this.parseSubscripts(false))
  }

  /** A parameter. */
  protected parseParameter(): AnyNode {
    const { start } = this
    if (this.eat('...')) {
      const argument = this.parsePattern()
      return node({ type: 'RestElement', start, end: this.lastEnd, argument })
    }
    const left = this.parsePattern()
    if (!this.eat('=')) return left
    const right = this.parseAssign()
    return node({ type: 'AssignmentPattern', start, end: this.lastEnd, left, right })
  }

  protected parseParameters(): AnyNode[] {
    this.expect('(')
    const params: AnyNode[] = []
    while (!this.isSign(')')) {
      params.push(this.parseParameter())
      if (!this.isSign(')')) this.expect(',')
    }
    this.next()
    return params
  }

  private parseFunctionDeclaration(start: number, isAsync: boolean): AnyNode {
    this.next()
    const generator = this.eat('*')
    const id = this.kind === Kind.Name ? this.parseIdentifier() : null
    return this.parseRest('FunctionDeclaration', start, id, isAsync, generator)
  }

  private parseFor(start: number): AnyNode {
    this.next()
    const isAwait = this.eatName('await')
    this.expect('(')
    let init: AnyNode | null = null
    if (!this.isSign(';')) {
      const from = this.start
      const { value } = this
      const next = this.kind === Kind.Name && value === 'let' ? this.peek() : null
      if (this.isName('var') || this.isName('const') || (next !== null && (next.kind === Kind.Name ? next.value !== 'in' && next.value !== 'of' : next.value === '[' || next.value === '{'))) {
        init = this.parseDeclarations(from, value, false)
      } else if (this.isName('using') || this.isName('await')) throw this.unreadable()
      else init = this.parseExpression(false)
    }
    if (this.isName('of') || this.isName('in')) {
      const isOf = this.value === 'of'
      this.next()
      const left = init!.type === 'VariableDeclaration' ? init : this.toPattern(init!)
      const right = isOf ? this.parseAssign() : this.parseExpression()
      this.expect(')')
      const body = this.parseStatement()
      return node({ type: isOf ? 'ForOfStatement' : 'ForInStatement', start, end: this.lastEnd, ...(isOf ? { await: isAwait } : {}), left, right, body })
    }
    this.expect(';')
    const test = this.isSign(';') ? null : this.parseExpression()
    this.expect(';')
    const update = this.isSign(')') ? null : this.parseExpression()
    this.expect(')')
    const body = this.parseStatement()
    return node({ type: 'ForStatement', start, end: this.lastEnd, init, test, update, body })
  }

  private parseTry(start: number): AnyNode {
    this.next()
    const block = this.parseBlock()
    let handler: AnyNode | null = null
    if (this.isName('catch')) {
      const from = this.start
      this.next()
      let param: AnyNode | null = null
      if (this.eat('(')) {
        param = this.parsePattern()
        this.expect(')')
      }
      const body = this.parseBlock()
      handler = node({ type: 'CatchClause', start: from, end: this.lastEnd, param, body })
    }
    const finalizer = this.eatName('finally') ? this.parseBlock() : null
    return node({ type: 'TryStatement', start, end: this.lastEnd, block, handler, finalizer })
  }

  private parseSwitch(start: number): AnyNode {
    this.next()
    const discriminant = this.parseCondition()
    this.expect('{')
    const cases: AnyNode[] = []
    while (!this.isSign('}')) {
      const from = this.start
      const test = this.eatName('default') ? null : (this.expectName('case'), this.parseExpression())
      this.expect(':')
      const consequent: AnyNode[] = []
      while (!this.isSign('}') && !this.isName('case') && !this.isName('default')) consequent.push(this.parseStatement())
      cases.push(node({ type: 'SwitchCase', start: from, end: this.lastEnd, consequent, test }))
    }
    this.next()
    return node({ type: 'SwitchStatement', start, end: this.lastEnd, discriminant, cases })
  }

  protected parseClass(isStatement: boolean): AnyNode {
    const { start } = this
    this.next()
    const id = this.kind === Kind.Name && this.value !== 'extends' ? this.parseIdentifier() : null
    const superClass = this.eatName('extends') ? this.parseSubscripts() : null
    const from = this.start
    this.expect('{')
    const members: AnyNode[] = []
    while (!this.isSign('}')) if (!this.eat(';')) members.push(this.parseClassMember())
    this.next()
    const body = node({ type: 'ClassBody', start: from, end: this.lastEnd, body: members })
    return node({ type: isStatement ? 'ClassDeclaration' : 'ClassExpression', start, end: this.lastEnd, id, superClass, body })
  }

  private parseClassMember(): AnyNode {
    const { start } = this
    const [isStatic, isAsync, kind] = [this.eatModifier('static'), this.eatModifier('async'), this.eatModifier('get') ? 'get' : this.eatModifier('set') ? 'set' : 'method']
    if (isStatic && !isAsync && kind === 'method' && this.isSign('{')) {
      this.next()
      const body: AnyNode[] = []
      while (!this.isSign('}')) body.push(this.parseStatement())
      this.next()
      return node({ type: 'StaticBlock', start, end: this.lastEnd, body })
    }
    const generator = this.eat('*')
    if (this.isSign('@')) throw this.unreadable()
    const { key, computed } = this.parseKey()
    if (this.isSign('(')) {
      const isMaker = !isStatic && !computed && kind === 'method' && !generator && !isAsync
        && (key.type === 'Identifier' ? key.name === 'constructor' : key.type === 'Literal' && key.value === 'constructor')
      const value = this.parseMethod(isAsync, generator)
      return node({ type: 'MethodDefinition', start, end: this.lastEnd, static: isStatic, computed, key, kind: isMaker ? 'constructor' : kind, value })
    }
    const value = this.eat('=') ? this.parseAssign() : null
    this.endStatement()
    return node({ type: 'PropertyDefinition', start, end: this.lastEnd, static: isStatic, computed, key, value })
  }

  /** `static`, `async`, `get`, `set`, unless it is the member's name. */
  private eatModifier(word: string): boolean {
    if (!this.isName(word)) return false
    const next = this.peek()
    if (next.kind === Kind.End || (next.kind === Kind.Sign && (next.value === '(' || next.value === '=' || next.value === ';' || next.value === '}'))) return false
    // `get` alone on a line is a field; `static` may have its member on the next.
    if (word !== 'static' && next.newline && (word === 'async' || (next.kind === Kind.Sign && next.value === '*'))) return false
    if ((word === 'get' || word === 'set') && next.kind === Kind.Sign && next.value === '*') return false
    this.next()
    return true
  }

  private parseImport(start: number): AnyNode {
    this.next()
    const specifiers: AnyNode[] = []
    if (this.kind !== Kind.String) {
      if (this.kind === Kind.Name) {
        const local = this.parseIdentifier()
        // `import source x from`, `import defer * as x from`
        if (this.isWord() && !this.isName('from')) throw this.unreadable()
        specifiers.push(node({ type: 'ImportDefaultSpecifier', start: local.start, end: local.end, local }))
        this.eat(',')
      }
      const from = this.start
      if (this.eat('*')) {
        this.expectName('as')
        const local = this.parseIdentifier()
        specifiers.push(node({ type: 'ImportNamespaceSpecifier', start: from, end: this.lastEnd, local }))
      } else if (this.eat('{')) this.parseSpecifiers(specifiers, 'ImportSpecifier', 'imported', 'local')
      this.expectName('from')
    }
    const { source, attributes } = this.parseSource()
    return node({ type: 'ImportDeclaration', start, end: this.lastEnd, specifiers, source, attributes })
  }

  /** `a as b, "c" as d }` */
  private parseSpecifiers(into: AnyNode[], type: string, first: string, second: string): void {
    while (!this.isSign('}')) {
      const { start } = this
      const one = this.parseModuleName()
      const two = this.eatName('as') ? this.parseModuleName() : one
      into.push(node({ type, start, end: this.lastEnd, [first]: one, [second]: two }))
      if (!this.isSign('}')) this.expect(',')
    }
    this.next()
  }

  private parseModuleName(): AnyNode {
    return this.kind === Kind.String ? this.parseString() : this.parseIdentifier()
  }

  private parseSource(): { source: AnyNode, attributes: AnyNode[] } {
    if (this.kind !== Kind.String) throw this.unreadable()
    const source = this.parseString()
    const attributes: AnyNode[] = []
    // `assert` is gone from V8.
    if (this.eatName('with')) {
      this.expect('{')
      while (!this.isSign('}')) {
        const { start } = this
        const key = this.parseModuleName()
        this.expect(':')
        const value = this.parseString()
        attributes.push(node({ type: 'ImportAttribute', start, end: this.lastEnd, key, value }))
        if (!this.isSign('}')) this.expect(',')
      }
      this.next()
    }
    this.endStatement()
    return { source, attributes }
  }

  private parseExport(start: number): AnyNode {
    this.next()
    if (this.eat('*')) {
      const exported = this.eatName('as') ? this.parseModuleName() : null
      this.expectName('from')
      const { source, attributes } = this.parseSource()
      return node({ type: 'ExportAllDeclaration', start, end: this.lastEnd, exported, source, attributes })
    }
    if (this.eatName('default')) {
      const from = this.start
      let declaration: AnyNode
      const isAsync = this.isName('async') && this.peek().value === 'function' && !this.peek().newline
      if (isAsync) this.next()
      if (this.isName('function')) declaration = this.parseFunctionDeclaration(from, isAsync)
      else if (this.isName('class')) declaration = this.parseClass(true)
      else {
        declaration = this.parseAssign()
        this.endStatement()
      }
      return node({ type: 'ExportDefaultDeclaration', start, end: this.lastEnd, declaration })
    }
    const specifiers: AnyNode[] = []
    let declaration: AnyNode | null = null
    let source: AnyNode | null = null
    let attributes: AnyNode[] = []
    if (this.eat('{')) {
      this.parseSpecifiers(specifiers, 'ExportSpecifier', 'local', 'exported')
      if (this.eatName('from')) ({ source, attributes } = this.parseSource())
      else this.endStatement()
    } else declaration = this.parseStatement()
    return node({ type: 'ExportNamedDeclaration', start, end: this.lastEnd, declaration, specifiers, source, attributes })
  }
}

