/**
 * Functions that a module exports, found without importing anything: an ES module's from its text (the export that is
 * written where the function stands), a CommonJS module's from what it has exported by identity.
 */

import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import type { AnyFunction } from './inspector.js'
import type { Place, Script } from './scripts.js'
import { lookup, type Binding } from './scopes.js'
import type { AnyNode } from './syntax.js'

/** The way from a module to a function: an export's name, then properties. Empty: the module itself (`module.exports = fn`). */
export type ExportPath = readonly string[]

/** Where an export leads, and the variables on the way, none of which may be assigned again. */
interface Export { readonly path: ExportPath, readonly through: readonly Binding[] }

const tables = new WeakMap<Script, Map<AnyNode, Export[]>>()

/** How a function is reached from the module that it is written in, if it is at all. */
export function exportPathOf(fn: AnyFunction, place: Place): ExportPath | undefined {
  const { script, node } = place
  if (script.kind === 'module') {
    let table = tables.get(script)
    if (table === undefined) tables.set(script, table = exportsOf(script))
    // What can be assigned later need not be the function written there.
    return table.get(node)?.find(({ through }) => through.every(binding => {
      script.analysis.settle(binding)
      return binding.writes.length === 0
    }))?.path
  }
  return script.kind === 'commonjs' ? commonJsPath(fn, script) : undefined
}

function exportsOf(script: Script): Map<AnyNode, Export[]> {
  const table = new Map<AnyNode, Export[]>()
  const { program, analysis } = script
  const add = (value: AnyNode, path: ExportPath, through: readonly Binding[]): void => {
    const found = table.get(value)
    if (found === undefined) table.set(value, [{ path, through }])
    else found.push({ path, through })
  }
  /** A name of the module's top level that is exported, or an expression in its place. */
  const addName = (local: string, path: ExportPath, through: readonly Binding[] = []): void => {
    const binding = lookup(analysis.top, local)
    if (binding?.init) addValue(binding.init, path, [...through, binding])
  }
  const addValue = (value: AnyNode, path: ExportPath, through: readonly Binding[] = []): void => {
    if (analysis.functions.has(value)) {
      add(value, path, through)
      if (value.type === 'ClassDeclaration' || value.type === 'ClassExpression') {
        for (const member of value.body.body) {
          if (member.type !== 'MethodDefinition' || member.kind !== 'method' || member.computed || member.key.type !== 'Identifier') continue
          add(member.value, [...path, ...(member.static ? [] : ['prototype']), member.key.name], through)
        }
      }
    } else if (value.type === 'ObjectExpression' && path.length < 3) {
      for (const property of value.properties) {
        if (property.type !== 'Property' || property.computed || property.kind !== 'init' || property.key.type !== 'Identifier') continue
        if (property.value.type === 'Identifier') addName(property.value.name, [...path, property.key.name], through)
        else addValue(property.value, [...path, property.key.name], through)
      }
    }
  }
  for (const statement of program.body) {
    if (statement.type === 'ExportDefaultDeclaration') {
      if (statement.declaration.type === 'Identifier') addName(statement.declaration.name, ['default'])
      else addValue(statement.declaration, ['default'])
    } else if (statement.type === 'ExportNamedDeclaration' && !statement.source) {
      const { declaration } = statement
      if (!declaration) {
        for (const { local, exported } of statement.specifiers) {
          if (local.type === 'Identifier') addName(local.name, [exported.type === 'Identifier' ? exported.name : String(exported.value)])
        }
      } else if (declaration.type === 'VariableDeclaration') {
        for (const { id } of declaration.declarations) if (id.type === 'Identifier') addName(id.name, [id.name])
      } else addName(declaration.id.name, [declaration.id.name])
    }
  }
  return table
}

/** Objects looked into for a function: an export's own properties, not a whole program. */
const MAX_PROPERTIES = 1000

function commonJsPath(fn: AnyFunction, script: Script): ExportPath | undefined {
  const file = script.url.startsWith('file:') ? fileURLToPath(script.url) : script.url
  const cached = createRequire(import.meta.filename).cache[file]
  if (cached?.loaded !== true) return undefined
  const search = (value: unknown, path: ExportPath): ExportPath | undefined => {
    if (value === fn) return path
    if (path.length >= 3 || (typeof value !== 'object' && typeof value !== 'function') || value === null) return undefined
    const names = Object.getOwnPropertyNames(value)
    if (names.length > MAX_PROPERTIES) return undefined
    for (const name of names) {
      const item = Object.getOwnPropertyDescriptor(value, name)
      if (item === undefined || name === 'constructor') continue
      // The getters that compilers write for re-exports return what is exported; others are not called.
      const child: unknown = 'value' in item ? item.value : path.length === 0 && isCompiled(value) ? item.get?.call(value) : undefined
      if (child === fn) return [...path, name]
      if (typeof child === 'object' || (typeof child === 'function' && (name === 'prototype' || path.length < 2))) {
        if (path.length < 2 && child !== null) {
          const found = search(child, [...path, name])
          if (found !== undefined) return found
        }
      }
    }
    return undefined
  }
  return search(cached.exports, [])
}

function isCompiled(exports: object): boolean {
  return Object.hasOwn(exports, '__esModule') || Object.getOwnPropertyNames(exports).includes('__esModule')
}

/** A hash of a function's text (64 bits, as hexadecimal): whether two processes mean the same function. */
export function hashOf(fn: AnyFunction): string {
  const text = Function.prototype.toString.call(fn)
  let a = 0xdeadbeef
  let b = 0x41c6ce57
  for (let i = 0; i < text.length; i += 1) {
    const unit = text.charCodeAt(i)
    a = Math.imul(a ^ unit, 0x9e3779b1)
    b = Math.imul(b ^ unit, 0x5f356495)
  }
  a = Math.imul(a ^ (a >>> 16), 0x85ebca6b) ^ Math.imul(b ^ (b >>> 13), 0xc2b2ae35)
  b = Math.imul(b ^ (b >>> 16), 0x85ebca6b) ^ Math.imul(a ^ (a >>> 13), 0xc2b2ae35)
  return (a >>> 0).toString(16).padStart(8, '0') + (b >>> 0).toString(16).padStart(8, '0')
}
