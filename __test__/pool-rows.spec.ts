// The rows about pools that stand for themselves: results that cannot be read, pools that are dropped, ended while workers retire.

import { pathToFileURL } from 'node:url'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import test from 'ava'
import { activeChildren, CancelledError, ClosedError, DeadlockError, Pool, SerializationError } from '#src/index.js'
import { cleanEnv, fixture, isChaos, isRunning, run, until } from './helpers/programs.js'
import { leavesNothing } from './helpers/settled.js'

leavesNothing(test)

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

const range = (n: number): number[] => Array.from({ length: n }, (_, k) => k)
const sleep = async (ms: number): Promise<void> => new Promise(resolve => { setTimeout(resolve, ms) })
const workersOf = (name: string): number[] => activeChildren().filter(child => child.name.startsWith(name)).map(child => child.pid!).filter(isRunning)
const reasonOf = (outcome: PromiseSettledResult<unknown>): unknown => outcome.status === 'rejected' ? outcome.reason : null

test.serial('CFDEATH-15, CFDEATH-16 a result that cannot be read here costs its own task alone', async t => {
  await using pool = new Pool({ processes: 1, env: { ...process.env } })
  process.env['POOL_HOSTILE'] = 'yes'
  t.teardown(() => { delete process.env['POOL_HOSTILE'] })
  for (const mode of ['throws', 'nothing']) {
    const give = async (url: string): Promise<unknown> => (await import(url) as { anything: unknown }).anything
    const [before, bad, after] = await Promise.allSettled([
      pool.apply((x: number) => x, [1]), pool.apply(give, [`${pathToFileURL(fixture('hostile.mjs')).href}?${mode}`]), pool.apply((x: number) => x, [2]),
    ])
    t.deepEqual([before, after], [{ status: 'fulfilled', value: 1 }, { status: 'fulfilled', value: 2 }])
    t.true(reasonOf(bad) instanceof SerializationError, String(reasonOf(bad)))
  }
})

test.serial('CFDEATH-18, CFSHUT-11 what cannot be sent rejects also when the pool is being closed, which returns at once', async t => {
  const pool = new Pool(1)
  const slow = pool.apply(async () => new Promise(resolve => { setTimeout(resolve, 200, 'done') }))
  const bad = pool.apply((x: unknown) => x, [new WeakMap()])
  const closing = pool.close()
  await t.throwsAsync(bad, { instanceOf: SerializationError })
  await t.throwsAsync(async () => pool.apply(() => 1), { instanceOf: ClosedError })
  t.is(await slow, 'done')
  await closing
})

test.serial('CFDEATH-20 tasks that are submitted faster than anybody reads settle', async t => {
  await using pool = new Pool(2)
  const big = 'x'.repeat(3000)
  const all = await Promise.all(range(5000).map(async k => pool.apply((text: string, at: number) => text.length + at, [big, k])))
  t.deepEqual(all, range(5000).map(k => 3000 + k))
})

test.serial('CFDEATH-21 any size of chunks gives results in order; one below 1 throws', async t => {
  await using pool = new Pool(2)
  for (const chunkSize of [1, 3, 7, 100, 5000]) t.deepEqual(await pool.map((x: number) => x * 2, range(100), { chunkSize }), range(100).map(x => x * 2))
  for (const chunkSize of [0, -1, 1.5]) await t.throwsAsync(async () => pool.map((x: number) => x, [1], { chunkSize }), { instanceOf: RangeError })
})

test.serial('CFDEATH-24 tasks that come two at a time need no more workers than two', async t => {
  await using pool = new Pool({ processes: 8, name: 'pairs' })
  for (let k = 0; k < 5; k += 1) {
    await Promise.all([1, 2].map(async () => pool.apply(async () => new Promise(resolve => { setTimeout(resolve, 20) }))))
  }
  t.true(workersOf('pairs').length <= 3, `${workersOf('pairs').length}`)
})

test.serial('CFDEATH-29, CFSHUT-13 a worker that retires while the pool is being closed is replaced: what is queued runs', async t => {
  const pool = new Pool({ processes: 1, maxTasksPerChild: 1 })
  const tasks = range(4).map(async x => pool.apply((y: number) => y * y, [x]))
  const closing = pool.close()
  t.deepEqual(await Promise.all(tasks), [0, 1, 4, 9])
  await closing
})

test.serial('CFDEATH-30, CFSHUT-10 a pool that is dropped does its work, also while its workers retire, and then its workers end', async t => {
  const tasks = (() => {
    const pool = new Pool({ processes: 1, maxTasksPerChild: 1, name: 'dropped' })
    return range(4).map(async x => pool.apply((y: number) => y * y, [x]))
  })()
  await sleep(20)
  collect()
  t.deepEqual(await Promise.all(tasks), [0, 1, 4, 9])
  const isGone = async (): Promise<boolean> => {
    for (let k = 0; k < 200; k += 1) {
      collect()
      await sleep(20)
      if (workersOf('dropped').length === 0) return true
    }
    return false
  }
  t.true(await isGone())
})

test.serial('CFDEATH-31 no worker that retires while the pool is ended is replaced', async t => {
  for (let k = 0; k < 5; k += 1) {
    const pool = new Pool({ processes: 2, maxTasksPerChild: 1, name: 'ended' })
    const settled = Promise.allSettled(range(20).map(async x => pool.apply((y: number) => y, [x])))
    await sleep(60 + k * 15)
    await pool.terminate()
    t.true(await pool.join())
    for (const outcome of await settled) t.true(outcome.status === 'fulfilled' || outcome.reason instanceof CancelledError)
    t.deepEqual(workersOf('ended'), [])
  }
})

test.serial('CFDEATH-35, CFDEATH-36, CFDEATH-38, CFSHUT-08 terminate stops a task that is blocked for ever, and may be called again', async t => {
  const pool = new Pool({ processes: 1, name: 'blocked', stdio: 'ignore' })
  const blocked = pool.apply(() => { for (;;) { /* Without end. */ } })
  t.true(await until(() => pool.stats().busy === 1))
  const workers = workersOf('blocked')
  await Promise.all([pool.terminate(), pool.terminate()])
  await t.throwsAsync(blocked, { instanceOf: CancelledError })
  t.false(workers.some(isRunning))
  await pool.terminate()
  await t.throwsAsync(async () => pool.apply(() => 1), { instanceOf: ClosedError })

  const broken = new Pool({ processes: 1, stdio: 'ignore', initializer: () => { throw new RangeError('no') } })
  await t.throwsAsync(broken.apply(() => 1))
  await broken.terminate()
  t.true(await broken.join())
})

test.serial('CFSHUT-03 a program that is ending cannot submit', async t => {
  const { code, out, err } = await run('pool-at-exit.mjs', [], { env: cleanEnv() })
  t.is(code, 0, err)
  t.is(out, `value 7
submitted
submitted
threw ClosedError the pool Pool-1 is closed
rejected ClosedError
rejected ClosedError
`)
})

test.serial('CFSHUT-07 a task that is cancelled just before the pool is closed does not keep it', async t => {
  const pool = new Pool(1)
  const result = pool.applyAsync(async () => new Promise(resolve => { setTimeout(resolve, 60_000) }))
  t.true(result.cancel())
  const began = performance.now()
  await pool.close()
  t.true(performance.now() - began < 3000)
  await t.throwsAsync(async () => result, { instanceOf: CancelledError })
})

test.serial('CFSHUT-18 results before the item that fails come, then its error', async t => {
  await using pool = new Pool(2)
  const seen: number[] = []
  await t.throwsAsync(async () => {
    for await (const value of pool.imap((x: number) => { if (x === 5) throw new RangeError('five'); return x }, range(10), { chunkSize: 3 })) seen.push(value)
  }, { instanceOf: RangeError, message: 'five' })
  t.deepEqual(seen, [0, 1, 2, 3, 4])
})

test.serial('CFSHUT-20 closing a pool with thousands of tasks in its queue completes them', async t => {
  const pool = new Pool(2)
  const tasks = range(3000).map(async x => pool.apply((y: number) => y + 1, [x]))
  await pool.close()
  t.deepEqual(await Promise.all(tasks), range(3000).map(x => x + 1))
})

test.serial('CFSHUT-21 there must be a worker', t => {
  for (const processes of [0, -1, 1.5, NaN]) t.throws(() => new Pool(processes), { instanceOf: RangeError })
})

test.serial('CFSHUT-25 what a callback throws is an error of the program; the others are called', async t => {
  const { out, err, code } = await run('pool-callback.mjs', [])
  t.is(code, 0, err)
  t.is(out, 'uncaught in a callback\nsecond 2\nvalues 1 2\n')
})

test.serial('POOL-17 applyAsync tells its errorCallback of an error that get throws too', async t => {
  await using pool = new Pool(1)
  const errors: unknown[] = []
  const result = pool.applyAsync(() => { throw new RangeError('bad') }, [], { errorCallback: error => errors.push(error) })
  const thrown = await t.throwsAsync(result.get(), { instanceOf: RangeError, message: 'bad' })
  t.deepEqual(errors, [thrown])
})

test.serial('POOL-36 imap without a bufferSize reads twice as many chunks as there are workers ahead', async t => {
  await using pool = new Pool(2)
  let read = 0
  function * input(): Generator<number> {
    for (;;) yield read++
  }
  const results = pool.imap((x: number) => x, input(), { chunkSize: 5 })
  await results.next()
  t.true(await until(() => read >= 21, 2000), `${read}`)
  await sleep(100)
  t.true(read <= 2 * 2 * 5 + 5 + 1, `${read}`)
  await results.return!()

  read = 0
  const all = pool.imap((x: number) => x, range(1000).values(), { bufferSize: Infinity })
  await all.next()
  await all.return!()
})

test.serial('an input without end is read no further ahead, however fast it goes', async t => {
  await using pool = new Pool(2)
  let [read, taken, ahead] = [0, 0, 0]
  function * input(): Generator<number> {
    for (;;) yield read++
  }
  for await (const _ of pool.imap((x: number) => x, input())) {
    taken += 1
    ahead = Math.max(ahead, read - taken)
    if (taken === 600_000) break
  }
  // Twice as many chunks of at most 4096 as there are workers, and what is just being read.
  t.true(ahead > 100 && ahead <= 2 * 2 * 4096 + 4096, `${ahead}`)
})

test.serial('numbers, and what comes among them, make one array', async t => {
  await using pool = new Pool({ processes: 2 })
  const items = range(1003)
  // The last chunk has too few to travel as numbers do.
  t.deepEqual(await pool.map((x: number) => x / 2, items, { chunkSize: 100 }), items.map(x => x / 2))
  // Chunks of both kinds: one whose results are numbers comes first, then one with others among them, and the other way round.
  for (const odd of [0, 500, 1002]) {
    const mixed = (x: number): unknown => x === odd ? { x } : x
    t.deepEqual(await pool.map(mixed, items, { chunkSize: 100 }), items.map(x => x === odd ? { x } : x))
  }
})

test.serial('tasks that wait for each other, 8 deep with one worker; 65 deep is refused', async t => {
  await using pool = new Pool({ kind: 'thread', processes: 1 })
  const down = async (of: Pool, again: unknown, left: number): Promise<number> => left === 0
    ? 0
    : 1 + await of.apply(again as (of: Pool, again: unknown, left: number) => Promise<number>, [of, again, left - 1])
  t.is(await pool.apply(down, [pool, down, 8]), 8)
  // Each of those that wait is a thread.
  if (isChaos) await t.throwsAsync(pool.apply(down, [pool, down, 70]), { instanceOf: DeadlockError, message: /64 one in the other/ })
})
