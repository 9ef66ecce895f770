// Whatever happens to a worker, everything that was submitted settles: the task that it had in hand with the true cause, the
// others with their results. One table: each cause by each way of submitting, in processes and, where it applies, threads.

import { pathToFileURL } from 'node:url'
import test, { type ExecutionContext } from 'ava'
import { BrokenPoolError, currentTask, Event, Pool, Queue, WorkerLostError } from '#src/index.js'
import { fixture } from './helpers/programs.js'
import { leavesNothing } from './helpers/settled.js'

leavesNothing(test)

interface Cause {
  readonly name: string
  /** What a task does with the item that is bad. */
  readonly act: (mode: string) => unknown
  /** What the rejection must be. */
  readonly check: (t: ExecutionContext, error: unknown) => void
  readonly threads: boolean
}

const lostBy = (exitCode: number, signal: NodeJS.Signals | null) => (t: ExecutionContext, error: unknown): void => {
  t.true(error instanceof WorkerLostError, String(error))
  const lost = error as WorkerLostError
  t.is(lost.exitCode, exitCode)
  t.is(lost.signal, signal)
  t.is(lost.attempt, 1)
  t.true(lost.pid > 0 && lost.pid !== process.pid)
}
const failedWith = (name: string, message: RegExp) => (t: ExecutionContext, error: unknown): void => {
  t.is((error as Error).name, name, String(error))
  t.regex((error as Error).message, message)
}

const causes: Cause[] = [
  { name: 'CFDEATH-01 SIGKILL', act: () => { process.kill(process.pid, 'SIGKILL') }, check: lostBy(-9, 'SIGKILL'), threads: false },
  { name: 'CFDEATH-09 SIGSEGV', act: () => { process.kill(process.pid, 'SIGSEGV'); for (;;); }, check: lostBy(-11, 'SIGSEGV'), threads: false },
  { name: 'SIGABRT', act: () => { process.abort() }, check: lostBy(-6, 'SIGABRT'), threads: false },
  { name: 'CFDEATH-03, CFDEATH-10 process.exit', act: () => { process.exit(99) }, check: lostBy(99, null), threads: false },
  { name: 'CFDEATH-13 process.exit while the result is sent', act: () => ({ get value() { return process.exit(7) } }), check: lostBy(7, null), threads: false },
  { name: 'CFDEATH-12 a crash while the result is sent', act: () => ({ get value() { process.kill(process.pid, 'SIGSEGV'); for (;;); } }), check: lostBy(-11, 'SIGSEGV'), threads: false },
  { name: 'an uncaught error beside the task', act: async () => new Promise(() => { setTimeout(() => { process.stderr.write = () => true; process.on('uncaughtException', () => { process.exit(5) }); throw new Error('beside') }, 1) }), check: lostBy(5, null), threads: false },
  { name: 'CFDEATH-11 a throw', act: mode => { throw new RangeError(`bad ${mode}`) }, check: failedWith('RangeError', /^bad/), threads: true },
  { name: 'a rejection', act: async mode => Promise.reject(new TypeError(`late ${mode}`)), check: failedWith('TypeError', /^late/), threads: true },
  { name: 'CFDEATH-14 an unsendable result', act: () => new WeakMap(), check: failedWith('SerializationError', /WeakMap/), threads: true },
  { name: 'an error while the result is sent', act: () => ({ get value() { throw new RangeError('in a getter') } }), check: failedWith('RangeError', /in a getter/), threads: true },
  { name: 'an unsendable error', act: () => { throw Object.assign(new Error('with a socket'), { inner: new WeakMap() }) }, check: failedWith('Error', /with a socket/), threads: true },
]

/** Ways to run `fn` on 0 … 9, of which 4 is bad: the error, and the results of the others as far as the way gives them. */
type Way = (pool: Pool, fn: (x: number) => unknown) => Promise<{ error: unknown, good: number[] | null }>

const items = Array.from({ length: 10 }, (_, k) => k)
async function gather<T>(of: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of of) all.push(item)
  return all
}

const caught = async (promise: Promise<unknown>): Promise<unknown> => promise.then(() => 'no error', (error: unknown) => error)
const split = (outcomes: PromiseSettledResult<unknown>[]): { error: unknown, good: number[] } => ({
  error: outcomes.find(outcome => outcome.status === 'rejected')?.reason,
  good: outcomes.flatMap(outcome => outcome.status === 'fulfilled' ? [outcome.value as number] : []),
})

const ways: Record<string, Way> = {
  apply: async (pool, fn) => split(await Promise.allSettled(items.map(k => pool.apply(fn, [k])))),
  applyAsync: async (pool, fn) => split(await Promise.allSettled(items.map(k => pool.applyAsync(fn, [k]).get()))),
  applySync: async (pool, fn) => split(items.map(k => {
    try {
      return { status: 'fulfilled', value: pool.applySync(fn, [k]) }
    } catch (reason) {
      return { status: 'rejected', reason }
    }
  })),
  map: async (pool, fn) => ({ error: await caught(pool.map(fn, items)), good: null }),
  mapSync: async (pool, fn) => {
    try {
      return { error: pool.mapSync(fn, items), good: null }
    } catch (error) {
      return { error, good: null }
    }
  },
  starmap: async (pool, fn) => ({ error: await caught(pool.starmap(fn, items.map(k => [k] as const))), good: null }),
  imap: async (pool, fn) => {
    const good: number[] = []
    let error: unknown
    for await (const outcome of pool.imap(fn, items, { settled: true, chunkSize: 5 })) {
      if (outcome.status === 'fulfilled') good.push(outcome.value as number)
      else {
        error = outcome.reason
        if (outcome.index !== 4) throw new Error(`item ${outcome.index} has failed`)
      }
    }
    return { error, good }
  },
  imapUnordered: async (pool, fn) => {
    const good: number[] = []
    let error: unknown
    for await (const outcome of pool.imapUnordered(fn, items, { settled: true })) {
      if (outcome.status === 'fulfilled') good.push(outcome.value as number)
      else error = outcome.reason
    }
    return { error, good }
  },
}

for (const kind of ['process', 'thread'] as const) {
  for (const { name, act, check, threads } of causes) {
    if (kind === 'thread' && !threads) continue
    test.serial(`${name}, in a ${kind}: each way of submitting`, async t => {
      await using pool = new Pool({ processes: 2, kind, stdio: 'ignore', maxRestarts: 100 })
      const fn = (x: number): unknown => x === 4 ? act('item') : x
      for (const [way, run] of Object.entries(ways)) {
        const { error, good } = await run(pool, fn)
        check(t, error)
        if (good !== null) t.deepEqual(good.sort((a, b) => a - b), items.filter(k => k !== 4), way)
      }
      t.is(await pool.apply((x: number) => x + 1, [1]), 2)
    })
  }
}

test.serial('CFDEATH-06, 07, 08 an argument that cannot be read costs its own task alone', async t => {
  await using pool = new Pool({ processes: 1, stdio: 'ignore', maxRestarts: 100, env: { ...process.env, POOL_HOSTILE: 'yes' } })
  for (const [mode, check] of [['throws', failedWith('SerializationError', /not here/)], ['exits', lostBy(4, null)], ['crashes', lostBy(-11, 'SIGSEGV')]] as const) {
    const { anything } = await import(`${pathToFileURL(fixture('hostile.mjs')).href}?${mode}`) as { anything: () => string }
    const [before, bad, after] = await Promise.allSettled([
      pool.apply((x: number) => x, [1]), pool.apply((given: () => string) => given(), [anything]), pool.apply((x: number) => x, [2]),
    ])
    t.deepEqual([before, after], [{ status: 'fulfilled', value: 1 }, { status: 'fulfilled', value: 2 }])
    check(t, (bad as PromiseRejectedResult).reason)
    const outcomes = await gather(pool.imap((given: unknown) => typeof given, [1, anything, 2], { settled: true, chunkSize: 3 }))
    t.deepEqual(outcomes.map(({ status }) => status), mode === 'throws' ? ['rejected', 'rejected', 'rejected'] : ['fulfilled', 'rejected', 'fulfilled'], mode)
  }
})

test.serial('CFDEATH-02 each task has an error of its own', async t => {
  await using pool = new Pool({ processes: 1, stdio: 'ignore', maxRestarts: 2 })
  const outcomes = await Promise.allSettled(items.map(() => pool.apply(() => { process.exit(1) })))
  const reasons = outcomes.map(outcome => outcome.status === 'rejected' ? outcome.reason as unknown : null)
  t.is(new Set(reasons).size, items.length)
  t.true(reasons.slice(2).every(reason => reason instanceof BrokenPoolError))
  t.true((reasons.at(-1) as Error).cause instanceof WorkerLostError)
  await t.throwsAsync(pool.apply(() => 1), { instanceOf: BrokenPoolError })
})

test.serial('maxRestarts counts losses in a row: a task that finishes between begins the count again', async t => {
  await using pool = new Pool({ processes: 1, stdio: 'ignore', maxRestarts: 2 })
  for (let k = 0; k < 6; k += 1) {
    await t.throwsAsync(pool.apply(() => { process.exit(1) }), { instanceOf: WorkerLostError })
    t.is(await pool.apply(() => 1), 1)
  }
})

test.serial('retries: run again after a loss, and never after an error; each attempt knows its number', async t => {
  await using pool = new Pool({ processes: 2, stdio: 'ignore' })
  t.is(await pool.apply(() => {
    const { attempt } = currentTask()!
    if (attempt < 3) process.kill(process.pid, 'SIGKILL')
    return attempt
  }, [], { retries: 2 }), 3)
  const error = await t.throwsAsync(pool.apply(() => { process.exit(2) }, [], { retries: 1 }), { instanceOf: WorkerLostError })
  t.is(error.attempt, 2)
  await t.throwsAsync(pool.apply(() => { throw new Error(`attempt ${currentTask()!.attempt}`) }, [], { retries: 5 }), { message: 'attempt 1' })
})

test.serial('one item among 10,000 kills its worker: one rejected outcome, and its index is right', async t => {
  await using pool = new Pool({ processes: 2, stdio: 'ignore' })
  for (const method of ['imap', 'imapUnordered'] as const) {
    const bad: { index: number, reason: unknown }[] = []
    let good = 0
    for await (const outcome of pool[method]((x: number) => {
      if (x === 7321) process.kill(process.pid, 'SIGKILL')
      return x
    }, Array.from({ length: 10_000 }, (_, k) => k), { settled: true })) {
      if (outcome.status === 'rejected') bad.push(outcome)
      else if (outcome.value === outcome.index) good += 1
    }
    t.is(good, 9999)
    t.is(bad.length, 1)
    t.is(bad[0]!.index, 7321)
    t.true(bad[0]!.reason instanceof WorkerLostError)
    t.is((bad[0]!.reason as WorkerLostError).index, 7321)
  }
})

test.serial('whichever item of a chunk kills its worker, it alone is lost, and with a retry nothing is', async t => {
  await using pool = new Pool({ processes: 2, stdio: 'ignore', maxRestarts: 100 })
  // Few items, which travel as they are; many numbers, which travel as bytes; and many of other kinds.
  const forty = Array.from({ length: 40 }, (_, k) => k)
  const kinds: { items: readonly (number | string)[], places: readonly number[] }[] = [
    { items: [0, 1, 2, 3], places: [0, 1, 2, 3] },
    { items: forty, places: [0, 1, 38, 39] },
    { items: forty.map(x => `${x}`), places: [0, 20, 39] },
  ]
  using killed = new Event()
  for (const { items, places } of kinds) {
    for (const place of places) {
      const fn = (x: number | string): number | string => {
        if (x === items[place] && !killed.isSet()) {
          killed.set()
          process.kill(process.pid, 'SIGKILL')
        }
        return x
      }
      for (const retries of [0, 1]) {
        killed.clear()
        const outcomes = await gather(pool.imap(fn, items, { settled: true, chunkSize: items.length, retries }))
        t.deepEqual(outcomes.map(outcome => outcome.status === 'fulfilled' ? outcome.value : outcome.index), items.map((item, k) => k === place && retries === 0 ? k : item), `${place} of ${items.length}`)
        t.is(outcomes.filter(outcome => outcome.status === 'rejected').length, 1 - retries)
      }
    }
  }
})

test.serial('the rejection comes within 100 ms of the death, and neighbours finish', async t => {
  await using pool = new Pool({ processes: 2 })
  using pids = new Queue<number>()
  const neighbour = pool.apply(async () => new Promise(resolve => { setTimeout(resolve, 600, 'done') }))
  const victim = caught(pool.apply(async (to: Queue<number>) => {
    to.putSync(process.pid)
    await new Promise(resolve => { setTimeout(resolve, 60_000) })
  }, [pids]))
  process.kill(await pids.get(), 'SIGKILL')
  const began = performance.now()
  t.true(await victim instanceof WorkerLostError)
  // The machine may be busy with other things.
  t.true(performance.now() - began < 400, `${performance.now() - began} ms`)
  t.is(await neighbour, 'done')
})

test.serial('CFSHUT-15 an initializer that throws breaks the pool; no worker is started for ever', async t => {
  for (const kind of ['process', 'thread'] as const) {
    await using pool = new Pool({ processes: 2, kind, stdio: 'ignore', initializer: () => { throw new RangeError('not today') } })
    const error = await t.throwsAsync(pool.apply(() => 1), { instanceOf: BrokenPoolError })
    t.is((error.cause as Error).message, 'not today')
    await t.throwsAsync(pool.map((x: number) => x, [1, 2]), { instanceOf: BrokenPoolError })
    t.throws(() => pool.applySync(() => 1), { instanceOf: BrokenPoolError })
  }
})

test.serial('CFDEATH-32 a worker that cannot be started breaks the pool', async t => {
  await using pool = new Pool({ processes: 2, cwd: '/nowhere/at/all' })
  const error = await t.throwsAsync(pool.apply(() => 1), { instanceOf: BrokenPoolError, message: /no worker could be started/ })
  t.is((error.cause as NodeJS.ErrnoException).code, 'ENOENT')
})

test.serial('CFDEATH-17 a worker that dies after close(): its task rejects, and close resolves', async t => {
  const pool = new Pool({ processes: 1 })
  const lost = caught(pool.apply(async () => new Promise(() => { setTimeout(() => { process.kill(process.pid, 'SIGSEGV') }, 100) })))
  const after = pool.apply(() => 5)
  await pool.close()
  t.true(await lost instanceof WorkerLostError)
  t.is(await after, 5)
})

test.serial('CFDEATH-19 a worker that dies with megabytes on their way rejects', async t => {
  await using pool = new Pool({ processes: 1, stdio: 'ignore' })
  const big = new Uint8Array(8 << 20)
  const tasks = [0, 1, 2].map(k => caught(pool.apply((_bytes: Uint8Array, at: number) => { if (at < 2) process.exit(1); return at }, [big, k])))
  const [first, second, third] = await Promise.all(tasks)
  t.true(first instanceof WorkerLostError)
  t.true(second instanceof WorkerLostError)
  t.is(third, 'no error')
})

test.serial('CFDEATH-37 terminate before any worker was started does nothing', async t => {
  const pool = new Pool(2)
  await pool.terminate()
  t.true(await pool.join())
})
