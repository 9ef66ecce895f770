// Calls that block a thread: each can be cut short by a signal, and by the end of the thread, and leaves the object as it says.

import { inspect } from 'node:util'
import test from 'ava'
import { Barrier, BrokenBarrierError, Condition, Event, InterruptedError, Lock, RLock, Semaphore } from '#src/index.js'
import { leastOf } from './helpers/death.js'
import { run, until } from './helpers/programs.js'
import { leavesNothing } from './helpers/settled.js'
import { inThread } from './helpers/threads.js'

leavesNothing(test)

const after: Record<string, RegExp> = {
  lock: /^Lock \{ locked by .*, a thread of it \(member \d+\) \}$/,
  rlock: /^RLock \{ locked by .*, a thread of it \(member \d+\) \}$/,
  semaphore: /^Semaphore \{ 0 of 0 permits \}$/,
  event: /^Event \{ unset \}$/,
  condition: /^Condition \{ 0 waiting, Lock locked by .*, this thread \(0\) \}$/,
  barrier: /^Barrier \{ broken \}$/,
}

for (const [what, state] of Object.entries(after)) {
  test.serial(`SIGINT ends a blocked call on a ${what} with an InterruptedError, and its listener runs within 100 ms`, async t => {
    const ms = await leastOf(async () => {
      const { out, code } = await run('interrupted-sync.mjs', [what])
      const [, said, took] = /^threw (.*)\nlistener (\d+) ms\n$/.exec(out) ?? []
      t.truthy(said, out)
      const [error, ...rest] = said!.split(': ')
      t.is(error, `${InterruptedError.name} ERR_POLYPROC_INTERRUPTED`)
      t.regex(rest.join(': '), state)
      t.is(code, 0)
      return Number(took)
    })
    t.true(ms < 100, `${ms} ms`)
  })
}

/** Ends a thread that blocks on an object; how long that took. */
async function terminated<T extends object>(object: T, block: (theirs: T) => void, isBlocked: () => boolean): Promise<number> {
  const thread = inThread(block, object)
  await thread.result
  if (!await until(isBlocked)) throw new Error(`it is not blocked: ${inspect(object)}`)
  const began = performance.now()
  await thread.worker.terminate()
  return performance.now() - began
}

test.serial('a thread that is blocked on any of them can be terminated, and takes nothing with it', async t => {
  const waits = (object: object) => (): boolean => / 1 waiting/.test(inspect(object))
  const ended: number[] = []
  for (const lock of [new Lock(), new RLock()]) {
    using held = lock
    const guard = held.acquireSync()
    ended.push(await terminated<Lock | RLock>(held, theirs => { setTimeout(() => { theirs.acquireSync() }, 0) }, waits(held)))
    guard.release()
    t.false(held.locked)
  }
  using semaphore = new Semaphore({ value: 0, robust: true })
  ended.push(await terminated(semaphore, theirs => { setTimeout(() => { theirs.acquireSync() }, 0) }, waits(semaphore)))
  semaphore.release()
  t.is(semaphore.value, 1)
  using event = new Event()
  ended.push(await terminated(event, theirs => { setTimeout(() => { theirs.waitSync() }, 0) }, waits(event)))
  t.is(inspect(event), 'Event { unset }')
  using condition = new Condition()
  ended.push(await terminated(condition, theirs => { setTimeout(() => { theirs.acquireSync(); theirs.waitSync() }, 0) }, waits(condition)))
  t.is(inspect(condition), 'Condition { 0 waiting, Lock unlocked }')
  using barrier = new Barrier(2)
  ended.push(await terminated(barrier, theirs => { setTimeout(() => { theirs.waitSync() }, 0) }, () => barrier.nWaiting === 1))
  await t.throwsAsync(barrier.wait({ timeout: 10_000 }), { instanceOf: BrokenBarrierError })
  t.true(ended.every(ms => ms < 1000), ended.map(ms => ms.toFixed(0)).join(' '))
})

test.serial('a thread that has been notified, and is terminated before it has the lock, leaves the lock to others', async t => {
  using condition = new Condition()
  const thread = inThread((theirs: Condition) => { setTimeout(() => { theirs.acquireSync(); theirs.waitSync() }, 0) }, condition)
  await thread.result
  t.true(await until(() => inspect(condition).includes('{ 1 waiting')))
  const guard = await condition.acquire()
  condition.notify()
  await thread.worker.terminate()
  guard.release()
  using next = condition.acquireSync({ timeout: 5000 })
  t.is(next?.ownerDied, false)
})
