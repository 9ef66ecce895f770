// Waiting: timeouts, aborts, signals, the event loop of those who wait, and process.exit in the middle of it.

import { availableParallelism, loadavg } from 'node:os'
import test from 'ava'
import { Empty, Full, Process, Queue } from '#src/index.js'
import { Program, run } from './helpers/programs.js'
import { leavesNothing } from './helpers/settled.js'

leavesNothing(test)

const soon = { timeout: 30_000 }

interface Ticking { who: string, ticks: number, items: number, seconds: number, cpu: NodeJS.CpuUsage }

/** 50 a second; on a machine that has far more to do than it can, 50 a second of what this process got of it. */
function leastTicks({ seconds, cpu }: Ticking): number {
  const isCrowded = (loadavg()[0] ?? 0) > 2 * availableParallelism()
  return 50 * (isCrowded ? (cpu.user + cpu.system) / 1e6 : seconds)
}

test.serial('a wait that is aborted rejects with the reason and takes nothing', async t => {
  using queue = new Queue<number>(1)
  const reason = new Error('enough')
  await t.throwsAsync(queue.get({ signal: AbortSignal.abort(reason) }), { is: reason })
  for (let round = 0; round < 50; round += 1) {
    const controller = new AbortController()
    const aborted = queue.get({ signal: controller.signal })
    const other = queue.get()
    if (round % 2 === 0) await new Promise(setImmediate)
    controller.abort(reason)
    queue.putNowait(round)
    t.is(await t.throwsAsync(aborted), reason)
    t.is(await other, round)
  }
  queue.putNowait(1)
  const controller = new AbortController()
  const put = queue.put(2, { signal: controller.signal })
  controller.abort(reason)
  await t.throwsAsync(put, { is: reason })
  await t.throwsAsync(queue.put(3, { signal: AbortSignal.abort(reason) }), { is: reason })
  t.is(queue.getNowait(), 1)
  t.is(queue.tryGet(), undefined)
  await t.throwsAsync(queue.get({ signal: AbortSignal.timeout(30) }), { any: true, name: 'TimeoutError' })
})

test.serial('an aborted getter’s turn passes to the next, across processes', async t => {
  using queue = new Queue<number>()
  using told = new Queue<number>()
  const child = new Process({
    target: async (from: Queue, to: Queue) => {
      to.putSync(-1)
      for (;;) {
        const item = (await from.get()) as number
        to.putSync(item)
        if (item === 99) return
      }
    }, args: [queue, told],
  }).start()
  t.is(await told.get(soon), -1)
  for (let round = 0; round < 100; round += 1) {
    const controller = new AbortController()
    const mine = queue.get({ signal: controller.signal }).catch(() => undefined)
    queue.putNowait(round)
    controller.abort()
    const here = await mine
    if (here === undefined) t.is(await told.get(soon), round)
    else {
      // Taken before the abort: it is the child's.
      t.is(here, round)
      queue.putNowait(round)
      t.is(await told.get(soon), round)
    }
  }
  t.true(await child.join(soon))
})

test.serial('timeouts: NaN is a RangeError, over 2^31 ms is long, fractions count', async t => {
  using queue = new Queue<number>()
  await t.throwsAsync(queue.get({ timeout: Number.NaN }), { instanceOf: RangeError })
  t.throws(() => queue.getSync({ timeout: Number.NaN }), { instanceOf: RangeError })
  await t.throwsAsync(queue.put(1, { timeout: Number.NaN }), { instanceOf: RangeError })
  await t.throwsAsync(queue.get({ timeout: '5' as never }), { instanceOf: RangeError })
  t.is(queue.qsize(), 0)
  const long = queue.get({ timeout: 2 ** 40 })
  await new Promise(resolve => { setTimeout(resolve, 20) })
  queue.putNowait(3)
  t.is(await long, 3)
  const began = performance.now()
  t.throws(() => queue.getSync({ timeout: 0.5 }), { instanceOf: Empty })
  t.true(performance.now() - began < 50)
})

test.serial('many waits of one thread at once are served in order, and end', async t => {
  using queue = new Queue<number>()
  const gets = Array.from({ length: 1000 }, () => queue.get(soon))
  const child = new Process({ target: (to: Queue) => { for (let k = 0; k < 1000; k += 1) to.putSync(k) }, args: [queue] }).start()
  t.deepEqual(await Promise.all(gets), Array.from({ length: 1000 }, (_, k) => k))
  t.true(await child.join(soon))
  const queues = Array.from({ length: 200 }, () => new Queue<number>())
  const waits = queues.map(each => each.get(soon))
  for (const [k, each] of queues.entries()) each.putNowait(k)
  t.deepEqual(await Promise.all(waits), queues.map((_, k) => k))
  for (const each of queues) each.close()
})

test.serial('a put wakes one getter, shutdown and close all', async t => {
  using queue = new Queue<number>()
  using told = new Queue<string>()
  const children = Array.from({ length: 3 }, (_, k) => new Process({
    target: async (from: Queue, to: Queue, sync: boolean) => {
      to.putSync('ready')
      for (;;) {
        try {
          to.putSync(`item ${String(sync ? from.getSync() : await from.get())}`)
        } catch (error) {
          to.putSync((error as Error).name)
          return
        }
      }
    }, args: [queue, told, k === 0],
  }).start())
  for (const _ of children) t.is(await told.get(soon), 'ready')
  for (let k = 0; k < 30; k += 1) {
    queue.putNowait(k)
    t.is(await told.get({ timeout: 1000 }), `item ${k}`)
  }
  const began = performance.now()
  queue.shutdown()
  for (const _ of children) t.is(await told.get({ timeout: 1000 }), 'ShutDown')
  t.true(performance.now() - began < 500)
  for (const child of children) t.true(await child.join(soon))
})

test.serial('round trips between sleepers and loops that begin other things in the same turn', async t => {
  // A descriptor that is still to be registered makes the loop look busy though it is about to sleep.
  using there = new Queue<number>()
  using back = new Queue<number>()
  const child = new Process({
    target: async (from: Queue, to: Queue) => {
      const { connect, createServer } = await import('node:net')
      const server = createServer(socket => { socket.destroy() }).listen(0)
      await new Promise(resolve => { server.on('listening', resolve) })
      const { port } = server.address() as { port: number }
      for (;;) {
        const item = (await from.get()) as number
        connect(port).on('error', () => undefined).on('close', () => undefined)
        if (item === 0) break
        to.putSync(item)
      }
      server.close()
    }, args: [there, back],
  }).start()
  for (let k = 1; k <= 200; k += 1) {
    there.putNowait(k)
    if (k % 10 === 0) await new Promise(resolve => { setTimeout(resolve, 5) })
    t.is(await back.get({ timeout: 2000 }), k)
  }
  there.putNowait(0)
  t.true(await child.join(soon))
})

test.serial('SIGINT with a listener: getSync is interrupted, the listener runs within 100 ms', async t => {
  for (const what of ['get', 'put', 'join']) {
    const program = new Program('interrupted.mjs', [what])
    await program.said('waiting')
    await new Promise(resolve => { setTimeout(resolve, 100) })
    const at = Date.now()
    process.kill(program.pid, 'SIGINT')
    const ran = Number((await program.said('listener')).split(' ')[0])
    const { code, out } = await program.ended
    program.killAll()
    t.is(code, 0)
    t.true(ran - at < 100, `${what}: ${ran - at} ms`)
    t.regex(out, /InterruptedError ERR_POLYPROC_INTERRUPTED/)
  }
})

test.serial('SIGINT without a listener ends a process in getSync; other handled signals do not cut it short', async t => {
  const plain = new Program('interrupted.mjs', ['none'])
  await plain.said('waiting')
  await new Promise(resolve => { setTimeout(resolve, 50) })
  process.kill(plain.pid, 'SIGINT')
  t.is((await plain.ended).signal, 'SIGINT')
  plain.killAll()
  const other = new Program('interrupted.mjs', ['other'])
  await other.said('waiting')
  for (let k = 0; k < 10; k += 1) {
    process.kill(other.pid, 'SIGUSR2')
    await new Promise(resolve => { setTimeout(resolve, 10) })
  }
  const { code, out } = await other.ended
  other.killAll()
  t.is(code, 0)
  t.regex(out, /waited Empty (\d+)/)
  const ms = Number(/waited Empty (\d+)/.exec(out)?.[1])
  t.true(ms >= 495 && ms < 900, `${ms} ms`)
  t.regex(out, /heard [1-9]/)
})

test.serial('saturated producer and consumer that await: a 10 ms interval in each fires at least 50 times a second', async t => {
  using queue = new Queue<number>(100)
  using told = new Queue<Ticking>()
  const producer = new Process({
    target: async (to: Queue, tell: Queue) => {
      let ticks = 0
      const timer = setInterval(() => { ticks += 1 }, 10)
      const [began, cpu] = [performance.now(), process.cpuUsage()]
      let k = 0
      while (performance.now() < began + 2000) await to.put(k++)
      clearInterval(timer)
      to.shutdown()
      tell.putSync({ who: 'producer', ticks, items: k, seconds: (performance.now() - began) / 1000, cpu: process.cpuUsage(cpu) })
    }, args: [queue, told],
  }).start()
  const consumer = new Process({
    target: async (from: Queue, tell: Queue) => {
      let ticks = 0
      let k = 0
      await from.get()
      const [began, cpu] = [performance.now(), process.cpuUsage()]
      const timer = setInterval(() => { ticks += 1 }, 10)
      for await (const _ of from) k += 1
      clearInterval(timer)
      tell.putSync({ who: 'consumer', ticks, items: k, seconds: (performance.now() - began) / 1000, cpu: process.cpuUsage(cpu) })
    }, args: [queue, told],
  }).start()
  for (let k = 0; k < 2; k += 1) {
    const ticking = await told.get(soon)
    t.true(ticking.ticks >= leastTicks(ticking), JSON.stringify(ticking))
    t.true(ticking.items > 0)
  }
  t.true(await producer.join(soon))
  t.true(await consumer.join(soon))
})

test.serial('operations that are always ready starve no timer either', async t => {
  using queue = new Queue<number>()
  let ticks = 0
  const timer = setInterval(() => { ticks += 1 }, 10)
  const [began, cpu] = [performance.now(), process.cpuUsage()]
  while (performance.now() < began + 500) {
    await queue.put(1)
    await queue.get()
  }
  clearInterval(timer)
  const ticking = { who: 'here', ticks, items: 0, seconds: (performance.now() - began) / 1000, cpu: process.cpuUsage(cpu) }
  t.true(ticks >= leastTicks(ticking), JSON.stringify(ticking))
})

test.serial('a pending wait keeps the process alive, a finished one does not', async t => {
  const alive = new Program('keeps-alive.mjs', ['pending'])
  await alive.said('ready')
  await new Promise(resolve => { setTimeout(resolve, 400) })
  t.false(alive.isOver)
  alive.killAll()
  await alive.ended
  for (const how of ['timeout', 'abort', 'taken', 'closed', 'none']) {
    const ended = await run('keeps-alive.mjs', [how])
    t.deepEqual([ended.code, ended.err], [0, ''], how)
    t.true(ended.ms < 3000)
  }
})

test.serial('who has got what it waited for stands in nobody\'s way, whichever of its waits ends last', async t => {
  using first = new Queue<number>()
  using second = new Queue<number>()
  using go = new Queue<number>()
  using acks = new Queue<number>()
  const child = new Process({
    target: async () => {
      for (let k = 0; k < 100; k += 1) {
        // One turn of the parent's event loop ends both of its waits.
        first.putSync(k)
        second.putSync(k)
        // Once they are taken this process is the one that waits.
        await go.get()
        await acks.put(await first.get() + await second.get())
      }
    },
  }).start()
  for (let k = 0; k < 100; k += 1) {
    t.deepEqual(await Promise.all([first.get(soon), second.get(soon)]), [k, k])
    await go.put(k)
    if (k % 2 === 0) await new Promise(setImmediate)
    await first.put(k)
    await second.put(1)
    t.is(await acks.get(soon), k + 1)
  }
  t.true(await child.join(soon))
  t.is(child.exitCode, 0)
})

test.serial('idle waits cost no time', async t => {
  using queue = new Queue<number>()
  const waits = Array.from({ length: 50 }, () => queue.get())
  const child = new Process({ target: (from: Queue) => { from.getSync() }, args: [queue] }).start()
  await new Promise(resolve => { setTimeout(resolve, 500) })
  const before = process.cpuUsage()
  await new Promise(resolve => { setTimeout(resolve, 1000) })
  const { user, system } = process.cpuUsage(before)
  t.true(user + system < 60_000, `${user + system} µs of CPU in a second`)
  child.kill()
  t.true(await child.join(soon))
  for (const _ of waits) queue.putNowait(1)
  await Promise.all(waits)
})

test.serial('a put that waits for room is done by the time that it resolves, and Full after its timeout', async t => {
  using queue = new Queue<number>(1)
  await queue.put(1)
  const late = queue.put(2, { timeout: 50 })
  const waiting = queue.put(3)
  await t.throwsAsync(late, { instanceOf: Full })
  t.is(queue.getNowait(), 1)
  await waiting
  t.is(queue.getNowait(), 3)
  t.true(queue.empty())
})
