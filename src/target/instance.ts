/** Which class an object is an instance of, for the codec: the class travels as any function does. */

import type { InstanceExtension } from '../codec/extensions.js'
import { Analysis } from './analysis.js'
import { inspect, type AnyFunction } from './inspector.js'
import { nameOfFunction } from './names.js'
import { reasonAgainst } from './refuse.js'
import { isOfProgram } from './scripts.js'
import type { ClassNode } from './syntax.js'

/** Whether a class's text gives its instances private parts, which no other class object can read. */
const withPrivates = new WeakMap<object, string | null>()

function privateNameOf(type: AnyFunction): string | null {
  let found = withPrivates.get(type)
  if (found !== undefined) return found
  found = null
  const text = Function.prototype.toString.call(type)
  if (text.startsWith('class') && text.includes('#')) {
    try {
      const statement = new Analysis(`(${text})`, 'script').program.body[0]
      const node = statement?.type === 'ExpressionStatement' ? statement.expression as ClassNode : undefined
      for (const member of node?.body.body ?? []) {
        if (member.type !== 'StaticBlock' && !member.static && member.key.type === 'PrivateIdentifier') {
          found = `#${member.key.name}`
          break
        }
      }
    } catch {
      // What the parser cannot read is not refused for it.
    }
  }
  withPrivates.set(type, found)
  return found
}

/**
 * Why instances of a class cannot be sent, if it or a class that it extends gives them private fields or methods.
 *
 * @param base Where to stop: a class whose own private parts do not travel, but are made anew where it arrives.
 */
export function privatesAgainst(constructor: AnyFunction, base?: AnyFunction): string | undefined {
  for (let type: unknown = constructor; typeof type === 'function' && type !== Function.prototype && type !== base; type = Object.getPrototypeOf(type)) {
    const name = privateNameOf(type as AnyFunction)
    if (name !== null) return `the private field ${name} of ${(type as AnyFunction).name === '' ? 'its class' : (type as AnyFunction).name} can only be read by the class; send what is needed to make it anew`
  }
  return undefined
}

/** The codec's question about objects that are neither plain nor the language's own. */
export const instances: InstanceExtension = {
  classOf(value, constructor) {
    const reason = reasonAgainst(value)
    if (reason !== undefined) return reason
    if (typeof constructor !== 'function' || (constructor as { prototype?: unknown }).prototype !== Object.getPrototypeOf(value)) {
      return 'its prototype belongs to no class that could be sent with it; copy what is needed into a plain object'
    }
    const privates = privatesAgainst(constructor as AnyFunction)
    if (privates !== undefined) return privates
    // An instance of one of Node's classes is made by native code, which setting a prototype does not do.
    const path = nameOfFunction(constructor as AnyFunction, () => isOfProgram(() => inspect(constructor as AnyFunction)))
    if (path !== undefined && path[0] !== 'package' && path[0] !== 'global') return 'it belongs to this process; make one where it is needed, or keep one there in perProcess'
    return constructor as AnyFunction
  },
}
