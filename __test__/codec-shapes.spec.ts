/**
 * Objects of shapes that come again: the codec guesses what the next object looks like, and must be right about every
 * object that only seems to be like the one before.
 */

import assert from 'node:assert'
import test from 'ava'
import { copy, fromBytes, toBytes } from './helpers/codec.js'
import { makeValues, random } from './helpers/random.js'

const plain = (): Record<string, unknown> => ({ id: 1, name: 'some name', v: [1.5, 2.5] })
/** Makes the next message begin with an object of the same keys as `value`, as far as the codec can guess. */
const expect = (value: unknown): void => { for (let i = 0; i < 20; i += 1) copy(value) }

test('values at random arrive the same when their shapes are expected and when they are not', t => {
  const make = makeValues(random(4))
  const before = plain()
  for (let i = 0; i < 1000; i += 1) {
    const value = make()
    const theirs = structuredClone(value)
    // After another object nobody guesses; the second time everybody does.
    copy(before)
    const first = copy(value)
    const second = copy([value, value]) as unknown[]
    try {
      assert.deepStrictEqual(first, theirs)
      assert.deepStrictEqual(second[1], theirs)
      assert.deepStrictEqual(copy(value), theirs)
    } catch (error) {
      t.fail(`value ${i}: ${String(error)}`)
      return
    }
  }
  t.pass()
})

test.serial('a key that is inherited is not sent, though an own one of the name was before', t => {
  expect({ a: 1, inherited: 2 })
  const polluted = Object.prototype as { inherited?: number }
  polluted.inherited = 3
  try {
    t.deepEqual(Object.keys(copy({ a: 1 }) as object), ['a'])
  } finally {
    delete polluted.inherited
  }
})

test('properties that are not enumerable, or symbols, or in another order, are another shape', t => {
  expect(plain())
  t.deepEqual(Object.keys(copy(Object.defineProperty(plain(), 'name', { enumerable: false })) as object), ['id', 'v'])
  expect(plain())
  t.deepEqual(Object.keys(copy({ ...plain(), [Symbol('s')]: 1 }) as object), ['id', 'name', 'v'])
  expect(plain())
  t.deepEqual(Object.keys(copy({ v: 1, name: 2, id: 3 }) as object), ['v', 'name', 'id'])
  expect(plain())
  t.deepEqual(copy({ ...plain(), more: 1 }), { ...plain(), more: 1 })
  expect(plain())
  t.deepEqual(copy({ id: 1, name: 2 }), { id: 1, name: 2 })
})

test('every property is read once, and what getters do to the object does not break the message', t => {
  const reads: string[] = []
  const meddling = (meddle: (object: Record<string, unknown>) => void): object => {
    const object: Record<string, unknown> = {
      get id() {
        reads.push('id')
        meddle(object)
        return 1
      },
      name: 'some name', v: [1.5, 2.5],
    }
    return object
  }
  for (let i = 0; i < 3; i += 1) {
    expect(plain())
    reads.length = 0
    t.deepEqual(copy([meddling(() => undefined), 7]), [plain(), 7])
    t.deepEqual(reads, ['id'])
    t.deepEqual(copy([meddling(object => { delete object['name'] }), 7]), [{ id: 1, name: undefined, v: [1.5, 2.5] }, 7])
    t.deepEqual(copy([meddling(object => { object['added'] = 1 }), 7]), [plain(), 7])
    t.deepEqual(copy([meddling(object => { delete object['name']; object['name'] = 'late' }), 7]), [{ ...plain(), name: 'late' }, 7])
    t.deepEqual(copy([meddling(object => { copy([object['v'], { other: 1 }]) }), 7]), [plain(), 7])
    t.deepEqual(copy([meddling(object => { Object.setPrototypeOf(object, { later: 1 }) }), 7]), [plain(), 7])
    t.is(reads.length, 6)
  }
})

test('a proxy whose keys change from one look to the next does not break the message', t => {
  expect(plain())
  let looks = 0
  const shifty = new Proxy(plain(), { ownKeys: target => (looks += 1) % 2 === 0 ? ['id'] : Reflect.ownKeys(target) })
  for (let i = 0; i < 10; i += 1) {
    const [arrived, behind] = copy([shifty, 7]) as [object, number]
    t.true(['id', 'id,name,v'].includes(Object.keys(arrived).join()))
    t.is(behind, 7)
  }
})

test('expected objects keep what they share, and an own key __proto__', t => {
  const inner = plain()
  expect([inner, { a: inner }])
  const [a, b] = copy([inner, { a: inner }]) as [object, { a: object }]
  t.is(b.a, a)
  const cyclic = plain()
  cyclic['v'] = cyclic
  const arrived = copy(cyclic) as Record<string, unknown>
  t.is(arrived['v'], arrived)
  const odd = JSON.parse('{"id": 1, "__proto__": {"x": 2}}') as object
  expect(odd)
  const copied = copy(odd) as object
  t.is(Object.getPrototypeOf(copied), Object.prototype)
  t.deepEqual(Object.getOwnPropertyDescriptor(copied, '__proto__')?.value, { x: 2 })
})

test('numbers at every border of their forms, alone and in arrays', t => {
  const numbers = [0, -0, 1, 127, 128, -1, -128, -129, 32767, 32768, -32768, -32769, 2 ** 31 - 1, 2 ** 31, -(2 ** 31), -(2 ** 31) - 1, 0.5, -0.5, NaN, Infinity, -Infinity, 2 ** 53, 5e-324]
  for (const n of numbers) {
    t.is((copy({ n }) as { n: number }).n, n)
    t.is((copy([n]) as number[])[0], n)
  }
  for (let length = 0; length <= 40; length += 1) {
    const fractions = Array.from({ length }, (_, i) => i + 0.5)
    t.deepEqual(copy(fractions), fractions)
    t.deepEqual(copy([...fractions, 1]), [...fractions, 1])
    t.deepEqual(copy([...fractions, 'text', 2.5]), [...fractions, 'text', 2.5])
  }
  t.deepEqual(copy([numbers, numbers.slice(0, 15)]), [numbers, numbers.slice(0, 15)])
  const shared = [1.5, 2.5]
  const [x, y] = copy([shared, shared]) as number[][]
  t.is(x, y)
})

test('a message that breaks off in the midst of an expected shape throws', t => {
  expect(plain())
  const message = toBytes(plain())
  for (let length = 0; length < message.bytes.length; length += 1) {
    t.throws(() => fromBytes({ ...message, bytes: message.bytes.subarray(0, length) }), { name: 'SerializationError' })
  }
  t.deepEqual(fromBytes(message), plain())
})

test('what occurs twice in an object of a shape that is compiled is one thing again', t => {
  const list = [1, 2.5, 'x']
  const inner = { deep: true }
  const cases: Record<string, () => object> = {
    'the same array twice': () => ({ a: list, b: list }),
    'an array that leads back to itself': () => {
      const loop: unknown[] = [1]
      loop.push(loop)
      return { a: loop, b: loop }
    },
    'an array that leads back to the object': () => {
      const root: Record<string, unknown> = { a: 1, b: [2] }
      ;(root['b'] as unknown[]).push(root)
      return root
    },
    'the object in itself': () => {
      const root: Record<string, unknown> = { a: [1], b: null }
      root['b'] = root
      return root
    },
    'an object before and in an array': () => ({ a: inner, b: [inner] }),
    'an array, then an object with it': () => ({ a: list, b: { list } }),
    'an array of objects, then one of them': () => ({ a: [inner, 1], b: inner }),
    'holes': () => ({ a: [1, , 3], b: [undefined, null] }),
    'many numbers and a match': () => ({ a: Array.from({ length: 100 }, (_, i) => i * 0.5), b: /b/.exec('abc') }),
    'a class that extends Array': () => ({ a: new Map([[1, list]]), b: list }),
  }
  for (const [name, make] of Object.entries(cases)) {
    expect({ a: [1.5], b: 2 })
    const value = make()
    const theirs = structuredClone(value)
    for (let i = 0; i < 30; i += 1) {
      const got = copy(value)
      // A match has named properties, which structuredClone drops.
      if (name !== 'many numbers and a match') assert.deepStrictEqual(got, theirs, name)
      else assert.deepStrictEqual(got, value, name)
    }
  }
  const { a, b } = copy({ a: list, b: list }) as { a: unknown; b: unknown }
  t.is(a, b)
  const back = copy(cases['an array that leads back to the object']!()) as { b: unknown[] }
  t.is(back.b[1], back)
})

test('an object of a compiled shape with another prototype is not taken for a plain one', t => {
  expect({ a: 1, b: 2 })
  const bare = Object.assign(Object.create(null) as object, { a: 1, b: 2 })
  t.is(Object.getPrototypeOf(copy(bare)), null)
  expect({ 0: 1, 1: 2 })
  t.deepEqual(copy([1, 2]), [1, 2])
})

test('as many numbers as a shape may have keys are written though the area is almost full', t => {
  const make = (pad: number): Record<string, unknown> => {
    const value: Record<string, unknown> = { pad: 'x'.repeat(pad) }
    for (let i = 0; i < 31; i += 1) value[`k${i}`] = i + 0.25
    return value
  }
  expect(make(1))
  // The area begins with 64 KiB: the numbers lie across its end somewhere.
  for (let pad = 64 * 1024 - 800; pad < 64 * 1024; pad += 7) assert.deepStrictEqual(copy(make(pad)), make(pad))
  t.pass()
})

test('a getter of a compiled shape that changes the object is asked once, and the rest is read by the keys that were found', t => {
  let asked = 0
  const make = (): object => ({
    get first() {
      asked += 1
      delete (this as { second?: number }).second
      return 1
    },
    second: 2,
  })
  expect({ first: 1, second: 2 })
  t.deepEqual(copy(make()), { first: 1, second: undefined })
  t.is(asked, 1)
})
