// Semaphores: counting, limits, permits of those that end.

import { inspect } from 'node:util'
import test from 'ava'
import { BoundedSemaphore, ClosedError, fromToken, Process, Queue, Semaphore, StateError, TimeoutError, toToken } from '#src/index.js'
import { until } from './helpers/programs.js'
import { leavesNothing } from './helpers/settled.js'
import { inThread } from './helpers/threads.js'

leavesNothing(test)

const soon = { timeout: 30_000 }

test.serial('SEM-01 a semaphore counts down and up, beyond its first value', async t => {
  using semaphore = new Semaphore(2)
  t.is(semaphore.value, 2)
  t.truthy(await semaphore.acquire())
  t.is(semaphore.value, 1)
  t.truthy(semaphore.acquireSync())
  t.is(semaphore.value, 0)
  t.is(semaphore.tryAcquire(), null)
  for (const value of [1, 2, 3, 4]) {
    semaphore.release()
    t.is(semaphore.value, value)
  }
})

test.serial('SEM-02 a bounded one refuses a release above its first value', async t => {
  using semaphore = new BoundedSemaphore(2)
  const guards = [await semaphore.acquire(), semaphore.acquireSync()]
  t.is(semaphore.value, 0)
  t.is(semaphore.tryAcquire(), null)
  semaphore.release()
  semaphore.release()
  t.is(semaphore.value, 2)
  t.throws(() => { semaphore.release() }, { instanceOf: StateError })
  // Their permits have been given back: the guards stand for nothing.
  for (const guard of guards) guard.release()
  t.is(semaphore.value, 2)
  using plain = new BoundedSemaphore({ value: 1, robust: false })
  using guard = plain.acquireSync()
  t.truthy(guard)
  plain.release()
  t.throws(() => { plain.release() }, { instanceOf: StateError })
  plain.acquireSync()
})

test.serial('SEM-03 without a permit: null at once, or after the timeout', async t => {
  using semaphore = new Semaphore(0)
  const began = performance.now()
  t.is(semaphore.tryAcquire(), null)
  t.is(semaphore.acquireSync({ timeout: 0 }), null)
  t.is(await semaphore.acquire({ timeout: -1 }), null)
  t.true(performance.now() - began < 100)
  for (const attempt of [() => semaphore.acquire({ timeout: 100 }), () => Promise.resolve(semaphore.acquireSync({ timeout: 100 }))]) {
    const start = performance.now()
    t.is(await attempt(), null)
    const ms = performance.now() - start
    t.true(ms >= 95 && ms < 500, `${ms} ms`)
  }
  await t.throwsAsync(semaphore.runExclusive(() => 1, { timeout: 10 }), { instanceOf: TimeoutError })
})

test.serial('values that are none, names that differ', t => {
  for (const value of [-1, 1.5, Number.NaN, 2 ** 20]) t.throws(() => new Semaphore(value), { instanceOf: RangeError })
  using semaphore = new Semaphore({ name: 'sem', value: 3 })
  using same = new Semaphore({ name: 'sem', value: 3 })
  t.throws(() => new Semaphore({ name: 'sem', value: 4 }), { instanceOf: StateError, message: /value 3, not 4/ })
  t.throws(() => new Semaphore({ name: 'sem', value: 3, robust: true }), { instanceOf: StateError, message: /robust/ })
  using bounded = new BoundedSemaphore({ name: 'sem', value: 4 })
  t.is(bounded.value, 4)
  same.acquireSync()
  t.is(semaphore.value, 2)
  using token = fromToken<BoundedSemaphore>(toToken(bounded))
  t.true(token instanceof BoundedSemaphore)
  t.is(inspect(token), 'BoundedSemaphore "sem" { 4 of 4 permits, robust }')
  t.is(inspect(semaphore), 'Semaphore "sem" { 2 of 3 permits }')
  using most = new Semaphore(2 ** 20 - 1)
  t.throws(() => { most.release() }, { instanceOf: StateError })
})

test.serial('a guard gives back once; scopes; close', async t => {
  const semaphore = new Semaphore(2)
  {
    using guard = await semaphore.acquire()
    t.truthy(guard)
    t.is(semaphore.value, 1)
  }
  const guard = semaphore.acquireSync()
  guard.release()
  guard.release()
  t.is(semaphore.value, 2)
  t.is(await semaphore.runExclusive(() => semaphore.value), 1)
  semaphore.close()
  t.throws(() => semaphore.value, { instanceOf: ClosedError })
  t.throws(() => { semaphore.release() }, { instanceOf: ClosedError })
})

test.serial('an abort signal ends a wait with its reason, and takes no permit after that; inspect tells of those who wait', async t => {
  for (const semaphore of [new Semaphore(1), new BoundedSemaphore(1)]) {
    const guard = semaphore.acquireSync()
    const control = new AbortController()
    const waiting = semaphore.acquire({ signal: control.signal })
    const next = semaphore.acquire()
    t.regex(inspect(semaphore), /\{ 0 of 1 permits(, robust)?, 1 waiting \}$/, 'a thread stands in line once')
    const reason = new Error('enough')
    control.abort(reason)
    t.is(await t.throwsAsync(waiting), reason)
    await t.throwsAsync(semaphore.acquire({ signal: AbortSignal.abort(reason) }), { is: reason })
    guard.release()
    const other = await next
    t.is(semaphore.value, 0)
    other.release()
    t.is(semaphore.value, 1)
    t.notRegex(inspect(semaphore), /waiting/)
    semaphore.close()
  }
})

test.serial('a signal from one process to another; permits that were taken as such stay taken', async t => {
  using signal = new Semaphore(0)
  const child = new Process({ target: (theirs: Semaphore) => { for (let k = 0; k < 3; k += 1) theirs.acquireSync() }, args: [signal] }).start()
  for (let k = 0; k < 4; k += 1) signal.release()
  t.true(await child.join(soon))
  t.is(signal.value, 1)
})

test.serial('never more inside than there are permits, tasks and processes mixed', async t => {
  using semaphore = new BoundedSemaphore(3)
  using inside = new Semaphore(0)
  const work = async (gate: Semaphore, count: Semaphore, rounds: number): Promise<number> => {
    let most = 0
    for (let round = 0; round < rounds; round += 1) {
      await gate.runExclusive(async () => {
        count.release()
        most = Math.max(most, count.value)
        await new Promise(resolve => setTimeout(resolve, round % 3))
        count.tryAcquire()
      })
    }
    return most
  }
  using results = new Queue<number>()
  const child = new Process({
    target: async (fn: typeof work, gate: Semaphore, count: Semaphore, to: Queue) => {
      to.putSync(Math.max(...await Promise.all([1, 2, 3, 4].map(() => fn(gate, count, 20)))))
    }, args: [work, semaphore, inside, results],
  }).start()
  const mine = await Promise.all([1, 2, 3, 4, 5, 6].map(() => work(semaphore, inside, 20)))
  const theirs = await results.get(soon)
  t.true(await child.join(soon))
  t.true(Math.max(...mine, theirs) <= 3, [...mine, theirs].join(' '))
  t.is(semaphore.value, 3)
})

for (const robust of [true, false]) {
  test.serial(`permits of a process that is killed ${robust ? 'come back, each once' : 'are kept by a semaphore that is not robust'}`, async t => {
    using semaphore = new Semaphore({ value: 5, robust })
    using says = new Queue<string>()
    const child = new Process({
      target: (theirs: Semaphore, to: Queue) => {
        for (let k = 0; k < 3; k += 1) theirs.acquireSync()
        theirs.release()
        to.putSync('has two')
        setInterval(() => {}, 1000)
      }, args: [semaphore, says],
    }).start()
    await says.get(soon)
    t.is(semaphore.value, 3)
    for (let k = 0; k < 3; k += 1) semaphore.acquireSync()
    const waiting = semaphore.acquire({ timeout: robust ? 5000 : 300 })
    process.kill(child.pid!, 'SIGKILL')
    const guard = await waiting
    t.is(guard !== null, robust)
    t.true(await child.join(soon))
    t.is(semaphore.value, robust ? 1 : 0)
    guard?.release()
    t.is(semaphore.value, robust ? 2 : 0)
  })
}

test.serial('a limit holds through a storm of deaths', async t => {
  using semaphore = new BoundedSemaphore(4)
  const start = (): Process => new Process({
    target: (theirs: BoundedSemaphore) => { for (;;) { const guard = theirs.acquireSync(); for (let k = 0; k < 1000; k += 1) Math.sqrt(k); guard.release() } },
    args: [semaphore], daemon: true,
  }).start()
  const workers = [start(), start(), start()]
  for (let round = 0; round < 8; round += 1) {
    await new Promise(resolve => setTimeout(resolve, 60))
    const victim = workers.shift()!
    process.kill(victim.pid!, 'SIGKILL')
    await victim.join(soon)
    workers.push(start())
  }
  for (const worker of workers) {
    process.kill(worker.pid!, 'SIGKILL')
    await worker.join(soon)
  }
  t.true(await until(() => semaphore.value === 4), `${semaphore.value}`)
  t.throws(() => { semaphore.release() }, { instanceOf: StateError })
})

test.serial('permits of a terminated worker thread come back', async t => {
  using semaphore = new BoundedSemaphore(2)
  const thread = inThread((theirs: BoundedSemaphore) => { theirs.acquireSync(); theirs.acquireSync(); setInterval(() => {}, 1000) }, semaphore)
  await thread.result
  t.is(semaphore.value, 0)
  const waiting = semaphore.acquire()
  await thread.worker.terminate()
  ;(await waiting).release()
  t.true(await until(() => semaphore.value === 2))
})

test.serial('any process may release what another acquired; a limit stays what it is', async t => {
  using semaphore = new BoundedSemaphore(1)
  const guard = semaphore.acquireSync()
  const child = new Process({ target: (theirs: BoundedSemaphore) => { theirs.release() }, args: [semaphore] }).start()
  t.true(await child.join(soon))
  t.is(semaphore.value, 1)
  const again = semaphore.acquireSync()
  guard.release()
  again.release()
  t.is(semaphore.value, 1)
})
