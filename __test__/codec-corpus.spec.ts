import assert from 'node:assert'
import test from 'ava'
import { copy } from './helpers/codec.js'
import { makeValues, random } from './helpers/random.js'

const COUNT = process.env['POLYPROC_CHAOS'] === '1' ? 50_000 : 3_000

test(`${COUNT} values at random come out as structuredClone makes them`, t => {
  const make = makeValues(random(20_261_123))
  for (let i = 0; i < COUNT; i += 1) {
    const value = make()
    const [mine, theirs] = [copy(value), structuredClone(value)]
    try {
      assert.deepStrictEqual(mine, theirs)
      assert.strictEqual(identities(mine), identities(theirs))
    } catch (error) {
      t.fail(`value ${i}: ${String(error)}`)
      return
    }
  }
  t.pass()
})

/** A text that says which objects are the same one: each gets a number when it is first met. */
function identities(root: unknown): string {
  const numbers = new Map<unknown, number>()
  const out: unknown[] = []
  const visit = (value: any): void => {
    if (typeof value !== 'object' || value === null) return
    const known = numbers.get(value)
    out.push(known ?? 'new')
    if (known !== undefined) return
    numbers.set(value, numbers.size)
    if (value instanceof Map) for (const pair of value) pair.forEach(visit)
    else if (value instanceof Set) value.forEach(visit)
    else if (ArrayBuffer.isView(value)) visit(value.buffer)
    else if (!(value instanceof ArrayBuffer)) Object.keys(value).forEach(key => visit(Object.getOwnPropertyDescriptor(value, key)!.value))
  }
  visit(root)
  return out.join()
}
