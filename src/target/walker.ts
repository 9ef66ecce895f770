/** Finds out what the names of a script mean, by one walk over its syntax tree; functions may be left out and walked later. */

import { lookup, type Binding, type BindingKind, type Imported, type Lexical, type Reference, type Scope } from './scopes.js'
import {
  childrenOf, type AnyNode, type ClassNode, type FunctionNode, type Identifier, type ImportDeclaration, type MethodDefinition, type Program, type Property,
} from './syntax.js'

/** Whose `this` a place has: functions other than arrows, and class bodies (fields, static blocks) for what is in them. */
type Owner = AnyNode | null

/** A function that is a method, getter or setter: the node that names it, and its class, if it is one's. */
export interface Method { readonly node: MethodDefinition | Property, readonly home: ClassNode | null }

interface Home { readonly node: ClassNode, readonly names: Set<string> }

/** Where a function stands that is left for later. */
interface Rest { readonly around: Scope, readonly owner: Owner, readonly privates: readonly Home[] }

/** What is not there to be walked yet. */
export interface Later {
  /** A function whose inside is not there: see {@link Walker.enter}. */
  isUnread(fn: AnyNode): boolean
  /** Called for a name that the top of the script may yet declare, to have it added: see {@link Walker.add}. */
  declare(name: string): void
}

const NOTHING: Later = { isUnread: () => false, declare: () => undefined }

/** The variables of a script's top: what nobody asked for by name is declared when somebody does. */
class LazyBindings extends Map<string, Binding> {
  private readonly later: Later

  constructor(later: Later) {
    super()
    this.later = later
  }

  override get(name: string): Binding | undefined {
    this.later.declare(name)
    return super.get(name)
  }

  override has(name: string): boolean {
    return this.get(name) !== undefined
  }
}

/** A constant whose statement has not been read: that is done when its first value is asked for. */
class Promised implements Binding {
  readonly name: string
  readonly kind = 'const'
  readonly at: number
  readonly scope: Scope
  readonly imported = null
  readonly writes: Reference[] = []
  private readonly read: () => void
  private found: AnyNode | null | undefined

  constructor(name: string, at: number, scope: Scope, read: () => void) {
    this.name = name
    this.at = at
    this.scope = scope
    this.read = read
  }

  get init(): AnyNode | null {
    if (this.found === undefined) this.read()
    return this.found ?? null
  }

  /** Its declaration has been read. */
  keep(init: AnyNode | null): void {
    this.found = init
  }
}

export class Walker {
  readonly top: Scope
  readonly references: Reference[] = []
  readonly lexicals: Lexical[] = []
  /** Functions and classes, each with the scope around it. */
  readonly functions = new Map<AnyNode, Scope>()
  readonly methods = new Map<AnyNode, Method>()
  private readonly program: Program
  private readonly later: Later
  private readonly left = new Map<AnyNode, Rest>()
  /** References of which it is not known yet what they mean. */
  private unresolved: Reference[] = []
  private isBusy = false
  private owner: Owner = null
  /** The classes around, outermost first; replaced and never changed. */
  private privates: readonly Home[] = []

  constructor(program: Program, later: Later = NOTHING) {
    this.program = program
    this.later = later
    this.top = { node: program, parent: null, bindings: new LazyBindings(later), isFunction: true, tainted: false }
  }

  run(): void {
    // What is added on the way is walked when it is added.
    const statements = [...this.program.body]
    this.walk(() => {
      for (const statement of statements) this.visit(statement, this.top, this.program)
    })
  }

  /** Walks a statement of the script's top that was not there before. */
  add(statement: AnyNode): void {
    const { owner, privates } = this
    this.owner = null
    this.privates = []
    this.walk(() => { this.visit(statement, this.top, this.program) })
    this.owner = owner
    this.privates = privates
  }

  /** Declares a constant of the script's top by its name alone; `read` sees to it that its statement is added. */
  promise(name: string, at: number, read: () => void): void {
    this.top.bindings.set(name, new Promised(name, at, this.top, read))
  }

  /** Walks the inside of a function that was unread and now is there. */
  enter(fn: FunctionNode): void {
    const { around, owner, privates } = this.left.get(fn)!
    this.left.delete(fn)
    this.owner = owner
    this.privates = privates
    this.walk(() => { this.walkInside(fn, around) })
  }

  /** Names mean something once everything around them has been walked; what they ask for on the way is added to what is walked. */
  private walk(visit: () => void): void {
    if (this.isBusy) {
      visit()
      return
    }
    this.isBusy = true
    try {
      visit()
      for (const reference of this.unresolved) this.resolve(reference)
    } finally {
      this.unresolved = []
      this.isBusy = false
    }
  }

  private resolve(reference: Reference): void {
    const binding = lookup(reference.scope, reference.node.name)
    reference.binding = binding
    if (binding !== null && reference.write) binding.writes.push(reference)
    // Without a binding, `arguments` is that of the function around it.
  }

  private open(node: AnyNode, parent: Scope | null, isFunction: boolean): Scope {
    return { node, parent, bindings: new Map(), isFunction, tainted: false }
  }

  private declare(scope: Scope, id: Identifier, kind: BindingKind, init: AnyNode | null = null, imported: Imported | null = null): void {
    let home = scope
    if (kind === 'var') while (!home.isFunction && home.parent !== null) home = home.parent
    const known = home.bindings.get(id.name)
    if (known !== undefined) {
      if (known instanceof Promised && known.at === id.start) {
        known.keep(init)
        return
      }
      // A second `var` or function of that name: whatever it gives is an assignment to the first.
      if (init !== null || kind === 'function') known.writes.push({ node: id, scope, write: true, shorthand: false, parent: null, binding: known })
      return
    }
    home.bindings.set(id.name, { name: id.name, kind, at: id.start, scope: home, init, imported, writes: [] })
  }

  private declarePattern(scope: Scope, pattern: AnyNode, kind: BindingKind, init: AnyNode | null): void {
    switch (pattern.type) {
      case 'Identifier': this.declare(scope, pattern, kind, init); return
      case 'MemberExpression': this.visit(pattern, scope, null); return
      case 'ObjectPattern':
        for (const property of pattern.properties) {
          if (property.type === 'RestElement') this.declarePattern(scope, property.argument, kind, null)
          else {
            if (property.computed) this.visit(property.key, scope, property)
            this.declarePattern(scope, property.value, kind, null)
          }
        }
        return
      case 'ArrayPattern':
        for (const element of pattern.elements) if (element !== null) this.declarePattern(scope, element, kind, null)
        return
      case 'RestElement': this.declarePattern(scope, pattern.argument, kind, null); return
      case 'AssignmentPattern':
        this.declarePattern(scope, pattern.left, kind, null)
        this.visit(pattern.right, scope, pattern)
    }
  }

  /** The targets of an assignment, which are uses that write. */
  private assign(pattern: AnyNode, scope: Scope, parent: AnyNode, shorthand = false): void {
    switch (pattern.type) {
      case 'Identifier': this.refer(pattern, scope, parent, true, shorthand); return
      case 'ObjectPattern':
        for (const property of pattern.properties) {
          if (property.type === 'RestElement') this.assign(property.argument, scope, property)
          else {
            if (property.computed) this.visit(property.key, scope, property)
            this.assign(property.value, scope, property, property.shorthand)
          }
        }
        return
      case 'ArrayPattern':
        for (const element of pattern.elements) if (element !== null) this.assign(element, scope, pattern)
        return
      case 'RestElement': this.assign(pattern.argument, scope, pattern); return
      case 'AssignmentPattern':
        this.assign(pattern.left, scope, pattern, shorthand)
        this.visit(pattern.right, scope, pattern)
        return
      default: this.visit(pattern, scope, parent)
    }
  }

  private refer(node: Identifier, scope: Scope, parent: AnyNode | null, write = false, shorthand = false): void {
    if (node.name === 'arguments' && !write) this.lexicals.push({ kind: 'arguments', node, owner: this.owner })
    const reference: Reference = { node, scope, write, shorthand, parent, binding: null }
    this.references.push(reference)
    this.unresolved.push(reference)
  }

  private each(node: AnyNode, scope: Scope): void {
    for (const child of childrenOf(node)) this.visit(child, scope, node)
  }

  private visit(node: AnyNode, scope: Scope, parent: AnyNode | null): void {
    switch (node.type) {
      case 'Identifier': this.refer(node, scope, parent); return
      case 'FunctionDeclaration':
        // In sloppy code a function in a block is a variable of the function as well; the block's is the one that closures see.
        if (node.id !== null) this.declare(scope, node.id, 'function', node)
        this.enterFunction(node, scope)
        return
      case 'FunctionExpression':
      case 'ArrowFunctionExpression': this.enterFunction(node, scope); return
      case 'ClassDeclaration':
        if (node.id !== null) this.declare(scope, node.id, 'class', node)
        this.enterClass(node, scope)
        return
      case 'ClassExpression': this.enterClass(node, scope); return
      case 'VariableDeclaration': {
        const kind = node.kind === 'var' ? 'var' : node.kind === 'let' ? 'let' : 'const'
        for (const item of node.declarations) {
          this.declarePattern(scope, item.id, kind, item.init ?? null)
          if (item.init) this.visit(item.init, scope, item)
        }
        return
      }
      case 'BlockStatement': this.each(node, this.open(node, scope, false)); return
      case 'StaticBlock': {
        const outer = this.owner
        this.owner = node
        this.each(node, this.open(node, scope, true))
        this.owner = outer
        return
      }
      case 'ForStatement':
      case 'ForInStatement':
      case 'ForOfStatement': {
        const inner = this.open(node, scope, false)
        if (node.type === 'ForStatement' || node.left.type === 'VariableDeclaration') {
          this.each(node, inner)
          if (node.type !== 'ForStatement' && node.left.type === 'VariableDeclaration' && node.left.kind === 'var') this.assign(node.left.declarations[0]!.id, inner, node)
        } else {
          this.assign(node.left, inner, node)
          this.visit(node.right, inner, node)
          this.visit(node.body, inner, node)
        }
        return
      }
      case 'SwitchStatement':
        this.visit(node.discriminant, scope, node)
        {
          const inner = this.open(node, scope, false)
          for (const item of node.cases) this.each(item, inner)
        }
        return
      case 'CatchClause': {
        const inner = this.open(node, scope, false)
        if (node.param) this.declarePattern(inner, node.param, 'catch', null)
        this.visit(node.body, inner, node)
        return
      }
      case 'ImportDeclaration': this.declareImports(node, scope); return
      case 'ExportNamedDeclaration':
        if (node.declaration) this.visit(node.declaration, scope, node)
        else if (!node.source) {
          for (const item of node.specifiers) if (item.local.type === 'Identifier') this.refer(item.local, scope, item)
        }
        return
      case 'ExportDefaultDeclaration': {
        // A named default export is a declaration like any other; one without a name declares nothing.
        const { declaration } = node
        if (declaration.type === 'FunctionDeclaration') {
          if (declaration.id !== null) this.declare(scope, declaration.id, 'function', declaration)
          this.enterFunction(declaration, scope)
        } else if (declaration.type === 'ClassDeclaration') {
          if (declaration.id !== null) this.declare(scope, declaration.id, 'class', declaration)
          this.enterClass(declaration, scope)
        } else this.visit(declaration, scope, node)
        return
      }
      case 'ExportAllDeclaration': return
      case 'LabeledStatement': this.visit(node.body, scope, node); return
      case 'BreakStatement':
      case 'ContinueStatement': return
      case 'MemberExpression':
        this.visit(node.object, scope, node)
        if (node.computed || node.property.type === 'PrivateIdentifier') this.visit(node.property, scope, node)
        return
      case 'Property':
        if (node.method || node.kind !== 'init') this.methods.set(node.value, { node, home: null })
        if (node.computed) this.visit(node.key, scope, node)
        if (node.value.type === 'Identifier') this.refer(node.value, scope, node, false, node.shorthand)
        else this.visit(node.value, scope, node)
        return
      case 'MethodDefinition':
        this.methods.set(node.value, { node, home: this.privates.at(-1)!.node })
        if (node.computed) this.visit(node.key, scope, node)
        this.visit(node.value, scope, node)
        return
      case 'PropertyDefinition':
        if (node.computed) this.visit(node.key, scope, node)
        if (node.value) {
          const outer = this.owner
          this.owner = node
          this.visit(node.value, this.open(node, scope, true), node)
          this.owner = outer
        }
        return
      case 'AssignmentExpression':
        this.assign(node.left, scope, node)
        this.visit(node.right, scope, node)
        return
      case 'UpdateExpression':
        this.assign(node.argument, scope, node)
        return
      case 'ThisExpression': this.lexicals.push({ kind: 'this', node, owner: this.owner }); return
      case 'Super': this.lexicals.push({ kind: 'super', node, owner: this.owner }); return
      case 'MetaProperty':
        this.lexicals.push({ kind: node.meta.name === 'new' ? 'new.target' : 'import.meta', node, owner: this.owner })
        return
      case 'ImportExpression':
        this.lexicals.push({ kind: 'import()', node, owner: null })
        this.each(node, scope)
        return
      case 'PrivateIdentifier': {
        const home = this.privates.findLast(item => item.names.has(node.name))
        this.lexicals.push({ kind: 'private', node, owner: home?.node ?? null })
        return
      }
      case 'CallExpression':
        if (node.callee.type === 'Identifier' && node.callee.name === 'eval') {
          this.lexicals.push({ kind: 'eval', node, owner: this.owner })
          taint(scope)
        }
        this.each(node, scope)
        return
      case 'WithStatement':
        taint(scope)
        this.each(node, scope)
        return
      default: this.each(node, scope)
    }
  }

  private enterFunction(node: FunctionNode, scope: Scope): void {
    this.functions.set(node, scope)
    let around = scope
    // The name of a function expression is a variable around its parameters, which nothing can assign.
    if (node.type === 'FunctionExpression' && node.id) {
      around = this.open(node, scope, false)
      this.declare(around, node.id, 'own-name', node)
    }
    const outer = this.owner
    if (node.type !== 'ArrowFunctionExpression') this.owner = node
    if (this.later.isUnread(node)) {
      // An arrow's parameters are there, and may hold what its body does not.
      if (node.type === 'ArrowFunctionExpression') around = this.declareParameters(node, around)
      this.left.set(node, { around, owner: this.owner, privates: this.privates })
    } else this.walkInside(node, node.type === 'ArrowFunctionExpression' ? this.declareParameters(node, around) : around)
    this.owner = outer
  }

  private declareParameters(node: FunctionNode, around: Scope): Scope {
    const inner = this.open(node, around, true)
    for (const parameter of node.params) this.declarePattern(inner, parameter, 'parameter', null)
    return inner
  }

  private walkInside(node: FunctionNode, around: Scope): void {
    const inner = node.type === 'ArrowFunctionExpression' ? around : this.declareParameters(node, around)
    if (node.body.type === 'BlockStatement') for (const statement of node.body.body) this.visit(statement, inner, node.body)
    else this.visit(node.body, inner, node)
  }

  private enterClass(node: ClassNode, scope: Scope): void {
    this.functions.set(node, scope)
    if (node.superClass) this.visit(node.superClass, scope, node)
    const inner = this.open(node, scope, false)
    if (node.id) this.declare(inner, node.id, 'own-name', node)
    const names = new Set<string>()
    for (const member of node.body.body) {
      if (member.type !== 'StaticBlock' && member.key.type === 'PrivateIdentifier') names.add(member.key.name)
    }
    const outer = this.privates
    this.privates = [...outer, { node, names }]
    for (const member of node.body.body) this.visit(member, inner, node.body)
    this.privates = outer
  }

  private declareImports(node: ImportDeclaration, scope: Scope): void {
    const specifier = String(node.source.value)
    const attributes = node.attributes.length === 0 ? null : Object.fromEntries(node.attributes.map(item => [
      item.key.type === 'Identifier' ? item.key.name : String(item.key.value), String(item.value.value),
    ]))
    for (const item of node.specifiers) {
      const name = item.type === 'ImportNamespaceSpecifier' ? '*' : item.type === 'ImportDefaultSpecifier' ? 'default'
        : item.imported.type === 'Identifier' ? item.imported.name : String(item.imported.value)
      this.declare(scope, item.local, 'import', null, { specifier, export: name, attributes })
    }
  }
}

function taint(scope: Scope): void {
  for (let at: Scope | null = scope; at !== null; at = at.parent) at.tainted = true
}
