// What can be asked of a task: to stop, to be in time, to go first, to know itself; and tasks that submit tasks.

import { AsyncLocalStorage } from 'node:async_hooks'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import test from 'ava'
import {
  CancelledError, currentTask, Full, Pool, Process, Queue, StateError, TimeoutError, WorkerLostError,
} from '#src/index.js'
import { until } from './helpers/programs.js'
import { leavesNothing } from './helpers/settled.js'

leavesNothing(test)

const range = (n: number): number[] => Array.from({ length: n }, (_, k) => k)
const square = (x: number): number => x * x
const forEver = async (): Promise<void> => new Promise(resolve => { setTimeout(resolve, 300_000) })

test.serial('CFSHUT-22, 23, 24 cancel stops a task, queued or running; false once it has settled', async t => {
  await using pool = new Pool({ processes: 1, killAfter: 50 })
  const calls: unknown[] = []
  const running = pool.applyAsync(forEver, [], { errorCallback: error => calls.push(error) })
  const queued = pool.applyAsync(square, [3], { errorCallback: error => calls.push(error) })
  await until(() => pool.stats().busy === 1)
  t.true(queued.cancel())
  t.false(queued.cancel())
  t.true(running.cancel(new RangeError('enough')))
  await t.throwsAsync(queued.get(), { instanceOf: CancelledError })
  await t.throwsAsync(running.get(), { instanceOf: RangeError, message: 'enough' })
  t.is(calls.length, 2)
  const done = pool.applyAsync(square, [5])
  t.is(await done, 25)
  t.false(done.cancel())
})

test.serial('a task that looks at its signal stops in peace: its worker goes on', async t => {
  await using pool = new Pool({ processes: 1, killAfter: 5000 })
  const pid = await pool.apply(() => process.pid)
  const aborter = new AbortController()
  using said = new Queue<string>()
  const stopped = pool.apply(async (to: Queue<string>) => {
    const { signal } = currentTask()!
    to.putSync('begun')
    await new Promise<void>(resolve => { signal.addEventListener('abort', () => { resolve() }, { once: true }) })
    to.putSync((signal.reason as Error).name)
  }, [said], { signal: aborter.signal })
  t.is(await said.get(), 'begun')
  aborter.abort(new TypeError('not wanted'))
  await t.throwsAsync(stopped, { instanceOf: TypeError, message: 'not wanted' })
  t.is(await said.get({ timeout: 2000 }), 'CancelledError')
  t.is(await pool.apply(() => process.pid), pid)
  await t.throwsAsync(pool.apply(square, [1], { signal: AbortSignal.abort(new RangeError('before')) }), { message: 'before' })
})

test.serial('timeout: counts from submission, ends what runs after killAfter, and leaves the neighbours alone', async t => {
  await using pool = new Pool({ processes: 2, killAfter: 50, stdio: 'ignore' })
  await Promise.all([pool.apply(square, [1]), pool.apply(square, [2])])
  const neighbour = pool.apply(async () => new Promise(resolve => { setTimeout(resolve, 400, 'done') }))
  const began = performance.now()
  const stuck = pool.apply(() => { for (;;); }, [], { timeout: 100 })
  const waits = pool.apply(square, [3], { timeout: 5 })
  await t.throwsAsync(waits, { instanceOf: TimeoutError })
  await t.throwsAsync(stuck, { instanceOf: TimeoutError })
  t.true(performance.now() - began >= 99)
  t.is(await neighbour, 'done')
  t.is(await pool.apply(square, [4]), 16)
  await t.throwsAsync(pool.map(forEver, range(4), { timeout: 50 }), { instanceOf: TimeoutError })
  t.throws(() => pool.applySync(forEver, [], { timeout: 30 }), { instanceOf: TimeoutError })
  t.throws(() => pool.mapSync(forEver, range(3), { timeout: 30 }), { instanceOf: TimeoutError })
  t.is(await pool.apply(square, [5]), 25)
})

test.serial('CFSHUT-19 imap with a timeout yields what is ready and throws for the slow item', async t => {
  await using pool = new Pool({ processes: 2, killAfter: 20 })
  await pool.apply(square, [1])
  const seen: unknown[] = []
  await t.throwsAsync(async () => {
    for await (const value of pool.imap(async (ms: number) => {
      await new Promise(resolve => { setTimeout(resolve, ms) })
      return ms
    }, [0, 0, 30_000], { chunkSize: 1, timeout: 400 })) seen.push(value)
  }, { instanceOf: TimeoutError })
  t.deepEqual(seen, [0, 0])
})

test.serial('priority: higher first, in order within one, and none waits for ever', async t => {
  await using pool = new Pool(1)
  using gate = new Queue<number>()
  const blocker = pool.apply((from: Queue<number>) => from.getSync(), [gate])
  await until(() => pool.stats().busy === 1)
  using order = new Queue<string>()
  const say = (name: string, to: Queue<string>): void => { to.putSync(name) }
  const tasks = ([['low', -4], ['a', 0], ['high', 3], ['b', 0], ['mid', 1], ['high2', 3]] as const).map(async ([name, priority]) => pool.apply(say, [name, order], { priority }))
  gate.putNowait(1)
  await Promise.all([blocker, ...tasks])
  t.deepEqual(await order.getMany(6), ['high', 'high2', 'mid', 'a', 'b', 'low'])
  for (const priority of [4, -5, 0.5, NaN]) await t.throwsAsync(pool.apply(square, [1], { priority }), { instanceOf: RangeError })
  // Ageing: among hundreds of the highest the lowest has its turn. They are all there before the worker looks at one.
  const held = pool.apply((from: Queue<number>, to: Queue<string>) => {
    to.putSync('held')
    return from.getSync()
  }, [gate, order])
  t.is(await order.get(), 'held')
  const flood = range(300).map(async () => pool.apply(say, ['high', order], { priority: 3 }))
  const patient = pool.apply(say, ['low', order], { priority: -4 })
  t.true(await until(() => pool.stats().queued === 301))
  gate.putNowait(1)
  await Promise.all([held, patient, ...flood])
  const place = (await order.getMany(301)).indexOf('low')
  t.true(place >= 0 && place < 32, `the lowest was number ${place} of 301`)
})

test.serial('maxQueue: over it apply rejects with Full at once', async t => {
  await using pool = new Pool({ processes: 1, maxQueue: 3 })
  using gate = new Queue<number>()
  const first = pool.apply((from: Queue<number>) => from.getSync(), [gate])
  await until(() => pool.stats().queued === 0)
  // What has a priority counts once, as the rest.
  const waiting = range(3).map(async k => pool.apply(square, [k], { priority: k }))
  t.is(pool.stats().queued, 3)
  await t.throwsAsync(pool.apply(square, [9]), { instanceOf: Full })
  t.throws(() => pool.applySync(square, [9]), { instanceOf: Full })
  gate.putNowait(0)
  t.deepEqual(await Promise.all([first, ...waiting]), [0, 0, 1, 4])
})

test.serial('concurrency: tasks that wait share a worker, and each knows itself', async t => {
  await using pool = new Pool({ processes: 1, concurrency: 10 })
  await pool.apply(square, [1])
  const began = performance.now()
  const ids = await Promise.all(range(10).map(async k => pool.apply(async () => {
    const before = currentTask()!.context
    await new Promise(resolve => { setTimeout(resolve, 100) })
    return [before, currentTask()!.context]
  }, [], { context: k })))
  t.deepEqual(ids, range(10).map(k => [k, k]))
  t.true(performance.now() - began < 900)
  t.is(pool.stats().workers, 1)
})

test.serial('currentTask, context, and the AsyncLocalStorage of whoever submits', async t => {
  t.is(currentTask(), null)
  await using pool = new Pool(1)
  const about = async (): Promise<unknown> => {
    const { id, attempt, context, signal } = currentTask()!
    await Promise.resolve()
    return [typeof id, attempt, context, signal.aborted, currentTask()!.id === id]
  }
  t.deepEqual(await pool.apply(about, [], { context: { user: 'ann' } }), ['number', 1, { user: 'ann' }, false, true])
  t.deepEqual(await pool.apply(about), ['number', 1, undefined, false, true])
  t.deepEqual(await pool.map(() => currentTask()!.context, [1, 2], { context: 'c' }), ['c', 'c'])
  const storage = new AsyncLocalStorage<string>()
  await Promise.all(['one', 'two'].map(async name => storage.run(name, async () => {
    await pool.apply(square, [3])
    t.is(storage.getStore(), name)
    await new Promise<void>(resolve => { void pool.applyAsync(square, [3], { callback: () => { resolve() } }) })
    t.is(storage.getStore(), name)
  })))
})

test.serial('stats and diagnostics_channel tell what was submitted, begun, ended, lost', async t => {
  const events: [string, Record<string, unknown>][] = []
  const names = ['task:submit', 'task:start', 'task:end', 'task:lost', 'worker:start', 'worker:end'] as const
  const listeners = names.map(name => [`polyproc:${name}`, (message: unknown) => { events.push([name, message as Record<string, unknown>]) }] as const)
  for (const [name, listener] of listeners) subscribe(name, listener)
  try {
    const pool = new Pool({ processes: 1, name: 'told', stdio: 'ignore' })
    await pool.apply(square, [2])
    await t.throwsAsync(pool.apply(() => { throw new Error('no') }))
    await t.throwsAsync(pool.apply(() => { process.exit(1) }), { instanceOf: WorkerLostError })
    // What was lost lies in the queue until a worker finds it.
    t.true(await until(() => pool.stats().queued === 0))
    const { workers, done, failed, lost, waitTime, runTime } = pool.stats()
    t.deepEqual([done, failed, lost], [1, 1, 1])
    t.true(workers <= 1)
    t.is(waitTime.count, 2)
    t.true(runTime.max > 0 && runTime.percentile(50) <= runTime.max)
    await pool.close()
    const of = (name: string): Record<string, unknown>[] => events.filter(([what]) => what === name).map(([, message]) => message)
    t.is(of('task:submit').length, 3)
    t.is(of('task:start').length, 3)
    t.is(of('task:end').length, 2)
    t.deepEqual(of('task:end').map(({ failed: hasFailed, pool: name }) => [hasFailed, name]), [[false, 'told'], [true, 'told']])
    t.is(of('task:lost').length, 1)
    t.true(of('worker:start').length >= 1)
    t.is(of('worker:start').length, of('worker:end').length)
    t.true(of('task:start').every(({ pid }) => typeof pid === 'number' && pid > 0))
  } finally {
    for (const [name, listener] of listeners) unsubscribe(name, listener)
  }
})

test.serial('onProgress tells how far a map is', async t => {
  await using pool = new Pool(2)
  const told: [number, number | undefined][] = []
  await pool.map(square, range(500), { onProgress: (done, total) => told.push([done, total]) })
  t.deepEqual(told.at(-1), [500, 500])
  t.true(told.every(([done], k) => k === 0 || done >= told[k - 1]![0]))
  // No terminal here, so no bar.
  t.deepEqual(await pool.map(square, range(3), { progress: 'squares' }), [0, 1, 4])
})

test.serial('a task that waits for tasks of its own pool does not hold a worker: eight deep on two, awaited and blocking', async t => {
  await using pool = new Pool({ processes: 2, maxRestarts: 100 })
  const deep = async (n: number): Promise<number> => n === 0 ? 0 : 1 + (await pool.map(deep, [n - 1, 0]))[0]!
  t.is(await pool.apply(deep, [8]), 8)
  const deepSync = (n: number): number => n === 0 ? 0 : 1 + pool.applySync(deepSync, [n - 1])
  t.is(await pool.apply(deepSync, [4]), 4)
  // Those that were started for it end, and no more than `processes` stay.
  t.true(await until(() => pool.stats().workers <= 2, 8000), `${pool.stats().workers}`)
})

test.serial('threads that wait for tasks of their own pool make room as well', async t => {
  await using pool = new Pool({ kind: 'thread', processes: 1 })
  const deep = async (n: number): Promise<number> => n === 0 ? 0 : 1 + await pool.apply(deep, [n - 1])
  t.is(await pool.apply(deep, [3]), 3)
})

test.serial('a pool is sent, and used elsewhere; it is closed where it was made', async t => {
  await using pool = new Pool(2)
  t.is(await pool.apply(square, [2]), 4)
  using answers = new Queue<unknown>()
  const child = new Process({
    target: async (given: Pool, to: Queue<unknown>) => {
      to.putSync(await given.map((x: number) => [x * x, process.ppid], [1, 2, 3]))
      try {
        await given.close()
      } catch (error) {
        to.putSync((error as Error).name)
      }
    }, args: [pool, answers],
  }).start()
  t.deepEqual(await answers.get({ timeout: 10_000 }), [[1, process.pid], [4, process.pid], [9, process.pid]])
  t.is(await answers.get({ timeout: 5000 }), new StateError('').name)
  await child.join()
  t.is(await pool.apply(square, [4]), 16)
})

test.serial('POOL-34 a pool inside a child, and inside a task', async t => {
  await using pool = new Pool(1)
  t.deepEqual(await pool.apply(async () => {
    await using inner = new Pool(1)
    return await inner.map((x: number) => x + 1, [1, 2])
  }), [2, 3])
})
