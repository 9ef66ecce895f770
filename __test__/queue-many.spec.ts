// putMany and getMany: batches that cross in one call keep every promise that single messages keep.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { Empty, JoinableQueue, Process, Queue, ShutDown } from '#src/index.js'
import { native } from '#src/native.js'
import { until } from './helpers/programs.js'
import { leavesNothing } from './helpers/settled.js'

leavesNothing(test)

const soon = { timeout: 30_000 }
const numbers = (count: number, from = 0): number[] => Array.from({ length: count }, (_, k) => from + k)

/** Values of every way to travel: bare, in a slot, in a block, with a large buffer or a handle beside them. */
function mixed(n: number, queue: Queue): unknown {
  switch (n % 8) {
    case 0: return n
    case 1: return `text ${n}`
    case 2: return { n, list: [n, n + 0.5] }
    case 3: return 'x'.repeat(n % 3000)
    case 4: return new Uint8Array(n % 64 === 4 ? 40_000 : 50).fill(n)
    case 5: return n % 40 === 5 ? { n, queue } : null
    case 6: return new Map([[n, new Date(n)]])
    default: return [-n, n / 3, undefined, 'é€']
  }
}

test.serial('messages of every kind, in order, through many batches', async t => {
  using queue = new Queue()
  const sent = numbers(3000).map(n => mixed(n, queue))
  await queue.putMany(sent)
  t.is(queue.qsize(), 3000)
  const got: unknown[] = []
  while (got.length < 3000) {
    const items = got.length % 2 === 0 ? await queue.getMany(1 + got.length % 700, soon) : queue.getManySync(17, soon)
    t.true(items.length > 0)
    got.push(...items)
  }
  const comparable = (value: unknown): unknown => value !== null && typeof value === 'object' && 'queue' in value ? 'with a queue' : value
  t.deepEqual(got.map(comparable), sent.map(comparable))
  for (const value of got) if (value !== null && typeof value === 'object' && 'queue' in value) (value.queue as Queue).close()
})

test.serial('a number is the same number by whichever calls it is put and got', async t => {
  using queue = new Queue<number>()
  using items = new JoinableQueue<number>()
  const all = [0, 1, -1, -0, 0.5, 2 ** 31 - 1, -(2 ** 31), 2 ** 31, -(2 ** 31) - 1, 2 ** 53, 1e300, 5e-324, NaN, Infinity, -Infinity]
  for (const to of [queue, items]) {
    for (const put of [() => { for (const n of all) to.putSync(n) }, () => { to.putManySync(all) }]) {
      put()
      t.deepEqual(await to.getMany(all.length), all)
      put()
      for (const n of all) t.is(to.getNowait(), n)
    }
  }
  items.putSync(-0)
  const delivery = await items.receive(soon)
  t.is(delivery.value, -0)
  delivery.done()
})

test.serial('getMany takes no more than it was asked for, and what is there', async t => {
  using queue = new Queue<number>()
  queue.putManySync(numbers(2000))
  t.deepEqual(await queue.getMany(1), [0])
  t.deepEqual(await queue.getMany(600), numbers(600, 1))
  t.is(queue.qsize(), 1399)
  t.deepEqual(queue.getManySync(Infinity), numbers(1399, 601))
  t.throws(() => queue.getManySync(2, { timeout: 0 }), { instanceOf: Empty })
  await queue.putMany([])
  queue.putManySync([])
  t.true(queue.empty())
})

test.serial('what cannot be sent throws before anything beside it is put, and its path leads to it', async t => {
  using queue = new Queue<unknown>()
  const items = [1, { a: 2 }, { list: ['a', Symbol('s')] }, 4]
  for (const put of [() => queue.putMany(items), async () => { queue.putManySync(items) }]) {
    const error = await t.throwsAsync<Error & { count: number; path: string }>(put, { name: 'SerializationError' })
    t.is(error.path, 'items[2].list[1]')
    t.is(error.count, 0)
    t.true(queue.empty())
  }
  const many = [...numbers(2000), () => Symbol.iterator, Symbol('s')]
  const error = await t.throwsAsync<Error & { count: number }>(queue.putMany(many), { name: 'SerializationError' })
  t.is(queue.qsize(), error.count)
  t.deepEqual(queue.getManySync(3000).slice(0, 2000), numbers(error.count))
})

test.serial('a bound is exact, across processes, and what waits is a snapshot', async t => {
  using queue = new Queue<{ n: number }>({ maxSize: 7 })
  using seen = new Queue<number>()
  const child = new Process({
    target: async (from: Queue<{ n: number }>, to: Queue<number>) => {
      let most = 0
      for (let n = 0; n < 1500;) {
        most = Math.max(most, from.qsize())
        for (const item of await from.getMany(3)) {
          if (item.n !== n) throw new Error(`${item.n}, not ${n}`)
          n += 1
        }
      }
      await to.put(most)
    }, args: [queue, seen],
  }).start()
  const items = numbers(1500).map(n => ({ n }))
  const putting = queue.putMany(items)
  // The first batch has been taken: changing it changes nothing.
  for (const item of items.slice(0, 100)) item.n = -1
  await putting
  t.true(await child.join(soon))
  t.is(child.exitCode, 0)
  t.true(await seen.get(soon) <= 7)
})

test.serial('puts of several threads at once keep the order of each', async t => {
  using queue = new Queue<[number, number]>({ maxSize: 50 })
  const putters = numbers(3).map(p => new Process({
    target: async (to: Queue<[number, number]>, me: number) => {
      for (let n = 0; n < 900; n += 45) await to.putMany(Array.from({ length: 45 }, (_, k) => [me, n + k] as [number, number]))
    }, args: [queue, p],
  }).start())
  const next = [0, 0, 0]
  for (let left = 2700; left > 0;) {
    const items = await queue.getMany(64, soon)
    left -= items.length
    for (const [p, n] of items) {
      if (next[p] !== n) t.fail(`${p} put ${n}, ${next[p]} was expected`)
      next[p] = n + 1
    }
  }
  t.deepEqual(next, [900, 900, 900])
  for (const putter of putters) t.true(await putter.join(soon))
})

test.serial('time that is up, an abort and the end tell how many were put', async t => {
  using queue = new Queue<number>(10)
  const late = await t.throwsAsync<Error & { count: number }>(queue.putMany(numbers(25), { timeout: 40 }), { name: 'Full' })
  t.is(late.count, 10)
  t.deepEqual(queue.getManySync(4), [0, 1, 2, 3])
  const sync = t.throws<Error & { count: number }>(() => { queue.putManySync(numbers(25), { timeout: 40 }) }, { name: 'Full' })
  t.is(sync.count, 4)

  const controller = new AbortController()
  const aborted = queue.putMany(numbers(25), { signal: controller.signal }).then(() => undefined, (error: unknown) => error as { count: number })
  t.is(queue.getManySync(3).length, 3)
  await until(() => queue.qsize() === 10, 5000)
  controller.abort()
  t.is((await aborted)?.count, 3)

  const ended = t.throwsAsync<Error & { count: number }>(queue.putMany(numbers(25)), { name: 'ShutDown' })
  queue.shutdown()
  t.is((await ended).count, 0)
  // What is left is given; the end is met by the next call.
  t.is((await queue.getMany(100)).length, 10)
  await t.throwsAsync(queue.getMany(100), { instanceOf: ShutDown })
  t.throws(() => queue.getManySync(100), { instanceOf: ShutDown })
})

test.serial('those who put one by one and those who put many stand in one line', async t => {
  using queue = new Queue<number>(2)
  const all = [queue.putMany([0, 1, 2, 3]), queue.put(4), queue.putMany([5, 6, 7]), queue.put(8)]
  const got: number[] = []
  while (got.length < 9) got.push(...await queue.getMany(9, soon))
  await Promise.all(all)
  t.deepEqual(got, numbers(9))
})

test.serial('what is not an array is asked for its items one by one, when there is room for them', async t => {
  using queue = new Queue<number>(3)
  let made = 0
  function* endless(): Generator<number> {
    for (;;) yield made++
  }
  const error = await t.throwsAsync<Error & { count: number }>(queue.putMany(endless(), { timeout: 30 }), { name: 'Full' })
  t.is(error.count, 3)
  t.is(made, 4)
  t.deepEqual(queue.getManySync(9), [0, 1, 2])
  queue.putManySync(new Set([7, 8, 9]))
  t.deepEqual(queue.getManySync(9), [7, 8, 9])
})

test.serial('a getter that puts and gets itself while a batch is encoded or read disturbs nothing', async t => {
  using queue = new Queue<unknown>()
  using other = new Queue<number>()
  const items = numbers(20).map(n => ({ n, get twice() { other.putSync(n); return other.getSync() * 2 } }))
  await queue.putMany(items)
  t.deepEqual(await queue.getMany(20), numbers(20).map(n => ({ n, twice: n * 2 })))
})

test.serial('a large item that cannot be had takes nothing along that was taken with it', t => {
  for (const queue of [new Queue<unknown>(), new JoinableQueue<unknown>()]) {
    const { receive } = native
    queue.putManySync([1, 2, new Uint8Array(100_000), 3])
    native.receive = () => {
      native.release(receive().token)
      throw new Error('no memory for it')
    }
    try {
      const error = t.throws(() => queue.getManySync(9), { message: 'no memory for it' }) as Error & { items?: unknown[] }
      t.deepEqual(error.items, [1, 2, 3])
    } finally {
      native.receive = receive
    }
    if (queue instanceof JoinableQueue) for (let n = 0; n < 3; n += 1) queue.taskDone()
    t.is(queue.qsize(), 0)
    queue.close()
  }
})

test.serial('an item that cannot be read is reported with those beside it', async t => {
  const directory = mkdtempSync(join(tmpdir(), 'polyproc-'))
  const file = join(directory, 'gone.mjs')
  writeFileSync(file, 'export function gone() { return 1 }\n')
  const { gone } = await import(file) as { gone: () => number }
  using queue = new Queue<unknown>()
  using jobs = new JoinableQueue<unknown>()
  for (const to of [queue, jobs]) await to.putMany([1, { gone }, 'x'.repeat(200), 4])
  rmSync(directory, { recursive: true })
  const child = new Process({
    target: async (...all: Queue[]) => {
      for (const from of all) {
        const error = await from.getMany(9).then(() => null, (failure: unknown) => failure as { name: string; items: unknown[] })
        if (error?.name !== 'SerializationError' || error.items.join().length !== 204) process.exitCode = 3
        if (from instanceof JoinableQueue) for (let n = 0; n < 3; n += 1) from.taskDone()
      }
    }, args: [queue, jobs],
  }).start()
  t.true(await child.join(soon))
  t.is(child.exitCode, 0)
  t.true(await jobs.join(soon))
})

test.serial('a killed consumer that took many of a joinable queue gives exactly those back, in order', async t => {
  using queue = new JoinableQueue<number>({ redeliver: true })
  using told = new Queue<number[]>()
  await queue.putMany(numbers(30))
  const child = new Process({
    target: async (from: JoinableQueue<number>, to: Queue<number[]>) => {
      const items = await from.getMany(12)
      for (let n = 0; n < 4; n += 1) from.taskDone()
      await to.put(items)
      await new Promise(() => { setInterval(() => undefined, 1000) })
    }, args: [queue, told],
  }).start()
  t.deepEqual(await told.get(soon), numbers(12))
  child.kill()
  await child.join(soon)
  t.true(await until(() => queue.qsize() === 26, 5000))
  t.deepEqual(queue.getManySync(100), numbers(26, 4))
  for (let n = 0; n < 26; n += 1) queue.taskDone()
  t.true(await queue.join(soon))
})

test.serial('who is killed while it puts many has put some from the first on, whole', async t => {
  for (let round = 0; round < 8; round += 1) {
    using queue = new Queue<{ n: number; text: string }>()
    const child = new Process({
      target: async (to: Queue) => {
        for (let n = 0; ; n += 500) await to.putMany(Array.from({ length: 500 }, (_, k) => ({ n: n + k, text: 'y'.repeat((n + k) % 300) })))
      }, args: [queue],
    }).start()
    t.deepEqual(await queue.get(soon), { n: 0, text: '' })
    child.kill()
    await child.join(soon)
    let next = 1
    for (;;) {
      const items = queue.empty() ? [] : queue.getManySync(1000)
      if (items.length === 0) break
      for (const { n, text } of items) {
        if (n !== next || text.length !== n % 300) t.fail(`${n} came, ${next} was expected`)
        next += 1
      }
    }
    t.true(next > 1)
  }
})

test.serial('one of several that sleep is woken by a batch, and wakes the next: all get some', async t => {
  using queue = new Queue<number>()
  using told = new Queue<number>()
  const getters = numbers(4).map(() => new Process({
    target: async (from: Queue<number>, to: Queue<number>) => {
      await to.put(-1)
      await to.put(await from.get())
    }, args: [queue, told],
  }).start())
  for (let n = 0; n < 4; n += 1) t.is(await told.get(soon), -1)
  await new Promise(resolve => { setTimeout(resolve, 100) })
  await queue.putMany(numbers(4))
  const got: number[] = []
  while (got.length < 4) got.push(...await told.getMany(4, soon))
  t.deepEqual(got.sort(), numbers(4))
  for (const getter of getters) t.true(await getter.join(soon))
})
