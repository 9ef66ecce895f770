// The joinable queue: marking done, joining, what becomes of items whose taker is killed, dead letters.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'
import { Worker } from 'node:worker_threads'
import test from 'ava'
import {
  ClosedError, Empty, fromToken, Full, JoinableQueue, Process, Queue, ShutDown, StateError, toToken, wait, WorkerLostError,
  type Delivery,
} from '#src/index.js'
import { fixture, until } from './helpers/programs.js'
import { collect, leavesNothing } from './helpers/settled.js'

leavesNothing(test)

const soon = { timeout: 30_000 }

/** A process that takes `count` items, marks the first `marked` of them, says so, and waits to be killed. */
async function holder(queue: JoinableQueue, count: number, marked = 0, receives = false): Promise<Process> {
  using ready = new Queue<number>()
  const child = new Process({
    target: async (from: JoinableQueue, said: Queue, take: number, mark: number, asDeliveries: boolean) => {
      const held: unknown[] = []
      for (let k = 0; k < take; k += 1) {
        if (asDeliveries) {
          const delivery = from.receiveSync()
          if (k < mark) delivery.done()
          else held.push(delivery)
        } else {
          held.push(from.getSync())
          if (k < mark) from.taskDone()
        }
      }
      said.putSync(held.length)
      await new Promise(resolve => { setTimeout(resolve, 60_000) })
    }, args: [queue, ready, count, marked, receives],
  }).start()
  await ready.get(soon)
  return child
}

async function killed(child: Process): Promise<void> {
  child.kill()
  await child.join(soon)
}

test.serial('QUEUE-05 join resolves once 4 consumers have marked each of 10 items', async t => {
  using queue = new JoinableQueue<number | null>()
  using marked = new Queue<number>()
  const children = Array.from({ length: 4 }, () => new Process({
    target: async (from: JoinableQueue<number | null>, to: Queue<number>) => {
      for (;;) {
        const item = from.getSync()
        if (item !== null) {
          await new Promise(resolve => { setTimeout(resolve, 20) })
          to.putSync(item)
        }
        from.taskDone()
        if (item === null) return
      }
    }, args: [queue, marked],
  }).start())
  for (let k = 0; k < 10; k += 1) await queue.put(k)
  t.true(await queue.join(soon))
  t.is(marked.qsize(), 10)
  t.is(queue.qsize(), 0)
  for (const _ of children) await queue.put(null)
  t.true(queue.joinSync(soon))
  for (const child of children) t.true(await child.join(soon))
  const items = await marked.getMany(20)
  t.deepEqual(items.sort((a, b) => a - b), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
})

test.serial('join: at once when nothing is to be done, false on timeout, the reason when aborted', async t => {
  using queue = new JoinableQueue<number>()
  t.true(await queue.join())
  t.true(queue.joinSync())
  queue.putNowait(1)
  t.false(await queue.join({ timeout: 0 }))
  t.false(queue.joinSync({ timeout: -1 }))
  const began = performance.now()
  t.false(await queue.join({ timeout: 100 }))
  t.false(queue.joinSync({ timeout: 100 }))
  const ms = performance.now() - began
  t.true(ms >= 195 && ms < 1000, `${ms} ms`)
  const abort = new AbortController()
  const joined = queue.join({ signal: abort.signal })
  abort.abort(new Error('enough'))
  await t.throwsAsync(joined, { message: 'enough' })
  await t.throwsAsync(queue.join({ timeout: NaN }), { instanceOf: RangeError })
  t.throws(() => queue.joinSync({ timeout: NaN }), { instanceOf: RangeError })
  queue.getNowait()
  t.false(await queue.join({ timeout: 0 }))
  queue.taskDone()
  t.true(await queue.join())
})

test.serial('QUEUE-05 taskDone marks the oldest that this thread took, and no more than it took', async t => {
  using queue = new JoinableQueue<number>()
  using here = fromToken<JoinableQueue<number>>(toToken(queue))
  t.throws(() => { queue.taskDone() }, { instanceOf: StateError, message: /more often/ })
  await queue.putMany([1, 2, 3, 4, 5])
  t.deepEqual(await queue.getMany(2), [1, 2])
  t.is(here.tryGet(), 3)
  // Whatever object stands for the queue.
  here.taskDone()
  queue.taskDone()
  queue.taskDone()
  t.throws(() => { here.taskDone() }, { instanceOf: StateError })
  t.throws(() => { queue.taskDone() }, { instanceOf: StateError })
  const joined = queue.join()
  t.is(queue.getSync(), 4)
  for await (const item of queue) {
    t.is(item, 5)
    queue.taskDone()
    queue.taskDone()
    break
  }
  t.true(await joined)
})

test.serial('QUEUE-08 after close everything throws ClosedError, and a pending join rejects', async t => {
  const queue = new JoinableQueue<number>()
  queue.putNowait(1)
  queue.putNowait(2)
  queue.getNowait()
  const delivery = queue.receiveSync()
  const joined = queue.join()
  queue.close()
  queue.close()
  const closed = { instanceOf: ClosedError, code: 'ERR_POLYPROC_CLOSED' }
  await t.throwsAsync(joined, closed)
  await t.throwsAsync(queue.put(1), closed)
  await t.throwsAsync(queue.get(), closed)
  await t.throwsAsync(queue.receive(), closed)
  await t.throwsAsync(queue.join(), closed)
  for (const call of [
    () => { queue.taskDone() }, () => { delivery.done() }, () => { delivery.retry() }, () => queue.joinSync(), () => queue.receiveSync(),
  ]) t.throws(call, closed)
})

test.serial('QUEUE-14 shutdown of an empty queue releases join, in every process', async t => {
  using queue = new JoinableQueue<number>()
  queue.shutdown()
  t.true(await queue.join())
  await t.throwsAsync(queue.put(1), { instanceOf: ShutDown })
  await t.throwsAsync(queue.receive(), { instanceOf: ShutDown })
  const child = new Process({
    target: (there: JoinableQueue) => {
      if (!there.joinSync()) process.exit(1)
      try { there.receiveSync() } catch { process.exit(7) }
    }, args: [queue],
  }).start()
  await child.join(soon)
  t.is(child.exitCode, 7)
})

test.serial('QUEUE-15 shutdown with items: they can be taken, join resolves after the last mark', async t => {
  using queue = new JoinableQueue<number>()
  await queue.putMany([1, 2])
  queue.shutdown()
  t.throws(() => { queue.putNowait(3) }, { instanceOf: ShutDown })
  const joined = queue.join()
  const seen: number[] = []
  for await (const delivery of queue.deliveries()) {
    seen.push(delivery.value)
    t.false(await queue.join({ timeout: 0 }))
    delivery.done()
  }
  t.deepEqual(seen, [1, 2])
  t.true(await joined)
})

test.serial('QUEUE-16 an immediate shutdown drops all items and releases join', async t => {
  using queue = new JoinableQueue<number>()
  await queue.putMany([1, 2, 3])
  const joined = queue.join()
  queue.shutdown({ immediate: true })
  t.is(queue.qsize(), 0)
  t.true(await joined)
  t.throws(() => queue.getNowait(), { instanceOf: ShutDown })
  t.throws(() => { queue.taskDone() }, { instanceOf: StateError })
})

test.serial('QUEUE-17 after it join waits only for what was taken; what comes back is dropped', async t => {
  using queue = new JoinableQueue<number>({ redeliver: true })
  await queue.putMany([1, 2, 3, 4])
  const child = await holder(queue, 1)
  t.is(queue.getNowait(), 2)
  queue.shutdown({ immediate: true })
  t.false(await queue.join({ timeout: 20 }))
  queue.taskDone()
  t.false(await queue.join({ timeout: 20 }))
  await killed(child)
  t.true(await queue.join(soon))
  t.is(queue.qsize(), 0)
})

for (const count of [1, 8, 100]) {
  test.serial(`JQ-01 what a killed consumer had in hand, ${count} of it, goes to others: first, in order, counted`, async t => {
    for (const receives of [false, true]) {
      using queue = new JoinableQueue<{ k: number, bytes: Uint8Array }>({ redeliver: true })
      const payload = (k: number): { k: number, bytes: Uint8Array } => ({ k, bytes: new Uint8Array(k % 7 === 0 ? 20_000 : k % 9).fill(k) })
      for (let k = 0; k < count + 5; k += 1) queue.putNowait(payload(k))
      const marked = count === 8 ? 3 : 0
      const child = await holder(queue, count, marked, receives)
      t.is(queue.qsize(), 5)
      const joined = queue.join()
      await killed(child)
      t.true(await until(() => queue.qsize() === count - marked + 5, 3000))
      for (let k = marked; k < count + 5; k += 1) {
        const delivery = await queue.receive(soon)
        t.deepEqual(delivery.value, payload(k))
        t.is(delivery.attempt, k < count ? 2 : 1)
        delivery.done()
      }
      t.true(await joined)
      t.is(queue.tryGet(), undefined)
    }
  })

  test.serial(`JQ-02 without redelivery every join rejects: ${count} lost`, async t => {
    using queue = new JoinableQueue<number>()
    for (let k = 0; k < count + 5; k += 1) queue.putNowait(k)
    const child = await holder(queue, count, 0, count === 8)
    const joins = [queue.join(), queue.join({ timeout: 30_000 })]
    child.kill()
    const text = new RegExp(count === 1 ? '^1 item is lost' : `^${count} items are lost`)
    for (const join of joins) {
      const error = await t.throwsAsync(join, { instanceOf: WorkerLostError, message: text })
      t.is(error.pid, child.pid ?? 0)
      t.is(error.exitCode, -9)
      t.is(error.signal, 'SIGKILL')
      t.is(error.attempt, 1)
      t.is((error as unknown as { count: number }).count, count)
    }
    await child.join(soon)
    t.throws(() => queue.joinSync(), { instanceOf: WorkerLostError, message: text })
    await t.throwsAsync(queue.join({ timeout: 0 }), { instanceOf: WorkerLostError, message: text })
    // The rest is there, also for others who are told as well.
    t.is(queue.qsize(), 5)
    const other = new Process({
      target: (there: JoinableQueue) => {
        try { there.joinSync() } catch (error) { process.exitCode = (error as Error).name === 'WorkerLostError' ? 7 : 1 }
      }, args: [queue],
    }).start()
    await other.join(soon)
    t.is(other.exitCode, 7)
    for (let k = 0; k < 5; k += 1) {
      t.is(await queue.get(), count + k)
      queue.taskDone()
    }
  })
}

test.serial('JQ-02 losses add up, and name the last', async t => {
  using queue = new JoinableQueue<number>()
  await queue.putMany([1, 2, 3, 4, 5])
  const first = await holder(queue, 2)
  await killed(first)
  await t.throwsAsync(queue.join(), { message: /^2 items are lost/ })
  const second = new Process({
    target: (there: JoinableQueue) => {
      there.getSync()
      process.exit(5)
    }, args: [queue],
  }).start()
  await second.join(soon)
  const error = await t.throwsAsync(queue.join(), { instanceOf: WorkerLostError, message: /^3 items are lost: .* exited with 5 / })
  t.is(error.pid, second.pid ?? 0)
  t.is(error.exitCode, 5)
  t.is(error.signal, null)
})

test.serial('JQ-03 retry: to the head, counted; done and retry only once', async t => {
  using queue = new JoinableQueue<string>()
  await queue.putMany(['a', 'b', 'c'])
  const [a, b] = [await queue.receive(), queue.receiveSync()]
  t.deepEqual([a.value, a.attempt, b.value, b.attempt], ['a', 1, 'b', 1])
  b.retry()
  a.retry()
  a.retry()
  a.done()
  t.is(queue.qsize(), 3)
  {
    using again = await queue.receive()
    t.deepEqual([again.value, again.attempt], ['a', 2])
    // Not marked at the end of its block, it goes back.
  }
  const third = await queue.receive()
  t.deepEqual([third.value, third.attempt], ['a', 3])
  third.done()
  third[Symbol.dispose]()
  t.deepEqual([queue.getNowait(), queue.getNowait()], ['b', 'c'])
  queue.taskDone()
  t.false(await queue.join({ timeout: 0 }))
  queue.taskDone()
  t.true(await queue.join())
})

test.serial('JQ-03 retry wakes whoever waits', async t => {
  using queue = new JoinableQueue<number>()
  queue.putNowait(1)
  const held = await queue.receive()
  const child = new Process({
    target: (there: JoinableQueue) => {
      const delivery = there.receiveSync()
      delivery.done()
      process.exitCode = delivery.attempt
    }, args: [queue],
  }).start()
  await sleep(300)
  held.retry()
  await child.join(soon)
  t.is(child.exitCode, 2)
  t.true(await queue.join(soon))
})

test.serial('JQ-04 after maxDeliveries an item goes to deadLetters, by retry or by death', async t => {
  using letters = new Queue<unknown>(1)
  using queue = new JoinableQueue<unknown>({ redeliver: true, maxDeliveries: 2, deadLetters: letters })
  const items = [1, 'two', { three: 3 }, new Uint8Array(100_000).fill(4), letters]
  for (const item of items) queue.putNowait(item)
  for (const attempt of [1, 2]) {
    const deliveries: Delivery<unknown>[] = []
    for (const _ of items) deliveries.push(await queue.receive())
    t.deepEqual(deliveries.map(delivery => delivery.attempt), items.map(() => attempt))
    ;(deliveries[4]!.value as Queue).close()
    for (const delivery of deliveries) delivery.retry()
  }
  t.is(queue.qsize(), 0)
  t.true(await queue.join())
  // Its bound does not hold for dead letters.
  t.is(letters.qsize(), 5)
  t.is(letters.getNowait(), 1)
  t.is(letters.getNowait(), 'two')
  t.deepEqual(letters.getNowait(), { three: 3 })
  t.deepEqual(letters.getNowait(), items[3])
  using same = letters.getNowait() as Queue
  t.is(toToken(same), toToken(letters))

  await queue.putMany([6, 7, 8])
  const first = await holder(queue, 2)
  await killed(first)
  t.true(await until(() => queue.qsize() === 3, 3000))
  const second = await holder(queue, 3)
  const joined = queue.join()
  await killed(second)
  t.true(await until(() => letters.qsize() === 2, 3000))
  t.deepEqual(await letters.getMany(5), [6, 7])
  t.is(await queue.get(), 8)
  queue.taskDone()
  t.true(await joined)
})

test.serial('JQ-04 without deadLetters, or when they are shut down, it is dropped and counts as done', async t => {
  using letters = new Queue<number>()
  letters.shutdown()
  for (const options of [{ maxDeliveries: 1 }, { maxDeliveries: 1, deadLetters: letters }]) {
    using queue = new JoinableQueue<number>({ redeliver: true, ...options })
    await queue.putMany([1, 2])
    const child = await holder(queue, 1)
    const joined = queue.join()
    ;(await queue.receive()).retry()
    await killed(child)
    t.true(await joined)
    t.is(queue.qsize(), 0)
  }
})

test.serial('JQ-05 what one taker has changed is not what the next one gets', async t => {
  using queue = new JoinableQueue<{ bytes: Uint8Array, list: number[] }>({ redeliver: true })
  queue.putNowait({ bytes: new Uint8Array(300_000).fill(1), list: [1] })
  const first = await queue.receive()
  first.value.bytes.fill(9)
  first.value.list.push(2)
  first.retry()
  const second = await queue.receive()
  t.is(second.value.bytes[299_999], 1)
  t.deepEqual(second.value.list, [1])
  second.done()
  // What was delivered stays good after it was marked.
  t.is(second.value.bytes[0], 1)
})

test.serial('JQ-06 a worker thread that ends with items in hand', async t => {
  for (const redeliver of [true, false]) {
    using queue = new JoinableQueue<number>({ redeliver })
    using back = new Queue<number>()
    await queue.putMany([1, 2, 3])
    const worker = new Worker(fixture('takes.mjs'), { workerData: [queue, back].map(toToken) })
    t.is(await back.get(soon), 2)
    await worker.terminate()
    if (redeliver) {
      t.true(await until(() => queue.qsize() === 3, 3000))
      t.deepEqual(await queue.getMany(3), [1, 2, 3])
      for (let k = 0; k < 3; k += 1) queue.taskDone()
      t.true(await queue.join())
    } else {
      const error = await t.throwsAsync(queue.join(soon), { instanceOf: WorkerLostError, message: /^2 items are lost/ })
      t.is(error.pid, process.pid)
      t.is(error.exitCode, NaN)
      t.is(error.signal, null)
    }
  }
})

test.serial('JQ-07 a delivery that is forgotten goes back', async t => {
  using queue = new JoinableQueue<number>()
  queue.putNowait(1)
  await (async () => { await queue.receive() })()
  t.true(await until(() => { collect(); return queue.qsize() === 1 }, 5000))
  t.is((await queue.receive()).attempt, 2)
})

test.serial('JQ-08 an item that cannot be read counts as done, or as delivered where that is counted', async t => {
  const directory = mkdtempSync(join(tmpdir(), 'polyproc-'))
  const file = join(directory, 'gone.mjs')
  writeFileSync(file, 'export function gone() { return 1 }\n')
  const { gone } = await import(file) as { gone: () => number }
  using letters = new Queue<unknown>()
  for (const options of [{}, { redeliver: true }, { maxDeliveries: 1, deadLetters: letters }]) {
    writeFileSync(file, 'export function gone() { return 1 }\n')
    using queue = new JoinableQueue<unknown>(options)
    queue.putNowait({ gone })
    queue.putNowait(2)
    rmSync(file)
    const child = new Process({
      target: async (there: JoinableQueue) => {
        try {
          await there.get()
          process.exitCode = 1
        } catch {
          process.exitCode = await there.get() === 2 ? 7 : 2
          there.taskDone()
        }
      }, args: [queue],
    }).start()
    await child.join(soon)
    t.is(child.exitCode, 7, inspect(options))
    t.true(await queue.join({ timeout: 1000 }))
  }
  t.is(letters.qsize(), 1)
  letters.shutdown({ immediate: true })
  rmSync(directory, { recursive: true })
})

test.serial('JQ-09 bounds, readiness, names, tokens and texts are those of a queue', async t => {
  using queue = new JoinableQueue<number>({ name: 'jobs', maxSize: 2, redeliver: true })
  t.true(queue instanceof Queue)
  await queue.putMany([1, 2])
  t.true(queue.full())
  t.throws(() => { queue.putNowait(3) }, { instanceOf: Full })
  t.deepEqual(await wait([queue], { timeout: 0 }), [queue])
  const first = await queue.receive()
  queue.putNowait(3)
  t.true(queue.full())
  // What comes back comes on top, and keeps others from putting.
  first.retry()
  t.is(queue.qsize(), 3)
  t.false(queue.tryPut(4))
  t.is(inspect(queue), 'JoinableQueue "jobs" { 3 of 2 items }')
  using same = new JoinableQueue<number>({ name: 'jobs', maxSize: 2, redeliver: true })
  t.is(toToken(same), toToken(queue))
  t.throws(() => new JoinableQueue({ name: 'jobs', maxSize: 2 }), { instanceOf: StateError, message: /redeliver true, not false/ })
  t.throws(() => new JoinableQueue({ name: 'jobs', maxSize: 2, redeliver: true, maxDeliveries: 3 }), { instanceOf: StateError, message: /maxDeliveries/ })
  // A queue of another kind may have the same name.
  using plain = new Queue<number>({ name: 'jobs' })
  t.not(toToken(plain), toToken(queue))
  using token = fromToken<Queue>(toToken(queue))
  t.true(token instanceof JoinableQueue)
  t.deepEqual(await queue.getMany(9), [1, 2, 3])
  t.throws(() => queue.receiveSync({ timeout: 0 }), { instanceOf: Empty })
  await t.throwsAsync(queue.receive({ timeout: 0 }), { instanceOf: Empty })
  for (let k = 0; k < 3; k += 1) queue.taskDone()
  t.true(await queue.join())
})

test.serial('JQ-09 options that make no sense', t => {
  using letters = new Queue()
  for (const maxDeliveries of [0, -1, 1.5, NaN, 2 ** 21, '3' as unknown as number]) {
    t.throws(() => new JoinableQueue({ maxDeliveries }), { instanceOf: RangeError }, String(maxDeliveries))
  }
  t.throws(() => new JoinableQueue({ redeliver: 1 as unknown as boolean }), { instanceOf: TypeError })
  t.throws(() => new JoinableQueue({ deadLetters: letters }), { instanceOf: TypeError, message: /maxDeliveries/ })
  t.throws(() => new JoinableQueue({ deadLetters: {} as Queue, maxDeliveries: 1 }), { instanceOf: TypeError })
  using none = new JoinableQueue({ maxDeliveries: Infinity })
  t.is(none.qsize(), 0)
})

test.serial('JQ-10 consumers are killed and replaced all the time: every item is marked, join resolves', async t => {
  using queue = new JoinableQueue<number>({ redeliver: true })
  using marked = new Queue<number>()
  const start = (): Process => new Process({
    target: async (from: JoinableQueue<number>, to: Queue<number>) => {
      for await (const delivery of from.deliveries()) {
        if (delivery.value % 64 === 0) await new Promise(resolve => { setTimeout(resolve, 2) })
        to.putSync(delivery.value)
        delivery.done()
      }
    }, args: [queue, marked],
  }).start()
  const items = 4000
  const children = [start(), start(), start()]
  for (let k = 0; k < items; k += 1) queue.putNowait(k)
  const joined = queue.join(soon)
  let kills = 0
  while (kills < 25 && !await Promise.race([joined, sleep(0, false)])) {
    await sleep(20)
    const at = kills % children.length
    await killed(children[at]!)
    children[at] = start()
    kills += 1
  }
  t.true(await joined)
  queue.shutdown()
  for (const child of children) await child.join(soon)
  const times = new Map<number, number>()
  for (;;) {
    const item = marked.tryGet()
    if (item === undefined) break
    times.set(item, (times.get(item) ?? 0) + 1)
  }
  t.is(times.size, items)
  // One is noted twice only if its taker was killed between noting and marking it.
  const twice = [...times.values()].reduce((sum, count) => sum + count - 1, 0)
  t.true(twice <= kills, `${twice} twice after ${kills} kills`)
  t.is(queue.qsize(), 0)
})
