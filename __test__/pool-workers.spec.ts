// The workers of a pool: how they begin, when they are replaced, how they end; with the program, and with the group.

import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import { Pool, Queue } from '#src/index.js'
import { isRunning, Program, run, until } from './helpers/programs.js'
import { leavesNothing } from './helpers/settled.js'

leavesNothing(test)

const range = (n: number): number[] => Array.from({ length: n }, (_, k) => k)
const square = (x: number): number => x * x

/** Processes whose parent is that one. */
function childrenOf(pid: number): number[] {
  return readdirSync('/proc').filter(name => /^\d+$/.test(name)).map(Number).filter(child => {
    try {
      return Number(/^\d+ \(.*\) \S (\d+)/.exec(readFileSync(`/proc/${child}/stat`, 'latin1'))?.[1]) === pid
    } catch {
      return false
    }
  })
}

test.serial('POOL-32, CFSHUT-14 the initializer runs once in each worker, before its first task', async t => {
  for (const kind of ['process', 'thread'] as const) {
    using ran = new Queue<number>()
    const setUp = (to: Queue<number>, value: number): void => {
      (globalThis as { setUp?: number }).setUp = value
      to.putSync(value)
    }
    await using pool = new Pool({ processes: 2, kind, initializer: setUp, initArgs: [ran, 7] })
    const seen = await pool.map(async () => {
      await new Promise(resolve => { setTimeout(resolve, 5) })
      return (globalThis as { setUp?: number }).setUp
    }, range(60), { chunkSize: 1 })
    t.true(seen.every(value => value === 7))
    // A worker that had nothing left to do may still be starting.
    t.true(await until(() => ran.qsize() === pool.stats().workers, 10_000), `${ran.qsize()} for ${pool.stats().workers}`)
  }
})

test.serial('POOL-29, CFDEATH-26, 28 maxTasksPerChild: a worker is replaced after so many tasks, and no result is lost', async t => {
  await using pool = new Pool({ processes: 3, maxTasksPerChild: 10 })
  const pids = await pool.map((x: number) => [x, process.pid] as const, range(100), { chunkSize: 1 })
  t.deepEqual(pids.map(([x]) => x), range(100))
  t.true(new Set(pids.map(([, pid]) => pid)).size >= 10)
  await using one = new Pool({ processes: 1, maxTasksPerChild: 3 })
  const turns: number[] = []
  for (let k = 0; k < 4; k += 1) turns.push(await one.apply(() => process.pid))
  t.deepEqual([new Set(turns.slice(0, 3)).size, turns[3] === turns[0]], [1, false])
})

test.serial('POOL-30, CFDEATH-27, CFSHUT-12, 13 maxTasksPerChild 1: closing before the tasks are done completes them', async t => {
  for (const processes of [2, 4]) {
    const pool = new Pool({ processes, maxTasksPerChild: 1 })
    const results = Promise.all(range(6).map(async k => pool.apply(square, [k])))
    const failed = pool.apply(() => { throw new Error('one fails') }).then(() => 'no error', (error: unknown) => (error as Error).message)
    await pool.close()
    t.deepEqual(await results, range(6).map(square))
    t.is(await failed, 'one fails')
  }
})

test.serial('maxMemoryPerChild: a worker that has grown is replaced once idle', async t => {
  await using pool = new Pool({ processes: 1, maxMemoryPerChild: 150 << 20 })
  const grow = (mib: number): number => {
    (globalThis as { kept?: Buffer }).kept = Buffer.alloc(mib << 20, 1)
    return process.pid
  }
  const before = await pool.apply(grow, [1])
  await sleep(120)
  t.is(await pool.apply(grow, [1]), before)
  await sleep(120)
  t.is(await pool.apply(grow, [200]), before)
  t.not(await pool.apply(() => process.pid), before)
})

test.serial('minProcesses and idleTimeout: workers with nothing to do end, but for those that are kept', async t => {
  await using pool = new Pool({ processes: 3, minProcesses: 1, idleTimeout: 100 })
  await pool.map(async () => new Promise(resolve => { setTimeout(resolve, 5) }), range(150), { chunkSize: 1 })
  t.is(pool.stats().workers, 3)
  // Only while tasks are under way does a pool keep the program alive: here the test does.
  t.true(await until(() => pool.stats().workers === 1, 5000))
  await sleep(200)
  t.is(pool.stats().workers, 1)
  t.is(await pool.apply(square, [3]), 9)
})

test.serial('env, cwd, execArgv and the names of workers', async t => {
  await using pool = new Pool({ processes: 1, cwd: '/', env: { ...process.env, POOL_TEST: 'yes' }, execArgv: ['--no-warnings'], name: 'made' })
  t.deepEqual(await pool.apply(async () => {
    const { currentProcess } = await import('polyproc')
    return [process.cwd(), process.env['POOL_TEST'], process.execArgv, currentProcess().name, currentProcess().daemon]
  }), ['/', 'yes', ['--no-warnings'], 'made-1', true])
})

test.serial('POOL-35 a large pool', async t => {
  await using pool = new Pool(12)
  t.deepEqual(await pool.map(square, range(1000), { chunkSize: 5 }), range(1000).map(square))
})

test.serial('POOL-26, CFDEATH-25 nothing is kept of tasks that are done', async t => {
  await using pool = new Pool(1)
  const held = new WeakRef(await pool.apply((x: object) => x, [{ big: 'x'.repeat(100_000) }]))
  await pool.apply(square, [1])
  const { collect } = await import('./helpers/settled.js')
  t.true(await until(() => {
    collect()
    return held.deref() === undefined
  }, 3000))
})

test.serial('a worker that is killed while idle is replaced when there is work', async t => {
  await using pool = new Pool(1)
  const pid = await pool.apply(() => process.pid)
  process.kill(pid, 'SIGKILL')
  await until(() => !isRunning(pid))
  // It may have been taken for alive in this moment.
  const next = await pool.apply(() => process.pid, [], { retries: 1 })
  t.not(next, pid)
})

test.serial('workers do not end by SIGINT, SIGTERM, SIGHUP', async t => {
  await using pool = new Pool(1)
  const pid = await pool.apply(() => process.pid)
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.kill(pid, signal)
  await sleep(50)
  t.is(await pool.apply(() => process.pid), pid)
})

test.serial('POOL-19, CFSHUT-02, CFSHUT-06, POOL-28 a program that forgets its pool ends by itself, and leaves nothing', async t => {
  for (const [mode, lines] of [['idle', ['value 49', 'last']], ['running', ['value 49', 'last', 'late']], ['thread', ['value 49', 'thread 2', 'last']]] as const) {
    const { code, out, err, ms } = await run('pool-forgotten.mjs', [mode])
    t.is(code, 0, err)
    t.is(err, '')
    for (const line of lines) t.true(out.includes(line), `${mode}: ${out}`)
    t.true(ms < 15_000)
  }
  const { code } = await run('pool-forgotten.mjs', ['exit'])
  t.is(code, 3)
})

test.serial('Ctrl-C during tasks: without a listener everything is gone within a second, silently; with one that closes, what runs completes', async t => {
  const plain = new Program('pool-interrupted.mjs', ['plain'])
  await plain.said('ready')
  const workers = childrenOf(plain.pid)
  t.true(workers.length >= 2)
  const began = performance.now()
  process.kill(-plain.pid, 'SIGINT')
  const { signal, err } = await plain.ended
  t.is(signal, 'SIGINT')
  t.is(err, '')
  t.true(await until(() => !workers.some(isRunning), 2000))
  t.true(performance.now() - began < 3000)
  plain.killAll()

  const graceful = new Program('pool-interrupted.mjs', ['graceful'])
  await graceful.said('ready')
  process.kill(-graceful.pid, 'SIGINT')
  const ended = await graceful.ended
  t.is(ended.code, 0, ended.err)
  t.regex(ended.out, /joined true/)
  t.regex(ended.out, /finished 2/)
  t.is(ended.out.split('\n').filter(line => line === 'rejected CancelledError').length, 2)
  t.is(ended.err, '')
})

test.serial('close and terminate from the middle of things, many times: each ends, and leaves nothing', async t => {
  for (let k = 0; k < 12; k += 1) {
    const pool = new Pool({ processes: 2, kind: k % 3 === 2 ? 'thread' : 'process' })
    const settled = Promise.allSettled(range(20).map(async n => pool.apply(async (ms: number) => new Promise(resolve => { setTimeout(resolve, ms) }), [n])))
    await sleep(k * 20)
    const began = performance.now()
    await pool.terminate()
    t.true(await pool.join())
    t.true(performance.now() - began < 4000)
    await settled
  }
})
