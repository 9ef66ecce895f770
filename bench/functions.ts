/**
 * What it costs to send a function: the first of a program, the next one, one that the receiver knows; and whether the
 * analysis leaves anything behind that slows a program. Medians of fresh processes; wall and CPU time, since they
 * differ on a busy machine.
 */

import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const codec = new URL('../../dist/codec/index.js', import.meta.url).href
const target = new URL('../../dist/target/index.js', import.meta.url).href
const directory = mkdtempSync(join(tmpdir(), 'polyproc-bench-'))
const median = (list: readonly number[]): number => [...list].sort((a, b) => a - b)[list.length >> 1]!

/** A module of 500 lines, two functions of which capture 20 values and 10 functions each. */
function program(): string {
  const names = Array.from({ length: 20 }, (_, i) => `value${i}`)
  const helpers = Array.from({ length: 10 }, (_, i) => `helper${i}`)
  const lines = [
    ...names.map((name, i) => `const ${name} = ${i % 3 === 0 ? `{ n: ${i}, list: [${i}, 'x'] }` : i}`),
    ...helpers.map((name, i) => `const ${name} = x => x + ${i} + value${i + 1 - (i % 3 === 2 ? 1 : 0)}.toString().length`),
    `const first = x => [x, ${[...names, ...helpers.map(name => `${name}(x)`)].join(', ')}]`,
    `const next = x => ({ x, all: [${[...names, ...helpers.map(name => `${name}(x)`)].join(', ')}] })`,
    'const A = 1, B = "two", steady = x => [x, A, B]',
  ]
  for (let i = 0; lines.length < 485; i += 1) lines.push(`export function filler${i}(a, b) { const c = a * ${i}; return c > b ? [a, b] : { c, text: \`\${a} of \${b}\` } }`)
  return `${lines.join('\n')}
import { encode } from ${JSON.stringify(codec)}
import { instances, Peer, Shipment } from ${JSON.stringify(target)}
const peer = new Peer()
let inspector
const send = value => {
  const shipment = new Shipment(peer)
  encode(value, { fn: shipment, instance: instances }).release()
  shipment.commit()
}
const timed = run => {
  const cpu = process.cpuUsage(), wall = performance.now()
  run()
  const took = performance.now() - wall, { user, system } = process.cpuUsage(cpu)
  return [took, (user + system) / 1000]
}
// The inspector's part: listing the scripts of the program, and loading it.
const pulse = timed(() => inspector = process.getBuiltinModule('node:inspector'))
const { post } = inspector.Session.prototype
inspector.Session.prototype.post = function (method, ...rest) {
  if (!method.startsWith('Debugger.')) return post.call(this, method, ...rest)
  timed(() => post.call(this, method, ...rest)).forEach((ms, i) => { pulse[i] += ms })
}
const loading = [...pulse]
// The first one would have loaded it.
const times = { first: timed(() => send(first)).map((ms, i) => ms + loading[i]), pulse }
inspector.Session.prototype.post = post
times.beyond = times.first.map((ms, i) => ms - times.pulse[i])
times.next = timed(() => send(next))
send(steady); send(steady)
const id = 'AAAAAAAAAAAA.1'
const each = (value, n = 20000) => timed(() => { for (let i = 0; i < n; i += 1) send(value) }).map(ms => ms * 1000 / n)
each(steady); each(id)
times.known = each(steady); times.byHand = each(id)
console.log(JSON.stringify(times))
`
}

/** A hot function, run with the analysis before it or without. Prints the CPU time of the second half, in ms. */
function hot(analysed: boolean): string {
  return `import { encode } from ${JSON.stringify(codec)}
import { instances, Shipment } from ${JSON.stringify(target)}
const scale = 3
class Point { constructor(x, y) { this.x = x; this.y = y } length() { return Math.sqrt(this.x * this.x + this.y * this.y) } }
const hot = n => { let sum = 0; for (let i = 0; i < n; i += 1) { const p = new Point(i % 7, scale); sum += p.length() | 0 } return sum }
if (${analysed}) encode([hot, Point], { fn: new Shipment(), instance: instances }).release()
hot(2e6)
const { user } = process.cpuUsage()
for (let i = 0; i < 30; i += 1) hot(2e6)
console.log((process.cpuUsage().user - user) / 1000)
`
}

function run(name: string, text: string): unknown {
  const file = join(directory, name)
  writeFileSync(file, text)
  const { stdout, stderr, status } = spawnSync(process.execPath, [file], { encoding: 'utf8', timeout: 30_000 })
  if (status !== 0) throw new Error(stderr)
  return JSON.parse(stdout)
}

type Pair = [wall: number, cpu: number]
interface Times { first: Pair, pulse: Pair, beyond: Pair, next: Pair, known: Pair, byHand: Pair }

try {
  // The first of all has the engine's work kept for the others.
  run('program.mjs', program())
  const runs = Array.from({ length: 20 }, () => run('program.mjs', program()) as Times)
  const of = (what: keyof Times, which: 0 | 1): number => median(runs.map(times => times[what][which]))
  console.log('| what | wall | CPU |\n|---|--:|--:|')
  console.log(`| first function of a program (20 values, 10 functions, 500 lines) | ${of('first', 0).toFixed(1)} ms | ${of('first', 1).toFixed(1)} ms |`)
  console.log(`| of which the inspector's pulse | ${of('pulse', 0).toFixed(1)} ms | ${of('pulse', 1).toFixed(1)} ms |`)
  console.log(`| of which everything else | ${of('beyond', 0).toFixed(1)} ms | ${of('beyond', 1).toFixed(1)} ms |`)
  console.log(`| next function | ${of('next', 0).toFixed(2)} ms | ${of('next', 1).toFixed(2)} ms |`)
  console.log(`| known function | ${of('known', 0).toFixed(2)} µs | ${of('known', 1).toFixed(2)} µs |`)
  console.log(`| its id, sent by hand | ${of('byHand', 0).toFixed(2)} µs | ${of('byHand', 1).toFixed(2)} µs |`)

  const [without, analysed]: [number[], number[]] = [[], []]
  for (let i = 0; i < 30; i += 1) {
    // By turns in either order: what a process costs depends on what ran before it.
    for (const isAnalysed of i % 2 === 0 ? [false, true] : [true, false]) (isAnalysed ? analysed : without).push(run('hot.mjs', hot(isAnalysed)) as number)
  }
  const [before, after] = [median(without), median(analysed)]
  console.log(`| a hot function, without analysis | | ${before.toFixed(1)} ms |`)
  console.log(`| the same after it was analysed | | ${after.toFixed(1)} ms (${((after / before - 1) * 100).toFixed(1)} %) |`)
} finally {
  rmSync(directory, { recursive: true, force: true })
}
