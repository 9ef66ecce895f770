/**
 * Who is a shared variable: two functions of one message that assign or read the same one must find one where they
 * arrive. At the top of a script a variable is one; in a function there is one a call, and two closures say only what
 * its value is. Whether they share it is tried: it is changed for a moment where one of them begins, and read through the other.
 */

import { nextId } from './ids.js'
import { atEntryOf, inspect, isBeingDebugged, passed, type AnyFunction } from './inspector.js'
import { isClass, type Capture } from './plan.js'
import { refuseShared } from './refuse.js'
import type { Binding } from './scopes.js'
import type { Scopes, Subject } from './subject.js'

interface Owner { readonly id: string, readonly fn: AnyFunction, readonly subject: Subject, readonly scope: object }

/** Variables of functions' calls that this message has met, by where they are declared. */
export type SharedCells = Map<Binding, Owner[]>

const topLevel = new WeakMap<Binding, string>()

/**
 * The id of a shared variable, the same for every function that shares it.
 *
 * @throws {@link SerializationError} where it cannot be told whether two functions share it.
 */
export function cellIdOf(capture: Capture, subject: Subject, fn: AnyFunction, scopes: Scopes, cells: SharedCells): string {
  const binding = capture.binding!
  if (binding.scope.parent === null || isModuleWrapper(binding)) {
    let id = topLevel.get(binding)
    if (id === undefined) topLevel.set(binding, id = nextId())
    return id
  }
  const scope = scopes.find(item => Object.hasOwn(item, capture.name))!
  let owners = cells.get(binding)
  if (owners === undefined) cells.set(binding, owners = [])
  const mine = subject.cellIds.get(capture.name)
  let id = mine
  if (id === undefined) {
    for (const owner of owners) {
      if (owner.scope === scope || isSame(capture, fn, scope, owner)) {
        id = owner.id
        break
      }
    }
    id ??= nextId()
    subject.cellIds.set(capture.name, id)
  }
  if (!owners.some(owner => owner.id === id)) owners.push({ id, fn, subject, scope })
  return id

  function isSame(shared: Capture, here: AnyFunction, values: Readonly<Record<string, unknown>>, owner: Owner): boolean {
    const names = Object.keys(values)
    const others = owner.scope as Record<string, unknown>
    if (names.length !== Object.keys(others).length || names.some(name => !Object.is(values[name], others[name]))) return false
    // A class cannot be called, so it cannot be stopped where it begins: the other one then.
    const [stopped, read] = isClass(subject.plan.place.node) ? [owner.fn, here] : [here, owner.fn]
    if (isBeingDebugged()) throw refuseShared(subject.plan, shared, fn)
    return share(stopped, read, shared.name)
  }
}

/** Jest and its like put every module into a function that they call once. */
function isModuleWrapper({ scope }: Binding): boolean {
  return scope.bindings.has('module') && scope.bindings.has('exports') && scope.bindings.has('require')
}

const restore: { value: unknown } = { value: undefined }

function share(stopped: AnyFunction, read: AnyFunction, name: string): boolean {
  const mark = `polyproc:${nextId()}`
  let same = false
  atEntryOf(stopped, evaluate => {
    const old = evaluate(name)
    if (old.threw) return
    // The old value is put back from where the evaluator left it, whatever it is.
    restore.value = old.value
    evaluate(`${name}=${JSON.stringify(mark)}`)
    same = inspect(read).scopes.find(scope => Object.hasOwn(scope, name))?.[name] === mark
    passed(restore, expression => evaluate(`${name}=${expression}.value`))
    restore.value = undefined
  })
  return same
}
