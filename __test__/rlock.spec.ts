// The reentrant lock: its owners are threads and asynchronous contexts.

import { inspect } from 'node:util'
import test from 'ava'
import { DeadlockError, fromToken, Process, Queue, RLock, StateError, TimeoutError, toToken } from '#src/index.js'
import { until } from './helpers/programs.js'
import { leavesNothing } from './helpers/settled.js'
import { inThread } from './helpers/threads.js'

leavesNothing(test)

const soon = { timeout: 30_000 }
const turn = (): Promise<unknown> => new Promise(resolve => setImmediate(resolve))

test.serial('LOCK-02 the owner acquires three times and releases as often; a fourth release throws', t => {
  using lock = new RLock()
  const guards = [lock.acquireSync(), lock.acquireSync(), lock.tryAcquire()]
  t.true(lock.locked)
  lock.release()
  lock.release()
  t.true(lock.locked)
  lock.release()
  t.false(lock.locked)
  t.throws(() => { lock.release() }, { instanceOf: StateError })
  // Released one by one without their guards, which give nothing back any more.
  const again = lock.acquireSync()
  for (const guard of guards) guard?.release()
  t.true(lock.locked)
  again.release()
  t.false(lock.locked)
})

test.serial('LOCK-04 nested scopes; truthy guards', async t => {
  using lock = new RLock()
  {
    using outer = lock.acquireSync()
    {
      using inner = lock.acquireSync()
      t.truthy(outer)
      t.truthy(inner)
    }
    t.true(lock.locked)
  }
  t.false(lock.locked)
  t.is(await lock.runExclusive(() => lock.runExclusive(async () => {
    await turn()
    using inner = lock.acquireSync()
    t.truthy(inner)
    return lock.locked
  })), true)
  t.false(lock.locked)
})

test.serial('LOCK-06 another process sees that it is locked, and may neither acquire nor release it', async t => {
  using lock = new RLock({ name: 'six' })
  using says = new Queue<unknown>()
  lock.acquireSync()
  const child = new Process({
    target: (theirs: RLock, to: Queue) => {
      let refused = ''
      try { theirs.release() } catch (error) { refused = (error as Error).name }
      to.putSync([theirs.locked, theirs.tryAcquire() === null, refused])
      theirs.acquireSync().release()
      to.putSync(theirs.locked)
    }, args: [lock, says],
  }).start()
  t.deepEqual(await says.get(soon), [true, true, 'StateError'])
  lock.release()
  t.is(await says.get(soon), false)
  t.true(await child.join(soon))
})

test.serial('LOCK-08 the printed form names owner and depth', async t => {
  using lock = new RLock()
  t.is(inspect(lock), 'RLock { unlocked }')
  lock.acquireSync()
  lock.acquireSync()
  t.regex(inspect(lock), /^RLock \{ locked by MainProcess \(process \d+\), this thread \(0\), 2 times \}$/)
  lock.release()
  lock.release()
  const thread = inThread((theirs: RLock) => { theirs.acquireSync(); theirs.acquireSync(); setInterval(() => {}, 1000) }, lock)
  await thread.result
  t.regex(inspect(lock), /another thread of it \(member \d+\), 2 times/)
  await thread.worker.terminate()
})

test.serial('an async acquire is an owner by itself, which release in this thread gives back', async t => {
  using lock = new RLock()
  const first = await lock.acquire()
  t.is(await lock.acquire({ timeout: 20 }), null)
  t.is(lock.tryAcquire(), null)
  t.is(lock.acquireSync({ timeout: 20 }), null)
  t.throws(() => lock.acquireSync(), { instanceOf: DeadlockError })
  first.release()
  const second = await lock.acquire()
  lock.release()
  t.false(lock.locked)
  const third = lock.acquireSync()
  second.release()
  t.true(lock.locked)
  t.is(await lock.acquire({ timeout: 0 }), null)
  third.release()
})

test.serial('runExclusive belongs to its context: no other task enters, releases, or inherits it afterwards', async t => {
  using lock = new RLock()
  const seen: string[] = []
  let later: Promise<void> | undefined
  let open: () => void = () => {}
  const gate = new Promise<void>(resolve => { open = resolve })
  const first = lock.runExclusive(async () => {
    seen.push('first begins')
    later = (async () => {
      await first
      // The context that this one came from is over: it is like any other task now.
      await Promise.all([1, 2].map(k => lock.runExclusive(async () => {
        seen.push(`later ${k} begins`)
        await turn()
        seen.push(`later ${k} ends`)
      })))
    })()
    await gate
    seen.push('first ends')
  })
  await turn()
  t.throws(() => { lock.release() }, { instanceOf: StateError })
  t.throws(() => lock.acquireSync(), { instanceOf: DeadlockError })
  await t.throwsAsync(lock.runExclusive(() => 1, { timeout: 1 }), { instanceOf: TimeoutError })
  const second = lock.runExclusive(async () => { seen.push('second') })
  open()
  await Promise.all([first, second])
  await later
  t.deepEqual(seen, ['first begins', 'first ends', 'second', 'later 1 begins', 'later 1 ends', 'later 2 begins', 'later 2 ends'])
})

test.serial('100 tasks of one thread lose no update, by acquire, by runExclusive and mixed with a second process', async t => {
  using lock = new RLock()
  using cell = new Queue<number>()
  cell.putNowait(0)
  const child = new Process({
    target: async (theirs: RLock, box: Queue<number>) => {
      for (let round = 0; round < 200; round += 1) {
        await theirs.runExclusive(() => theirs.runExclusive(async () => {
          const value = box.getNowait()
          if (round % 4 === 0) await new Promise(resolve => setImmediate(resolve))
          box.putNowait(value + 1)
        }))
      }
    }, args: [lock, cell],
  }).start()
  const add = async (): Promise<void> => {
    const value = cell.getNowait()
    await turn()
    cell.putNowait(value + 1)
  }
  await Promise.all(Array.from({ length: 100 }, async (_, k) => {
    for (let round = 0; round < 4; round += 1) {
      if (k % 2 === 0) {
        const guard = await lock.acquire()
        await add()
        guard.release()
      } else await lock.runExclusive(() => lock.runExclusive(add))
    }
  }))
  t.true(await child.join(soon))
  t.is(cell.getNowait(), 600)
})

test.serial('an owner that dies at any depth leaves it to the next, ownerDied, at depth one', async t => {
  using lock = new RLock()
  using says = new Queue<string>()
  const child = new Process({
    target: (theirs: RLock, to: Queue) => {
      for (let depth = 0; depth < 3; depth += 1) theirs.acquireSync()
      to.putSync('held')
      setInterval(() => {}, 1000)
    }, args: [lock, says],
  }).start()
  await says.get(soon)
  const waiting = lock.acquire()
  process.kill(child.pid!, 'SIGKILL')
  const guard = await waiting
  t.true(guard.ownerDied)
  guard.release()
  t.false(lock.locked)
  t.true(await child.join(soon))
  const thread = inThread((theirs: RLock) => { theirs.acquireSync(); theirs.acquireSync(); setInterval(() => {}, 1000) }, lock)
  await thread.result
  t.true(lock.locked)
  await thread.worker.terminate()
  t.true(await until(() => !lock.locked))
  using next = lock.acquireSync()
  t.true(next.ownerDied)
})

test.serial('a signal ends the wait of another task with its reason, and nothing is acquired after that', async t => {
  using lock = new RLock()
  const guard = await lock.acquire()
  const control = new AbortController()
  const waiting = lock.acquire({ signal: control.signal })
  const reason = new Error('enough')
  control.abort(reason)
  t.is(await t.throwsAsync(waiting), reason)
  await t.throwsAsync(lock.acquire({ signal: AbortSignal.abort(reason) }), { is: reason })
  guard.release()
  await new Promise(resolve => setTimeout(resolve, 20))
  t.false(lock.locked)
})

test.serial('a token and a message carry it as what it is', async t => {
  using lock = new RLock({ name: 'seven' })
  using same = fromToken<RLock>(toToken(lock))
  using queue = new Queue<RLock>()
  queue.putNowait(lock)
  using third = await queue.get()
  t.true(same instanceof RLock && third instanceof RLock)
  t.is(third.name, 'seven')
  lock.acquireSync()
  // One thread, one owner, whichever of its handles it goes by.
  third.acquireSync()
  t.regex(inspect(same), /2 times/)
  same.release()
  same.release()
  t.false(lock.locked)
})
