import test from 'ava'
import { decode, needsOf } from '#src/codec/index.js'
import { type Copied, fromBytes, toBytes } from './helpers/codec.js'
import { makeValues, random } from './helpers/random.js'
import { values } from './helpers/values.js'

const clean = JSON.stringify(Object.getOwnPropertyNames(Object.prototype))

/** Decodes and says whether it threw an Error; anything else that is thrown fails the test. */
function survives(message: Copied): boolean {
  try {
    needsOf(message.kind, message.bytes)
    fromBytes(message)
    return true
  } catch (error) {
    if (!(error instanceof Error)) throw new TypeError('something that is no Error was thrown', { cause: error })
    return false
  }
}

test('bytes that no encoder wrote throw or decode, and nothing else', t => {
  const next = random(7)
  const below = (n: number) => Math.floor(next() * n)
  const make = makeValues(random(8))
  const seeds = [...Object.values(values).map(value => value()), ...Array.from({ length: 300 }, make)]
    .map(value => toBytes(value)).filter(({ bytes }) => bytes.length < 4000)
  const edges = [0, 1, 0x7f, 0x80, 0xff, 0xc0, 0xcc, 0xd0, 0xd4, 0xdd, 0xde, 0xe0]
  let threw = 0
  const started = Date.now()
  for (let i = 0; i < 60_000 && Date.now() - started < 20_000; i += 1) {
    const seed = seeds[below(seeds.length)]!
    const bytes = Buffer.from(seed.bytes)
    for (let changes = 1 + below(4); changes > 0 && bytes.length > 0; changes -= 1) {
      const at = below(bytes.length)
      bytes[at] = next() < 0.5 ? edges[below(edges.length)]! : below(256)
    }
    const cut = next() < 0.2 ? bytes.subarray(0, below(bytes.length + 1)) : bytes
    const kind = next() < 0.2 ? below(45) : seed.kind
    if (!survives({ ...seed, kind, bytes: cut })) threw += 1
  }
  t.true(threw > 1000)
  t.is(JSON.stringify(Object.getOwnPropertyNames(Object.prototype)), clean)
  t.is(Object.getPrototypeOf(Object.prototype), null)
})

test('pure noise', t => {
  const next = random(99)
  for (let i = 0; i < 60_000; i += 1) {
    const bytes = Buffer.from(Array.from({ length: Math.floor(next() * 40) }, () => Math.floor(next() * 256)))
    survives({ kind: Math.floor(next() * 48), bytes, blobs: [], handles: [] })
  }
  t.is(JSON.stringify(Object.getOwnPropertyNames(Object.prototype)), clean)
})

const max = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f]
const crafted: Record<string, [kind: number, bytes: number[]]> = {
  'array of 2^53 elements': [32, [0xcc, ...max]],
  'string of 2^53 units': [32, [0xc9, ...max]],
  'Latin-1 string beyond the end': [32, [0xc8, 100, 65]],
  'map of 2^53 entries': [32, [0xd5, ...max]],
  'bigint without digits': [32, [0xcb, 0, 0]],
  'bigint of no number': [32, [0xcb, 0, 2, 0x2d, 0x31]],
  'number without end': [32, [0xcc, ...Array.from({ length: 30 }, () => 0xff)]],
  'reference to itself before it is there': [33, [0xe0, 0xd4, 0]],
  'reference to nothing': [33, [0xd4, 9]],
  'shape that was not defined': [32, [0xb3]],
  'key block beyond the end': [32, [0xd0, 0xff, 0x00, 5]],
  'key that is a number': [32, [0xd0, 2, 0, 1, 5, 1]],
  'regular expression that is none': [32, [0xd8, 0x81, 0x28, 0x80]],
  'URL that is none': [32, [0xda, 0x81, 0x28]],
  'handle that is not there': [32, [0xdf, 0]],
  'class that is a number': [32, [0xe1, 5, 0xd2, 0]],
  'section outside': [34, [1, 0xff, 0xff, 0, 0]],
  'resizable buffer of 2^53': [34, [0xdd, 0, 1, 3, 0, ...max, 0, 2, 0, 0, 0]],
  'view beyond its buffer': [34, [0xde, 10, 0, 0, 9, 1, 0, 0, 1, 0, 5, 0, 0, 0]],
  'two values': [32, [1, 2]],
  'no value': [32, []],
  'unknown tag': [32, [0xff]],
  'unknown kind': [31, []],
  'kind of flags': [40, [1]],
  'short number': [5, [1, 2, 3]],
  'elements that do not fit': [26, [1, 2, 3]],
}
for (const [name, [kind, bytes]] of Object.entries(crafted)) {
  test(`throws: ${name}`, t => {
    t.throws(() => decode(kind, Buffer.from(bytes)), { name: 'SerializationError' })
  })
}

test('a sparse array of four billion costs no memory', t => {
  const before = process.memoryUsage().heapUsed
  const sparse = Array.from({ length: 20 }, () => { const a: unknown[] = []; a[29_999_999] = 1; return a })
  const made = sparse.map(array => toBytes(array)).map(message => fromBytes(message) as unknown[])
  t.is(made[19]!.length, 30_000_000)
  t.true(process.memoryUsage().heapUsed - before < 50e6)
})

test('nesting without end throws', t => {
  t.throws(() => decode(32, Buffer.alloc(1_000_000, 0xa1)), { name: 'SerializationError' })
})

test('bytes outside the memory throw', t => {
  t.throws(() => decode(32, Buffer.alloc(4), 2, 9), { name: 'SerializationError' })
  t.throws(() => decode(32, Buffer.alloc(4), 3, 1), { name: 'SerializationError' })
})
