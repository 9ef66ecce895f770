/**
 * Pools of two workers beside those of the packages that people use, and beside Python's. All take turns in one run, since only
 * such figures can be compared: the best of five rounds each, after one that warms up.
 *
 *   npm run bench -- pool
 *   npm run bench -- pool tasks trip     only some: tasks, trip, map, typed, cpu, spread, sync, memory
 */

import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Piscina } from 'piscina'
import { FixedThreadPool } from 'poolifier'
import { createSyncFn } from 'synckit'
import { Tinypool } from 'tinypool'
import workerpool from 'workerpool'
import { Pool, Process, Queue } from 'polyproc'

const WORKERS = 2
const ROUNDS = 5
const TASKS = 20_000
const MILLION = 1_000_000
const wanted = process.argv.slice(2)
const isWanted = (name: string): boolean => wanted.length === 0 || wanted.includes(name)
const peer = (name: string): string => fileURLToPath(new URL(`./peers/${name}.mjs`, import.meta.url))
const median = (list: readonly number[]): number => [...list].sort((a, b) => a - b)[list.length >> 1]!
const ms = (value: number): string => value >= 10 ? `${value.toFixed(0)} ms` : value >= 0.1 ? `${value.toFixed(2)} ms` : `${(value * 1000).toFixed(1)} µs`

const rows: string[] = []
/** A row: `ours` and what it is held against, where less is better; `aim` is the ratio that is wanted. */
function row(what: string, ours: number, against: string, theirs: number, aim: string): void {
  rows.push(`| ${what} | ${ms(ours)} | ${against}: ${ms(theirs)} | ${(theirs / ours).toFixed(2)}× | ${aim} |`)
  console.log(rows.at(-1))
}

/** The best of some rounds, after one that warms up. */
async function best(run: () => unknown, rounds = ROUNDS): Promise<number> {
  let least = Infinity
  for (let round = -1; round < rounds; round += 1) {
    const began = performance.now()
    await run()
    if (round >= 0) least = Math.min(least, performance.now() - began)
  }
  return least
}

/** Median of the second half of so many round trips, one at a time: until then the engine has compiled what it is about. */
const TRIPS = 10_000

async function trip(run: (x: number) => unknown): Promise<number> {
  const took: number[] = []
  for (let k = 0; k < TRIPS; k += 1) {
    const began = performance.now()
    await run(k)
    took.push(performance.now() - began)
  }
  return median(took.slice(TRIPS >> 1))
}

interface Peer { readonly name: string, run(x: number): Promise<unknown>, end(): unknown }

const peers: (() => Peer)[] = [
  ...[1, 10].map(concurrentTasksPerWorker => () => {
    const pool = new Piscina({ filename: peer('square'), minThreads: WORKERS, maxThreads: WORKERS, concurrentTasksPerWorker })
    return { name: `piscina (${concurrentTasksPerWorker} a worker)`, run: async (x: number) => pool.run(x) as Promise<unknown>, end: async () => pool.destroy() }
  }),
  ...(['worker_threads', 'child_process'] as const).map(runtime => () => {
    const pool = new Tinypool({ filename: peer('square'), minThreads: WORKERS, maxThreads: WORKERS, runtime })
    return { name: `tinypool (${runtime})`, run: async (x: number) => pool.run(x) as Promise<unknown>, end: async () => pool.destroy() }
  }),
  ...(['thread', 'process'] as const).map(workerType => () => {
    const pool = workerpool.pool(peer('workerpool'), { workerType, minWorkers: WORKERS, maxWorkers: WORKERS, maxQueueSize: Infinity })
    return { name: `workerpool (${workerType})`, run: async (x: number) => await pool.exec('square', [x]) as unknown, end: async () => { await pool.terminate() } }
  }),
  () => {
    const pool = new FixedThreadPool<number, number>(WORKERS, peer('poolifier'))
    return { name: 'poolifier', run: async (x: number) => pool.execute(x), end: async () => pool.destroy() }
  },
]

function python(...cases: string[]): Map<string, number> {
  try {
    const script = fileURLToPath(new URL('./pool.py', import.meta.url))
    const output = execFileSync('python3', [script, ...cases], { encoding: 'utf8' })
    return new Map(output.trim().split('\n').map(line => line.split(' ')).map(([name = '', value]) => [name, Number(value)]))
  } catch {
    return new Map()
  }
}

/** 20,000 tasks at once, and one at a time. */
async function tasks(pool: Pool): Promise<void> {
  const many = async (run: (x: number) => Promise<unknown>): Promise<void> => {
    const all: Promise<unknown>[] = []
    for (let k = 0; k < TASKS; k += 1) all.push(run(k))
    await Promise.all(all)
  }
  const ours = isWanted('tasks') ? await best(() => many(async k => pool.apply(x => x * x, [k])), 15) : NaN
  const oursTrip = isWanted('trip') ? await trip(async k => pool.apply(x => x * x, [k])) : NaN
  const found: { name: string, many: number, trip: number }[] = []
  for (const make of peers) {
    const { name, run, end } = make()
    await Promise.all([run(1), run(2)])
    found.push({ name, many: isWanted('tasks') ? await best(() => many(run), 3) : NaN, trip: isWanted('trip') ? await trip(run) : NaN })
    console.log(`  ${name}: ${ms(found.at(-1)!.many)}, round trip ${ms(found.at(-1)!.trip)}`)
    await end()
  }
  const least = (key: 'many' | 'trip'): typeof found[number] => found.reduce((a, b) => b[key] < a[key] ? b : a)
  if (isWanted('tasks')) {
    row('20,000 tasks `x => x * x` at once', ours, least('many').name, least('many').many, '8×')
    row('the same', ours, 'Python `apply_async`', python('tasks').get('tasks') ?? NaN, '12×')
  }
  if (isWanted('trip')) row('one task at a time, p50', oursTrip, least('trip').name, least('trip').trip, '4×')
}

async function maps(pool: Pool): Promise<void> {
  const numbers = Array.from({ length: MILLION }, (_, k) => k)
  const ours = await best(() => pool.map(x => x * x, numbers))
  row('`map` over 1,000,000 numbers', ours, 'Python `Pool.map`', python('map').get('map') ?? NaN, '4×')
  const piscina = new Piscina({ filename: peer('square'), minThreads: WORKERS, maxThreads: WORKERS })
  let least = Infinity
  for (const size of [1000, 10_000, 100_000]) {
    least = Math.min(least, await best(async () => {
      const parts: Promise<number[]>[] = []
      for (let at = 0; at < MILLION; at += size) parts.push(piscina.run(numbers.slice(at, at + size)) as Promise<number[]>)
      return (await Promise.all(parts)).flat()
    }, 3))
  }
  await piscina.destroy()
  row('the same', ours, 'piscina, chunks by hand', least, '5×')
}

/** Two processes that each have their half already, and loop. */
async function typed(pool: Pool): Promise<void> {
  const numbers = new Float64Array(MILLION).map((_, k) => k)
  const ours = await best(() => pool.map(x => x * x, numbers), 15)
  using orders = new Queue<number>()
  using done = new Queue<number>()
  const children = [0, 1].map(() => new Process({
    target: (from: Queue<number>, to: Queue<number>, length: number) => {
      const half = new Float64Array(length).map((_, k) => k)
      for (;;) {
        if (from.getSync() === 0) return
        half.map(x => x * x)
        to.putSync(1)
      }
    }, args: [orders, done, MILLION / 2],
  }).start())
  const loops = await best(() => {
    orders.putManySync([1, 1])
    done.getSync()
    done.getSync()
  }, 15)
  orders.putManySync([0, 0])
  for (const child of children) await child.join()
  row('the same over a Float64Array', ours, 'plain loops over halves in two processes', loops, '0.67×')
}

function burn(us: number): number {
  const until = performance.now() + us / 1000
  let x = 0
  while (performance.now() < until) x += 1
  return x
}

async function cpu(pool: Pool): Promise<void> {
  const items = Array.from({ length: 600 }, () => 1000)
  const ours = await best(() => pool.map(burn, items), 3)
  const alone = await best(() => items.map(burn), 1)
  row('CPU-bound map, 1 ms an item', ours, 'half of what one process takes', alone / WORKERS, '0.95×')
}

async function spread(pool: Pool): Promise<void> {
  const costs = Array.from({ length: 1500 }, (_, k) => 20 * 100 ** (((k * 7919) % 1500) / 1499))
  const ours = await best(() => pool.map(burn, costs), 3)
  let least = Infinity
  for (const chunkSize of [1, 4, 16, 64, 256]) least = Math.min(least, await best(() => pool.map(burn, costs, { chunkSize }), 2))
  row('CPU-bound map, costs spread 100:1', ours, 'the best fixed chunk size', least, '0.95×')
}

async function sync(pool: Pool): Promise<void> {
  const ours = await trip(k => pool.applySync((x: number) => x * x, [k]))
  const call = createSyncFn<(x: number) => number>(peer('synckit'))
  row('`applySync`', ours, 'synckit', await trip(call), '5×')
}

/** Resident memory of this process and of its workers, in bytes. */
function memory(pids: readonly number[]): number {
  return [process.pid, ...pids].reduce((sum, pid) => sum + Number(/^RssAnon:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]) * 1024, 0)
}

async function endless(pool: Pool): Promise<void> {
  const pids = [...new Set(await pool.map(() => process.pid, Array.from({ length: 2000 })))]
  function* count(): Generator<number> {
    for (let k = 0; k < 10 * MILLION; k += 1) yield k
  }
  let taken = 0
  let early = 0
  const began = performance.now()
  for await (const _ of pool.imap(x => x + 1, count())) {
    taken += 1
    if (taken === MILLION) early = memory(pids)
  }
  const grown = (memory(pids) - early) / 2 ** 20
  rows.push(`| 10,000,000 items through \`imap\` | ${((performance.now() - began) / 1000).toFixed(1)} s | memory after 1,000,000: ${(early / 2 ** 20).toFixed(0)} MB | ${grown.toFixed(1)} MB more | 20 MB |`)
  console.log(rows.at(-1))
}

{
  await using pool = new Pool(WORKERS)
  await pool.map(x => x, Array.from({ length: 1000 }, (_, k) => k))
  if (isWanted('tasks') || isWanted('trip')) await tasks(pool)
  if (isWanted('map')) await maps(pool)
  if (isWanted('typed')) await typed(pool)
  if (isWanted('cpu')) await cpu(pool)
  if (isWanted('spread')) await spread(pool)
  if (isWanted('sync')) await sync(pool)
  if (isWanted('memory')) await endless(pool)
}
console.log(`\n| case | polyproc | against | ratio | wanted |\n|---|---|---|---|---|\n${rows.join('\n')}`)
// synckit keeps its thread.
process.exit(0)
