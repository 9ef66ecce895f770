// The board of a pool, without a pool: rows, lanes, workers, and what is left when one of them is killed.

import test from 'ava'
import { ClosedError, Process, Queue, StateError } from '#src/index.js'
import { handleOf, type Handle } from '#src/handles.js'
import { Board } from '#src/pool/board.js'
import { until } from './helpers/programs.js'
import { leavesNothing } from './helpers/settled.js'

leavesNothing(test)

const soon = { timeout: 30_000 }

/** A board, the lane of this thread on it, and a worker that is this thread as well. */
function both(): { board: Board; lane: number; me: number; results: Queue; [Symbol.dispose]: () => void } {
  const results = new Queue()
  const board = new Board({ handles: [] })
  const lane = board.lane(results[handleOf]())
  return { board, lane, me: board.enter(), results, [Symbol.dispose]() { board.leave(); board.close(); results.close() } }
}

test.serial('a task is claimed once, settled once, and its row is used again under another ticket', t => {
  using all = both()
  const { board, lane, me } = all
  const ticket = board.submit(lane, 1)
  t.true(Number.isSafeInteger(ticket) && ticket >= 2 ** 24)
  t.is(board.runnerOf(lane, ticket), -1)
  t.is(board.claim(lane, ticket, me), 1)
  t.is(board.runnerOf(lane, ticket), me)
  t.false(board.stopAsked(lane, ticket))
  t.true(board.settle(lane, ticket, me))
  t.false(board.settle(lane, ticket, me))
  t.is(board.claim(lane, ticket, me), 0)
  t.is(board.stop(lane, ticket), -2)
  t.true(board.release(lane, ticket))
  t.false(board.release(lane, ticket))
  const next = board.submit(lane, 1)
  t.is(next % 2 ** 24, ticket % 2 ** 24)
  t.not(next, ticket)
  t.is(board.claim(lane, ticket, me), 0)
  t.is(board.claim(lane, next, me), 1)
})

test.serial('a task that comes back is begun again while it has attempts, and then lost, however often it is asked', t => {
  using all = both()
  const { board, lane, me } = all
  const ticket = board.submit(lane, 2)
  t.is(board.claim(lane, ticket, me), 1)
  t.is(board.claim(lane, ticket, me), 2)
  t.is(board.lost(lane, ticket), 0)
  t.is(board.claim(lane, ticket, me), -2)
  t.is(board.claim(lane, ticket, me), -2)
  t.is(board.lost(lane, ticket), 2)
  t.false(board.settle(lane, ticket, me))
})

test.serial('a stop cancels what is queued, asks whoever runs it, and is too late for what is over', t => {
  using all = both()
  const { board, lane, me } = all
  const queued = board.submit(lane, 5)
  t.is(board.stop(lane, queued), -1)
  t.is(board.stop(lane, queued), -2)
  t.is(board.claim(lane, queued, me), 0)
  const running = board.submit(lane, 5)
  t.is(board.claim(lane, running, me), 1)
  t.is(board.stop(lane, running), me)
  t.is(board.stop(lane, running), me)
  t.true(board.stopAsked(lane, running))
  // Whoever was asked to stop is not begun again.
  t.is(board.claim(lane, running, me), -1)
})

test.serial('rows grow, and are taken again', t => {
  using all = both()
  const { board, lane, me } = all
  const tickets = Array.from({ length: 5000 }, () => board.submit(lane, 1))
  t.is(new Set(tickets).size, 5000)
  for (const ticket of tickets) t.is(board.claim(lane, ticket, me), 1)
  for (const ticket of tickets) t.true(board.release(lane, ticket))
  for (let k = 0; k < 5000; k++) t.true(board.submit(lane, 1) % 2 ** 24 < 5000)
})

test.serial('one thread has one lane, however often it opens the board; another has another', t => {
  using all = both()
  const { board, lane } = all
  using again = new Board(board[handleOf]())
  t.is(again.lane(all.results[handleOf]()), lane)
  t.not(again.submit(lane, 1), board.submit(lane, 1))
  t.throws(() => board.submit(lane + 1, 1), { instanceOf: StateError })
  t.is(board.claim(lane + 1, 2 ** 24, 1), 0)
  t.is(board.resultsOf(lane + 1), null)
  t.deepEqual(board.resultsOf(lane), all.results[handleOf]())
})

test.serial('a board carries handles and a note, and keeps what it carries alive', t => {
  const queue = new Queue()
  queue.putSync('still here')
  const handle = queue[handleOf]()
  const board = new Board({ handles: [handle], note: Buffer.from('x'.repeat(70_000)) })
  queue.close()
  using again = new Board(board[handleOf]())
  board.close()
  t.deepEqual(again.handles(), [handle])
  t.is(again.note().toString(), 'x'.repeat(70_000))
  t.throws(() => board.workers(), { instanceOf: ClosedError })
  using other = new Queue()
  t.throws(() => new Board(other[handleOf]()), { instanceOf: ClosedError })
})

test.serial('a worker that is killed is told of, its task is lost, and its end is known', async t => {
  using results = new Queue<number>()
  using board = new Board({ handles: [] })
  const lane = board.lane(results[handleOf]())
  const [last, again] = [board.submit(lane, 1), board.submit(lane, 2)]
  const child = new Process({
    target: async (handle: Handle, of: number, tickets: number[], says: Queue<number>) => {
      const theirs = new Board(handle)
      const worker = theirs.enter()
      theirs.setState(worker, 7)
      for (const ticket of tickets) theirs.claim(of, ticket, worker)
      says.putSync(worker)
      await new Promise(() => { setInterval(() => {}, 1000) })
    },
    args: [board[handleOf](), lane, [last, again], results],
  }).start()
  const worker = await results.get(soon)
  const seen = board.epoch
  t.deepEqual(board.workers(), [{ number: worker, state: 7, pid: child.pid as number }])
  t.is(board.state(worker), 7)
  t.is(board.lost(lane, last), 0)
  t.is(board.stop(lane, last), worker)
  const told = board.wait(seen, soon)
  process.kill(child.pid as number, 'SIGKILL')
  t.is(await told, seen + 1)
  t.is(board.lost(lane, last), 1)
  t.is(board.lost(lane, again), 0)
  t.is(board.state(worker), -1)
  t.false(board.setState(worker, 1))
  t.deepEqual(board.workers(), [])
  t.is(board.losses, 1)
  await until(() => board.processOf(worker)?.exitCode !== undefined)
  t.like(board.processOf(worker), { pid: child.pid as number, hasDied: true, exitCode: -9 })
  t.true(await child.join(soon))
  // Somebody else begins it again; a task that is settled forgives the death.
  const me = board.enter()
  t.is(board.claim(lane, again, me), 2)
  t.true(board.settle(lane, again, me))
  t.is(board.losses, 0)
  board.leave()
})

test.serial('the tasks of a submitter that is killed are dropped', async t => {
  using says = new Queue<number[]>()
  using board = new Board({ handles: [] })
  const child = new Process({
    target: async (handle: Handle, to: Queue<number[]>) => {
      const theirs = new Board(handle)
      const lane = theirs.lane(to[handleOf]())
      to.putSync([lane, theirs.submit(lane, 3)])
      await new Promise(() => { setInterval(() => {}, 1000) })
    },
    args: [board[handleOf](), says],
  }).start()
  const [lane, ticket] = await says.get(soon) as [number, number]
  const me = board.enter()
  t.is(board.claim(lane, ticket, me), 1)
  t.deepEqual(board.resultsOf(lane), says[handleOf]())
  process.kill(child.pid as number, 'SIGKILL')
  t.true(await child.join(soon))
  t.is(board.claim(lane, ticket, me), 0)
  t.true(board.stopAsked(lane, ticket))
  t.is(board.resultsOf(lane), null)
  board.leave()
})

test.serial('whoever waits for a board that breaks is told', async t => {
  using board = new Board({ handles: [] })
  const { epoch } = board
  const told = board.wait(epoch, soon)
  board.giveUp()
  board.giveUp()
  t.is(await told, epoch + 1)
  t.true(board.isBroken)
  t.is(await board.wait(board.epoch, { timeout: 20 }), epoch + 1)
})

test.serial('what a task costs on the board', t => {
  using all = both()
  const { board, lane, me } = all
  let best = Infinity
  for (let round = 0; round < 20; round++) {
    const began = performance.now()
    for (let k = 0; k < 1000; k++) {
      const ticket = board.submit(lane, 1)
      board.claim(lane, ticket, me)
      board.settle(lane, ticket, me)
      board.release(lane, ticket)
    }
    best = Math.min(best, performance.now() - began)
  }
  t.log(`${(best * 1000).toFixed(0)} ns`)
  t.true(best < 5, `${best} ms for 1000`)
})
