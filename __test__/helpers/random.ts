/** Values at random, the same for the same seed: for comparing two ways of copying them. */

/** A generator of numbers from 0 up to 1 (mulberry32), for tests that must be repeatable. */
export function random(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Makes values of the kinds that structuredClone takes, with sharing and cycles, from a stream of random numbers. */
export function makeValues(next: () => number): () => unknown {
  const below = (n: number) => Math.floor(next() * n)
  const pick = <T>(list: readonly T[]): T => list[below(list.length)]!
  let made: unknown[] = []
  const text = (): string => pick([
    () => '', () => pick(['id', 'name', 'value', 'x', '__proto__', 'constructor', '0', '17', 'ключ']),
    () => String.fromCharCode(...Array.from({ length: below(60) }, () => below(256))),
    () => String.fromCharCode(...Array.from({ length: below(60) }, () => below(65536))),
    () => 'long '.repeat(below(100)),
  ])()
  const number = (): number => pick([
    () => below(300) - 150, () => below(2 ** 32) - 2 ** 31, () => next() * 2 - 1, () => next() * 1e20, () => pick([0, -0, NaN, Infinity, -Infinity]),
  ])()
  const buffers: ArrayBuffer[] = []
  const bytes = (): unknown => {
    const buffer = buffers.length > 0 && next() < 0.5 ? pick(buffers) : new Uint8Array(Array.from({ length: 8 * below(6) }, () => below(256))).buffer
    buffers.push(buffer)
    const Class = pick([Uint8Array, Int8Array, Uint8ClampedArray, Int16Array, Uint32Array, Float32Array, Float64Array, BigInt64Array, DataView])
    if (next() < 0.2) return buffer
    const size = 'BYTES_PER_ELEMENT' in Class ? Class.BYTES_PER_ELEMENT : 1
    const elements = buffer.byteLength / size
    const from = below(elements + 1)
    return new (Class as Uint8ArrayConstructor)(buffer, from * size, below(elements - from + 1))
  }
  const keep = <T>(object: T): T => { made.push(object); return object }
  const leaf = (): unknown => pick([
    number, number, text, text, () => null, () => undefined, () => true, () => false,
    () => BigInt(below(1000)) ** BigInt(below(20)) * pick([1n, -1n]),
    () => keep(new Date(below(2 ** 40) - 2 ** 39)), () => keep(new RegExp(pick(['a', 'b+', '[c]', '/']), pick(['', 'g', 'iu']))),
    () => keep(Object(pick<unknown>([1, 's', true, 5n]))), bytes,
  ])()
  const value = (depth: number): unknown => {
    if (made.length > 0 && next() < 0.08) return pick(made)
    if (depth <= 0 || next() < 0.35) return leaf()
    const size = below(next() < 0.05 ? 60 : 6)
    const times = <T>(make: () => T): T[] => Array.from({ length: size }, make)
    return pick([
      () => { const list = keep<unknown[]>([]); for (const item of times(() => value(depth - 1))) list.push(item); if (next() < 0.2) list.length += below(100); return list },
      () => { const object = keep<Record<string, unknown>>({}); times(() => Object.defineProperty(object, text(), { value: value(depth - 1), enumerable: true, configurable: true, writable: true })); return object },
      () => { const object = keep<Record<string, unknown>>({}); for (const key of ['id', 'name', 'value'].slice(0, size)) object[key] = value(depth - 1); return object },
      () => { const map = keep(new Map()); times(() => map.set(value(depth - 1), value(depth - 1))); return map },
      () => { const set = keep(new Set()); times(() => set.add(value(depth - 1))); return set },
    ])()
  }
  return () => {
    made = []
    buffers.length = 0
    return value(5)
  }
}
