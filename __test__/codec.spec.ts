import assert from 'node:assert'
import { createSecretKey, generateKeyPairSync } from 'node:crypto'
import test from 'ava'
import { encode } from '#src/codec/index.js'
import { assertSame } from './helpers/compare.js'
import { copy, toBytes } from './helpers/codec.js'
import { unknownError, values } from './helpers/values.js'

test('the table holds at least 60 kinds', t => {
  t.true(Object.keys(values).length >= 60)
})

for (const [name, make] of Object.entries(values)) {
  test(`arrives as it was: ${name}`, t => {
    const value = make()
    t.notThrows(() => assertSame(copy(value), value))
    const nested = copy({ deep: [value] }) as any
    t.notThrows(() => assertSame(nested.deep[0], value))
  })
}

test('an arguments object becomes a plain one, as structuredClone has it', t => {
  // eslint-disable-next-line prefer-rest-params
  t.deepEqual(copy((function (..._: unknown[]) { return arguments })(1, 'a')), { 0: 1, 1: 'a' })
})

test('an invalid Date stays one', t => {
  // Not in the table: assert.deepStrictEqual of Node 20 holds that two of them differ.
  t.is((copy(new Date(NaN)) as Date).getTime(), NaN)
})

test('identity is kept within a message', t => {
  const shared = copy(values['shared references']!()) as any
  t.is(shared.a, shared.b)
  t.is(shared.c[0], shared.a.deep)
  const cyclic = copy(values['cycles']!()) as any
  t.is(cyclic.self, cyclic)
  t.is(cyclic.list[1][0], cyclic)
  const map = copy(values['cycle through Map and Set']!()) as Map<string, any>
  t.true(map.get('set').has(map))
  const error = copy(values['cycle through an Error']!()) as any
  t.is(error.cause.e, error)
  const many = copy(values['many shared objects']!()) as any[]
  t.is(many[0], many[50])
  t.is(many[0], many[149])
  t.is(new Set(many).size, 50)
  const date = new Date()
  const [a, b] = copy([date, date]) as Date[]
  t.is(a, b)
})

test('views that share a buffer go on sharing it', t => {
  const { a, f, b } = copy(values['views of one buffer']!()) as { a: Uint8Array; f: Float64Array; b: ArrayBuffer }
  t.is(a.buffer, b)
  t.is(f.buffer, b)
  t.is(b.byteLength, 64)
  a[4] = 9
  t.is(new Uint8Array(b)[7], 9)
  const big = new ArrayBuffer(1 << 20)
  const [x, y] = copy([new Uint8Array(big, 0, 10), new Int32Array(big, 100, 2)]) as [Uint8Array, Int32Array]
  t.is(x.buffer, y.buffer)
  t.is(x.buffer.byteLength, 108)
})

test('a small part of a large buffer travels alone', t => {
  const big = new ArrayBuffer(1 << 20)
  t.true(toBytes({ a: new Uint8Array(big, 500_000, 10) }).bytes.length < 60)
  t.true(toBytes([Buffer.from('from the pool'), Buffer.from('as well')]).bytes.length < 80)
  const [a, b] = copy([Buffer.from('from the pool'), Buffer.from('as well')]) as Buffer[]
  t.not(a!.buffer, b!.buffer)
})

test('stretches of the pool that overlap are one, also when a later one bridges them', t => {
  const pool = Buffer.from('0123456789abcdefghij')
  const parts = [pool.subarray(0, 4), pool.subarray(8, 12), pool.subarray(16, 20), pool.subarray(10, 18), pool.subarray(2, 9)]
  const copies = copy(parts) as Buffer[]
  t.deepEqual(copies.map(String), parts.map(String))
  t.is(new Set(copies.map(part => part.buffer)).size, 1)
  copies[4]![0] = 0x21
  t.is(copies[0]!.toString(), '01!3')
})

test('a resizable buffer stays one', t => {
  const buffer = new (ArrayBuffer as any)(8, { maxByteLength: 32 })
  const made = copy({ buffer, view: new Uint8Array(buffer, 2) }) as any
  t.true(made.buffer.resizable)
  t.is(made.buffer.maxByteLength, 32)
  t.is(made.view.buffer, made.buffer)
  t.is((copy(buffer) as any).maxByteLength, 32)
})

test('large buffers stand beside the message, not in it', t => {
  const bytes = new Uint8Array(1 << 20)
  const { bytes: head, blobs } = toBytes({ bytes, again: bytes })
  t.true(head.length < 100)
  t.deepEqual(blobs.map(blob => blob.byteLength), [1 << 20])
  const message = encode(bytes)
  t.is(message.length, 0)
  t.is(message.blobs[0]!.buffer, bytes.buffer)
  message.release()
  t.is(message.blobs.length, 0)
})

test('messages are small', t => {
  t.is(toBytes(5).bytes.length, 4)
  t.is(toBytes('hello').bytes.length, 5)
  t.true(toBytes({ id: 1, name: 'abc', v: [1, 2, 3] }).bytes.length <= 24)
  const rows = Array.from({ length: 100 }, (_, i) => ({ identifier: i, description: 'abc' }))
  t.true(toBytes(rows).bytes.length < 100 * 8 + 60)
})

test('a getter is read once, and what it answers is sent', t => {
  let reads = 0
  const made = copy({ before: 1, get value() { reads += 1; return { reads } }, after: 2 })
  t.is(reads, 1)
  t.deepEqual(made, { before: 1, value: { reads: 1 }, after: 2 })
  const proxy = new Proxy({ a: 1 }, { get: () => { reads += 1; return reads } })
  t.deepEqual(copy(proxy), { a: 2 })
})

test('a put inside a getter inside a put', t => {
  const inner: unknown[] = []
  const value = (depth: number): unknown => ({
    text: 'outer '.repeat(20), depth,
    get nested() { inner.push(depth > 0 ? copy(value(depth - 1)) : 'end'); return [depth] },
    rest: { text: 'after', depth },
  })
  const expected = (depth: number) => ({ text: 'outer '.repeat(20), depth, nested: [depth], rest: { text: 'after', depth } })
  t.deepEqual(copy(value(5)), expected(5))
  t.deepEqual(inner.slice(1), [0, 1, 2, 3, 4].map(expected))
})

test('a getter that throws comes through, and the next message is sound', t => {
  t.throws(() => copy({ a: 1, get bad() { throw new RangeError('mine') } }), { instanceOf: RangeError, message: 'mine' })
  t.deepEqual(copy({ a: [1, 'b'] }), { a: [1, 'b'] })
})

test('an error of an unknown class keeps its name, and the nearest class', t => {
  const error = unknownError()
  const made = copy(error) as Error
  t.true(made instanceof TypeError)
  t.is(made.message, 'who am I')
  t.is(made.stack, error.stack)
  class Own extends Error { override name = 'OwnError'; details = { n: 1 } }
  const own = copy(new Own('m')) as Own
  t.is(String(own), 'OwnError: m')
  t.deepEqual(own.details, { n: 1 })
})

test('errors look like errors', t => {
  const made = copy(Object.assign(new Error('m', { cause: 1 }), { extra: 2 })) as Error
  t.deepEqual(Object.keys(made), ['extra'])
  t.true(Object.hasOwn(made, 'cause') && Object.hasOwn(made, 'stack') && Object.hasOwn(made, 'message'))
  t.false(Object.hasOwn(copy(new Error()) as Error, 'message'))
})

test('a DOMException is one', t => {
  const reason = AbortSignal.abort().reason
  const made = copy({ reason }) as { reason: DOMException }
  t.true(made.reason instanceof DOMException)
  t.deepEqual([made.reason.name, made.reason.message, made.reason.code], ['AbortError', reason.message, 20])
  t.is(made.reason.stack, reason.stack)
})

test('keys of node:crypto arrive as keys', t => {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const keys = [createSecretKey(Buffer.from('secret')), publicKey, privateKey]
  const made = copy([...keys, keys[0]]) as typeof keys
  t.true(keys.every((key, i) => made[i]!.equals(key) && made[i]!.type === key.type))
  t.is(made[0], made[3])
})

test('nothing of Object.prototype is touched', t => {
  const evil = JSON.parse('{"__proto__":{"polluted":1},"a":{"__proto__":null}}')
  const made = copy([evil, evil, ...Array.from({ length: 40 }, () => JSON.parse('{"__proto__":{"polluted":1}}'))]) as any[]
  for (const object of made) t.is(Object.getPrototypeOf(object), Object.prototype)
  t.deepEqual(Object.getOwnPropertyNames(made[0]), ['__proto__', 'a'])
  t.is(({} as any).polluted, undefined)
})

test('a shape is read the same before and after it is compiled', t => {
  for (let i = 0; i < 50; i += 1) {
    const value = { 'a b': i, '"quoted"': [i], '\u2028': { x: i }, 7: 'seven', undefined: undefined }
    assert.deepStrictEqual(copy(value), value)
    const cyclic: any = { i, other: { i } }
    cyclic.other.back = cyclic
    const made = copy(cyclic) as any
    t.is(made.other.back, made)
  }
})

test('a value nested too deeply is an error, not a crash', t => {
  let deep: unknown = null
  for (let i = 0; i < 200_000; i += 1) deep = { deep }
  t.throws(() => copy(deep), { name: 'SerializationError', message: /nested too deeply/ })
  t.deepEqual(copy([1]), [1])
})
