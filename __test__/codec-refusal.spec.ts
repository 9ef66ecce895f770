import net from 'node:net'
import test from 'ava'
import { SerializationError } from 'polyproc'
import { toBytes } from './helpers/codec.js'

class Point { x = 1 }
function* count() { yield 1 }

const refused: [name: string, value: () => unknown, message: RegExp][] = [
  ['function', () => () => 1, /^a function cannot be sent/],
  ['named function', () => function work() {}, /the function work cannot be sent/],
  ['class', () => Point, /the class Point cannot be sent/],
  ['symbol', () => Symbol('s'), /a symbol cannot be sent: .*send a string/],
  ['boxed symbol', () => Object(Symbol('s')), /a Symbol cannot be sent/],
  ['instance', () => new Point(), /a Point cannot be sent/],
  ['Promise', () => Promise.resolve(1), /a Promise cannot be sent: await it first/],
  ['WeakMap', () => new WeakMap(), /a WeakMap cannot be sent/],
  ['WeakSet', () => new WeakSet(), /a WeakSet cannot be sent/],
  ['WeakRef', () => new WeakRef({}), /a WeakRef cannot be sent/],
  ['generator', () => count(), /cannot be sent: a running generator/],
  ['iterator of a Map', () => new Map().values(), /cannot be sent/],
  ['socket', () => new net.Socket(), /a Socket cannot be sent/],
  ['SharedArrayBuffer', () => new SharedArrayBuffer(8), /a SharedArrayBuffer cannot be sent: .*SharedMemory/],
  ['view of a SharedArrayBuffer', () => new Uint8Array(new SharedArrayBuffer(8)), /an Uint8Array|a Uint8Array cannot be sent/],
  ['object with its own prototype', () => Object.create({ inherited: 1 }), /an object with a prototype of its own cannot be sent/],
  ['AbortSignal', () => new AbortController().signal, /an AbortSignal cannot be sent/],
  ['borrowed prototype', () => Object.create(Map.prototype), /cannot be sent/],
]

for (const [name, make, message] of refused) {
  test(`refused, with the path to it: ${name}`, t => {
    const value = make()
    const alone = t.throws(() => toBytes(value), { instanceOf: SerializationError, message }) as SerializationError
    t.is(alone.path, '')
    const inside = t.throws(() => toBytes([{ ok: 1, socket: value }], {}, 'args'), { instanceOf: SerializationError, message: /^args\[0\]\.socket: / })
    t.is((inside as SerializationError).path, 'args[0].socket')
  })
}

test('the path is written as one would write it', t => {
  const bad = () => {}
  const path = (value: unknown, root?: string): string =>
    (t.throws(() => toBytes(value, {}, root), { instanceOf: SerializationError }) as SerializationError).path
  t.is(path([bad]), '[0]')
  t.is(path({ 'a b': { c: bad } }), '["a b"].c')
  t.is(path({ list: [[1], [2, bad]] }), 'list[1][1]')
  t.is(path(new Map([['k', { f: bad }]])), '.get("k").f'.slice(1))
  t.is(path({ m: new Map([[bad, 1]]) }, 'args[2]'), 'args[2].m.keys[0]')
  t.is(path({ s: new Set([1, bad]) }), 's.values[1]')
  t.is(path(new Error('m', { cause: { bad } })), 'cause.bad')
  const cyclic: any = { self: null, at: { bad } }
  cyclic.self = cyclic
  t.is(path(cyclic), 'at.bad')
})

test('looking for the path calls no getter again', t => {
  let reads = 0
  const error = t.throws(() => toBytes({ get lazy() { reads += 1; return () => 1 } }), { instanceOf: SerializationError })
  t.is(reads, 1)
  t.regex(error.message, /a function cannot be sent/)
})

test('a detached buffer is refused', t => {
  const buffer = new ArrayBuffer(8)
  const view = new Uint8Array(buffer)
  structuredClone(buffer, { transfer: [buffer] })
  t.throws(() => toBytes(view), { message: /detached/ })
  t.throws(() => toBytes({ buffer }), { message: /detached/ })
})

test('after a refusal the next message is sound', t => {
  for (let i = 0; i < 20; i += 1) {
    t.throws(() => toBytes({ big: new Uint8Array(100_000), n: { fn() {} } }))
    const { blobs, handles } = toBytes({ a: 1 })
    t.is(blobs.length + handles.length, 0)
  }
})
