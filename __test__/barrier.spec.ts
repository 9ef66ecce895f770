// The barrier: rounds, places, the action, and everything that breaks it.

import { inspect } from 'node:util'
import test from 'ava'
import { Barrier, BrokenBarrierError, ClosedError, fromToken, Process, Queue, SerializationError, StateError, toToken } from '#src/index.js'
import { endOf, leastOf } from './helpers/death.js'
import { until } from './helpers/programs.js'
import { leavesNothing } from './helpers/settled.js'
import { inThread } from './helpers/threads.js'

leavesNothing(test)

const soon = { timeout: 30_000 }

/** Starts children that pass so many rounds and note round and place. */
function start(count: number, barrier: Barrier, notes: Queue<string>, rounds: number): Process[] {
  return Array.from({ length: count }, () => new Process({
    target: (theirs: Barrier, to: Queue<string>, times: number) => {
      for (let round = 0; round < times; round += 1) {
        try {
          to.putSync(`${round} ${theirs.waitSync()}`)
        } catch (error) {
          to.putSync((error as Error).name)
        }
      }
    }, args: [barrier, notes, rounds],
  }).start())
}

async function joined(children: Process[]): Promise<boolean> {
  return (await Promise.all(children.map(child => child.join(soon)))).every(Boolean)
}

function drain(notes: Queue<string>): string[] {
  const all = []
  for (let note = notes.tryGet(); note !== undefined; note = notes.tryGet()) all.push(note)
  return all
}

for (const rounds of [1, 10]) {
  test.serial(`BARRIER-0${rounds === 1 ? 1 : 2} five parties pass ${rounds} rounds in lock-step: processes, a thread, a task`, async t => {
    using barrier = new Barrier(5)
    using notes = new Queue<string>()
    const children = start(3, barrier, notes, rounds)
    const thread = inThread(async (theirs: Barrier, to: Queue<string>) => {
      let round = 0
      while (to.name === null) {
        to.putNowait(`${round} ${await theirs.wait()}`)
        round += 1
      }
    }, barrier, notes)
    for (let round = 0; round < rounds; round += 1) notes.putNowait(`${round} ${await barrier.wait()}`)
    t.true(await joined(children))
    await until(() => notes.qsize() >= 5 * rounds)
    await thread.worker.terminate()
    const all = drain(notes)
    t.is(all.length, 5 * rounds)
    // BARRIER-03: each place once a round.
    for (let round = 0; round < rounds; round += 1) {
      t.deepEqual(all.filter(note => note.startsWith(`${round} `)).sort(), [0, 1, 2, 3, 4].map(place => `${round} ${place}`))
      const [last] = all.map((note, k) => note.startsWith(`${round} `) ? k : -1).slice(-1)
      t.true(last !== undefined)
    }
  })
}

test.serial('BARRIER-04 the action runs once a round, before anyone goes on, in whichever process is last', async t => {
  using ran = new Queue<number>()
  using barrier = new Barrier(3, { action: () => { ran.putNowait(process.pid) } })
  using notes = new Queue<string>()
  const children = [1, 2].map(() => new Process({
    target: (theirs: Barrier, count: Queue, to: Queue<string>) => {
      for (let round = 0; round < 5; round += 1) {
        theirs.waitSync()
        if (count.qsize() <= round) to.putSync(`went on before the action of round ${round}`)
      }
    }, args: [barrier, ran, notes],
  }).start())
  for (let round = 0; round < 5; round += 1) {
    await barrier.wait()
    t.true(ran.qsize() > round)
  }
  t.true(await joined(children))
  t.deepEqual(drain(notes), [])
  t.is(ran.qsize(), 5)
  using failing = new Barrier(1, { action: () => { throw new RangeError('of the action') } })
  await t.throwsAsync(failing.wait(), { instanceOf: RangeError })
  t.true(failing.broken)
  t.throws(() => failing.waitSync(), { instanceOf: BrokenBarrierError })
  t.throws(() => new Barrier(1, { action: 5 as never }), { instanceOf: TypeError })
  const socket = process.stdin
  t.throws(() => new Barrier(1, { action: () => { socket.ref() } }), { instanceOf: SerializationError })
})

test.serial('BARRIER-05 abort: every wait, now and from now on, throws', async t => {
  using barrier = new Barrier(5)
  using notes = new Queue<string>()
  const children = start(3, barrier, notes, 1)
  const mine = barrier.wait()
  t.true(await until(() => barrier.nWaiting === 4))
  barrier.abort()
  await t.throwsAsync(mine, { instanceOf: BrokenBarrierError, code: 'ERR_POLYPROC_BROKEN_BARRIER' })
  t.true(await joined(children))
  t.deepEqual(drain(notes), Array.from({ length: 3 }, () => 'BrokenBarrierError'))
  t.true(barrier.broken)
  t.is(barrier.nWaiting, 0)
  await t.throwsAsync(barrier.wait(), { instanceOf: BrokenBarrierError })
  t.throws(() => barrier.waitSync(), { instanceOf: BrokenBarrierError })
})

test.serial('BARRIER-06 BARRIER-07 reset: those who wait throw, then all can pass; a broken one works again', async t => {
  using barrier = new Barrier(5)
  using notes = new Queue<string>()
  const children = start(4, barrier, notes, 2)
  t.true(await until(() => barrier.nWaiting === 4))
  barrier.reset()
  t.true(await until(() => notes.qsize() === 4))
  t.deepEqual(drain(notes), Array.from({ length: 4 }, () => 'BrokenBarrierError'))
  t.is(await barrier.wait(), 4)
  t.true(await joined(children))
  t.is(notes.qsize(), 4)
  t.false(barrier.broken)
  barrier.abort()
  barrier.reset()
  t.false(barrier.broken)
  barrier.reset()
  const again = start(4, barrier, notes, 1)
  t.true(await barrier.wait() < 5)
  t.true(await joined(again))
})

test.serial('BARRIER-08 one that is late breaks it for all, itself included', async t => {
  using barrier = new Barrier(5)
  using notes = new Queue<string>()
  const children = start(3, barrier, notes, 1)
  t.true(await until(() => barrier.nWaiting === 3))
  const began = performance.now()
  await t.throwsAsync(barrier.wait({ timeout: 300 }), { instanceOf: BrokenBarrierError })
  t.true(performance.now() - began >= 295)
  t.true(await joined(children))
  t.deepEqual(drain(notes), Array.from({ length: 3 }, () => 'BrokenBarrierError'))
  await t.throwsAsync(barrier.wait(), { instanceOf: BrokenBarrierError })
  using other = new Barrier(2)
  t.throws(() => other.waitSync({ timeout: 50 }), { instanceOf: BrokenBarrierError })
  t.true(other.broken)
  using third = new Barrier(2)
  t.throws(() => third.waitSync({ timeout: 0 }), { instanceOf: BrokenBarrierError })
})

test.serial('BARRIER-09 the timeout of the constructor holds where wait is given none', async t => {
  using barrier = new Barrier(2, { timeout: 100 })
  const began = performance.now()
  await t.throwsAsync(barrier.wait(), { instanceOf: BrokenBarrierError })
  barrier.reset()
  t.throws(() => barrier.waitSync(), { instanceOf: BrokenBarrierError })
  const ms = performance.now() - began
  t.true(ms >= 195 && ms < 1000, `${ms} ms`)
  barrier.reset()
  const late = barrier.wait({ timeout: 5000 })
  await new Promise(resolve => setTimeout(resolve, 200))
  t.is(await barrier.wait(), 1)
  t.is(await late, 0)
})

test.serial('BARRIER-10 a barrier of one never blocks', async t => {
  using barrier = new Barrier(1)
  for (let k = 0; k < 10; k += 1) {
    t.is(barrier.waitSync(), 0)
    t.is(await barrier.wait({ timeout: 0 }), 0)
  }
})

test.serial('BARRIER-11 a thousand rounds, and nobody is ever a round ahead', async t => {
  using barrier = new Barrier(5)
  using notes = new Queue<string>()
  const children = Array.from({ length: 5 }, () => new Process({
    target: (theirs: Barrier, to: Queue<string>) => {
      for (let round = 0; round < 1000; round += 1) {
        theirs.waitSync()
        to.putSync(`${round}`)
      }
    }, args: [barrier, notes],
  }).start())
  for (let round = 0; round < 1000; round += 1) {
    const five = []
    for (let k = 0; k < 5; k += 1) five.push(await notes.get(soon))
    if (five.some(note => note !== `${round}`)) t.fail(`round ${round}: ${five.join(' ')}`)
  }
  t.true(await joined(children))
  t.pass()
})

test.serial('a process that dies while it waits breaks the round within 100 ms, and reset mends it', async t => {
  using barrier = new Barrier(3)
  using notes = new Queue<string>()
  const ms = await leastOf(async () => {
    const [victim, other] = start(2, barrier, notes, 1) as [Process, Process]
    t.true(await until(() => barrier.nWaiting === 2))
    process.kill(victim.pid!, 'SIGKILL')
    const ended = endOf(victim.pid!)
    t.is(await notes.get(soon), 'BrokenBarrierError')
    const took = performance.now() - ended
    t.true(await joined([victim, other]))
    await t.throwsAsync(barrier.wait(), { instanceOf: BrokenBarrierError })
    barrier.reset()
    return took
  })
  t.true(ms < 100, `${ms} ms`)
  const children = start(2, barrier, notes, 1)
  t.true(await barrier.wait() < 3)
  t.true(await joined(children))
  // A worker thread, too.
  const thread = inThread((theirs: Barrier) => { theirs.wait().catch(() => {}); setInterval(() => {}, 1000) }, barrier)
  await thread.result
  t.is(barrier.nWaiting, 1)
  const mine = barrier.wait()
  await thread.worker.terminate()
  await t.throwsAsync(mine, { instanceOf: BrokenBarrierError })
})

test.serial('an aborted wait, and closing, break the round for the others', async t => {
  using barrier = new Barrier(3)
  using notes = new Queue<string>()
  const control = new AbortController()
  const first = start(1, barrier, notes, 1)
  const mine = barrier.wait({ signal: control.signal })
  t.true(await until(() => barrier.nWaiting === 2))
  control.abort(new Error('enough'))
  await t.throwsAsync(mine, { message: 'enough' })
  t.is(await notes.get(soon), 'BrokenBarrierError')
  t.true(await joined(first))
  barrier.reset()
  const same = fromToken<Barrier>(toToken(barrier))
  const second = start(1, barrier, notes, 1)
  const theirs = same.wait()
  t.true(await until(() => barrier.nWaiting === 2))
  same.close()
  await t.throwsAsync(theirs, { instanceOf: ClosedError })
  t.is(await notes.get(soon), 'BrokenBarrierError')
  t.true(await joined(second))
})

test.serial('parties that cannot be, names that differ, the printed form', t => {
  for (const parties of [0, -1, 1.5, Number.NaN, 2 ** 16 + 1]) t.throws(() => new Barrier(parties), { instanceOf: RangeError })
  t.throws(() => new Barrier(2, { timeout: Number.NaN }), { instanceOf: RangeError })
  using barrier = new Barrier(2, { name: 'bar', timeout: 50 })
  using same = new Barrier(2, { name: 'bar', timeout: 50 })
  t.is(same.parties, 2)
  t.throws(() => new Barrier(3, { name: 'bar', timeout: 50 }), { instanceOf: StateError })
  t.throws(() => new Barrier(2, { name: 'bar' }), { instanceOf: StateError })
  t.is(inspect(barrier), 'Barrier "bar" { 0 of 2 waiting }')
  same.abort()
  t.is(inspect(barrier), 'Barrier "bar" { broken }')
})

test.serial('more than the parties share it: who comes while the action runs waits for the next round', async t => {
  using notes = new Queue<string>()
  using barrier = new Barrier(2, { action: () => { const end = Date.now() + 20; while (Date.now() < end); } })
  // Until it is broken: else the last of them would be left alone.
  const children = start(4, barrier, notes, 30)
  const tasks = [1, 2].map(async () => {
    for (let round = 0; round < 10; round += 1) notes.putNowait(`0 ${await barrier.wait()}`)
  })
  await Promise.all(tasks)
  t.true(await until(() => notes.qsize() >= 60, 20_000))
  const all = await notes.getMany(60)
  barrier.abort()
  t.true(await joined(children))
  t.true(all.every(note => /^\d+ [01]$/.test(note)), all.join(', '))
})
