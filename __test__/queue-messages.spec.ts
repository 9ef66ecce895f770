// What travels through a queue: handles nested anywhere, large buffers without a copy, and everything is freed.

import test from 'ava'
import { memoryUsage, Process, Queue } from '#src/index.js'
import { native } from '#src/native.js'
import { run, until } from './helpers/programs.js'
import { collect, leavesNothing, settle } from './helpers/settled.js'

leavesNothing(test)

const soon = { timeout: 30_000 }

test.serial('queues travel inside messages, nested, also inside messages that wait in queues inside messages', async t => {
  const before = memoryUsage().objects
  {
    using outer = new Queue<unknown>()
    {
      using middle = new Queue<unknown>()
      using inner = new Queue<string>()
      inner.putNowait('deep')
      middle.putNowait({ list: [new Map([['queue', inner]]), { same: inner }] })
      outer.putNowait([middle])
    }
    // Nobody has the two open: the messages that carry them keep them.
    t.is(memoryUsage().objects, before + 3)
    using middle = (outer.getNowait() as [Queue<unknown>])[0]
    const { list } = middle.getNowait() as { list: [Map<string, Queue<string>>, { same: Queue<string> }] }
    const inner = list[0].get('queue')
    t.is(inner, list[1].same, 'one object in one message is one object')
    t.is(inner?.getNowait(), 'deep')
    inner?.close()
    t.is(memoryUsage().objects, before + 2)
  }
  t.is(memoryUsage().objects, before)
})

test.serial('a message that is dropped lets go of the queues that it carries, whole chains of them', t => {
  const before = memoryUsage().objects
  let head = new Queue<unknown>()
  for (let k = 0; k < 50; k += 1) {
    const next = new Queue<unknown>()
    next.putNowait(head)
    head.close()
    head = next
  }
  t.is(memoryUsage().objects, before + 51)
  head.close()
  t.is(memoryUsage().objects, before)
})

test.serial('a queue made in a child outlives it in a message', async t => {
  using queue = new Queue<Queue<string>>()
  const child = new Process({
    target: (to: Queue) => {
      const made = new Queue<string>()
      made.putNowait('from the dead')
      to.putSync(made)
      process.kill(process.pid, 'SIGKILL')
    }, args: [queue],
  }).start()
  t.true(await child.join(soon))
  t.is(child.exitCode, -9)
  using made = await queue.get(soon)
  t.is(made.getNowait(), 'from the dead')
})

test.serial('a reply queue in each message: request and response between many', async t => {
  using jobs = new Queue<{ reply: Queue<number>, n: number } | null>()
  const servers = [1, 2].map(() => new Process({
    target: (from: typeof jobs) => {
      for (let job = from.getSync(); job !== null; job = from.getSync()) {
        job.reply.putSync(job.n * 2)
        job.reply.close()
      }
    }, args: [jobs],
  }).start())
  const { objects } = memoryUsage()
  await Promise.all(Array.from({ length: 300 }, async (_, n) => {
    using reply = new Queue<number>()
    await jobs.put({ reply, n })
    t.is(await reply.get(soon), n * 2)
  }))
  t.true(await until(() => memoryUsage().objects === objects))
  for (const _ of servers) jobs.putNowait(null)
  for (const child of servers) t.true(await child.join(soon))
})

test.serial('buffers of every size arrive whole, in both directions', async t => {
  using there = new Queue<Buffer | null>()
  using back = new Queue<Buffer>()
  const child = new Process({
    target: async (from: Queue, to: Queue) => { for (let item = from.getSync(); item !== null; item = await from.get()) to.putSync(item) }, args: [there, back],
  }).start()
  for (const size of [0, 1, 55, 56, 57, 200, 4000, 4096, 65_535, 65_536, 65_537, 1_000_000, 40_000_001]) {
    const sent = Buffer.alloc(size, size & 0xff)
    if (size > 0) sent[size - 1] = 7
    there.putNowait(sent)
    const got = await back.get(soon)
    t.true(Buffer.isBuffer(got))
    t.is(Buffer.compare(got, sent), 0, `${size} bytes`)
  }
  there.putNowait(null)
  t.true(await child.join(soon))
})

test.serial('a large buffer is not copied out: it lies in shared memory, is writable, and is freed when collected', async t => {
  using queue = new Queue<{ a: Buffer, b: Float64Array }>()
  const size = 30_000_000
  await settle()
  const before = memoryUsage().usedBytes
  queue.putNowait({ a: Buffer.alloc(size, 1), b: new Float64Array(size / 8).fill(0.5) })
  t.true(memoryUsage().usedBytes >= before + 2 * size)
  const external = process.memoryUsage().arrayBuffers
  let got: { a: Buffer, b: Float64Array } | null = queue.getNowait()
  t.true(memoryUsage().usedBytes >= before + 2 * size, 'still there: shown, not copied')
  t.is(got.a.length, size)
  t.is(got.b[size / 8 - 1], 0.5)
  got.a.fill(9)
  got.b[0] = 1
  t.is(got.a[size - 1], 9)
  t.true(process.memoryUsage().arrayBuffers - external < 3 * size)
  // One of the two keeps the block.
  let kept: Float64Array | null = got.b
  got = null
  await new Promise(setImmediate)
  collect()
  t.true(memoryUsage().usedBytes >= before + size)
  t.is(kept[1], 0.5)
  kept = null
  t.true(await until(() => { collect(); return memoryUsage().usedBytes <= before }))
})

test.serial('what the sender writes after put does not arrive', async t => {
  using queue = new Queue<Buffer>()
  const bytes = Buffer.alloc(1_000_000, 1)
  queue.putNowait(bytes)
  bytes.fill(2)
  const got = await queue.get(soon)
  t.true(got.every(byte => byte === 1))
})

test.serial('megabytes pass through in bounded memory', async t => {
  using queue = new Queue<Buffer>(4)
  const child = new Process({ target: async (to: Queue) => { for (let k = 0; k < 200; k += 1) await to.put(Buffer.alloc(1_000_000, k)) }, args: [queue] }).start()
  await settle()
  let most = 0
  for (let k = 0; k < 200; k += 1) {
    const got = await queue.get(soon)
    t.is(got[999_999], k)
    if (k % 10 === 0) collect()
    most = Math.max(most, memoryUsage().usedBytes)
  }
  t.true(most < 60_000_000, `${most} bytes at most`)
  t.true(await child.join(soon))
})

test.serial('functions, classes and their instances travel, and errors with their class', async t => {
  using queue = new Queue<unknown>()
  const factor = 3
  class Point {
    constructor(readonly x: number) {}
    times(by: number): number { return this.x * by }
  }
  queue.putNowait({ fn: (n: number) => n * factor, point: new Point(4), Point, error: new RangeError('r', { cause: 'c' }) })
  const got = queue.getNowait() as { fn: (n: number) => number, point: Point, Point: typeof Point, error: RangeError }
  t.is(got.fn(5), 15)
  t.is(got.point.times(2), 8)
  t.is(new got.Point(1).times(7), 7)
  t.true(got.error instanceof RangeError)
  t.is(got.error.cause, 'c')
  await Promise.resolve()
})

test.serial('queues and buffers that are never closed are collected', async t => {
  const { out, err } = await run('collected.mjs', [], { execArgv: ['--expose-gc'] })
  t.is(err, '')
  t.is(out.trim(), 'objects 0, bytes as before')
})

test.serial('the memory of items that nobody takes goes with the queue', async t => {
  await settle()
  const before = memoryUsage()
  const queue = new Queue<unknown>()
  for (let k = 0; k < 5000; k += 1) queue.putNowait(k % 10 === 0 ? Buffer.alloc(2000) : { k })
  queue.close()
  const after = memoryUsage()
  t.deepEqual([after.objects, after.usedBytes], [before.objects, before.usedBytes])
  t.deepEqual(native.checkFamily(), [])
})
