// What cannot travel is refused where it is sent, with the variable's name, where it was declared, and what to do.

import { createServer, Socket } from 'node:net'
import { spawn } from 'node:child_process'
import { Readable } from 'node:stream'
import { createHash } from 'node:crypto'
import { Worker } from 'node:worker_threads'
import test from 'ava'
import { encode } from '#src/codec/index.js'
import { SerializationError } from '#src/errors.js'
import { instances, Shipment } from '#src/target/index.js'

function refusal(value: unknown): SerializationError {
  try {
    encode(value, { fn: new Shipment(), instance: instances }).release()
  } catch (error) {
    if (error instanceof SerializationError) return error
    throw error
  }
  throw new Error('it was not refused')
}
const here = /refused\.spec\.js:\d+:\d+/

const socket = new Socket()
const server = createServer()
const child = spawn('true')
const stream = Readable.from([])
const hash = createHash('sha1')
const weakMap = new WeakMap()
const weakSet = new WeakSet()
const weakRef = new WeakRef({})
const promise = Promise.resolve(1)
const signal = new AbortController().signal
const controller = new AbortController()
const timer = setTimeout(() => undefined, 0)
const generator = (function* () { yield 1 })()
const symbol = Symbol('mine')
const worker = new Worker('', { eval: true })
class Secret { #hidden = 1; get() { return this.#hidden } }
const secret = new Secret()
const channel = new MessageChannel().port1

const kinds: [name: string, fn: () => unknown, value: unknown, captured: string, says: RegExp][] = [
  ['a socket', () => socket, socket, 'socket', /a Socket, which belongs to this process.*perProcess/],
  ['a server', () => server, server, 'server', /a Server, which belongs to this process/],
  ['a child process', () => child, child, 'child', /a ChildProcess, which belongs/],
  ['a stream', () => stream, stream, 'stream', /a Readable, which belongs/],
  ['a hash', () => hash, hash, 'hash', /a Hash, which belongs/],
  ['a worker thread', () => worker, worker, 'worker', /a Worker, which belongs/],
  ['a port', () => channel, channel, 'channel', /a MessagePort, which belongs/],
  ['a timer', () => timer, timer, 'timer', /a Timeout, which belongs/],
  ['a WeakMap', () => weakMap, weakMap, 'weakMap', /WeakMap is about objects of this process alone; use a Map/],
  ['a WeakSet', () => weakSet, weakSet, 'weakSet', /WeakSet is about objects of this process alone/],
  ['a WeakRef', () => weakRef, weakRef, 'weakRef', /WeakRef is about objects of this process alone/],
  ['a Promise', () => promise, promise, 'promise', /a Promise belongs to this process; await it first/],
  ['an AbortSignal', () => signal, signal, 'signal', /AbortSignal.*currentTask\(\)\.signal/],
  ['an AbortController', () => controller, controller, 'controller', /AbortController.*currentTask\(\)\.signal/],
  ['a running generator', () => generator, generator, 'generator', /send what it yields/],
  ['a symbol', () => symbol, symbol, 'symbol', /known to one process alone; use Symbol\.for/],
]
for (const [name, fn, value, variable, says] of kinds) {
  test(`${name}, captured`, t => {
    const { message, path } = refusal(fn)
    t.regex(message, says)
    t.true(message.includes(`'${variable}' (declared at `), message)
    t.regex(message, here)
    t.true(path.endsWith(variable), path)
  })
  test(`${name}, in a captured object`, t => {
    const box = { deep: [value] }
    const { message, path } = refusal(() => box)
    t.true(path.endsWith('captured.box.deep[0]'), path)
    t.regex(message, /cannot be sent/)
  })
  test(`${name}, as an argument`, t => {
    t.regex(refusal({ args: [{ value }] }).path, /args\[0\]\.value$/)
  })
}

test('an instance with a private field, wherever it stands', t => {
  const box = { secret }
  for (const value of [() => secret, () => box, [secret], secret]) t.regex(refusal(value).message, /private field #hidden of Secret/)
})

let count = 0
const increment = (): number => count += 1
test('a variable that the function assigns', t => {
  for (const fn of [() => { count += 1 }, () => { count++ }, () => { count = 1 }, () => () => { count = 2 }, () => { [count] = [3] },
    () => { ({ count } = { count: 4 }) }, function () { for (count of [1]); }, increment, () => { count ||= 5 }]) {
    const { message } = refusal(fn)
    t.regex(message, /assigns the captured variable 'count' \(declared at .*assigned at .*\).*perProcess/)
    t.regex(message, /Return the value.*Value/)
    t.regex(message, here)
  }
  t.notThrows(() => { encode(() => increment(), { fn: new Shipment(), instance: instances }).release() })
})

test('a class whose method assigns a variable', t => {
  class Counter { up() { count += 1 } }
  t.regex(refusal(Counter).message, /'Counter' assigns the captured variable 'count'/)
})

test('a constant that has no value yet', t => {
  const early = (): number => soon
  const { message } = refusal(early)
  t.regex(message, /'early' captures 'soon' \(declared at .*\), which has no value yet/)
  const soon = 1
  t.is(early(), soon)
  t.notThrows(() => { encode(early, { fn: new Shipment(), instance: instances }).release() })
})

test('a constant that is undefined has a value', t => {
  const maybe = [1].find(x => x === 2)
  t.notThrows(() => { encode(() => maybe, { fn: new Shipment(), instance: instances }).release() })
})

test('eval in the function, or around it', t => {
  t.regex(refusal((0, eval)('(function(x){ return eval(x) })')).message, /uses eval or with/)
  const around = (0, eval)('(function(x){ eval(""); return () => x })')
  t.regex(refusal(around(1)).message, /uses eval or with, or stands in a function that does/)
})

test('super and private names outside of their class', t => {
  const object = { method() { return super.toString() } }
  t.regex(refusal(object.method).message, /uses super .*send that class or an instance of it/)
  class Private { #x = 1; read() { return this.#x } }
  t.regex(refusal(Private.prototype.read).message, /uses the private name #x .*send the class itself/)
})

test('native functions without a name', t => {
  const wasm = (globalThis as any).WebAssembly
  t.regex(refusal(new Proxy(() => 1, {})).message, /native function of an addon, or a Proxy/)
  const { port1 } = new MessageChannel()
  t.regex(refusal({ f: new wasm.Instance(new wasm.Module(new Uint8Array([
    0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 7, 5, 1, 1, 102, 0, 0, 10, 4, 1, 2, 0, 11,
  ]))).exports['f'] }).message, /WebAssembly|native/)
  port1.close()
})

test('a function with a symbol for a key', t => {
  t.regex(refusal(Object.assign(() => 1, { [Symbol('x')]: 1 })).message, /Symbol\(x\).*Symbol\.for/)
})

test.after(() => {
  child.kill()
  clearTimeout(timer)
  channel.close()
  return worker.terminate()
})
