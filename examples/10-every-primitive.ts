/** One short program for each: Lock, RLock, Semaphore, Condition and Event, each between this process and a child. */

import { Condition, Event, Lock, Process, Queue, RLock, Semaphore } from 'polyproc'

const said = new Queue<string>()

/** Starts a child; when it has ended, what it and this process have said is printed in order. */
async function show(title: string, child: Process, meanwhile: () => Promise<void> | void): Promise<void> {
  child.start()
  await meanwhile()
  await child.join()
  const lines = said.empty() ? [] : await said.getMany(100)
  console.log(`${title}: ${lines.join(', ')}`)
}

const lock = new Lock()
const mine = lock.acquireSync()
await show('Lock', new Process({
  target: (theirs: Lock, to: Queue<string>) => {
    using guard = theirs.acquireSync()
    to.putNowait(guard.ownerDied ? 'child: the owner died' : 'child: mine now')
  }, args: [lock, said],
}), () => {
  said.putNowait('parent: mine first')
  mine.release()
})

const rlock = new RLock()
await show('RLock', new Process({
  target: (theirs: RLock, to: Queue<string>) => {
    using outer = theirs.acquireSync()
    using inner = theirs.acquireSync()
    to.putNowait(`child: mine twice${outer.ownerDied || inner.ownerDied ? ', after a death' : ''}`)
  }, args: [rlock, said],
}), () => {})

const semaphore = new Semaphore(0)
await show('Semaphore', new Process({
  target: (theirs: Semaphore, to: Queue<string>) => {
    for (let k = 1; k <= 3; k += 1) {
      theirs.acquireSync()
      to.putNowait(`child: signal ${k}`)
    }
  }, args: [semaphore, said],
}), () => {
  for (let k = 0; k < 3; k += 1) semaphore.release()
})

const condition = new Condition()
const orders = new Queue<string>()
await show('Condition', new Process({
  target: async (theirs: Condition, from: Queue<string>, to: Queue<string>) => {
    await theirs.runExclusive(() => theirs.waitFor(() => from.qsize() === 2))
    to.putNowait(`child: ${from.getNowait()} and ${from.getNowait()}`)
  }, args: [condition, orders, said],
}), async () => {
  for (const order of ['tea', 'cake']) {
    await condition.runExclusive(() => {
      orders.putNowait(order)
      condition.notifyAll()
    })
  }
})

const event = new Event()
await show('Event', new Process({
  target: (theirs: Event, to: Queue<string>) => {
    theirs.waitSync()
    to.putNowait('child: go')
  }, args: [event, said],
}), () => {
  said.putNowait('parent: ready, set')
  event.set()
})
