// The lock: between processes, worker threads, tasks of one thread; timeouts, signals, owners that die.

import { inspect } from 'node:util'
import test from 'ava'
import { ClosedError, DeadlockError, fromToken, InterruptedError, Lock, type LockGuard, Process, Queue, RLock, StateError, TimeoutError, toToken } from '#src/index.js'
import { endOf, leastOf } from './helpers/death.js'
import { run, until } from './helpers/programs.js'
import { leavesNothing } from './helpers/settled.js'
import { inThread } from './helpers/threads.js'

leavesNothing(test)

const soon = { timeout: 30_000 }

/** A child that acquires the lock, says so, and holds it until it is told to go on by the gate. */
function holder(lock: Lock | RLock, says: Queue<string>, gate: Queue<string>): Process {
  return new Process({
    target: (theirs: Lock | RLock, to: Queue, from: Queue) => {
      const guard = theirs.acquireSync()
      to.putSync('held')
      if (from.getSync() === 'release') guard.release()
      to.putSync('released')
      from.getSync()
    }, args: [lock, says, gate],
  }).start()
}

test.serial('LOCK-01 acquire, a second one is refused, release frees it, releasing an unlocked one throws', async t => {
  using lock = new Lock()
  t.false(lock.locked)
  const guard = await lock.acquire()
  t.true(lock.locked)
  t.false(guard.ownerDied)
  t.is(lock.tryAcquire(), null)
  t.is(lock.acquireSync({ timeout: 0 }), null)
  t.is(await lock.acquire({ timeout: 0 }), null)
  t.is(await lock.acquire({ timeout: -1 }), null)
  lock.release()
  t.false(lock.locked)
  t.throws(() => { lock.release() }, { instanceOf: StateError })
  const again = lock.acquireSync()
  t.is(lock.acquireSync({ timeout: 20 }), null)
  again.release()
  t.throws(() => lock.acquireSync({ timeout: Number.NaN }), { instanceOf: RangeError })
})

test.serial('LOCK-01 a timeout takes its time, in both forms', async t => {
  using lock = new Lock()
  using guard = lock.acquireSync()
  for (const attempt of [() => lock.acquire({ timeout: 200 }), () => Promise.resolve(lock.acquireSync({ timeout: 200 }))]) {
    const began = performance.now()
    t.is(await attempt(), null)
    const ms = performance.now() - began
    t.true(ms >= 195 && ms < 1000, `${ms} ms`)
  }
  t.truthy(guard)
})

test.serial('LOCK-03 a guard releases at the end of its scope, once, and never what is another\'s', async t => {
  using lock = new Lock()
  {
    using guard = await lock.acquire()
    t.truthy(guard)
    t.true(lock.locked)
  }
  t.false(lock.locked)
  const first = lock.acquireSync()
  first.release()
  const second = lock.acquireSync()
  first.release()
  first[Symbol.dispose]()
  t.true(lock.locked)
  // Released without its guard, and acquired by somebody else: the guard has nothing to give back.
  lock.release()
  const third = lock.acquireSync()
  second.release()
  t.true(lock.locked)
  third.release()
  t.false(lock.locked)
})

test.serial('LOCK-05 locked is seen by every process, and any process may release it', async t => {
  using lock = new Lock()
  using says = new Queue<string>()
  using gate = new Queue<string>()
  const child = holder(lock, says, gate)
  t.is(await says.get(soon), 'held')
  t.true(lock.locked)
  t.is(lock.tryAcquire(), null)
  gate.putNowait('release')
  t.is(await says.get(soon), 'released')
  t.false(lock.locked)
  const guard = lock.acquireSync()
  t.throws(() => { lock.release(); lock.release() }, { instanceOf: StateError })
  guard.release()
  gate.putNowait('end')
  t.true(await child.join(soon))
})

test.serial('LOCK-05 a child releases what its parent acquired', async t => {
  using lock = new Lock()
  lock.acquireSync()
  const child = new Process({ target: (theirs: Lock) => { theirs.release() }, args: [lock] }).start()
  using guard = await lock.acquire(soon)
  t.truthy(guard)
  t.true(await child.join(soon))
})

test.serial('LOCK-07 the printed form names the owner', async t => {
  using lock = new Lock({ name: 'printed' })
  t.is(inspect(lock), 'Lock "printed" { unlocked }')
  {
    using guard = lock.acquireSync()
    t.regex(inspect(lock), /^Lock "printed" \{ locked by MainProcess \(process \d+\), this thread \(0\) \}$/)
    t.truthy(guard)
  }
  const thread = inThread(async (theirs: Lock) => { theirs.acquireSync(); await new Promise(resolve => setTimeout(resolve, 200)); theirs.release() }, lock)
  t.true(await until(() => lock.locked))
  t.regex(inspect(lock), new RegExp(`locked by MainProcess \\(process ${process.pid}\\), another thread of it`))
  await thread.result
  await thread.worker.terminate()
  using says = new Queue<string>()
  using gate = new Queue<string>()
  const child = holder(lock, says, gate)
  await says.get(soon)
  t.regex(inspect(lock), new RegExp(`locked by ${child.name} \\(process ${child.pid}\\), a thread of it`))
  const waiting = lock.acquire()
  t.regex(inspect(lock), /, 1 waiting \}$/)
  gate.putNowait('release')
  gate.putNowait('end')
  ;(await waiting).release()
  t.true(await child.join(soon))
  lock.close()
  t.is(inspect(lock), 'Lock "printed" { closed }')
})

test.serial('one name is one lock; tokens and messages carry it; after close everything throws', async t => {
  using lock = new Lock({ name: 'one' })
  using same = new Lock({ name: 'one' })
  using third = fromToken<Lock>(toToken(lock))
  t.is(third.name, 'one')
  const guard = same.acquireSync()
  t.true(lock.locked && third.locked)
  t.is(third.tryAcquire(), null)
  guard.release()
  const waiting = (() => { lock.acquireSync(); return lock.acquire() })()
  lock.close()
  lock.close()
  await t.throwsAsync(waiting, { instanceOf: ClosedError })
  t.throws(() => lock.tryAcquire(), { instanceOf: ClosedError })
  t.throws(() => { lock.release() }, { instanceOf: ClosedError })
  t.throws(() => lock.locked, { instanceOf: ClosedError })
  // Closing has released nothing.
  t.true(same.locked)
  same.release()
  t.throws(() => new Lock({ name: '' }), { instanceOf: StateError })
  t.throws(() => new Lock({ name: 5 as never }), { instanceOf: TypeError })
})

test.serial('a guard outlives the handle that it came from', t => {
  using lock = new Lock({ name: 'kept' })
  const other = new Lock({ name: 'kept' })
  const guard = other.acquireSync()
  other.close()
  t.true(lock.locked)
  guard.release()
  t.false(lock.locked)
})

test.serial('a signal ends a wait with its reason, and nothing is acquired after that', async t => {
  using lock = new Lock()
  const guard = lock.acquireSync()
  const control = new AbortController()
  const waiting = lock.acquire({ signal: control.signal })
  const reason = new Error('enough')
  control.abort(reason)
  t.is(await t.throwsAsync(waiting), reason)
  await t.throwsAsync(lock.acquire({ signal: AbortSignal.abort(reason) }), { message: 'enough' })
  guard.release()
  await new Promise(resolve => setTimeout(resolve, 20))
  t.false(lock.locked)
})

test.serial('runExclusive releases after the promise, also when it fails, and rejects in time', async t => {
  using lock = new Lock()
  t.is(await lock.runExclusive(async guard => {
    t.false(guard.ownerDied)
    await Promise.resolve()
    t.true(lock.locked)
    return 5
  }), 5)
  t.false(lock.locked)
  await t.throwsAsync(lock.runExclusive(() => { throw new RangeError('no') }), { instanceOf: RangeError })
  t.false(lock.locked)
  using guard = lock.acquireSync()
  await t.throwsAsync(lock.runExclusive(() => 1, { timeout: 20 }), { instanceOf: TimeoutError, code: 'ERR_POLYPROC_TIMEOUT' })
  t.truthy(guard)
})

test.serial('a wait without end for oneself is a DeadlockError, where nobody else could release', async t => {
  using lock = new Lock()
  const guard = lock.acquireSync()
  t.throws(() => lock.acquireSync(), { instanceOf: DeadlockError })
  // A child has the lock as well, and releases it: a pattern that must work.
  const child = new Process({ target: (theirs: Lock, gate: Queue) => { gate.getSync(); theirs.release() }, args: [lock, new Queue({ name: 'gate of deadlock' })] }).start()
  using gate = new Queue<number>({ name: 'gate of deadlock' })
  gate.putNowait(1)
  const again = lock.acquireSync()
  guard.release()
  t.true(lock.locked)
  again.release()
  t.true(await child.join(soon))
})

for (const how of ['SIGKILL', 'exit', 'error'] as const) {
  test.serial(`the next to acquire gets the lock of an owner that ended (${how}), and is told so once`, async t => {
    using lock = new Lock()
    using says = new Queue<string>()
    const child = new Process({
      target: (theirs: Lock, to: Queue, end: string) => {
        theirs.acquireSync()
        to.putSync('held')
        if (end === 'exit') setTimeout(() => { process.exit(0) }, 30)
        else if (end === 'error') setTimeout(() => { throw new Error('on purpose') }, 30)
        else setInterval(() => {}, 1000)
      }, args: [lock, says, how], stdio: 'ignore',
    }).start()
    await says.get(soon)
    const waiting = lock.acquire()
    if (how === 'SIGKILL') process.kill(child.pid!, 'SIGKILL')
    const guard = await waiting
    t.true(guard.ownerDied)
    guard.release()
    t.true(await child.join(soon))
    using next = lock.acquireSync()
    t.false(next.ownerDied)
  })
}

for (const Class of [Lock, RLock]) {
  for (const sync of [false, true]) {
    test.serial(`the ${Class.name} of a killed owner is acquired within 100 ms of its end, ${sync ? 'by a thread' : 'by promise'}`, async t => {
      const ms = await leastOf(async () => {
        using lock = new Class()
        using says = new Queue<string>()
        using gate = new Queue<string>()
        const child = holder(lock, says, gate)
        await says.get(soon)
        const waiting = sync ? null : lock.acquire()
        process.kill(child.pid!, 'SIGKILL')
        const ended = endOf(child.pid!)
        const guard = waiting === null ? lock.acquireSync() : await waiting
        const took = performance.now() - ended
        t.true(guard.ownerDied)
        guard.release()
        await child.join(soon)
        return took
      })
      t.true(ms < 100, `${ms} ms`)
    })
  }
}

test.serial('the lock of a terminated worker thread is free, ownerDied', async t => {
  using lock = new Lock()
  const thread = inThread((theirs: Lock) => { theirs.acquireSync(); setInterval(() => {}, 1000) }, lock)
  await thread.result
  t.true(lock.locked)
  const waiting = lock.acquire()
  await thread.worker.terminate()
  const guard = await waiting
  t.true(guard.ownerDied)
  guard.release()
})

test.serial('what the dead held is not locked, cannot be released, and tells the next that its owner died', async t => {
  using lock = new Lock()
  using says = new Queue<string>()
  using gate = new Queue<string>()
  const child = holder(lock, says, gate)
  await says.get(soon)
  process.kill(child.pid!, 'SIGKILL')
  // Its main thread may be gone before the one that the kernel marks. This thread's event loop has not heard of either.
  for (const late = endOf(child.pid!) + 10_000; lock.locked && performance.now() < late;);
  t.throws(() => { lock.release() }, { instanceOf: StateError })
  t.false(lock.locked)
  using guard = lock.acquireSync()
  t.true(guard.ownerDied)
  t.true(await child.join(soon))
})

test.serial('a waiter that is killed holds nobody up', async t => {
  using lock = new Lock()
  using says = new Queue<string>()
  const guard = lock.acquireSync()
  const waiters = ['sync', 'async', 'sync'].map(kind => new Process({
    target: (theirs: Lock, to: Queue, how: string) => {
      to.putSync('waits')
      if (how === 'sync') theirs.acquireSync()
      else theirs.acquire().catch(() => {})
    }, args: [lock, says, kind],
  }).start())
  for (const _ of waiters) await says.get(soon)
  const mine = lock.acquire()
  await new Promise(resolve => setTimeout(resolve, 50))
  for (const waiter of waiters) process.kill(waiter.pid!, 'SIGKILL')
  guard.release()
  ;(await mine).release()
  for (const waiter of waiters) t.true(await waiter.join(soon))
})

/** Reads, gives others time, writes. */
async function count(shared: { value: number }, pause: () => Promise<unknown>): Promise<void> {
  const value = shared.value
  await pause()
  shared.value = value + 1
}

test.serial('100 tasks of one thread lose no update, by acquire, by runExclusive and mixed with a second process', async t => {
  using lock = new Lock()
  const shared = { value: 0 }
  const turn = (): Promise<unknown> => new Promise(resolve => setImmediate(resolve))
  await Promise.all(Array.from({ length: 100 }, async (_, k) => {
    for (let round = 0; round < 5; round += 1) {
      if (k % 2 === 0) {
        using guard = await lock.acquire()
        t.truthy(guard)
        await count(shared, turn)
      } else await lock.runExclusive(() => count(shared, turn))
    }
  }))
  t.is(shared.value, 500)
  // The same counter in two processes: kept in a queue of one item, read and written under the lock.
  using cell = new Queue<number>()
  cell.putNowait(0)
  const child = new Process({
    target: async (theirs: Lock, box: Queue<number>) => {
      for (let round = 0; round < 200; round += 1) {
        await theirs.runExclusive(async () => {
          const value = box.getNowait()
          if (round % 4 === 0) await new Promise(resolve => setImmediate(resolve))
          box.putNowait(value + 1)
        })
      }
    }, args: [lock, cell],
  }).start()
  await Promise.all(Array.from({ length: 100 }, async () => {
    for (let round = 0; round < 2; round += 1) {
      const guard: LockGuard = await lock.acquire()
      const value = cell.getNowait()
      await turn()
      cell.putNowait(value + 1)
      guard.release()
    }
  }))
  t.true(await child.join(soon))
  t.is(child.exitCode, 0)
  t.is(cell.getNowait(), 400)
  t.false(lock.locked)
})

test.serial('four processes and a thread count without loss while one owner after the other is killed', async t => {
  using lock = new Lock({ name: 'storm' })
  using cell = new Queue<number>({ name: 'storm' })
  cell.putNowait(0)
  const work = (theirs: Lock, box: Queue<number>): void => {
    for (;;) {
      const guard = theirs.acquireSync()
      const value = box.tryGet() ?? 0
      if (value < 0) { box.putNowait(value); guard.release(); return }
      box.putNowait(value + 1)
      guard.release()
    }
  }
  const start = (): Process => new Process({ target: work, args: [lock, cell], daemon: true }).start()
  const workers = [start(), start(), start(), start()]
  let deaths = 0
  for (let round = 0; round < 10; round += 1) {
    await new Promise(resolve => setTimeout(resolve, 60))
    const victim = workers.shift()!
    process.kill(victim.pid!, 'SIGKILL')
    await victim.join(soon)
    workers.push(start())
    using guard = await lock.acquire(soon)
    t.truthy(guard, 'the lock was lost with its owner')
    if (guard?.ownerDied === true) deaths += 1
    // Killed between taking and putting, it has left the box empty.
    if (cell.empty()) cell.putNowait(0)
    t.is(cell.qsize(), 1)
  }
  {
    using guard = await lock.acquire(soon)
    t.truthy(guard)
    cell.tryGet()
    cell.putNowait(-1)
  }
  for (const worker of workers) t.true(await worker.join(soon))
  t.log(`${deaths} of 10 held it when they died`)
})

test.serial('a waiter of over 10 ms gets the lock from one who takes it again at once', async t => {
  using lock = new Lock()
  using stop = new Queue<number>()
  const child = new Process({
    target: (theirs: Lock, end: Queue) => {
      while (end.empty()) for (let k = 0; k < 1000; k += 1) theirs.acquireSync().release()
    }, args: [lock, stop],
  }).start()
  t.true(await until(() => lock.locked))
  const waits: number[] = []
  for (let k = 0; k < 20; k += 1) {
    const began = performance.now()
    const guard = k % 2 === 0 ? await lock.acquire() : lock.acquireSync()
    waits.push(performance.now() - began)
    guard.release()
  }
  stop.putNowait(1)
  t.true(await child.join(soon))
  t.true(Math.max(...waits) < 500, waits.map(ms => ms.toFixed(1)).join(' '))
})

test.serial('SIGINT cuts a blocked acquireSync short where there is a listener, and ends the process where there is none', async t => {
  const heard = await run('interrupted-lock.mjs', ['listener'])
  t.regex(heard.out, new RegExp(`threw ${InterruptedError.name} ERR_POLYPROC_INTERRUPTED\nlistener\n`))
  t.is(heard.code, 0)
  const unheard = await run('interrupted-lock.mjs', ['none'])
  t.is(unheard.signal, 'SIGINT')
})

test.serial('a thread that waits for a lock can be terminated, and the process can exit', async t => {
  using lock = new Lock()
  using guard = lock.acquireSync()
  const thread = inThread((theirs: Lock) => { setTimeout(() => { theirs.acquireSync() }, 0) }, lock)
  await thread.result
  await new Promise(resolve => setTimeout(resolve, 50))
  const began = performance.now()
  await thread.worker.terminate()
  t.true(performance.now() - began < 1000)
  t.truthy(guard)
})
