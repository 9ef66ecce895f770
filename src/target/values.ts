/** The value of a captured variable, looked up by name in the scopes around a function. */

import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { types } from 'node:util'
import { atEntryOf, isBeingDebugged, type AnyFunction } from './inspector.js'
import { mayHaveName, nameOf, type NamePath } from './names.js'
import type { Capture } from './plan.js'
import { refuseUninitialised } from './refuse.js'
import type { Reading } from './ship.js'
import type { Binding } from './scopes.js'
import { isEntry, isModuleName, type Subject } from './subject.js'
import type { AnyNode } from './syntax.js'

export interface Found {
  readonly value: unknown
  /** Where every process finds it, if it is one of those. */
  readonly path?: NamePath | undefined
  /** Members of the value that every process finds, by name: they are put into it where it arrives. */
  readonly members?: readonly (readonly [name: string, path: NamePath])[] | undefined
  /** In which of the scopes it was found; -1 for none. */
  readonly depth: number
}

/**
 * Values of constants at the top of ES modules, of which there is one each: whichever function captures them. Objects are
 * not kept alive for it.
 */
const constants = new WeakMap<Binding, unknown>()
const held = (value: unknown): unknown => (typeof value === 'object' && value !== null) || typeof value === 'function' ? new WeakRef(value) : value
const valueOf = (kept: unknown): unknown => kept instanceof WeakRef ? kept.deref() : kept

/**
 * The value of a captured variable.
 *
 * @throws {@link SerializationError} for one that is not initialised.
 */
export function readValue(capture: Capture, subject: Subject, fn: AnyFunction, read: Reading): Found {
  const { name, binding } = capture
  if (subject.fixed.has(name)) return classify(capture, subject, subject.fixed.get(name), -1)
  const isConstant = capture.fixed && binding?.scope.parent === null && binding.kind !== 'import' && subject.plan.place.script.kind === 'module'
  if (isConstant && constants.has(binding)) {
    const known = valueOf(constants.get(binding))
    if (known !== undefined) return classify(capture, subject, known, -1)
  }
  let depth = -1
  let value: unknown
  const { scopes } = read
  for (let i = 0; i < scopes.length; i += 1) {
    if (Object.hasOwn(scopes[i]!, name)) {
      depth = i
      break
    }
  }
  if (depth >= 0) value = scopes[depth]![name]
  else if (isModuleName(capture)) return moduleValue(capture, subject)
  // Top-level variables of a classic script are properties of the global object.
  else if (Object.hasOwn(globalThis, name)) value = (globalThis as Record<string, unknown>)[name]
  else throw refuseUninitialised(subject.plan, capture, fn)
  if (value === undefined && isUninitialised(capture, fn)) throw refuseUninitialised(subject.plan, capture, fn)
  const found = classify(capture, subject, value, depth)
  // A variable that nothing assigns keeps its value; `var` may still be waiting for its first one.
  if (capture.fixed && value !== undefined && (typeof value !== 'object' || value === null) && binding?.kind !== 'import') subject.fixed.set(name, value)
  if (isConstant && depth === scopes.length - 1 && value !== undefined) constants.set(binding, held(value))
  read.hint(capture, found)
  return found
}

function classify(capture: Capture, subject: Subject, value: unknown, depth: number): Found {
  if (typeof value !== 'object' || value === null) return { value, depth }
  const path = (mayHaveName(value) ? nameOf(value) : undefined) ?? requiredPath(capture, subject)
  if (path !== undefined) return { value, path, depth }
  // Of a module object, what is read of it is enough; the rest may be half a program.
  if (capture.members !== null && (isModuleObject(value) || isRequired(capture))) {
    const kept: Record<string, unknown> = {}
    const members: [string, NamePath][] = []
    for (const name of capture.members) {
      const member = (value as Record<string, unknown>)[name]
      const memberPath = typeof member === 'object' && member !== null && mayHaveName(member) ? nameOf(member) : undefined
      if (memberPath === undefined) kept[name] = member
      else members.push([name, memberPath])
    }
    return { value: kept, members, depth }
  }
  if (isModuleName(capture) && capture.name === 'exports') return moduleValue(capture, subject, value)
  return { value, depth }
}

/** `const x = helper(require('y'))`: what compilers write for an import; it is a module, whatever the helper made of it. */
function isRequired({ binding, fixed }: Capture): boolean {
  let init: AnyNode | null | undefined = binding?.init
  // A coverage tool counts before the value.
  if (init?.type === 'SequenceExpression') init = init.expressions.at(-1)
  return fixed && init?.type === 'CallExpression' && init.arguments.some(argument =>
    argument.type === 'CallExpression' && argument.callee.type === 'Identifier' && argument.callee.name === 'require')
}

/** `const x = require('y')`: the receiver requires it as well. */
function requiredPath({ binding, fixed }: Capture, { plan: { place: { script } } }: Subject): NamePath | undefined {
  if (!fixed || script.kind !== 'commonjs' || script.href === null) return undefined
  const init: AnyNode | null | undefined = binding?.init
  if (init?.type !== 'CallExpression') return undefined
  const [argument] = init.arguments
  if (init.callee.type !== 'Identifier' || init.callee.name !== 'require' || argument?.type !== 'Literal' || typeof argument.value !== 'string') return undefined
  // A test runner's own `require` is a parameter of the function around the module: what it gives is not what Node's would.
  const { callee } = init
  if (script.analysis.references.find(reference => reference.node === callee)?.binding !== null) return undefined
  try {
    const file = createRequire(script.href).resolve(argument.value)
    return isEntry(new URL(file, 'file://').href) ? undefined : [file.startsWith('/') ? file : argument.value]
  } catch {
    return undefined
  }
}

/** `exports` and `module`: of a module that the receiver can require, what it has there; of the entry, a copy. */
function moduleValue({ name }: Capture, { plan: { place: { script } } }: Subject, exported?: unknown): Found {
  const { href } = script
  if (href === null) return { value: exported, depth: -1 }
  const file = fileURLToPath(href)
  if (name === 'exports') {
    if (!isEntry(href)) return { value: exported, path: [file], depth: -1 }
    return { value: exported ?? createRequire(href).cache[file]?.exports, depth: -1 }
  }
  const own: unknown = exported ?? createRequire(href).cache[file]?.exports
  return { value: { id: file, filename: file, exports: own, loaded: true, children: [], paths: [] }, depth: -1 }
}

function isModuleObject(value: object): boolean {
  return types.isModuleNamespaceObject(value) || Object.prototype.toString.call(value) === '[object Module]'
    || Object.getOwnPropertyDescriptor(value, '__esModule')?.value === true
    || (Object.getPrototypeOf(value) !== null && Object.getOwnPropertyDescriptor(Object.getPrototypeOf(value) as object, '__esModule')?.value === true)
}

/**
 * Whether an `undefined` stands for a variable whose declaration has not run: Node 20 does not tell the two apart. Asked
 * where the function begins, if it can be stopped; else a constant that was given a value counts as uninitialised.
 */
function isUninitialised({ binding, name }: Capture, fn: AnyFunction): boolean {
  if (binding === null || !['const', 'let', 'class', 'import'].includes(binding.kind)) return false
  if (binding.kind === 'let' && binding.init === null) return false
  const { init } = binding
  if (init?.type === 'Identifier' && init.name === 'undefined') return false
  if (init?.type === 'UnaryExpression' && init.operator === 'void') return false
  let threw = true
  if (!isBeingDebugged() && !/^class\b/.test(Function.prototype.toString.call(fn)) && init?.type !== 'ClassExpression') {
    const stopped = atEntryOf(fn, evaluate => {
      threw = evaluate(name).threw
    })
    if (stopped) return threw
  }
  return binding.kind !== 'let'
}
