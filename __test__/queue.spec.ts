// The queue, as its users see it: order, bounds, errors, shutting down, names; across processes.

import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'
import test from 'ava'
import { ClosedError, Empty, Full, memoryUsage, Process, Queue, SerializationError, ShutDown, StateError } from '#src/index.js'
import { native } from '#src/native.js'
import { run, until } from './helpers/programs.js'
import { leavesNothing } from './helpers/settled.js'

leavesNothing(test)

const soon = { timeout: 30_000 }

/** Asserts that `fn` takes as long as a timeout of 200 ms. */
async function takes200(t: { true(value: boolean, message?: string): unknown }, fn: () => unknown): Promise<void> {
  const began = performance.now()
  await fn()
  const ms = performance.now() - began
  t.true(ms >= 195 && ms < 1000, `${ms} ms`)
}

test.serial('QUEUE-01 put: six fit, the seventh is Full at once or after the timeout', async t => {
  using queue = new Queue<number>(6)
  using go = new Queue<number>()
  using done = new Queue<number[]>()
  const child = new Process({
    target: (from: Queue, gate: Queue, to: Queue) => {
      gate.getSync()
      const got = []
      for (let k = 0; k < 6; k += 1) got.push(from.getSync())
      to.putSync(got)
    }, args: [queue, go, done],
  }).start()
  t.true(queue.empty())
  t.false(queue.full())
  await queue.put(1)
  await queue.put(2, { timeout: 0 })
  queue.putSync(3)
  queue.putSync(4, { timeout: 0 })
  queue.putNowait(5)
  t.false(queue.full())
  t.true(queue.tryPut(6))
  t.true(queue.full())
  t.false(queue.empty())
  t.is(queue.qsize(), 6)
  const began = performance.now()
  await t.throwsAsync(queue.put(7, { timeout: 0 }), { instanceOf: Full })
  await t.throwsAsync(queue.put(7, { timeout: -1 }), { instanceOf: Full })
  t.throws(() => { queue.putNowait(7) }, { instanceOf: Full, code: 'ERR_POLYPROC_FULL' })
  t.throws(() => { queue.putSync(7, { timeout: 0 }) }, { instanceOf: Full })
  t.false(queue.tryPut(7))
  t.true(performance.now() - began < 100)
  await takes200(t, () => t.throwsAsync(queue.put(7, { timeout: 200 }), { instanceOf: Full }))
  await takes200(t, () => t.throws(() => { queue.putSync(7, { timeout: 200 }) }, { instanceOf: Full }))
  go.putNowait(1)
  t.deepEqual(await done.get(soon), [1, 2, 3, 4, 5, 6])
  t.true(queue.empty())
  t.false(queue.full())
  t.true(await child.join(soon))
})

test.serial('QUEUE-02 get: in order through every spelling; Empty at once or after the timeout', async t => {
  using queue = new Queue<number>()
  const child = new Process({ target: (to: Queue) => { for (let k = 1; k <= 8; k += 1) to.putSync(k) }, args: [queue] }).start()
  t.is(await queue.get(soon), 1)
  t.true(await child.join(soon))
  t.is(await queue.get(), 2)
  t.is(await queue.get({ timeout: 0 }), 3)
  t.is(queue.getSync(), 4)
  t.is(queue.getSync({ timeout: 200 }), 5)
  t.is(queue.getSync({ timeout: -1 }), 6)
  t.is(queue.getNowait(), 7)
  t.is(queue.tryGet(), 8)
  t.true(queue.empty())
  const began = performance.now()
  await t.throwsAsync(queue.get({ timeout: 0 }), { instanceOf: Empty })
  await t.throwsAsync(queue.get({ timeout: -5 }), { instanceOf: Empty })
  t.throws(() => queue.getNowait(), { instanceOf: Empty, code: 'ERR_POLYPROC_EMPTY' })
  t.throws(() => queue.getSync({ timeout: 0 }), { instanceOf: Empty })
  t.is(queue.tryGet(), undefined)
  t.true(performance.now() - began < 100)
})

test.serial('QUEUE-03 items put before a child starts and by it come exactly once and in order', async t => {
  using queue = new Queue<number>()
  for (let k = 0; k < 10; k += 1) queue.putNowait(k)
  const child = new Process({ target: (to: Queue) => { for (let k = 10; k < 20; k += 1) to.putSync(k) }, args: [queue] }).start()
  t.true(await child.join(soon))
  const got = []
  for (let k = 0; k < 20; k += 1) got.push(await queue.get(soon))
  t.deepEqual(got, Array.from({ length: 20 }, (_, k) => k))
  t.throws(() => queue.getNowait(), { instanceOf: Empty })
})

test.serial('QUEUE-04 qsize', t => {
  using queue = new Queue<number>()
  const sizes = [queue.qsize()]
  for (const step of [() => { queue.putNowait(1) }, () => { queue.putNowait(2) }, () => { queue.getNowait() }, () => { queue.getNowait() }]) {
    step()
    sizes.push(queue.qsize())
  }
  t.deepEqual(sizes, [0, 1, 2, 1, 0])
})

test.serial('QUEUE-06 a timeout of 200 ms takes 195 to 400 ms, in both forms', async t => {
  using queue = new Queue<number>()
  await takes200(t, () => t.throwsAsync(queue.get({ timeout: 200 }), { instanceOf: Empty }))
  await takes200(t, () => t.throws(() => queue.getSync({ timeout: 200 }), { instanceOf: Empty }))
})

test.serial('QUEUE-07 what cannot be sent throws in put, takes no room and stops nothing', async t => {
  using queue = new Queue<unknown>(1)
  const bad = { deep: [{ symbol: Symbol('no') }] }
  const error = await t.throwsAsync(queue.put(bad), { instanceOf: SerializationError })
  t.is((error as SerializationError).path, 'item.deep[0].symbol')
  t.throws(() => { queue.putSync(bad) }, { instanceOf: SerializationError })
  t.throws(() => { queue.putNowait(bad) }, { instanceOf: SerializationError })
  t.throws(() => queue.tryPut(bad), { instanceOf: SerializationError })
  const getter = { get boom(): never { throw new Error('from a getter') } }
  t.throws(() => { queue.putNowait(getter) }, { message: /from a getter/ })
  t.is(queue.qsize(), 0)
  queue.putNowait('fine')
  t.is(await queue.get(soon), 'fine')
  t.true(queue.empty())
})

test.serial('QUEUE-08, 10 after close everything but close is a ClosedError, and those who wait here get one', async t => {
  for (const used of [false, true]) {
    const queue = new Queue<number>(1)
    if (used) {
      queue.putNowait(1)
      queue.getNowait()
    }
    const waiting = [queue.get(), queue.get({ timeout: 5000 })]
    queue.close()
    for (const get of waiting) await t.throwsAsync(get, { instanceOf: ClosedError, message: /closed/ })
    queue.close()
    queue[Symbol.dispose]()
    for (const use of [
      () => { queue.putNowait(1) }, () => { queue.putSync(1) }, () => queue.tryPut(1), () => queue.getNowait(), () => queue.getSync(), () => queue.tryGet(),
      () => queue.qsize(), () => queue.empty(), () => { queue.shutdown() },
    ]) t.throws(use, { instanceOf: ClosedError, message: /closed/ })
    await t.throwsAsync(queue.put(1), { instanceOf: ClosedError })
    await t.throwsAsync(queue.get(), { instanceOf: ClosedError })
    await t.throwsAsync(queue[Symbol.asyncIterator]().next(), { instanceOf: ClosedError })
    t.regex(inspect(queue), /closed/)
  }
})

test.serial('QUEUE-09 a queue that was an argument can be handed on', async t => {
  using queue = new Queue<string>()
  const child = new Process({
    target: (to: Queue) => {
      const grandchild = new Process({ target: (deep: Queue) => { deep.putSync('grandchild') }, args: [to] }).start()
      grandchild.joinSync()
      to.putSync('child')
    }, args: [queue],
  }).start()
  t.deepEqual([await queue.get(soon), await queue.get(soon)], ['grandchild', 'child'])
  t.true(await child.join(soon))
})

test.serial('QUEUE-11 put and get work while the entry is still being evaluated', async t => {
  const ended = await run('at-top-level.mjs')
  t.deepEqual([ended.code, ended.err], [0, ''])
  t.deepEqual(ended.out.trim().split('\n'), ['sync 1', 'async 2', 'child 3'])
})

test.serial('QUEUE-12 a child makes a queue of its own, polled by a daemon grandchild', async t => {
  using told = new Queue<unknown>()
  const child = new Process({
    target: async (to: Queue) => {
      using own = new Queue<number>()
      const poller = new Process({
        target: (from: Queue, up: Queue) => {
          for (;;) {
            const item = from.tryGet()
            if (item !== undefined) {
              up.putSync(item)
              return
            }
          }
        }, args: [own, to], daemon: true,
      }).start()
      own.putSync(7)
      await poller.join()
      to.putSync(poller.exitCode)
    }, args: [told],
  }).start()
  t.deepEqual([await told.get(soon), await told.get(soon)], [7, 0])
  t.true(await child.join(soon))
  t.is(child.exitCode, 0)
})

test.serial('QUEUE-14 shutdown of an empty queue: put and get throw everywhere, also those that wait', async t => {
  using queue = new Queue<number>()
  using told = new Queue<string>()
  const child = new Process({
    target: async (from: Queue, to: Queue) => {
      to.putSync('ready')
      const waiting = from.get().then(() => 'an item', (error: unknown) => (error as Error).name)
      to.putSync(await waiting)
      for (const use of [() => from.getSync(), () => { from.putSync(1) }, () => from.tryGet(), () => from.tryPut(1)]) {
        try {
          use()
          to.putSync('nothing thrown')
        } catch (error) {
          to.putSync((error as Error).name)
        }
      }
    }, args: [queue, told],
  }).start()
  const waiting = queue.get()
  t.is(await told.get(soon), 'ready')
  await new Promise(resolve => { setTimeout(resolve, 50) })
  const began = performance.now()
  queue.shutdown()
  queue.shutdown()
  await t.throwsAsync(waiting, { instanceOf: ShutDown })
  t.is(await told.get(soon), 'ShutDown')
  t.true(performance.now() - began < 500)
  for (let k = 0; k < 4; k += 1) t.is(await told.get(soon), 'ShutDown')
  await t.throwsAsync(queue.put(1), { instanceOf: ShutDown })
  t.throws(() => queue.getNowait(), { instanceOf: ShutDown, code: 'ERR_POLYPROC_SHUT_DOWN' })
  t.true(await child.join(soon))
})

test.serial('QUEUE-15 shutdown with items: they can still be taken; a put throws at once, one that waits too', async t => {
  using queue = new Queue<number>(3)
  for (const k of [1, 2, 3]) queue.putNowait(k)
  const waiting = queue.put(4)
  queue.shutdown()
  await t.throwsAsync(waiting, { instanceOf: ShutDown })
  t.throws(() => { queue.putSync(5) }, { instanceOf: ShutDown })
  t.is(queue.qsize(), 3)
  t.is(queue.getSync(), 1)
  const rest = []
  for await (const item of queue) rest.push(item)
  t.deepEqual(rest, [2, 3])
  t.throws(() => queue.getNowait(), { instanceOf: ShutDown })
})

test.serial('QUEUE-16 shutdown at once drops what is left', async t => {
  using queue = new Queue<unknown>()
  using inner = new Queue()
  for (let k = 0; k < 1000; k += 1) queue.putNowait([k, inner, Buffer.alloc(k)])
  queue.shutdown({ immediate: true })
  t.is(queue.qsize(), 0)
  await t.throwsAsync(queue.get(), { instanceOf: ShutDown })
  t.true(queue.empty())
})

test.serial('for await ends with shutdown, and leaving it early closes nothing', async t => {
  using queue = new Queue<number>()
  const child = new Process({ target: (to: Queue) => { for (let k = 0; k < 100; k += 1) to.putSync(k); to.shutdown() }, args: [queue] }).start()
  const got = []
  for await (const item of queue) {
    got.push(item)
    if (got.length === 10) break
  }
  t.is(queue.qsize() <= 90, true)
  for await (const item of queue) got.push(item)
  t.deepEqual(got, Array.from({ length: 100 }, (_, k) => k))
  t.true(await child.join(soon))
})

test.serial('options: a number is maxSize; what is no number or name is refused; names', t => {
  using bounded = new Queue(2)
  bounded.putNowait(1)
  bounded.putNowait(2)
  t.true(bounded.full())
  for (const maxSize of [0, -1, Infinity, -Infinity]) {
    using queue = new Queue({ maxSize })
    for (let k = 0; k < 300; k += 1) queue.putNowait(k)
    t.false(queue.full())
  }
  for (const maxSize of [Number.NaN, '3', {}, 2 ** 60]) t.throws(() => new Queue({ maxSize: maxSize as number }), { instanceOf: RangeError })
  t.throws(() => new Queue({ name: 7 as never }), { instanceOf: TypeError })
  for (const name of ['', 'x'.repeat(1025)]) t.throws(() => new Queue({ name }), { message: /name/ })
  using plain = new Queue()
  t.is(plain.name, null)
})

test.serial('a name finds the same queue; other options are a StateError; the last close ends it', async t => {
  using first = new Queue<number>({ name: 'jobs ü', maxSize: 3 })
  {
    using second = new Queue<number>({ name: 'jobs ü', maxSize: 3 })
    second.putNowait(1)
    t.is(second.name, 'jobs ü')
    t.throws(() => new Queue({ name: 'jobs ü', maxSize: 4 }), { instanceOf: StateError, message: /maxSize/ })
  }
  t.is(first.getNowait(), 1)
  using replies = new Queue<unknown>()
  const child = new Process({
    target: (to: Queue) => {
      using found = new Queue({ name: 'jobs ü', maxSize: 3 })
      to.putSync([found.getSync(), found.name, found.full()])
    }, args: [replies],
  }).start()
  first.putNowait(5)
  t.deepEqual(await replies.get(soon), [5, 'jobs ü', false])
  t.true(await child.join(soon))
  first.putNowait(6)
  first.close()
  using again = new Queue<number>({ name: 'jobs ü', maxSize: 9 })
  t.true(again.empty())
})

test.serial('a process’s own puts come in the order of the calls, awaited or not, blocked or not', async t => {
  using queue = new Queue<number>(4)
  const child = new Process({
    target: async (to: Queue) => {
      const puts: Promise<void>[] = []
      for (let k = 0; k < 500; k += 1) puts.push(to.put(k))
      await Promise.all(puts)
      for (let k = 500; k < 600; k += 1) if (k % 2 === 0) to.putSync(k); else await to.put(k)
    }, args: [queue],
  }).start()
  for (let k = 0; k < 600; k += 1) {
    if (await queue.get(soon) !== k) t.fail(`not ${k}`)
  }
  t.true(await child.join(soon))
  t.is(child.exitCode, 0)
})

test.serial('several producers and consumers: every item once, each producer’s in order, maxSize never passed', async t => {
  using queue = new Queue<number>(5)
  using results = new Queue<{ got: number[], most: number }>()
  const producers = Array.from({ length: 3 }, (_, who) => new Process({
    target: async (to: Queue, mine: number) => {
      for (let k = 0; k < 2000; k += 1) if (k % 3 === 0) to.putSync(mine * 10_000 + k); else await to.put(mine * 10_000 + k)
    }, args: [queue, who],
  }).start())
  const consumers = Array.from({ length: 3 }, (_, who) => new Process({
    target: async (from: Queue, to: Queue, sync: boolean) => {
      const got: number[] = []
      let most = 0
      for (;;) {
        most = Math.max(most, from.qsize())
        try {
          got.push(sync ? from.getSync() : await from.get())
        } catch (error) {
          if ((error as Error).name !== 'ShutDown') throw error
          break
        }
      }
      to.putSync({ got, most })
    }, args: [queue, results, who === 0],
  }).start())
  for (const child of producers) t.true(await child.join({ timeout: 30_000 }))
  queue.shutdown()
  const all: number[] = []
  for (const _ of consumers) {
    const { got, most } = await results.get(soon)
    t.true(most <= 5, `${most} items in a queue of 5`)
    for (const who of [0, 1, 2]) {
      const mine = got.filter(item => Math.floor(item / 10_000) === who)
      t.deepEqual(mine, [...mine].sort((a, b) => a - b))
    }
    all.push(...got)
  }
  t.is(all.length, 6000)
  t.is(new Set(all).size, 6000)
  for (const child of consumers) t.true(await child.join(soon))
  t.deepEqual([...producers, ...consumers].map(child => child.exitCode), [0, 0, 0, 0, 0, 0])
})

test.serial('maxSize is exact with several producers: nobody passes it, everybody reaches it', async t => {
  using queue = new Queue<number>(7)
  using counts = new Queue<number>()
  const producers = Array.from({ length: 3 }, () => new Process({
    target: (to: Queue, tell: Queue) => {
      let put = 0
      const end = Date.now() + 300
      while (Date.now() < end) if (to.tryPut(put)) put += 1
      tell.putSync(put)
    }, args: [queue, counts],
  }).start())
  let sum = 0
  for (const _ of producers) sum += await counts.get(soon)
  t.is(sum, 7)
  t.is(queue.qsize(), 7)
  t.true(queue.full())
  for (const child of producers) t.true(await child.join(soon))
})

test.serial('a killed producer’s completed puts are not lost', async t => {
  for (let round = 0; round < 10; round += 1) {
    using queue = new Queue<number>()
    using told = new Queue<number>()
    const producer = new Process({
      target: (to: Queue, tell: Queue) => { for (let k = 1; ; k += 1) { to.putSync(k); if (k === 50) tell.putSync(1) } }, args: [queue, told],
    }).start()
    await told.get(soon)
    producer.kill()
    t.true(await producer.join(soon))
    const got: number[] = []
    for (let item = queue.tryGet(); item !== undefined; item = queue.tryGet()) got.push(item)
    t.true(got.length >= 50)
    t.deepEqual(got, Array.from({ length: got.length }, (_, k) => k + 1))
  }
  t.true(await until(() => native.checkFamily().length === 0))
})

test.serial('the first of a queue’s tickets may be anywhere: counters do not end', t => {
  for (const ticket of [1, 2 ** 32 - 3, 2 ** 40, 2 ** 48 - 70]) {
    const id = native.queueCreateAt(0, ticket)
    t.is(native.queueSize(id), 0)
    native.queueClose(id)
  }
})

test.serial('maxBytes: a put waits while what is in the queue takes as much; one larger item passes when nothing waits', async t => {
  using queue = new Queue<Uint8Array>({ maxBytes: 1024 * 1024 })
  const item = new Uint8Array(300_000)
  for (let k = 0; k < 4; k += 1) t.true(queue.tryPut(item), `${k}`)
  t.true(queue.full())
  t.false(queue.tryPut(item))
  t.throws(() => { queue.putNowait(new Uint8Array(1)) }, { instanceOf: Full })
  t.throws(() => { queue.putSync(item, { timeout: 20 }) }, { instanceOf: Full })
  await t.throwsAsync(queue.put(item, { timeout: 20 }), { instanceOf: Full })
  // Whoever waits, here or in another process, goes on as soon as there is room.
  const child = new Process({ target: (to: Queue) => { to.putSync(new Uint8Array(5)) }, args: [queue] }).start()
  const waits = [queue.put(item), queue.put(new Uint8Array(3))]
  await sleep(300)
  t.is(queue.qsize(), 4)
  const lengths: number[] = []
  for (let k = 0; k < 7; k += 1) lengths.push((await queue.get(soon)).length)
  await Promise.all(waits)
  t.true(await child.join(soon))
  t.deepEqual(lengths.sort((a, b) => a - b), [3, 5, ...Array<number>(5).fill(300_000)])
  t.false(queue.full())
  const large = new Uint8Array(5_000_000)
  queue.putNowait(large)
  t.true(queue.full())
  t.is((await queue.get()).length, large.length)
})

test.serial('maxBytes: small items count as 128 bytes; a full queue is no obstacle to shutdown', async t => {
  using queue = new Queue<number>({ maxBytes: 1280, name: 'narrow' })
  for (let k = 0; k < 10; k += 1) queue.putNowait(k)
  t.false(queue.tryPut(10))
  t.throws(() => new Queue({ name: 'narrow' }), { instanceOf: StateError, message: /maxBytes 1280/ })
  using same = new Queue({ name: 'narrow', maxBytes: 1280 })
  const waits = same.put(10)
  queue.shutdown()
  await t.throwsAsync(waits, { instanceOf: ShutDown })
  t.is((await queue.getMany(20)).length, 10)
  for (const maxBytes of [0, -1, NaN, '1' as unknown as number]) t.throws(() => new Queue({ maxBytes }), { instanceOf: RangeError }, String(maxBytes))
})

test.serial('100,000 queues made, sent, used and dropped leave nothing', async t => {
  using carrier = new Queue<Queue<number>>()
  const turn = (k: number): void => {
    using made = new Queue<number>()
    carrier.putNowait(made)
    made.putNowait(k)
    using same = carrier.getNowait()
    if (same.getNowait() !== k) throw new Error(`${k} is not there`)
  }
  for (let k = 0; k < 1000; k += 1) turn(k)
  const before = memoryUsage()
  for (let k = 0; k < 100_000; k += 1) {
    turn(k)
    // Queues that are closed by hand leave the rest to the collector now and then.
    if (k % 10_000 === 0) await sleep(0)
  }
  const after = memoryUsage()
  t.is(after.objects, before.objects)
  t.true(after.usedBytes <= before.usedBytes, `${before.usedBytes} bytes became ${after.usedBytes}`)
})
