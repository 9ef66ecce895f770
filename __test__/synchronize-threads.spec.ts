// The rows of CPython's suite between worker threads alone: what the other files do between processes and tasks.

import { inspect } from 'node:util'
import test from 'ava'
import { Barrier, BoundedSemaphore, Condition, Event, Lock, Queue, RLock, Semaphore } from '#src/index.js'
import { until } from './helpers/programs.js'
import { leavesNothing } from './helpers/settled.js'
import { inThread, type Thread } from './helpers/threads.js'

leavesNothing(test)

const soon = { timeout: 30_000 }

/** Starts so many threads that do the same. */
function threads<A extends object[], R>(count: number, fn: (...objects: A) => R, ...objects: A): { all: Promise<Awaited<R>[]>; [Symbol.asyncDispose](): Promise<void> } {
  const started: Thread<Awaited<R>>[] = Array.from({ length: count }, () => inThread(fn, ...objects))
  const all = Promise.all(started.map(thread => thread.result))
  all.catch(() => {})
  return {
    all,
    async [Symbol.asyncDispose]() { await Promise.all(started.map(thread => thread.worker.terminate())) },
  }
}

function drain<T>(queue: Queue<T>): T[] {
  const all: T[] = []
  for (let item = queue.tryGet(); item !== undefined; item = queue.tryGet()) all.push(item)
  return all
}

test.serial('LOCK-01 LOCK-05 of threads: one holds it, all see that, any may release it', async t => {
  using lock = new Lock()
  {
    await using one = threads(1, (theirs: Lock) => { setInterval(() => {}, 1000); theirs.acquireSync(); return theirs.tryAcquire() === null }, lock)
    t.deepEqual(await one.all, [true])
    t.true(lock.locked)
    lock.release()
    t.false(lock.locked)
  }
  using cell = new Queue<number>()
  cell.putNowait(0)
  await using many = threads(3, (theirs: Lock, box: Queue<number>) => {
    for (let k = 0; k < 2000; k += 1) {
      const guard = theirs.acquireSync()
      box.putNowait(box.getNowait() + 1)
      guard.release()
    }
  }, lock, cell)
  await many.all
  t.is(cell.getNowait(), 6000)
})

test.serial('LOCK-02 LOCK-06 of threads: its owner alone enters again and releases', async t => {
  using lock = new RLock()
  await using one = threads(1, (theirs: RLock) => { setInterval(() => {}, 1000); theirs.acquireSync(); theirs.acquireSync(); return theirs.locked }, lock)
  t.deepEqual(await one.all, [true])
  t.is(lock.tryAcquire(), null)
  t.is(lock.acquireSync({ timeout: 20 }), null)
  t.throws(() => { lock.release() }, { message: /another owner/ })
  t.true(lock.locked)
})

test.serial('SEM-01 SEM-02 of threads: permits of one are given back by another, up to a bound', async t => {
  using semaphore = new BoundedSemaphore(2)
  await using one = threads(1, (theirs: Semaphore) => { setInterval(() => {}, 1000); theirs.acquireSync(); theirs.acquireSync(); return theirs.tryAcquire() === null }, semaphore)
  t.deepEqual(await one.all, [true])
  t.is(semaphore.value, 0)
  semaphore.release()
  semaphore.release()
  t.is(semaphore.value, 2)
  t.throws(() => { semaphore.release() }, { message: /more often than acquired/ })
})

test.serial('EVENT-01 of threads: all who wait go on, and wait again once it is cleared', async t => {
  using event = new Event()
  using went = new Queue<boolean>()
  await using many = threads(3, (theirs: Event, to: Queue<boolean>) => {
    to.putSync(theirs.waitSync({ timeout: 30_000 }))
    while (theirs.isSet());
    to.putSync(theirs.waitSync({ timeout: 30_000 }))
  }, event, went)
  t.true(await until(() => inspect(event).includes('3 waiting')))
  t.is(went.qsize(), 0)
  event.set()
  t.true(await until(() => went.qsize() === 3))
  event.clear()
  t.true(await until(() => inspect(event) === 'Event { unset, 3 waiting }'))
  t.is(went.qsize(), 3)
  event.set()
  await many.all
  t.deepEqual(drain(went), Array.from({ length: 6 }, () => true))
})

test.serial('COND-02 COND-03 of threads: six are late, then two and four are notified', async t => {
  using condition = new Condition()
  using woken = new Queue<boolean>()
  {
    await using late = threads(6, (theirs: Condition) => {
      const guard = theirs.acquireSync()
      const isNotified = theirs.waitSync({ timeout: 50 })
      guard.release()
      return isNotified
    }, condition)
    t.deepEqual(await late.all, Array.from({ length: 6 }, () => false))
  }
  t.is(inspect(condition), 'Condition { 0 waiting, Lock unlocked }')
  await using six = threads(6, (theirs: Condition, to: Queue<boolean>) => {
    const guard = theirs.acquireSync()
    to.putSync(theirs.waitSync())
    guard.release()
  }, condition, woken)
  t.true(await until(() => inspect(condition).includes('{ 6 waiting'), 20_000))
  for (const [n, all] of [[2, 2], [4, 6], [3, 6]] as const) {
    await condition.runExclusive(() => { condition.notify(n) })
    t.true(await until(() => woken.qsize() === all))
    await new Promise(resolve => setTimeout(resolve, 30))
    t.is(woken.qsize(), all)
  }
  await six.all
  t.deepEqual(drain(woken), Array.from({ length: 6 }, () => true))
  t.is(inspect(condition), 'Condition { 0 waiting, Lock unlocked }')
})

test.serial('COND-05 of threads: two take turns for as long as they like', async t => {
  using condition = new Condition()
  using turn = new Event()
  using first = new Semaphore(1)
  await using two = threads(2, (theirs: Condition, flag: Event, one: Semaphore) => {
    const mine = one.tryAcquire() !== null
    const guard = theirs.acquireSync()
    for (let k = 0; k < 3000; k += 1) {
      theirs.waitForSync(() => flag.isSet() === mine)
      if (mine) flag.clear()
      else flag.set()
      theirs.notify()
    }
    guard.release()
  }, condition, turn, first)
  await two.all
  t.false(turn.isSet())
  t.is(inspect(condition), 'Condition { 0 waiting, Lock unlocked }')
})

test.serial('BARRIER-01 BARRIER-03 BARRIER-11 of threads: each place once a round, and nobody is ever a round ahead', async t => {
  using barrier = new Barrier(4)
  using notes = new Queue<string>()
  await using four = threads(4, (theirs: Barrier, to: Queue<string>) => {
    for (let round = 0; round < 500; round += 1) to.putSync(`${round} ${theirs.waitSync()}`)
  }, barrier, notes)
  const places = Array.from({ length: 500 }, () => new Set<string>())
  for (let k = 0; k < 4 * 500; k += 1) {
    const [round, place] = (await notes.get(soon) as string).split(' ') as [string, string]
    // All have noted the round before by the time that anyone passes this one.
    const before = places[Number(round) - 1]
    if (before !== undefined && before.size !== 4) t.fail(`round ${round} when ${before.size} have noted the one before`)
    places[Number(round)]!.add(place)
  }
  await four.all
  t.true(places.every(all => [...all].sort().join() === '0,1,2,3'))
  t.is(barrier.nWaiting, 0)
  t.false(barrier.broken)
})

test.serial('BARRIER-04 of threads: the action runs once a round, before anyone goes on', async t => {
  using ran = new Semaphore(0)
  using barrier = new Barrier(3, { action: () => { ran.release() } })
  await using three = threads(3, (theirs: Barrier, count: Semaphore) => {
    let early = 0
    for (let round = 0; round < 50; round += 1) {
      theirs.waitSync()
      if (count.value <= round) early += 1
    }
    return early
  }, barrier, ran)
  t.deepEqual(await three.all, [0, 0, 0])
  t.is(ran.value, 50)
})

for (const how of ['abort', 'reset', 'late'] as const) {
  test.serial(`BARRIER-${how === 'abort' ? '05' : how === 'reset' ? '06' : '08'} of threads: ${how} breaks the round for all who wait, and after a reset all can pass`, async t => {
    using barrier = new Barrier(how === 'late' ? 5 : 4)
    await using three = threads(3, (theirs: Barrier) => {
      try {
        theirs.waitSync()
        return 'passed'
      } catch (error) {
        return (error as Error).name
      }
    }, barrier)
    t.true(await until(() => barrier.nWaiting === 3, 20_000))
    if (how === 'late') await t.throwsAsync(barrier.wait({ timeout: 50 }), { name: 'BrokenBarrierError' })
    else barrier[how]()
    t.deepEqual(await three.all, ['BrokenBarrierError', 'BrokenBarrierError', 'BrokenBarrierError'])
    t.is(barrier.broken, how !== 'reset')
    barrier.reset()
    await using again = threads(barrier.parties - 1, (theirs: Barrier) => theirs.waitSync(), barrier)
    const mine = await barrier.wait(soon)
    t.deepEqual([...await again.all, mine].sort(), Array.from({ length: barrier.parties }, (_, place) => place))
  })
}
