/** How tests compare a value with the copy of it that arrived somewhere. */

import assert from 'node:assert'
import { types } from 'node:util'

/** Same value, same prototypes all the way down (those of this realm), same holes; throws where not. */
export function assertSame(actual: unknown, expected: unknown): void {
  samePrototypes(actual, expected, new Set())
  if (!fromAnotherRealm(expected)) assert.deepStrictEqual(actual, expected)
}

function fromAnotherRealm(value: unknown): boolean {
  const prototype = typeof value === 'object' && value !== null ? Object.getPrototypeOf(value) : null
  return prototype !== null && prototype.constructor?.name === 'Object' && prototype !== Object.prototype
}

function samePrototypes(actual: any, expected: any, seen: Set<unknown>): void {
  if (typeof expected !== 'object' || expected === null || seen.has(expected)) return
  seen.add(expected)
  const [a, e] = [Object.getPrototypeOf(actual), Object.getPrototypeOf(expected)]
  assert.ok(a === e || a?.constructor?.name === e?.constructor?.name, `prototype of ${String(e?.constructor?.name)}`)
  if (ArrayBuffer.isView(expected)) return
  if (types.isNativeError(expected)) assert.strictEqual(actual.stack, expected.stack)
  if (Array.isArray(expected)) {
    assert.strictEqual(actual.length, expected.length)
    assert.deepStrictEqual(Object.keys(actual), Object.keys(expected))
  }
  for (const key of Object.getOwnPropertyNames(expected)) {
    const descriptor = Object.getOwnPropertyDescriptor(expected, key)!
    if ('value' in descriptor) samePrototypes(actual[key], descriptor.value, seen)
  }
}
