// Pools: what each method gives, and how a pool ends.

import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import {
  CancelledError, ClosedError, Pool, SerializationError, StateError, ThreadPool, TimeoutError, type PoolOptions,
} from '#src/index.js'
import { until } from './helpers/programs.js'
import { leavesNothing } from './helpers/settled.js'

leavesNothing(test)

const range = (n: number): number[] => Array.from({ length: n }, (_, k) => k)
const square = (x: number): number => x * x

async function* inTime(n: number): AsyncGenerator<number> {
  for (let k = 0; k < n; k += 1) {
    await sleep(1)
    yield k
  }
}

async function gather<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}

/** Both kinds of pool, each ended before the next begins. */
async function eachKind(run: (pool: Pool, kind: string) => Promise<void>, options: PoolOptions = { processes: 2 }): Promise<void> {
  for (const kind of ['process', 'thread'] as const) {
    await using pool = new Pool({ ...options, kind })
    await run(pool, kind)
  }
}

test.serial('POOL-01 apply gives what the function returns, awaited or blocking', async t => {
  await eachKind(async pool => {
    t.is(await pool.apply(square, [7]), 49)
    t.is(await pool.apply((a: number, b: string) => a + b.length, [7, 'abc']), 10)
    t.is(await pool.apply(async () => Promise.resolve('later')), 'later')
    t.is(await pool.apply(() => undefined), undefined)
    t.is(pool.applySync(square, [8]), 64)
    t.deepEqual(await pool.apply({ module: 'node:path', export: 'join' }, ['a', 'b']), 'a/b')
  })
})

test.serial('functions of the same text are told apart by what their names mean', async t => {
  await using pool = new Pool(1)
  const common = (): (x: number) => string => (x: number) => typeof performance.now + x
  const own = (performance: { now: number }): (x: number) => string => (x: number) => typeof performance.now + x
  for (let k = 0; k < 2; k += 1) {
    t.is(await pool.apply(common(), [k]), `function${k}`)
    t.is(await pool.apply(own({ now: k }), [k]), `number${k}`)
  }
})

test.serial('POOL-02 map gives results in the order of the items', async t => {
  await eachKind(async pool => {
    t.deepEqual(await pool.map(square, range(10)), range(10).map(square))
    t.deepEqual(await pool.map(square, range(100), { chunkSize: 20 }), range(100).map(square))
    t.deepEqual(await pool.map(x => `<${x}>`, new Set(['a', 'b'])), ['<a>', '<b>'])
    t.deepEqual(await pool.map(async x => Promise.resolve(x + 1), inTime(5)), [1, 2, 3, 4, 5])
    t.deepEqual(pool.mapSync(square, range(1000)), range(1000).map(square))
    const big = await pool.map(square, range(100_000))
    t.true(big.every((value, k) => value === k * k))
    t.is(big.length, 100_000)
  })
})

test.serial('a typed array gives one of the same kind; what is no number is refused', async t => {
  await eachKind(async pool => {
    const doubles = await pool.map(x => x / 2, Float64Array.from(range(50_000)))
    t.true(doubles instanceof Float64Array)
    t.true(doubles.every((value, k) => value === k / 2))
    t.deepEqual(await pool.map(x => x + 200, Uint8Array.of(1, 100)), Uint8Array.of(201, 44))
    t.deepEqual(await pool.map(async x => Promise.resolve(x * 2n), BigInt64Array.of(1n, -5n)), BigInt64Array.of(2n, -10n))
    t.deepEqual(pool.mapSync(x => x + 1, new Int16Array(0)), new Int16Array(0))
    await t.throwsAsync(pool.map(x => String(x) as unknown as number, Float32Array.of(1)), { instanceOf: TypeError, message: /items\.values\(\)/ })
  })
})

test.serial('POOL-03, POOL-08 applyAsync and mapAsync give results that can be waited for', async t => {
  await eachKind(async pool => {
    const seven = pool.applyAsync(async (x: number) => {
      await new Promise(resolve => { setTimeout(resolve, 20) })
      return x * x
    }, [7])
    t.false(seven.ready())
    t.throws(() => seven.successful(), { instanceOf: StateError })
    t.is(await seven.get(), 49)
    t.true(seven.ready())
    t.true(seven.successful())
    t.is(pool.applyAsync(square, [3]).getSync(), 9)
    t.deepEqual(await pool.mapAsync(square, range(20)).get(), range(20).map(square))
    t.is(await pool.applyAsync(square, [5]), 25)
    t.deepEqual(await pool.starmapAsync((a: number, b: number) => a - b, [[1, 2], [5, 3]]), [-1, 2])
  })
})

test.serial('POOL-04 callbacks: only the one, once, before wait() returns', async t => {
  await eachKind(async pool => {
    const calls: unknown[] = []
    const good = pool.mapAsync(square, range(5), { callback: value => calls.push(value), errorCallback: error => calls.push(error) })
    t.true(await good.wait())
    t.deepEqual(calls, [[0, 1, 4, 9, 16]])
    const bad = pool.mapAsync((x: number) => { if (x === 3) throw new RangeError('three') }, range(5), { callback: value => calls.push(value), errorCallback: error => calls.push(error) })
    t.true(await bad.wait())
    t.is(calls.length, 2)
    t.true(calls[1] instanceof RangeError)
    t.false(bad.successful())
  })
})

test.serial('POOL-05, CFDEATH-05 what cannot be sent rejects the task, and the pool goes on', async t => {
  await eachKind(async pool => {
    await t.throwsAsync(pool.map(x => x, [1, new WeakMap() as unknown as number, 3]), { instanceOf: SerializationError })
    await t.throwsAsync(pool.apply(x => x, [new WeakMap()]), { instanceOf: SerializationError, message: /args\[0\]/ })
    t.is(await pool.apply(square, [2]), 4)
  })
})

test.serial('POOL-06, POOL-12 empty inputs are over at once', async t => {
  await eachKind(async pool => {
    t.deepEqual(await pool.mapAsync(square, [], { chunkSize: 20 }).get(), [])
    t.deepEqual(await pool.map(square, new Set<number>()), [])
    t.deepEqual(await pool.map(square, inTime(0)), [])
    for (const all of [pool.imap(square, []), pool.imapUnordered(square, [])]) t.deepEqual(await gather(all), [])
    t.deepEqual(pool.starmapSync(square, []), [])
  })
})

test.serial('POOL-07, POOL-23, POOL-25 an input that throws: its error comes through, the pool goes on', async t => {
  function* failing(after: number): Generator<number> {
    for (let k = 0; k < after; k += 1) yield k
    throw new TypeError('the input has failed')
  }
  const refused = { instanceOf: TypeError, message: 'the input has failed' }
  await eachKind(async pool => {
    await t.throwsAsync(pool.map(square, failing(0)), refused)
    await t.throwsAsync(pool.map(square, failing(30), { chunkSize: 4 }), refused)
    for (const [method, sorted] of [['imap', false], ['imapUnordered', true]] as const) {
      const seen: number[] = []
      const error = await t.throwsAsync(async () => {
        for await (const value of pool[method](square, failing(10), { chunkSize: 1 })) seen.push(value)
      }, refused)
      t.is(error.cause, undefined)
      t.deepEqual(sorted ? seen.sort((a, b) => a - b) : seen, range(10).map(square))
    }
    t.is(await pool.apply(square, [3]), 9)
  })
})

test.serial('POOL-09 get with a timeout throws TimeoutError after it', async t => {
  await eachKind(async pool => {
    await pool.apply(square, [1])
    const slow = pool.applyAsync(async () => new Promise(resolve => { setTimeout(resolve, 400) }))
    const began = performance.now()
    await t.throwsAsync(slow.get({ timeout: 50 }), { instanceOf: TimeoutError })
    t.throws(() => slow.getSync({ timeout: 20 }), { instanceOf: TimeoutError })
    t.true(performance.now() - began < 390)
    t.false(await slow.wait({ timeout: 1 }))
    await pool.terminate()
    await t.throwsAsync(slow.get(), { instanceOf: CancelledError })
  })
})

test.serial('POOL-10, POOL-31 options that cannot be meant throw', t => {
  for (const processes of [0, -1, 1.5, NaN]) t.throws(() => new Pool(processes), { instanceOf: RangeError })
  for (const maxTasksPerChild of [0, -1, 0.5, '12']) t.throws(() => new Pool({ maxTasksPerChild: maxTasksPerChild as number }), { instanceOf: RangeError })
  t.throws(() => new Pool({ initializer: 7 as never }), { instanceOf: TypeError })
  t.throws(() => new Pool({ kind: 'fibre' as never }), { instanceOf: TypeError })
  t.throws(() => new Pool('4' as never), { instanceOf: TypeError })
})

test.serial('CFDEATH-23, CFDEATH-22 workers start when there is work, and are never more than processes', async t => {
  await using pool = new Pool(3)
  t.is(pool.stats().workers, 0)
  for (let k = 0; k < 3; k += 1) await pool.apply(square, [k])
  t.is(pool.stats().workers, 1)
  const pids = new Set(await pool.map(async () => {
    await new Promise(resolve => { setTimeout(resolve, 15) })
    return process.pid
  }, range(150), { chunkSize: 1 }))
  t.is(pids.size, 3)
  t.is(pool.stats().workers, 3)
})

test.serial('POOL-11 terminate returns soon with 10,000 long tasks queued', async t => {
  await eachKind(async pool => {
    const tasks = Array.from({ length: 10_000 }, () => pool.apply(async () => new Promise(resolve => { setTimeout(resolve, 300_000) })))
    const settled = Promise.allSettled(tasks)
    await sleep(50)
    const began = performance.now()
    await pool.terminate()
    t.true(await pool.join())
    t.true(performance.now() - began < 2000)
    t.true((await settled).every(outcome => outcome.status === 'rejected' && outcome.reason instanceof CancelledError))
  }, { processes: 3 })
})

test.serial('POOL-13, CFSHUT-01, CFSHUT-09 leaving the scope waits for what was submitted; then everything rejects with ClosedError', async t => {
  await eachKind(async pool => {
    let late: Promise<number>
    {
      await using inner = new Pool(1)
      late = inner.apply(async (x: number) => {
        await new Promise(resolve => { setTimeout(resolve, 50) })
        return x
      }, [5])
      t.throws(() => inner.joinSync(), { instanceOf: StateError })
      await t.throwsAsync(inner.join(), { instanceOf: StateError })
      pool = inner
    }
    t.is(await late, 5)
    await t.throwsAsync(pool.apply(square, [1]), { instanceOf: ClosedError })
    await t.throwsAsync(pool.map(square, [1]), { instanceOf: ClosedError })
    await t.throwsAsync(pool.mapAsync(square, [1]).get(), { instanceOf: ClosedError })
    t.throws(() => pool.applySync(square, [1]), { instanceOf: ClosedError })
    t.throws(() => pool.imap(square, [1]), { instanceOf: ClosedError })
    t.true(await pool.join())
    t.true(pool.joinSync())
  })
})

test.serial('POOL-14, POOL-15, CFDEATH-04 an error arrives as what it is, with the stack of the worker', async t => {
  await eachKind(async pool => {
    const error = await t.throwsAsync(pool.apply(function thrower() {
      throw Object.assign(new RangeError('out of reach', { cause: new Error('deeper') }), { code: 'E_REACH', at: [1, 2] })
    }), { instanceOf: RangeError, message: 'out of reach' })
    const { code, at, cause } = error as RangeError & { code: string, at: number[] }
    t.deepEqual([code, at, (cause as Error).message], ['E_REACH', [1, 2], 'deeper'])
    t.regex(error.stack ?? '', /thrower/)
  })
})

test.serial('POOL-16 map waits for what runs before it throws; nothing new is begun', async t => {
  await eachKind(async pool => {
    const big = 'x'.repeat(1 << 20)
    const error = await t.throwsAsync(pool.map((x: string) => { throw new Error(x) }, [big, `${big}!`], { chunkSize: 1 }))
    t.true(error.message.length >= 1 << 20)
  })
})

test.serial('POOL-18 a result that cannot be sent is an error of that task, 20 times, with the same workers', async t => {
  await eachKind(async pool => {
    await pool.apply(square, [1])
    const before = pool.stats().workers
    for (let k = 0; k < 20; k += 1) {
      await t.throwsAsync(pool.apply(() => ({ inner: new WeakMap() })), { instanceOf: SerializationError, message: /result\.inner: a WeakMap/ })
    }
    t.is(pool.stats().workers, before)
    const items = await gather(pool.imap((x: number) => x === 2 ? new WeakMap() : x, range(4), { settled: true, chunkSize: 4 }))
    t.deepEqual(items.map(({ status }) => status), ['fulfilled', 'fulfilled', 'rejected', 'fulfilled'])
  }, { processes: 1 })
})

test.serial('POOL-20, POOL-21 starmap takes each item apart', async t => {
  await eachKind(async pool => {
    const lists = range(50).map(k => [k, 2] as const)
    t.deepEqual(await pool.starmap((a: number, b: number) => a * b, lists), range(50).map(k => k * 2))
    t.deepEqual(await pool.starmap((a: number, b: number) => a * b, lists, { chunkSize: 7 }), range(50).map(k => k * 2))
    t.deepEqual(pool.starmapSync((a: number, b: number) => a * b, lists), range(50).map(k => k * 2))
  })
})

test.serial('POOL-22, POOL-24 imap in order, imapUnordered each once', async t => {
  await eachKind(async pool => {
    t.deepEqual(await gather(pool.imap(square, range(10))), range(10).map(square))
    t.deepEqual(await gather(pool.imap(square, range(1000), { chunkSize: 100 })), range(1000).map(square))
    t.deepEqual((await gather(pool.imapUnordered(square, range(1000)))).sort((a, b) => a - b), range(1000).map(square))
    t.deepEqual(await gather(pool.imap(square, inTime(10))), range(10).map(square))
  })
})

test.serial('POOL-37 imap reads bufferSize ahead of what is taken, and no more; also at its default', async t => {
  await eachKind(async pool => {
    let read = 0
    function* endless(): Generator<number> {
      for (;;) yield read++
    }
    for (const [options, ahead] of [[{ bufferSize: 7 }, 7], [{ bufferSize: 20, chunkSize: 4 }, 20], [{}, 4], [{ chunkSize: 3 }, 12]] as const) {
      read = 0
      const results = pool.imap(square, endless(), options)
      await until(() => read >= ahead)
      await sleep(10)
      t.is(read, ahead)
      for (let taken = 1; taken <= 10; taken += 1) {
        t.is((await results.next()).value, (taken - 1) ** 2)
        await until(() => read >= taken + ahead)
        await sleep(2)
        t.is(read, taken + ahead)
      }
      await results.return?.()
      await sleep(10)
      t.is(read, 10 + ahead)
    }
    t.is(await pool.apply(square, [3]), 9)
  })
})

test.serial('leaving an imap early frees the workers', async t => {
  await using pool = new Pool({ processes: 2, killAfter: 100 })
  let closed = false
  function* endless(): Generator<number> {
    try {
      for (let k = 0; ; k += 1) yield k
    } finally {
      closed = true
    }
  }
  for await (const value of pool.imapUnordered(square, endless())) if (value > 10_000) break
  t.true(closed)
  const began = performance.now()
  t.is(await pool.apply(square, [3]), 9)
  t.true(performance.now() - began < 500)
})

test.serial('CFSHUT-04, CFSHUT-05 close completes 50 queued tasks; with cancelQueued it cancels what has not begun', async t => {
  const pool = new Pool(1)
  const all = Promise.all(range(50).map(k => pool.apply(square, [k])))
  await pool.close()
  t.deepEqual(await all, range(50).map(square))
  const other = new Pool(1)
  const some = Promise.allSettled(range(50).map(() => other.apply(async () => new Promise<number>(resolve => { setTimeout(resolve, 5, 1) }))))
  await sleep(400)
  await other.close({ cancelQueued: true })
  const outcomes = await some
  const cancelled = outcomes.filter(outcome => outcome.status === 'rejected')
  t.true(cancelled.every(({ reason }) => reason instanceof CancelledError))
  t.true(outcomes.some(({ status }) => status === 'fulfilled') || cancelled.length === 50)
})

test.serial('a synchronous program: using, mapSync, joinSync', t => {
  {
    using pool = new Pool(2)
    t.deepEqual(pool.mapSync(square, range(100)), range(100).map(square))
  }
  using threads = new ThreadPool(2)
  t.is(threads.applySync(square, [5]), 25)
})
