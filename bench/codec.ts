/**
 * What it costs to turn values into messages and back, beside msgpackr and Node's own serializer. Medians of rounds
 * in which all take turns, in nanoseconds: to write / to read, and bytes.
 */

import v8 from 'node:v8'
import { Packr } from 'msgpackr'
import { decode, encode } from '#src/codec/index.js'

const cases: Record<string, unknown> = {
  'number': 17,
  'short string': 'hello world',
  'small object': { id: 1234567, name: 'some name', v: [1.5, 2.5, 3.5] },
  'small object of integers': { id: 1, name: 'abc', v: [1, 2, 3] },
  '100 rows': Array.from({ length: 100 }, (_, i) => ({ id: i, name: `row ${i}`, price: i * 1.1, tags: ['a', 'b'], at: { x: i, y: -i } })),
  '1,000 fractions': Array.from({ length: 1000 }, (_, i) => i * 0.5),
  '100 strings': Array.from({ length: 100 }, (_, i) => `string number ${i}`),
  'string of 10,000': { text: 'x'.repeat(10_000) },
  'Map of two': new Map<string, unknown>([['a', 1], ['b', { c: 2 }]]),
  'Error': new Error('something went wrong'),
  'Buffer of 1,000': { bytes: Buffer.alloc(1000) },
}

interface Way { name: string; write: (value: unknown) => unknown; read: (bytes: any) => unknown; size: (bytes: any) => number }
const packr = (name: string, options: object): Way => {
  const packer = new Packr(options)
  return { name, write: value => packer.pack(value), read: bytes => packer.unpack(bytes as Buffer), size: bytes => (bytes as Buffer).length }
}
const ways: Way[] = [
  {
    name: 'codec',
    write: value => { const message = encode(value); message.release(); return message },
    read: ({ kind, bytes }: { kind: number; bytes: Buffer }) => decode(kind, bytes),
    size: ({ bytes }: { bytes: Buffer }) => bytes.length,
  },
  packr('msgpackr, structured clone', { structuredClone: true, moreTypes: true }),
  packr('msgpackr, plain', { useRecords: false }),
  { name: 'v8.serialize', write: value => v8.serialize(value), read: bytes => v8.deserialize(bytes as Buffer), size: bytes => (bytes as Buffer).length },
]

/** How often in a millisecond or so. */
function repetitions(run: () => unknown): number {
  // Long enough for the compiler, which works beside: what the first calls cost is not what a call costs.
  for (const start = performance.now(); performance.now() - start < 150;) run()
  for (let n = 1; ; n *= 2) {
    const start = performance.now()
    for (let i = 0; i < n; i += 1) run()
    if (performance.now() - start > 1) return n
  }
}
const median = (list: number[]): number => list.sort((a, b) => a - b)[list.length >> 1]!

const rounds = 41
console.log(`| value | ${ways.map(way => way.name).join(' | ')} |\n|---|${ways.map(() => '---|').join('')}`)
for (const [name, value] of Object.entries(cases)) {
  const runs = ways.map(way => {
    let input: unknown
    if (way.name === 'codec') {
      const message = encode(value)
      input = { kind: message.kind, bytes: Buffer.from(message.bytes.subarray(0, message.length)) }
      message.release()
    } else input = way.write(value)
    const write = () => way.write(value)
    const read = () => way.read(input)
    return { write, read, size: way.size(input), writes: [] as number[], reads: [] as number[] }
  })
  const plans = runs.map(({ write, read }) => ({ write: repetitions(write), read: repetitions(read) }))
  for (let round = 0; round < rounds; round += 1) {
    for (const [i, run] of runs.entries()) {
      for (const which of ['write', 'read'] as const) {
        const n = plans[i]![which]
        const start = performance.now()
        for (let k = 0; k < n; k += 1) run[which]()
        const nanoseconds = (performance.now() - start) / n * 1e6
        run[which === 'write' ? 'writes' : 'reads'].push(nanoseconds)
      }
    }
  }
  const cells = runs.map(run => `${median(run.writes).toFixed(0)} / ${median(run.reads).toFixed(0)}, ${run.size} B`)
  console.log(`| ${name} | ${cells.join(' | ')} |`)
}
