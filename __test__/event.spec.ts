// The event: set, cleared, waited for; across processes, threads and tasks.

import { inspect } from 'node:util'
import test from 'ava'
import { ClosedError, Event, fromToken, Process, Queue, toToken, wait, waitSync } from '#src/index.js'
import { until } from './helpers/programs.js'
import { leavesNothing } from './helpers/settled.js'
import { inThread } from './helpers/threads.js'

leavesNothing(test)

const soon = { timeout: 30_000 }

test.serial('EVENT-01 unset at first; waits are late, or true at once; cleared, a wait blocks until another sets it', async t => {
  using event = new Event()
  t.false(event.isSet())
  t.false(await event.wait({ timeout: 0 }))
  t.false(event.waitSync({ timeout: 0 }))
  for (const attempt of [() => event.wait({ timeout: 100 }), () => Promise.resolve(event.waitSync({ timeout: 100 }))]) {
    const began = performance.now()
    t.false(await attempt())
    const ms = performance.now() - began
    t.true(ms >= 95 && ms < 500, `${ms} ms`)
  }
  event.set()
  event.set()
  t.true(event.isSet())
  t.true(await event.wait({ timeout: 0 }))
  t.true(await event.wait())
  t.true(event.waitSync())
  event.clear()
  event.clear()
  t.false(event.isSet())
  const child = new Process({ target: async (theirs: Event) => { await new Promise(resolve => setTimeout(resolve, 50)); theirs.set() }, args: [event] }).start()
  t.true(await event.wait(soon))
  t.true(await child.join(soon))
})

test.serial('EVENT-02 the printed form says whether it is set', async t => {
  using event = new Event({ name: 'printed' })
  t.is(inspect(event), 'Event "printed" { unset }')
  const waiting = event.wait()
  t.is(inspect(event), 'Event "printed" { unset, 1 waiting }')
  event.set()
  t.is(inspect(event), 'Event "printed" { set, 1 waiting }')
  t.true(await waiting)
  event.close()
  t.is(inspect(event), 'Event "printed" { closed }')
  t.throws(() => event.isSet(), { instanceOf: ClosedError })
  t.throws(() => { event.set() }, { instanceOf: ClosedError })
  await t.throwsAsync(event.wait(), { instanceOf: ClosedError })
})

test.serial('whoever waited when it was set goes on, also when it is cleared at once', async t => {
  using event = new Event()
  using says = new Queue<unknown>()
  const child = new Process({
    target: (theirs: Event, to: Queue) => { to.putSync('waits'); to.putSync(theirs.waitSync({ timeout: 10_000 })) }, args: [event, says],
  }).start()
  const thread = inThread((theirs: Event) => theirs.wait({ timeout: 10_000 }), event)
  t.is(await says.get(soon), 'waits')
  t.true(await until(() => inspect(event).includes('2 waiting')))
  const mine = [event.wait(), event.wait({ timeout: 5000 })]
  event.set()
  event.clear()
  t.deepEqual(await Promise.all(mine), [true, true])
  t.is(await says.get(soon), true)
  t.is(await thread.result, true)
  await thread.worker.terminate()
  t.true(await child.join(soon))
  t.false(await event.wait({ timeout: 10 }))
})

test.serial('a signal ends the wait, close fails it, a token carries it', async t => {
  const event = new Event()
  const control = new AbortController()
  const first = event.wait({ signal: control.signal })
  t.is(inspect(event), 'Event { unset, 1 waiting }')
  control.abort(new Error('enough'))
  await t.throwsAsync(first, { message: 'enough' })
  using same = fromToken<Event>(toToken(event))
  const second = event.wait()
  event.close()
  await t.throwsAsync(second, { instanceOf: ClosedError })
  same.set()
  t.true(same.isSet())
})

test.serial('an event can be waited for beside other things', async t => {
  using event = new Event()
  using queue = new Queue<number>()
  t.deepEqual(await wait([event, queue], { timeout: 20 }), [])
  setTimeout(() => { event.set() }, 20)
  t.deepEqual(await wait([event, queue]), [event])
  t.deepEqual(waitSync([queue, event]), [event])
  event.clear()
  const child = new Process({ target: (theirs: Event) => { theirs.set() }, args: [event] }).start()
  t.deepEqual(waitSync([queue, event], soon), [event])
  t.true(await child.join(soon))
})

test.serial('set does not wait for waiters that are stopped or dead', async t => {
  using event = new Event()
  using says = new Queue<number>()
  const children = [1, 2].map(() => new Process({
    target: (theirs: Event, to: Queue) => { to.putSync(1); theirs.waitSync() }, args: [event, says], daemon: true,
  }).start())
  for (const _ of children) await says.get(soon)
  t.true(await until(() => inspect(event).includes('2 waiting')))
  process.kill(children[0]!.pid!, 'SIGSTOP')
  process.kill(children[1]!.pid!, 'SIGKILL')
  const began = performance.now()
  event.set()
  t.true(performance.now() - began < 100)
  process.kill(children[0]!.pid!, 'SIGCONT')
  for (const child of children) t.true(await child.join(soon))
})
