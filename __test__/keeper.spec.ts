// Who keeps the workers of a pool, natively: they are replaced, and late tasks ended, while this event loop stands still.

import test from 'ava'
import { JoinableQueue, Process, Queue } from '#src/index.js'
import { handleOf, type Handle } from '#src/handles.js'
import { Board } from '#src/pool/board.js'
import { Keeper, type KeeperTerms } from '#src/pool/keeper.js'
import { until } from './helpers/programs.js'
import { leavesNothing } from './helpers/settled.js'

leavesNothing(test)

const soon = { timeout: 30_000 }
const IDLE = 1
const BUSY = 2

type Says = Queue<[worker: number, pid: number, what: string]>

/** A worker that says who it is, and is busy with one task if it is given one, without end. */
async function work(handle: Handle, says: Says, state: number, lane = 0, ticket = 0): Promise<void> {
  const board = new Board(handle)
  const worker = board.enter()
  board.setState(worker, state)
  if (ticket > 0) board.claim(lane, ticket, worker)
  says.putSync([worker, process.pid, process.argv.length > 0 ? 'works' : ''])
  setInterval(() => { /* Until it is killed. */ }, 1000)
  await new Promise(() => { /* Never. */ })
}

function setUp(terms: Partial<KeeperTerms>, target: (...args: any[]) => unknown, ...args: unknown[]): {
  board: Board, keeper: Keeper, ready: JoinableQueue<unknown>, says: Says, lane: number, [Symbol.asyncDispose]: () => Promise<void>
} {
  const ready = new JoinableQueue<unknown>({ redeliver: true })
  const says: Says = new Queue()
  const board = new Board({ handles: [ready[handleOf]()] })
  const lane = board.lane(says[handleOf]())
  const all = { processes: 2, maxRestarts: 10, killAfter: 100, ready: [ready[handleOf]()], letter: 'look', ...terms }
  const keeper = new Keeper(board, all, {}, 'Kept-', { target, args: [board[handleOf](), says, ...args] })
  return {
    board, keeper, ready, says, lane,
    async [Symbol.asyncDispose]() {
      const workers = keeper.workers()
      keeper.close()
      for (const { key, pid, serial } of workers) {
        const child = Process.adopt(`Kept-${serial}`, key, pid)
        child.kill()
        await child.join(soon)
      }
      board.close()
      ready.close()
      says.close()
    },
  }
}

/** Does nothing and lets nothing be done. */
function standStill(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}

test.serial('workers are started up to the most, and have names and numbers of their own', async t => {
  await using all = setUp({}, work, IDLE)
  const { keeper, says, board } = all
  const first = keeper.start()!
  const second = keeper.start()!
  t.is(keeper.start(), null)
  t.deepEqual([first.serial, second.serial], [1, 2])
  t.deepEqual(keeper.workers(), [first, second])
  const pids = [(await says.get(soon))[1], (await says.get(soon))[1]]
  t.deepEqual(pids.sort(), [first.pid, second.pid].sort())
  t.is(board.workers().length, 2)
})

test.serial('a worker that is killed is replaced while the event loop stands still, and one more is kept ready', async t => {
  await using all = setUp({ processes: 3 }, work, BUSY)
  const { keeper, says, board } = all
  const first = keeper.start()!
  await says.get(soon)
  process.kill(first.pid, 'SIGKILL')
  standStill(50)
  // Its replacement, and a spare: there may be as many.
  t.deepEqual(keeper.workers().map(({ serial }) => serial), [2, 3])
  t.is(board.losses, 1)
  standStill(500)
  await says.get(soon)
  await says.get(soon)
  t.is(board.workers().length, 2)
  // From now on a death is made good by those that there are to be.
  const [second] = keeper.workers()
  process.kill(second!.pid, 'SIGKILL')
  await until(() => keeper.workers().length === 3)
})

test.serial('the pool is broken after too many losses in a row, also of workers that do not come so far as to enter', async t => {
  await using all = setUp({ maxRestarts: 3 }, () => { process.exit(3) })
  const { keeper, board } = all
  const { epoch } = board
  keeper.start()
  t.true(await board.wait(epoch, soon) > epoch)
  t.true(board.isBroken)
  t.true(board.losses >= 3)
  await until(() => keeper.workers().length === 0)
})

test.serial('a worker that leaves is replaced when there is work', async t => {
  const leaves = async (handle: Handle, says: Says): Promise<void> => {
    const board = new Board(handle)
    const worker = board.enter()
    says.putSync([worker, process.pid, 'leaves'])
    await new Promise(resolve => { setTimeout(resolve, 50) })
    board.leave()
    process.exit(0)
  }
  await using all = setUp({}, leaves)
  const { keeper, ready, says, board } = all
  const first = keeper.start()!
  t.is((await says.get(soon))[1], first.pid)
  await until(() => keeper.workers().length === 0)
  t.is(board.losses, 0)
  keeper.start()
  ready.putNowait('a task')
  const pids = [await says.get(soon), await says.get(soon), await says.get(soon)].map(([, pid]) => pid)
  t.is(new Set(pids).size, 3)
  // No more of them.
  await all.ready.get()
})

test.serial('one that is expected to end is not replaced', async t => {
  await using all = setUp({}, work, BUSY)
  const { keeper, says } = all
  const first = keeper.start()!
  await says.get(soon)
  keeper.expect(first.key)
  process.kill(first.pid, 'SIGKILL')
  await until(() => keeper.workers().length === 0)
  standStill(50)
  t.deepEqual(keeper.workers(), [])
})

test.serial('another process asks for more workers while the event loop stands still', async t => {
  const wants = async (handle: Handle, says: Says): Promise<void> => {
    const board = new Board(handle)
    const worker = board.enter()
    board.setState(worker, 2)
    says.putSync([worker, process.pid, 'works'])
    board.want()
    setInterval(() => { /* Until it is killed. */ }, 1000)
    await new Promise(() => { /* Never. */ })
  }
  await using all = setUp({}, wants)
  const { keeper, ready, says } = all
  for (let k = 0; k < 5; k += 1) ready.putNowait(k)
  keeper.start()
  standStill(1500)
  t.is(keeper.workers().length, 2)
  await says.get(soon)
})

test.serial('a worker whose tasks wait for tasks of the same pool does not count', async t => {
  const waits = async (handle: Handle, says: Says): Promise<void> => {
    const board = new Board(handle)
    const worker = board.enter()
    board.setState(worker, board.workers().length > 2 ? 2 : 3)
    says.putSync([worker, process.pid, 'waits'])
    setInterval(() => { /* Until it is killed. */ }, 1000)
    await new Promise(() => { /* Never. */ })
  }
  await using all = setUp({ processes: 1 }, waits)
  const { keeper, ready, says } = all
  ready.putNowait('a task')
  keeper.start()
  for (let k = 0; k < 3; k += 1) await says.get(soon)
  t.is(keeper.workers().length, 3)
  t.is(keeper.start(), null)
})

test.serial('the worker of a late task is told, and killed, while the event loop stands still; that is no loss', async t => {
  const stays = async (handle: Handle, says: Says, inbox: Queue<unknown>, orders: Queue<[lane: number, ticket: number]>): Promise<void> => {
    const board = new Board(handle)
    const worker = board.enter(inbox[handleOf]())
    board.setState(worker, 2)
    const [lane, ticket] = orders.getSync()
    says.putSync([worker, process.pid, String(board.claim(lane, ticket, worker))])
    setInterval(() => { /* Until it is killed. */ }, 1000)
    await new Promise(() => { /* Never. */ })
  }
  using inbox = new Queue<unknown>()
  using orders = new Queue<[lane: number, ticket: number]>()
  await using all = setUp({ killAfter: 300 }, stays, inbox, orders)
  const { board, keeper, lane, says } = all
  const [late, stopped, other] = [board.submit(lane, 1), board.submit(lane, 5), board.submit(lane, 1)]
  orders.putNowait([lane, late])
  keeper.start()
  t.is((await says.get(soon))[2], '1')
  board.limit(lane, late, 60_000)
  board.limit(lane, other, 70_000)
  board.limit(lane, late, 50)
  standStill(200)
  t.true(board.stopAsked(lane, late))
  t.is(inbox.getNowait(), 'look')
  t.is(board.lost(lane, late), 0)
  standStill(300)
  t.is(board.lost(lane, late), 1)
  t.is(board.losses, 0)
  t.is(keeper.workers()[0]?.serial, 2)
  // A task that is stopped is ended in the same way, although it might be begun again.
  orders.putNowait([lane, stopped])
  t.is((await says.get(soon))[2], '1')
  t.true(board.stop(lane, stopped) > 0)
  standStill(500)
  t.is(board.lost(lane, stopped), 1)
  t.is(board.lost(lane, other), 0)
  t.is(board.stop(lane, other), -1)
})
