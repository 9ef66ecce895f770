import test from 'ava'
import { onScratch, encode, type Extensions } from '#src/codec/index.js'
import { SerializationError } from 'polyproc'
import { copy, fromBytes, needs, toBytes } from './helpers/codec.js'

/** Something in shared memory, known by a number. */
class Cell { constructor(readonly id: number) {} }

class Base { kind = 'base' }
class Point extends Base {
  constructor(public x = 0) { super() }
  set trap(_: unknown) { throw new Error('a setter was called') }
  norm() { return Math.abs(this.x) }
}
class Bag extends Map<unknown, unknown> { label = '' }
class Stack extends Array<unknown> { limit = 3 }
class Lost extends Error { constructor(message: string, readonly where: object) { super(message) } }
const classes: Record<string, Function> = { Base, Point, Bag, Stack, Lost }

/** Functions by their text, with what they capture set from outside: as little as a real extension needs. */
interface Closure { (...args: unknown[]): unknown; captured?: Record<string, unknown> }
let described = 0
const extensions: Extensions = {
  handle: {
    isHandle: value => value instanceof Cell,
    toHandle: value => (value as Cell).id,
    fromHandle: entry => new Cell(entry as number),
  },
  fn: {
    describe(fn) {
      described += 1
      if (classes[fn.name] === fn) return { head: fn.name, body: undefined, needs: ['file:///classes.js'] }
      if (fn.name === 'refused') throw new SerializationError('captured variable `secret` cannot be sent', 'secret')
      return { head: { source: String(fn) }, body: (fn as Closure).captured ?? null, needs: ['file:///main.js'] }
    },
    create(head) {
      if (typeof head === 'string') return classes[head] as never
      const captured: Record<string, unknown> = {}
      // eslint-disable-next-line @typescript-eslint/no-implied-eval
      const fn = new Function('captured', `return (${(head as { source: string }).source})`)(captured) as Closure
      fn.captured = captured
      return fn
    },
    fill(fn, body) { Object.assign((fn as Closure).captured ?? {}, body) },
  },
  instance: {
    classOf: (_value, constructor) => (constructor as Function).name in classes ? constructor as never : `${(constructor as Function).name} is not known`,
  },
}
const capturing = (fn: Function, captured: Record<string, unknown>): Closure => Object.assign(fn, { captured }) as unknown as Closure
declare const captured: any

test('handles stand in the table of the message, once each', t => {
  const cell = new Cell(7)
  const message = toBytes({ a: cell, b: [cell, new Cell(8)] }, extensions)
  t.deepEqual(message.handles, [7, 8])
  const made = fromBytes(message, extensions) as any
  t.is(made.a.id, 7)
  t.is(made.a, made.b[0])
  t.is(made.b[1].id, 8)
  t.is((copy(cell, extensions) as Cell).id, 7)
})

test('functions travel with what they capture', t => {
  const add = capturing((x: number) => x + captured.n, { n: 5 })
  const made = copy({ add, again: add }, extensions) as any
  t.is(made.add(2), 7)
  t.is(made.add, made.again)
})

test('a captured object may lead back to the function, and keeps its identity', t => {
  const object: any = { name: 'o' }
  const fn = capturing(() => captured.object, { object })
  object.fn = fn
  const made = copy({ fn, object }, extensions) as any
  t.is(made.fn(), made.object)
  t.is(made.object.fn, made.fn)
  const alone = copy(fn, extensions) as Closure
  t.is((alone() as any).fn, alone)
})

test('functions that capture each other', t => {
  const even: any = capturing((n: number) => n === 0 ? true : captured.odd(n - 1), {})
  const odd: any = capturing((n: number) => n === 0 ? false : captured.even(n - 1), { even })
  even.captured.odd = odd
  const made = copy([even, odd], extensions) as any
  t.true(made[0](10))
  t.false(made[1](10))
})

test('a function is described once a message', t => {
  const fn = capturing(() => 1, {})
  described = 0
  toBytes(Array.from({ length: 10 }, () => fn), extensions)
  t.is(described, 1)
})

test('an extension that refuses is heard', t => {
  function refused() {}
  const message = 'captured variable `secret` cannot be sent'
  t.throws(() => toBytes(refused, extensions), { message })
  const nested = t.throws(() => toBytes([{ refused }], extensions, 'args'), { instanceOf: SerializationError, message: `args[0].refused: ${message}` })
  t.is(nested.path, 'args[0].refused')
})

test('what a function captures is part of the path', t => {
  const fn = capturing(() => 1, { deep: { bad: Symbol('x') } })
  const error = t.throws(() => toBytes([{ fn }], extensions, 'args'), { instanceOf: SerializationError })
  t.is(error.path, 'args[0].fn.deep.bad')
})

test('modules to load first are known without decoding', t => {
  const message = toBytes({ f: capturing(() => 1, {}), g: capturing(() => 2, {}), p: new Point(1), big: new Uint8Array(9) }, extensions)
  t.deepEqual(needs(message), ['file:///main.js', 'file:///classes.js'])
  t.deepEqual((fromBytes(message, extensions) as any).big, new Uint8Array(9))
  t.deepEqual(needs(toBytes({ a: 1 })), [])
  t.deepEqual(needs(toBytes(capturing(() => 1, {}), extensions)), ['file:///main.js'])
})

test('instances keep their class', t => {
  const point = new Point(-3)
  const made = copy({ point, again: point, points: [new Point(1), new Point(2)] }, extensions) as any
  t.true(made.point instanceof Point)
  t.is(made.point.norm(), 3)
  t.is(made.point, made.again)
  t.deepEqual(made.points, [new Point(1), new Point(2)])
  const trapped = Object.defineProperty(new Point(1), 'trap', { value: 5, enumerable: true })
  t.is((copy(trapped, extensions) as any).trap, 5)
})

test('instances of classes that extend built-in ones', t => {
  const bag = new Bag([['k', { v: 1 }]])
  bag.label = 'mine'
  bag.set('self', bag)
  const made = copy({ bag }, extensions) as { bag: Bag }
  t.true(made.bag instanceof Bag)
  t.is(made.bag.label, 'mine')
  t.is(made.bag.get('self'), made.bag)
  const stack = Stack.from([1, , { s: 2 }]) as Stack  
  stack.limit = 9
  const copied = copy([stack, stack], extensions) as Stack[]
  t.true(copied[0] instanceof Stack)
  t.is(copied[0], copied[1])
  t.is(copied[0]!.limit, 9)
  t.deepEqual([...copied[0]!], [...stack])
})

test('errors of a class that can travel are of that class', t => {
  const where = { line: 4 }
  const made = copy({ error: new Lost('gone', where), where }, extensions) as any
  t.true(made.error instanceof Lost)
  t.is(made.error.message, 'gone')
  t.is(made.error.where, made.where)
  class Private extends Error {}
  const plain = copy(new Private('p'), extensions) as Error
  t.is(Object.getPrototypeOf(plain), Error.prototype)
})

test('why an instance is refused is said', t => {
  class Stranger {}
  const error = t.throws(() => toBytes({ list: [new Stranger()] }, extensions), { instanceOf: SerializationError })
  t.is(error.message, 'list[0]: a Stranger cannot be sent: Stranger is not known')
})

test('a receiver without the extension throws', t => {
  t.throws(() => fromBytes(toBytes(new Cell(1), extensions)), { name: 'SerializationError' })
  t.throws(() => fromBytes(toBytes(capturing(() => 1, {}), extensions)), { name: 'SerializationError' })
})

test('scratch areas are announced, grow, and are given up when they were large', t => {
  const seen = new Map<number, Buffer>()
  onScratch((index, bytes) => seen.set(index, bytes))
  try {
    const small = encode({ a: 1 })
    t.is(seen.get(small.area), small.bytes)
    small.release()
    const large = encode({ text: 'x'.repeat(3_000_000) })
    t.true(large.length > 3_000_000)
    t.is(seen.get(large.area), large.bytes)
    large.release()
    t.true(seen.get(0)!.length < 1_000_000)
  } finally {
    onScratch(null)
  }
})
