// The condition: waiting for what another says, by process, thread and task.

import { inspect } from 'node:util'
import test from 'ava'
import { ClosedError, Condition, fromToken, InterruptedError, Lock, Process, Queue, RLock, Semaphore, StateError, toToken } from '#src/index.js'
import { run, until } from './helpers/programs.js'
import { leavesNothing } from './helpers/settled.js'
import { inThread } from './helpers/threads.js'

leavesNothing(test)

const soon = { timeout: 30_000 }

/** Waits until `n` are in the list of waiters. */
function waiting(condition: Condition, n: number): Promise<boolean> {
  return until(() => inspect(condition).includes(`{ ${n} waiting`))
}

/** Notifies, under the lock. */
async function notify(condition: Condition, n?: number): Promise<void> {
  await condition.runExclusive(() => { if (n === undefined) condition.notifyAll(); else condition.notify(n) })
}

/** Waits under the lock and says how that ended. */
const waiter = (theirs: Condition, to: Queue<boolean>, timeout?: number): void => {
  const guard = theirs.acquireSync()
  to.putSync(theirs.waitSync({ timeout }))
  guard.release()
}

test.serial('COND-01 each notify wakes exactly one, of a process, a thread and two tasks', async t => {
  using condition = new Condition()
  using woken = new Queue<boolean>()
  const child = new Process({ target: waiter, args: [condition, woken] }).start()
  const thread = inThread((theirs: Condition, to: Queue<boolean>) => {
    const guard = theirs.acquireSync()
    to.putSync(theirs.waitSync())
    guard.release()
  }, condition, woken)
  const tasks = [1, 2].map(async () => {
    using guard = await condition.acquire()
    t.truthy(guard)
    woken.putNowait(await condition.wait())
  })
  t.true(await waiting(condition, 4))
  await new Promise(resolve => setTimeout(resolve, 30))
  t.is(woken.qsize(), 0)
  for (let k = 1; k <= 4; k += 1) {
    await notify(condition, 1)
    t.true(await until(() => woken.qsize() === k))
    await new Promise(resolve => setTimeout(resolve, 30))
    t.is(woken.qsize(), k)
  }
  await Promise.all(tasks)
  await thread.result
  await thread.worker.terminate()
  t.true(await child.join(soon))
  t.deepEqual(await woken.getMany(4), [true, true, true, true])
  t.is(inspect(condition), 'Condition { 0 waiting, Lock unlocked }')
})

test.serial('COND-02 six time out by themselves, six others all wake on notifyAll', async t => {
  using condition = new Condition()
  using woken = new Queue<boolean>()
  const start = (timeout?: number): (() => Promise<unknown>) => {
    const children = [1, 2, 3].map(() => new Process({ target: waiter, args: [condition, woken, timeout] }).start())
    const tasks = [1, 2, 3].map(() => condition.runExclusive(async () => { woken.putNowait(await condition.wait({ timeout })) }))
    return () => Promise.all([...children.map(child => child.join(soon)), ...tasks])
  }
  await start(100)()
  t.deepEqual(await woken.getMany(6), [false, false, false, false, false, false])
  t.is(inspect(condition), 'Condition { 0 waiting, Lock unlocked }')
  const all = start()
  t.true(await waiting(condition, 6))
  await notify(condition)
  await all()
  t.deepEqual(await woken.getMany(6), [true, true, true, true, true, true])
})

test.serial('COND-03 notify(2), notify(4), notify(3) with nobody left', async t => {
  using condition = new Condition()
  using woken = new Queue<boolean>()
  const children = [1, 2, 3].map(() => new Process({ target: waiter, args: [condition, woken] }).start())
  const tasks = [1, 2, 3].map(() => condition.runExclusive(async () => { woken.putNowait(await condition.wait()) }))
  t.true(await waiting(condition, 6))
  await notify(condition, 2)
  t.true(await until(() => woken.qsize() === 2))
  await new Promise(resolve => setTimeout(resolve, 50))
  t.is(woken.qsize(), 2)
  await notify(condition, 4)
  t.true(await until(() => woken.qsize() === 6))
  await notify(condition, 3)
  for (const child of children) t.true(await child.join(soon))
  await Promise.all(tasks)
  t.is(inspect(condition), 'Condition { 0 waiting, Lock unlocked }')
})

test.serial('COND-04 a wait is late after its timeout, and holds the lock again', async t => {
  using condition = new Condition()
  using guard = await condition.acquire()
  t.truthy(guard)
  for (const attempt of [() => condition.wait({ timeout: 100 }), () => Promise.resolve(condition.waitSync({ timeout: 100 }))]) {
    const began = performance.now()
    t.false(await attempt())
    const ms = performance.now() - began
    t.true(ms >= 95 && ms < 500, `${ms} ms`)
    t.is(condition.tryAcquire(), null)
  }
})

test.serial('COND-05 waitFor ends when what another process changes and notifies makes it true', async t => {
  using condition = new Condition()
  using state = new Semaphore(0)
  const child = new Process({
    target: async (theirs: Condition, value: Semaphore) => {
      for (let k = 0; k < 4; k += 1) {
        await new Promise(resolve => setTimeout(resolve, 20))
        await theirs.runExclusive(() => { value.release(); theirs.notify() })
      }
    }, args: [condition, state],
  }).start()
  await condition.runExclusive(async () => {
    t.is(await condition.waitFor(() => state.value === 4 ? 'four' : ''), 'four')
  })
  t.true(await child.join(soon))
  const other = new Process({
    target: (theirs: Condition, value: Semaphore, done: Queue) => {
      const guard = theirs.acquireSync()
      done.putSync(theirs.waitForSync(() => value.value === 6))
      guard.release()
    }, args: [condition, state, new Queue({ name: 'cond-05' })],
  }).start()
  using done = new Queue<boolean>({ name: 'cond-05' })
  t.true(await waiting(condition, 1))
  for (let k = 0; k < 2; k += 1) await condition.runExclusive(() => { state.release(); condition.notify() })
  t.true(await done.get(soon))
  t.true(await other.join(soon))
})

test.serial('COND-06 waitFor gives its last value no earlier than the timeout, whatever is notified', async t => {
  using condition = new Condition()
  const child = new Process({
    target: async (theirs: Condition) => { for (let k = 0; k < 10; k += 1) { await new Promise(resolve => setTimeout(resolve, 20)); await theirs.runExclusive(() => { theirs.notifyAll() }) } },
    args: [condition],
  }).start()
  await condition.runExclusive(async () => {
    const began = performance.now()
    t.is(await condition.waitFor(() => 0, { timeout: 150 }), 0)
    t.is(condition.waitForSync(() => '', { timeout: 150 }), '')
    t.true(performance.now() - began >= 295)
  })
  t.true(await child.join(soon))
})

test.serial('COND-07 wait(0) and wait(100) are false, a notified one true; SIGINT throws, with the lock held', async t => {
  using condition = new Condition()
  await condition.runExclusive(async () => {
    t.false(await condition.wait({ timeout: 0 }))
    t.false(condition.waitSync({ timeout: 0 }))
    t.false(await condition.wait({ timeout: 100 }))
    setTimeout(() => { void notify(condition, 1) }, 20)
    t.true(await condition.wait())
  })
  const ended = await run('interrupted-condition.mjs')
  t.regex(ended.out, new RegExp(`threw ${InterruptedError.name} locked true\nlistener\n`))
  t.is(ended.code, 0)
})

test.serial('without the lock, waiting and notifying throw', async t => {
  using condition = new Condition()
  await t.throwsAsync(condition.wait(), { instanceOf: StateError })
  await t.throwsAsync(condition.wait({ timeout: 0 }), { instanceOf: StateError })
  t.throws(() => condition.waitSync(), { instanceOf: StateError })
  t.throws(() => { condition.notify() }, { instanceOf: StateError })
  t.throws(() => { condition.notifyAll() }, { instanceOf: StateError })
  t.throws(() => { condition.release() }, { instanceOf: StateError })
  await condition.runExclusive(() => {
    t.throws(() => { condition.notify(-1) }, { instanceOf: RangeError })
    t.throws(() => { condition.notify(1.5) }, { instanceOf: RangeError })
    condition.notify(0)
  })
  // Somebody else's is not held either.
  const child = new Process({ target: (theirs: Condition, to: Queue) => { theirs.acquireSync(); to.putSync(1); setInterval(() => {}, 1000) }, args: [condition, new Queue({ name: 'cond-theirs' })], daemon: true }).start()
  using theirs = new Queue<number>({ name: 'cond-theirs' })
  await theirs.get(soon)
  t.throws(() => { condition.notify() }, { instanceOf: StateError })
  process.kill(child.pid!, 'SIGKILL')
  t.true(await child.join(soon))
  using guard = condition.acquireSync()
  t.true(guard.ownerDied)
})

test.serial('a reentrant lock is released whole and held as before; its guards stay good', async t => {
  using lock = new RLock()
  using condition = new Condition(lock)
  const outer = lock.acquireSync()
  const inner = lock.acquireSync()
  const child = new Process({ target: (theirs: Condition) => { const guard = theirs.acquireSync(); theirs.notify(); guard.release() }, args: [condition] }).start()
  t.true(condition.waitSync(soon))
  t.regex(inspect(lock), /this thread \(0\), 2 times/)
  inner.release()
  outer.release()
  t.false(lock.locked)
  t.true(await child.join(soon))
  await lock.runExclusive(() => lock.runExclusive(async () => {
    setTimeout(() => { void notify(condition, 1) }, 10)
    t.true(await condition.wait(soon))
    t.regex(inspect(lock), /2 times/)
    t.false(await condition.wait({ timeout: 10 }))
    t.regex(inspect(lock), /2 times/)
  }))
  t.false(lock.locked)
})

test.serial('two conditions of one lock do not take each other\'s notifications', async t => {
  using lock = new Lock()
  using first = new Condition(lock)
  using second = new Condition({ lock })
  const ends: string[] = []
  const tasks = [first, second].map((condition, k) => lock.runExclusive(async () => { await condition.wait(); ends.push(`${k}`) }))
  t.true(await waiting(second, 1))
  await notify(second)
  t.true(await until(() => ends.length === 1))
  await new Promise(resolve => setTimeout(resolve, 20))
  t.deepEqual(ends, ['1'])
  await notify(first)
  await Promise.all(tasks)
  t.deepEqual(ends, ['1', '0'])
})

test.serial('a signal, and closing, reject with the lock held again', async t => {
  using lock = new Lock()
  const condition = new Condition(lock)
  const control = new AbortController()
  await lock.runExclusive(async () => {
    setTimeout(() => { control.abort(new Error('enough')) }, 20)
    await t.throwsAsync(condition.wait({ signal: control.signal }), { message: 'enough' })
    t.true(lock.locked)
    setTimeout(() => { condition.close() }, 20)
    await t.throwsAsync(condition.wait(), { instanceOf: ClosedError })
    t.true(lock.locked)
    await t.throwsAsync(condition.wait(), { instanceOf: ClosedError })
  })
  t.false(lock.locked)
})

test.serial('names and tokens find the condition with its lock', t => {
  using condition = new Condition({ name: 'cond' })
  using same = new Condition({ name: 'cond' })
  using third = fromToken<Condition>(toToken(condition))
  t.is(third.name, 'cond')
  const guard = same.acquireSync()
  t.is(condition.tryAcquire(), null)
  t.is(third.tryAcquire(), null)
  guard.release()
  using lock = new Lock()
  t.throws(() => new Condition({ name: 'cond', lock }), { instanceOf: StateError, message: /another lock/ })
})

test.serial('100 tasks of one thread lose no update under a condition, mixed with a second process', async t => {
  using condition = new Condition()
  using cell = new Queue<number>()
  cell.putNowait(0)
  const turn = (): Promise<unknown> => new Promise(resolve => setImmediate(resolve))
  const child = new Process({
    target: async (theirs: Condition, box: Queue<number>) => {
      for (let round = 0; round < 200; round += 1) {
        await theirs.runExclusive(async () => {
          const value = box.getNowait()
          if (round % 4 === 0) await new Promise(resolve => setImmediate(resolve))
          box.putNowait(value + 1)
          theirs.notify()
        })
      }
    }, args: [condition, cell],
  }).start()
  await Promise.all(Array.from({ length: 100 }, async (_, k) => {
    for (let round = 0; round < 3; round += 1) {
      using guard = await condition.acquire()
      t.truthy(guard)
      const value = cell.getNowait()
      await turn()
      cell.putNowait(value + 1)
      if (k % 3 === 0) await condition.wait({ timeout: 5 })
      else condition.notify()
    }
  }))
  t.true(await child.join(soon))
  t.is(cell.getNowait(), 500)
})

test.serial('notify never waits for waiters that are stopped or dead; those alive go on', async t => {
  using condition = new Condition()
  using woken = new Queue<boolean>()
  const children = [1, 2, 3].map(() => new Process({ target: waiter, args: [condition, woken], daemon: true }).start())
  t.true(await waiting(condition, 3))
  process.kill(children[0]!.pid!, 'SIGKILL')
  t.true(await children[0]!.join(soon))
  process.kill(children[1]!.pid!, 'SIGSTOP')
  const began = performance.now()
  await notify(condition)
  t.true(performance.now() - began < 200)
  process.kill(children[1]!.pid!, 'SIGCONT')
  t.deepEqual(await Promise.all([woken.get(soon), woken.get(soon)]), [true, true])
  for (const child of children) t.true(await child.join(soon))
})
