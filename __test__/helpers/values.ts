/**
 * One value of every kind that a message may hold, for tables that send each of them by some way and compare what
 * arrives. Each is made anew, so a test may change it. Those that need a class or a function to travel are not here.
 */

import { DeadlockError, SerializationError, WorkerLostError } from 'polyproc'
import vm from 'node:vm'

class Unknown extends TypeError {}

const cyclic = () => {
  const object: any = { name: 'me' }
  object.self = object
  object.list = [object, [object]]
  return object
}
const shared = () => {
  const part = { deep: [1, 2] }
  return { a: part, b: part, c: [part.deep] }
}
const withCause = () => Object.assign(new RangeError('outer', { cause: new Error('inner', { cause: 5 }) }), { extra: { n: 1 } })

export const values: Record<string, () => unknown> = {
  'undefined': () => undefined,
  'null': () => null,
  'true': () => true,
  'false': () => false,
  'zero': () => 0,
  'negative zero': () => -0,
  'small integers': () => [0, 1, 127, 128, -1, -128, -129, 255, 256],
  'integers': () => [32767, 32768, -32768, -32769, 65536, 2 ** 31 - 1, -(2 ** 31), 2 ** 31, 2 ** 53 - 1, -(2 ** 53)],
  'fractions': () => [0.5, -1.25, 1e300, 5e-324, Number.MAX_VALUE],
  'NaN and infinities': () => [NaN, Infinity, -Infinity, -0],
  'NaN': () => NaN,
  'big fraction': () => 123.456,
  'bigint': () => 42n,
  'bigints': () => [0n, -1n, 2n ** 63n - 1n, -(2n ** 63n), 2n ** 63n, 2n ** 200n, -(2n ** 200n)],
  'huge bigint': () => 7n ** 5000n,
  'empty string': () => '',
  'ASCII string': () => 'hello world',
  'Latin-1 string': () => 'crème brûlée ÿ',
  'string of any script': () => 'Grüße, мир, 世界, 🎉',
  'lone surrogates': () => ['\ud800', 'a\udc00b', '\ud800\ud800', 'x'.repeat(50) + '\udfff'],
  'long strings': () => ['x'.repeat(39), 'x'.repeat(40), 'x'.repeat(41), 'x'.repeat(100_000), 'й'.repeat(70_000)],
  'strings with NUL': () => ['\0', 'a\0b'],
  'empty object': () => ({}),
  'small object': () => ({ id: 17, name: 'some name', v: [1.5, 2.5, 3.5] }),
  'nested objects': () => ({ a: { b: { c: { d: [{ e: null }] } } } }),
  'undefined in objects and arrays': () => ({ a: undefined, b: [undefined, 1, undefined] }),
  'many rows': () => Array.from({ length: 100 }, (_, i) => ({ id: i, name: `row ${i}`, price: i / 3, tags: ['a', 'b'], at: { x: i, y: -i } })),
  'rows of many shapes': () => Array.from({ length: 50 }, (_, i) => ({ [`key ${i}`]: i, common: true })),
  'dictionary': () => Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`k${i}`, i])),
  'long keys': () => ({ ['k'.repeat(5000)]: 1, ['ключ'.repeat(20)]: 2, '': 3, '\ud800': 4 }),
  'integer keys': () => ({ 2: 'b', 1: 'a', x: 1, [2 ** 32]: 'big' }),
  'own __proto__ key': () => JSON.parse('{"__proto__":{"polluted":true},"constructor":1,"toString":2}'),
  'own __proto__ key in a dictionary': () => JSON.parse(`{"__proto__":[1],${Array.from({ length: 40 }, (_, i) => `"k${i}":${i}`).join()}}`),
  'no prototype': () => Object.assign(Object.create(null), { a: 1, b: Object.create(null) }),
  'frozen object': () => Object.freeze({ a: Object.freeze([1]) }),
  'array': () => [1, 'two', null, [3, [4]]],
  'long array': () => Array.from({ length: 10_000 }, (_, i) => i * 1.5),
  'array with holes': () => [1, , 3, , undefined, ,],  
  'sparse array': () => { const a: number[] = []; a[5] = 1; a[1000] = 2; a.length = 5000; return a },
  'very sparse array': () => { const a: number[] = []; a[4_000_000_000] = 1; a[3] = 2; return a },
  'match of a regular expression': () => /(?<year>\d+)-(\d)/.exec('on 2026-1'),
  'array of arrays': () => [[], [[]], [[[]]]],
  'Map': () => new Map<unknown, unknown>([['a', 1], [2, 'b'], [{ k: 1 }, [new Map()]], [null, undefined], [NaN, -0]]),
  'empty Map': () => new Map(),
  'Set': () => new Set([1, 'a', null, undefined, NaN, { x: 1 }, new Set([2])]),
  'Date': () => new Date(1_700_000_000_123),
  'early Date': () => new Date(-1e14),
  'RegExp': () => [/a+b/gi, /[\u{1f600}]/u, new RegExp('/'), /(?<y>x)/dsy],
  'boxed primitives': () => [Object(1), Object('s'), Object(true), Object(5n), Object(-0)],
  'Uint8Array': () => new Uint8Array([1, 2, 255]),
  'empty Uint8Array': () => new Uint8Array(0),
  'Buffer': () => Buffer.from('some bytes'),
  'large Buffer': () => Buffer.alloc(100_000, 'abc'),
  'Buffers in an object': () => ({ a: Buffer.from('one'), b: [Buffer.from('two'), Buffer.alloc(70_000, 1)] }),
  'ArrayBuffer': () => new Uint8Array([9, 8, 7]).buffer,
  'large ArrayBuffer': () => new ArrayBuffer(200_000),
  'every typed array': () => [
    new Int8Array([-1, 2]), new Uint8ClampedArray([300, 1]), new Int16Array([-300, 3]), new Uint16Array([65535]),
    new Int32Array([-(2 ** 31)]), new Uint32Array([2 ** 32 - 1]), new Float32Array([1.5, NaN]), new Float64Array([-0, 1e300]),
    new BigInt64Array([-1n, 2n ** 62n]), new BigUint64Array([2n ** 64n - 1n]), new DataView(new ArrayBuffer(5), 1, 3),
  ],
  'Float64Array': () => new Float64Array([0.5, 1.5]),
  'Int16Array at an offset': () => new Int16Array(new Int16Array([1, 2, 3, 4]).buffer, 2, 2),
  'DataView': () => new DataView(new Uint8Array([1, 2, 3, 4]).buffer, 1, 2),
  'views of one buffer': () => { const b = new ArrayBuffer(64); return { a: new Uint8Array(b, 3, 5).fill(7), f: new Float64Array(b, 8, 2).fill(1.5), b } },
  'BigInt64Array': () => new BigInt64Array([-5n]),
  'Error': () => new Error('went wrong'),
  'errors of the language': () => [new TypeError('t'), new RangeError('r'), new SyntaxError('s'), new ReferenceError('f'), new EvalError('e'), new URIError('u')],
  'Error with cause and properties': withCause,
  'Error without message': () => new Error(),
  'Error with its own name': () => Object.assign(new Error('m'), { name: 'Special', code: 'E_SPECIAL' }),
  'system error': () => { try { process.chdir('/nonexistent') } catch (error) { return error } return null },
  'AggregateError': () => new AggregateError([new Error('one'), 'two', withCause()], 'both'),
  'errors of this package': () => [
    new DeadlockError('d'), new SerializationError('s', 'a.b'), new WorkerLostError('w', { pid: 1, exitCode: -9, signal: 'SIGKILL', index: 4 }),
  ],
  'URL': () => new URL('https://user@example.org:81/a%20b?c=d#e'),
  'URLSearchParams': () => new URLSearchParams('a=1&a=2&b=%20'),
  'shared references': shared,
  'cycles': cyclic,
  'cycle through Map and Set': () => { const m = new Map<string, unknown>(); m.set('set', new Set([m])); m.set('m', m); return m },
  'cycle through an Error': () => { const e: any = new Error('e'); e.self = e; e.cause = { e }; return e },
  'the same string, key and array often': () => Array.from({ length: 40 }, () => ['same', { same: 'same' }]),
  'many shared objects': () => { const parts = Array.from({ length: 50 }, (_, i) => ({ i })); return [...parts, ...parts, ...parts.reverse()] },
  'plain object of another realm': () => vm.runInNewContext('({ a: [1, { b: 2 }], m: new Map([[1, 2]]), d: new Date(5), r: /x/g, e: new TypeError("far"), u: new Uint8Array([1, 2]) })'),
}

/** An error of a class that the receiver does not know. */
export const unknownError = () => new Unknown('who am I')
