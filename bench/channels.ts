/**
 * Queues between two processes beside what Node and Python have: how many messages a second go one way, how long a
 * round trip takes, how many bytes a second. All take turns in one run, since only such figures can be compared; medians of
 * five rounds.
 *
 *   npm run bench -- channels
 *   npm run bench -- channels objects trips      only some: objects, many, sync, crowd, layers, trips,
 *                                            asleep, bytes, allocate
 */

import { execFileSync, spawn, type ChildProcess, type SerializationType } from 'node:child_process'
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { allocate, free, Process, Queue } from 'polyproc'
import { decode, encode } from '#src/codec/index.js'
import { bare as calls, native } from '#src/native.js'

const ROUNDS = 5
const wanted = process.argv.slice(2)
const isWanted = (name: string): boolean => wanted.length === 0 || wanted.includes(name)

const median = (list: readonly number[]): number => [...list].sort((a, b) => a - b)[list.length >> 1]!
const rows: string[] = []
const thousands = (n: number): string => n >= 1000 ? `${Math.round(n / 1000).toLocaleString('en')}k` : n.toFixed(1)

/** Medians of every way, measured in turns. */
async function inTurns(ways: Record<string, () => Promise<number>>): Promise<Record<string, number>> {
  const all: Record<string, number[]> = {}
  for (let round = -1; round < ROUNDS; round += 1) {
    for (const [name, measure] of Object.entries(ways)) {
      const figure = await measure()
      // The first round warms up.
      if (round >= 0) (all[name] ??= []).push(figure)
    }
  }
  return Object.fromEntries(Object.entries(all).map(([name, list]) => [name, median(list)]))
}

/** A row: `ours` against one peer; `more` says that more is better. */
function row(what: string, ours: number, against: string, theirs: number, unit: string, more: boolean, aim: string): void {
  const ratio = more ? ours / theirs : theirs / ours
  rows.push(`| ${what} | ${thousands(ours)} ${unit} | ${against}: ${thousands(theirs)} | ${ratio.toFixed(2)}× | ${aim} |`)
}

const SMALL = 'const small = id => ({ id, name: "some name", v: [1.5, 2.5, 3.5] });'

// ── one way ──

/**
 * So many small objects go each way that there is: enough for the engine to have compiled what it will in both processes, and
 * for a sender that is faster than the receiver to get ahead as far as it can. The time is from the first to the last.
 */
const MANY = 400_000
/** In batches so many are over before a new process has compiled what it will: ours against ours takes its time. */
const LONG = 1_600_000

/** Messages a second from one process to this one. */
async function oneWay(count: number, produce: (queue: Queue, count: number) => unknown, consume: (queue: Queue, count: number) => unknown): Promise<number> {
  const queue = new Queue()
  const child = new Process({ target: produce, args: [queue, count] }).start()
  await queue.get()
  const begun = performance.now()
  await consume(queue, count)
  const took = performance.now() - begun
  await child.join()
  queue.close()
  return count / took * 1000
}

async function putObjects(queue: Queue, count: number): Promise<void> {
  await queue.put(0)
  for (let id = 0; id < count; id += 1) await queue.put({ id, name: 'some name', v: [1.5, 2.5, 3.5] })
}
async function getEach(queue: Queue, count: number): Promise<void> {
  for (let n = 0; n < count; n += 1) await queue.get()
}
async function putBatches(queue: Queue, count: number): Promise<void> {
  await queue.put(0)
  for (let id = 0; id < count; id += 64) {
    const batch = []
    for (let k = 0; k < 64; k += 1) batch.push({ id: id + k, name: 'some name', v: [1.5, 2.5, 3.5] })
    await queue.putMany(batch)
  }
}
async function getBatches(queue: Queue, count: number): Promise<void> {
  for (let n = 0; n < count;) n += (await queue.getMany(64)).length
}
function putNumbersSync(queue: Queue, count: number): void {
  queue.putSync(0)
  for (let n = 0; n < count; n += 1) queue.putSync(n)
}
function getEachSync(queue: Queue, count: number): void {
  for (let n = 0; n < count; n += 1) queue.getSync()
}

/** What a child of Node's own runs: `count` objects to its parent, a thousand a turn of its event loop. */
const sender = (count: number, post: string): string => `${SMALL} const post = ${post}; let id = 0
  const batch = () => { for (let k = 0; k < 1000 && id < ${count}; k += 1) post(small(id++)); if (id < ${count}) setImmediate(batch) }
  batch()`

async function childSend(count: number, serialization: SerializationType): Promise<number> {
  const child = spawn(process.execPath, ['-e', `process.once('message', () => { ${sender(count, 'message => process.send(message)')} }); process.send('ready'); process.once('disconnect', () => {})`], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'], serialization,
  })
  await once(child, 'message')
  const begun = performance.now()
  child.send('go')
  await received(child, count)
  const took = performance.now() - begun
  child.kill('SIGKILL')
  await once(child, 'exit')
  return count / took * 1000
}

async function postMessage(count: number): Promise<number> {
  const worker = new Worker(`const { parentPort } = require('node:worker_threads'); parentPort.once('message', () => { ${sender(count, 'message => parentPort.postMessage(message)')} }); parentPort.postMessage('ready')`, { eval: true })
  await once(worker, 'message')
  const begun = performance.now()
  worker.postMessage('go')
  await received(worker, count)
  const took = performance.now() - begun
  await worker.terminate()
  return count / took * 1000
}

function received(from: ChildProcess | Worker, count: number): Promise<void> {
  return new Promise(resolve => {
    let n = 0
    from.on('message', () => { if (++n === count) resolve() })
  })
}

/** Runs a program of Python's that prints one number; NaN where there is no Python. */
function python(text: string): number {
  try {
    return Number(execFileSync('python3', ['-c', text], { encoding: 'utf8' }))
  } catch {
    return NaN
  }
}

const PYTHON_QUEUE = (count: number): string => `
import multiprocessing as mp, time
def produce(q, n):
    q.put(0)
    for i in range(n): q.put({'id': i, 'name': 'some name', 'v': [1.5, 2.5, 3.5]})
if __name__ == '__main__':
    mp.set_start_method('fork')
    q = mp.Queue()
    p = mp.Process(target=produce, args=(q, ${count})); p.start(); q.get()
    t = time.perf_counter()
    for i in range(${count}): q.get()
    print(${count} / (time.perf_counter() - t)); p.join()`

if (isWanted('objects')) {
  const figures = await inTurns({
    ours: () => oneWay(MANY, putObjects, getEach),
    json: () => childSend(MANY, 'json'),
    advanced: () => childSend(MANY, 'advanced'),
    post: () => postMessage(MANY),
    python: async () => python(PYTHON_QUEUE(MANY)),
  })
  const { ours, json, advanced, post } = figures as Record<'ours' | 'json' | 'advanced' | 'post', number>
  row('small object, put and get awaited', ours, 'child_process, json', json, '/s', true, '7×')
  row('', ours, 'child_process, advanced', advanced, '/s', true, '18×')
  row('', ours, 'postMessage', post, '/s', true, '2.5×')
  row('', ours, 'Python Queue', figures['python']!, '/s', true, '8×')
}

if (isWanted('many')) {
  const { single, many } = await inTurns({
    single: () => oneWay(LONG, putObjects, getEach),
    many: () => oneWay(LONG, putBatches, getBatches),
  }) as Record<'single' | 'many', number>
  row('small object, putMany and getMany of 64', many, 'one by one', single, '/s', true, '1.8×')
}

if (isWanted('sync')) {
  const queue = new Queue()
  const pairs = 200_000
  const id = native.queueCreate(1, 0, 0, null)
  // Once, so that there is an area to send from.
  encode(1).release()
  const { ours, bare } = await inTurns({
    ours: async () => {
      const begun = performance.now()
      for (let n = 0; n < pairs; n += 1) { queue.putSync(n); queue.getSync() }
      return pairs / (performance.now() - begun) * 1000
    },
    bare: async () => {
      const begun = performance.now()
      for (let n = 0; n < pairs; n += 1) { calls.queuePut(id, 1, 0, 8); calls.queueGet(id, 0) }
      return pairs / (performance.now() - begun) * 1000
    },
  }) as Record<'ours' | 'bare', number>
  row('a number put and got again, blocking', ours, 'the bare native calls', bare, '/s', true, '0.6×')
  const crossed = await inTurns({ ours: () => oneWay(500_000, putNumbersSync, getEachSync) })
  rows.push(`| a number, blocking, from process to process | ${thousands(crossed['ours']!)} /s | | | |`)
}

if (isWanted('crowd')) {
  const crowd = async (each: number): Promise<number> => {
    const [queue, counts] = [new Queue(), new Queue<number>()]
    const getters = Array.from({ length: 4 }, () => new Process({ target: getEach, args: [queue, each] }).start())
    const begun = performance.now()
    const putters = Array.from({ length: 4 }, () => new Process({ target: putObjects, args: [queue, each - 1] }).start())
    for (const child of [...putters, ...getters]) await child.join()
    const took = performance.now() - begun
    queue.close()
    counts.close()
    return 4 * each / took * 1000
  }
  const alone = async (each: number): Promise<number> => {
    const queue = new Queue()
    const getter = new Process({ target: getEach, args: [queue, each] }).start()
    const begun = performance.now()
    const putter = new Process({ target: putObjects, args: [queue, each - 1] }).start()
    await putter.join()
    await getter.join()
    const took = performance.now() - begun
    queue.close()
    return each / took * 1000
  }
  // Starting the processes is in both, so there must be enough to do.
  const { four, one } = await inTurns({ four: () => crowd(400_000), one: () => alone(800_000) }) as Record<'four' | 'one', number>
  row('small object, 4 producers and 4 consumers', four, 'one and one', one, '/s', true, '0.5×')
}

// ── layers ──

/** CPU time of one call in nanoseconds; `measure` makes so many calls. */
async function cpuOf(measure: (count: number) => unknown): Promise<number> {
  const count = 200_000
  const before = process.cpuUsage()
  await measure(count)
  const { user, system } = process.cpuUsage(before)
  return (user + system) * 1000 / count
}

if (isWanted('layers')) {
  const queue = new Queue()
  const id = native.queueCreate(1, 0, 0, null)
  const make = (n: number): object => ({ id: n, name: 'some name', v: [1.5, 2.5, 3.5] })
  queue.putSync(make(0))
  queue.getSync()
  const message = encode(make(0))
  const [kind, bytes] = [message.kind, Buffer.from(message.bytes.subarray(0, message.length))]
  message.release()
  const layers: Record<string, (count: number) => unknown> = {
    'to encode a small object': count => { for (let n = 0; n < count; n += 1) encode(make(n)).release() },
    'to decode it': count => { for (let n = 0; n < count; n += 1) decode(kind, bytes) },
    'the two native calls': count => { for (let n = 0; n < count; n += 1) { calls.queuePut(id, kind, 0, bytes.length); calls.queueGet(id, 0) } },
    'a put and a get of it, blocking': count => { for (let n = 0; n < count; n += 1) { queue.putSync(make(n)); queue.getSync() } },
    'the same, awaited': async count => { for (let n = 0; n < count; n += 1) { await queue.put(make(n)); await queue.get() } },
    'a put and a get of a number, blocking': count => { for (let n = 0; n < count; n += 1) { queue.putSync(n); queue.getSync() } },
  }
  const figures = await inTurns(Object.fromEntries(Object.entries(layers).map(([name, layer]) => [name, () => cpuOf(layer)])))
  for (const [name, ns] of Object.entries(figures)) rows.push(`| CPU in one process: ${name} | ${Math.round(ns)} ns | | | |`)
}

// ── round trips ──

async function echo(requests: Queue, replies: Queue): Promise<void> {
  for (;;) {
    const item = await requests.get() as number
    if (item < 0) return
    await replies.put(item)
  }
}
function echoSync(requests: Queue, replies: Queue): void {
  for (;;) {
    const item = requests.getSync() as number
    if (item < 0) return
    replies.putSync(item)
  }
}

const pause = (ms: number): Promise<void> => new Promise(resolve => { setTimeout(resolve, ms) })

/** Microseconds of a round trip, the median; `idle` ms before each, so that both ends sleep. */
async function ourTrip(count: number, sync: boolean, idle = 0): Promise<number> {
  const [requests, replies] = [new Queue<number>(), new Queue<number>()]
  const child = new Process({ target: sync ? echoSync : echo, args: [requests, replies] }).start()
  const times: number[] = []
  for (let n = 0; n < count + 20; n += 1) {
    if (idle > 0) await pause(idle)
    const begun = performance.now()
    if (sync) {
      requests.putSync(n)
      replies.getSync()
    } else {
      await requests.put(n)
      await replies.get()
    }
    if (n >= 20) times.push((performance.now() - begun) * 1000)
  }
  requests.putSync(-1)
  await child.join()
  requests.close()
  replies.close()
  return median(times)
}

async function postedTrip(count: number, idle = 0): Promise<number> {
  const worker = new Worker("const { parentPort } = require('node:worker_threads'); parentPort.on('message', item => { parentPort.postMessage(item) })", { eval: true })
  const times: number[] = []
  for (let n = 0; n < count + 20; n += 1) {
    if (idle > 0) await pause(idle)
    const begun = performance.now()
    const reply = new Promise(resolve => { worker.once('message', resolve) })
    worker.postMessage(n)
    await reply
    if (n >= 20) times.push((performance.now() - begun) * 1000)
  }
  await worker.terminate()
  return median(times)
}

if (isWanted('trips')) {
  const { sync, awaited, posted } = await inTurns({
    sync: () => ourTrip(20_000, true), awaited: () => ourTrip(10_000, false), posted: () => postedTrip(5000),
  }) as Record<'sync' | 'awaited' | 'posted', number>
  row('round trip of a number, blocking', sync, 'postMessage', posted, 'µs', false, '10×')
  row('round trip of a number, awaited, back to back', awaited, 'postMessage', posted, 'µs', false, '4×')
}

if (isWanted('asleep')) {
  const { ours, posted } = await inTurns({ ours: () => ourTrip(200, false, 3), posted: () => postedTrip(200, 3) }) as Record<'ours' | 'posted', number>
  row('round trip, both ends asleep', ours, 'postMessage', posted, 'µs', false, '1×, aim 1.67×')
}

// ── bytes ──

async function putBytes(queue: Queue, go: Queue, size: number): Promise<void> {
  const bytes = new Uint8Array(size).fill(7)
  for (;;) {
    const count = await go.get() as number
    if (count < 0) return
    for (let n = 0; n < count; n += 1) await queue.put(bytes)
  }
}

/**
 * Gigabytes a second; each message is looked at in one place.
 *
 * @param isFreed Whether it is given to `free` then, as the documentation advises for large ones, so that the next is
 *   written to memory that is warm; else the collector finds it, sometime.
 */
async function ourBytes(size: number, count: number, isFreed: boolean): Promise<number> {
  const [queue, go] = [new Queue<Uint8Array>(2), new Queue<number>()]
  const child = new Process({ target: putBytes, args: [queue, go, size] }).start()
  let sum = 0
  const take = async (n: number): Promise<void> => {
    await go.put(n)
    for (let k = 0; k < n; k += 1) {
      const bytes = await queue.get()
      sum += bytes[size - 1]!
      if (isFreed) free(bytes)
    }
  }
  await take(4)
  const begun = performance.now()
  await take(count)
  const took = performance.now() - begun
  await go.put(-1)
  await child.join()
  queue.close()
  go.close()
  return sum === 7 * (count + 4) ? size * count / took / 1e6 : NaN
}

async function childBytes(size: number, count: number): Promise<number> {
  const text = `const bytes = new Uint8Array(${size}).fill(7); process.on('message', n => { if (n < 0) process.exit(); const next = () => { if (n-- > 0) process.send(bytes, next) }; next() }); process.send('ready')`
  const child = spawn(process.execPath, ['-e', text], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'], serialization: 'advanced' })
  await once(child, 'message')
  const take = async (n: number): Promise<void> => {
    const all = received(child, n)
    child.send(n)
    await all
  }
  await take(1)
  const begun = performance.now()
  await take(count)
  const took = performance.now() - begun
  child.send(-1)
  await once(child, 'exit')
  return size * count / took / 1e6
}

async function postedBytes(size: number, count: number): Promise<number> {
  const text = `const { parentPort } = require('node:worker_threads'); const bytes = new Uint8Array(${size}).fill(7)
    parentPort.on('message', n => { const next = () => { if (n-- > 0) { parentPort.postMessage(bytes); setImmediate(next) } }; next() }); parentPort.postMessage('ready')`
  const worker = new Worker(text, { eval: true })
  await once(worker, 'message')
  const take = async (n: number): Promise<void> => {
    const all = received(worker, n)
    worker.postMessage(n)
    await all
  }
  await take(1)
  const begun = performance.now()
  await take(count)
  const took = performance.now() - begun
  await worker.terminate()
  return size * count / took / 1e6
}

const PYTHON_PIPE = (size: number, count: number): string => `
import multiprocessing as mp, time
def produce(c, n):
    b = b'x' * ${size}
    for i in range(n + 1): c.send_bytes(b)
if __name__ == '__main__':
    mp.set_start_method('fork')
    r, w = mp.Pipe(False)
    p = mp.Process(target=produce, args=(w, ${count})); p.start(); r.recv_bytes()
    t = time.perf_counter()
    for i in range(${count}): r.recv_bytes()
    print(${size} * ${count} / (time.perf_counter() - t) / 1e9); p.join()`

if (isWanted('bytes')) {
  // From 64 MiB (2^26 bytes) on a message makes V8 begin to mark its heap when it is shown, so that size is measured as well.
  for (const [name, size, count] of [['1 MB', 1e6, 64], ['8 MB', 8e6, 16], ['64 MB', 64e6, 4], ['64 MiB', 2 ** 26, 4]] as const) {
    const aim = (least: string): string => name === '64 MiB' ? '–' : least
    const figures = await inTurns({
      ours: () => ourBytes(size, count, true), left: () => ourBytes(size, count, false), advanced: () => childBytes(size, Math.min(count, 8)),
      posted: () => postedBytes(size, count), python: async () => python(PYTHON_PIPE(size, count)),
    })
    row(`bytes, ${name}, given to free`, figures['ours']!, 'child_process, advanced', figures['advanced']!, 'GB/s', true, aim('10×'))
    row('', figures['ours']!, 'postMessage', figures['posted']!, 'GB/s', true, aim('5×'))
    row('', figures['ours']!, 'Python Pipe', figures['python']!, 'GB/s', true, aim('4×'))
    row(`bytes, ${name}, left to the collector`, figures['left']!, 'postMessage', figures['posted']!, 'GB/s', true, '–')
  }
}

/** Microseconds to put a message and get it again, the median of many; `make` makes one. */
async function handOver(make: () => Uint8Array): Promise<number> {
  const queue = new Queue<Uint8Array>()
  const times: number[] = []
  for (let n = 0; n < 120; n += 1) {
    const bytes = make()
    // What the engine does about so much memory at once is done in between.
    await pause(3)
    const begun = performance.now()
    await queue.put(bytes)
    const got = await queue.get()
    if (n >= 20) times.push((performance.now() - begun) * 1000)
    free(got)
  }
  queue.close()
  return median(times)
}

if (isWanted('allocate')) {
  const { large, largest, small } = await inTurns({
    large: () => handOver(() => allocate(64e6)), largest: () => handOver(() => allocate(2 ** 26)),
    small: () => handOver(() => {
      // As much memory is written before each, so the caches have as little of either.
      free(allocate(64e6))
      return new Uint8Array(64)
    }),
  }) as Record<'large' | 'largest' | 'small', number>
  row('64 MB by allocate', large, 'a message of 64 bytes', small, 'µs', false, '0.33×')
  row('64 MiB by allocate', largest, 'a message of 64 bytes', small, 'µs', false, '–')
}

console.log('| case | polyproc | peer | ratio | at least |\n|---|---|---|---|---|')
for (const text of rows) console.log(text)
