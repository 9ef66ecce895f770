// One value of every kind by every way to another process and back: what comes back is what went.

import test, { type ExecutionContext } from 'ava'
import { Pipe, Process, Queue, type Connection } from '#src/index.js'
import { assertSame } from './helpers/compare.js'
import { leavesNothing } from './helpers/settled.js'
import { values } from './helpers/values.js'

leavesNothing(test)

const soon = { timeout: 30_000 }
const names = Object.keys(values)
const sent = names.map(name => values[name]!())

/** Asserts that the values have come back, each as it was. */
function sameAll(t: ExecutionContext, back: readonly unknown[]): void {
  t.is(back.length, sent.length)
  for (const [k, name] of names.entries()) t.notThrows(() => { assertSame(back[k], sent[k]) }, name)
}

async function fromQueue(queue: Queue): Promise<unknown[]> {
  const back: unknown[] = []
  for (let k = 0; k < sent.length; k += 1) back.push((await queue.get(soon) as [unknown])[0])
  return back
}

test.serial('there are at least 60 kinds', t => {
  t.true(names.length >= 60)
})

test.serial('by a queue, each awaited and blocking', async t => {
  using there = new Queue()
  using back = new Queue()
  const child = new Process({ target: async (from: Queue, to: Queue) => {
    let isSync = false
    for await (const value of from) {
      if (isSync) to.putSync([value])
      else await to.put([value])
      isSync = !isSync
    }
  }, args: [there, back] }).start()
  for (const [k, value] of sent.entries()) {
    if (k % 2 === 0) await there.put(value)
    else there.putSync(value)
  }
  there.shutdown()
  sameAll(t, await fromQueue(back))
  await child.join()
  t.is(child.exitCode, 0)
})

test.serial('by a pipe, each awaited and blocking', async t => {
  const [here, there] = Pipe()
  const child = new Process({ target: async (end: Connection) => {
    for (let isSync = false; ; isSync = !isSync) {
      let value: unknown
      try {
        value = isSync ? end.recvSync() : await end.recv()
      } catch {
        return
      }
      if (isSync) end.sendSync([value])
      else await end.send([value])
    }
  }, args: [there] }).start()
  there.close()
  const back: unknown[] = []
  for (const [k, value] of sent.entries()) {
    if (k % 2 === 0) await here.send(value)
    else here.sendSync(value)
    back.push((await here.recv(soon) as [unknown])[0])
  }
  here.close()
  sameAll(t, back)
  await child.join()
  t.is(child.exitCode, 0)
})

test.serial('as arguments of a process', async t => {
  using back = new Queue()
  const child = new Process({ target: (to: Queue, ...args: unknown[]) => { for (const value of args) to.putNowait([value]) }, args: [back, ...sent] }).start()
  sameAll(t, await fromQueue(back))
  await child.join()
  t.is(child.exitCode, 0)
})

test.serial('captured by a function', async t => {
  using back = new Queue()
  const captures = sent.map(value => () => value)
  const child = new Process({ target: () => { for (const give of captures) back.putNowait([give()]) } }).start()
  sameAll(t, await fromQueue(back))
  await child.join()
  t.is(child.exitCode, 0)
})
