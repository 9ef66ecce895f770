/**
 * Locks, semaphores, events, conditions and barriers, beside what they are measured against: two `Atomics` calls by hand,
 * an empty Node-API call, `async-mutex` within one thread, and Python's multiprocessing between processes. All in one run,
 * since only such figures can be compared: within one thread each is the best of many short rounds, between processes the
 * median of several short runs, Python's and ours in turns. What contends or meets has done so for a moment before it is timed.
 *
 *   npm run bench -- synchronize
 */

import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { Mutex } from 'async-mutex'
import { Barrier, Condition, Event, Lock, Process, Queue, Semaphore } from 'polyproc'
import { bare, native } from '#src/native.js'

const SECONDS = 0.5

/** Rounds of less than a time slice: on a busy machine some of them are left alone. */
const ROUNDS = 300
const TIMES = 2000

/** How often all the rounds are gone through. */
const PASSES = 10

/** Best times of operations in ns, of many short rounds by turns: a machine that is slow for a while is so for all of them. */
async function time<K extends string>(operations: Record<K, (times: number) => void | Promise<void>>): Promise<Record<K, number>> {
  const names = Object.keys(operations) as K[]
  const best = Object.fromEntries(names.map(name => [name, Infinity])) as Record<K, number>
  for (let pass = 0; pass < PASSES; pass += 1) {
    for (const name of names) {
      for (let round = 0; round < ROUNDS / PASSES; round += 1) {
        const begun = performance.now()
        await operations[name](TIMES)
        best[name] = Math.min(best[name], (performance.now() - begun) / TIMES * 1e6)
      }
    }
  }
  return best
}

const rows: Record<string, { ours: string; against: string; ratio: string; wanted: string }> = {}
function row(name: string, ours: number, against: number, whose: string, unit: 'ns' | '/s', wanted: string): void {
  const text = (value: number): string => unit === 'ns' ? `${value.toFixed(0)} ns` : `${Math.round(value).toLocaleString('en')} /s`
  rows[name] = { ours: text(ours), against: `${whose} ${text(against)}`, ratio: `${(ours / against).toFixed(2)}×`, wanted }
}

/** `place` is a piece of the shared memory: a word without a lock of its own, as Python's `RawValue`. */
function alternate(lock: Lock, place: readonly [number, number], mine: number, seconds: number, out: Queue<number>): void {
  const turn = new Int32Array(native.memoryOpen(...place).buffer)
  const end = Date.now() + seconds * 1000 + 200
  let count = 0
  while (Date.now() < end) {
    for (let k = 0; k < 100; k += 1) {
      const guard = lock.acquireSync()
      if (turn[0] === mine) {
        turn[0] = 1 - mine
        count += 1
      }
      guard.release()
    }
  }
  out.putSync(count)
}

function contend(lock: Lock, ready: Event, out: Queue<[number, number]>): void {
  ready.waitSync()
  const from = Date.now() + 500
  let isCounted = false
  let count = 0
  let longest = 0
  let before = performance.now()
  for (;;) {
    const guard = lock.acquireSync()
    const now = performance.now()
    if (now - before > longest) longest = now - before
    count += 1
    guard.release()
    before = performance.now()
    if (count % 64 !== 0) continue
    const at = Date.now()
    if (at > from + 2000) break
    if (isCounted || at < from) continue
    isCounted = true
    count = 0
    longest = 0
  }
  out.putSync([count, longest])
}

function meet(barrier: Barrier, rounds: number, out: Queue<number>): void {
  for (let k = 0; k < 500; k += 1) barrier.waitSync()
  const begun = performance.now()
  for (let k = 0; k < rounds; k += 1) barrier.waitSync()
  out.putSync(rounds / (performance.now() - begun) * 1000)
}

function pingpong(condition: Condition, turn: Event, mine: boolean, rounds: number, out: Queue<number>): void {
  const begun = performance.now()
  const guard = condition.acquireSync()
  for (let k = 0; k < rounds; k += 1) {
    while (turn.isSet() !== mine) condition.waitSync()
    if (mine) turn.clear()
    else turn.set()
    condition.notify()
  }
  guard.release()
  out.putSync(rounds / (performance.now() - begun) * 1000)
}

async function results<T>(children: Process[], out: Queue<T>): Promise<T[]> {
  const all: T[] = []
  for (const _ of children) all.push(await out.get())
  for (const child of children) await child.join()
  return all
}

/** What Python does with one of the cases. */
function python(name: string): Map<string, number> {
  const script = fileURLToPath(new URL('../../bench/synchronize.py', import.meta.url))
  const { stdout, status, stderr } = spawnSync('python3', [script, String(SECONDS), name], { encoding: 'utf8', timeout: 60_000 })
  if (status !== 0) console.error(`python3 is not to be had: ${stderr}`)
  return new Map(stdout.trim().split('\n').map(line => line.split(' ') as [string, string]).map(([key, value]) => [key, Number(value)]))
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN
}

/** Runs a case with Python and here in turns, since whatever else the machine does comes and goes; the medians of each. */
async function inPairs(name: string, times: number, run: () => Promise<Record<string, number>>): Promise<(key: string) => [ours: number, theirs: number]> {
  const ours: Record<string, number>[] = []
  const theirs: Map<string, number>[] = []
  for (let k = 0; k < times; k += 1) {
    theirs.push(python(name))
    ours.push(await run())
  }
  return key => [median(ours.map(figures => figures[key] ?? Number.NaN)), median(theirs.map(figures => figures.get(key) ?? Number.NaN))]
}

const lock = new Lock()
const semaphore = new Semaphore(3)
const event = new Event()

const cells = new Int32Array(new SharedArrayBuffer(8))
const mutex = new Mutex()
let sum = 0
const within = await time({
  byHand: times => {
    for (let k = 0; k < times; k += 1) {
      if (Atomics.compareExchange(cells, 0, 0, 1) === 0) Atomics.compareExchange(cells, 0, 1, 0)
    }
  },
  tryAcquire: times => { for (let k = 0; k < times; k += 1) lock.tryAcquire()!.release() },
  empty: times => { for (let k = 0; k < times; k += 1) bare.nothing() },
  isSet: times => { for (let k = 0; k < times; k += 1) event.isSet() },
  // A property that is read and not used may be left out.
  value: times => { for (let k = 0; k < times; k += 1) sum += semaphore.value },
})
let [sync, inPython] = [Infinity, Infinity]
for (let turn = 0; turn < 5; turn += 1) {
  inPython = Math.min(inPython, python('uncontended').get('uncontended') ?? Number.NaN)
  sync = Math.min(sync, (await time({ sync: times => { for (let k = 0; k < times; k += 1) lock.acquireSync().release() } })).sync)
}
const waited = await time({
  ours: async times => { for (let k = 0; k < times; k += 1) (await lock.acquire()).release() },
  theirs: async times => { for (let k = 0; k < times; k += 1) (await mutex.acquire())() },
})
row('tryAcquire + release', within.tryAcquire, within.byHand, 'two Atomics', 'ns', '≤ 3×')
row('acquireSync + release', sync, inPython, 'Python', 'ns', '≤ 0.4×')
row('await acquire() + release', waited.ours, waited.theirs, 'async-mutex', 'ns', '≤ 1×')
row('Event.isSet', within.isSet, within.empty, 'empty call', 'ns', '≤ 2.5×')
row('Semaphore.value', within.value, within.empty, 'empty call', 'ns', '≤ 2.5×')
if (sum === 0) throw new Error('a semaphore of 3 has no permits')

{
  const of = await inPairs('alternate', 5, async () => {
    using out = new Queue<number>()
    const turn = native.memoryAllocate(4)
    using own = new Lock()
    const place = turn.handle.slice(0, 2) as [number, number]
    const children = [0, 1].map(mine => new Process({ target: alternate, args: [own, place, mine, SECONDS, out] }).start())
    return { alternate: (await results(children, out)).reduce((a, b) => a + b) / SECONDS }
  })
  row('two alternating', ...of('alternate'), 'Python', '/s', '≥ 3×')
}
{
  const of = await inPairs('contended', 3, async () => {
    using out = new Queue<[number, number]>()
    using ready = new Event()
    const children = Array.from({ length: 8 }, () => new Process({ target: contend, args: [lock, ready, out] }).start())
    await new Promise(resolve => setTimeout(resolve, 1500))
    ready.set()
    const got = await results(children, out)
    const counts = got.map(([count]) => count)
    const total = counts.reduce((a, b) => a + b)
    return {
      'contended': total / 2, 'contended-share': Math.min(...counts) / (total / 8), 'contended-longest': Math.max(...got.map(([, ms]) => ms)),
    }
  })
  row('8 contending', ...of('contended'), 'Python', '/s', '≥ 2×')
  const [share, theirShare] = of('contended-share')
  const [longest, theirLongest] = of('contended-longest')
  rows['8 contending, least share'] = { ours: share.toFixed(2), against: `Python ${theirShare.toFixed(2)}`, ratio: '', wanted: '≥ 0.5' }
  rows['8 contending, longest wait'] = { ours: `${longest.toFixed(1)} ms`, against: `Python ${theirLongest.toFixed(1)} ms`, ratio: '', wanted: '≤ 100 ms' }
}
{
  const of = await inPairs('barrier', 5, async () => {
    using out = new Queue<number>()
    using barrier = new Barrier(4)
    const children = Array.from({ length: 4 }, () => new Process({ target: meet, args: [barrier, 20_000, out] }).start())
    return { barrier: Math.min(...await results(children, out)) }
  })
  row('Barrier of 4, rounds', ...of('barrier'), 'Python', '/s', '≥ 5×')
}
{
  const of = await inPairs('pingpong', 5, async () => {
    using out = new Queue<number>()
    using condition = new Condition()
    using turn = new Event()
    const children = [true, false].map(mine => new Process({ target: pingpong, args: [condition, turn, mine, 30_000, out] }).start())
    return { pingpong: Math.min(...await results(children, out)) }
  })
  row('Condition ping-pong, rounds', ...of('pingpong'), 'Python', '/s', '≥ 5×')
}
console.table(rows)
