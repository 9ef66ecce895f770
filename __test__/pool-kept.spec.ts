// A pool while the event loop of its owner stands still: workers are replaced, late tasks end, subtasks find a worker.

import test from 'ava'
import { Pool, Queue, TimeoutError, WorkerLostError } from '#src/index.js'
import { leavesNothing } from './helpers/settled.js'

leavesNothing(test)

/** Does nothing and lets nothing be done. */
function standStill(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}

/** Stands still until there is something in the queue, or for ten seconds. */
function standStillFor<T>(queue: Queue<T>): T | undefined {
  for (let k = 0; k < 200; k += 1) {
    standStill(50)
    const found = queue.tryGet()
    if (found !== undefined) return found as T
  }
  return undefined
}

test.serial('a worker that is lost is replaced, and the next task runs', async t => {
  using says = new Queue<string>()
  await using pool = new Pool({ processes: 1, stdio: 'ignore' })
  await pool.apply(() => 1)
  const lost = pool.apply(() => { process.kill(process.pid, 'SIGKILL') })
  const next = pool.apply((to: Queue<string>) => { to.putSync('ran') }, [says])
  t.is(standStillFor(says), 'ran')
  await t.throwsAsync(lost, { instanceOf: WorkerLostError })
  await next
})

test.serial('a task that does not stop at its deadline ends with its worker, and the next one runs', async t => {
  using says = new Queue<string>()
  await using pool = new Pool({ processes: 1, stdio: 'ignore', killAfter: 100, maxRestarts: 1 })
  await pool.apply(() => 1)
  const late = pool.apply(() => { for (;;) { /* Without end. */ } }, [], { timeout: 200 })
  const next = pool.apply((to: Queue<string>) => { to.putSync('ran') }, [says])
  t.is(standStillFor(says), 'ran')
  // It was late, whatever has become of its worker since; and that is no loss of the pool's.
  await t.throwsAsync(late, { instanceOf: TimeoutError })
  await next
})

test.serial('a task that waits for subtasks is given other workers', async t => {
  using says = new Queue<number>()
  await using pool = new Pool({ processes: 1, stdio: 'ignore' })
  await pool.apply(() => 1)
  const all = pool.apply(async (of: Pool, to: Queue<number>) => {
    const sums = await of.map(async (x: number) => (await of.map((y: number) => y * 2, [x, x])).reduce((a, b) => a + b), [1, 2])
    to.putSync(sums.reduce((a, b) => a + b))
  }, [pool, says])
  t.is(standStillFor(says), 12)
  await all
})
