// Many who wait for one queue: who is woken, how soon, and what it costs those who are not.

import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import { Process, Queue } from '#src/index.js'
import { isChaos } from './helpers/programs.js'
import { leavesNothing } from './helpers/settled.js'

leavesNothing(test)

const soon = { timeout: 60_000 }

/** Times that the threads of a process have gone to sleep, and CPU time that they took, in ms. */
function spent(pid: number): { sleeps: number, cpu: number } {
  let [sleeps, cpu] = [0, 0]
  for (const tid of readdirSync(`/proc/${pid}/task`)) {
    const task = `/proc/${pid}/task/${tid}`
    sleeps += Number(/^voluntary_ctxt_switches:\s*(\d+)/m.exec(readFileSync(`${task}/status`, 'utf8'))?.[1])
    // Nanoseconds on a CPU, the first of three numbers.
    cpu += Number(readFileSync(`${task}/schedstat`, 'utf8').split(' ')[0]) / 1e6
  }
  return { sleeps, cpu }
}

/** Milliseconds that those threads of this process which wake for a message were ready to run and had no CPU. */
function withoutCpu(): number {
  let ms = 0
  for (const tid of readdirSync('/proc/self/task')) {
    const task = `/proc/self/task/${tid}`
    if (Number(tid) !== process.pid && !readFileSync(`${task}/comm`, 'utf8').startsWith('polyproc')) continue
    ms += Number(readFileSync(`${task}/schedstat`, 'utf8').split(' ')[1]) / 1e6
  }
  return ms
}

/** Without it the engine wakes now and then by itself, to collect garbage when there is nothing else to do. */
const quiet = ['--no-memory-reducer']

/** Until nobody of them does anything any more. */
async function atRest(pids: readonly number[]): Promise<void> {
  const sum = (): number => pids.reduce((all, pid) => all + spent(pid).sleeps, 0)
  for (let before = -1, now = sum(); before !== now; before = now, now = sum()) await sleep(1500)
}

test.serial('two wait and one of them computes: every put is taken by the other at once', async t => {
  const [busy, puts] = isChaos ? [5000, 1000] : [1500, 300]
  using items = new Queue<bigint | 'compute'>()
  using told = new Queue<number | 'computes'>()
  const taker = async (from: typeof items, to: typeof told, ms: number): Promise<void> => {
    let waited = withoutCpu()
    for await (const item of from) {
      const now = process.hrtime.bigint()
      if (item === 'compute') {
        to.putNowait('computes')
        for (const end = performance.now() + ms; performance.now() < end;) { /* It computes. */ }
        return
      }
      const before = waited
      waited = withoutCpu()
      // The kernel may have it wait behind the one that computes: not ours to answer for.
      to.putNowait(Number(now - item) / 1e6 - (waited - before))
    }
  }
  const both = [1, 2].map(() => new Process({ target: taker, args: [items, told, busy] }).start())
  await atRest(both.map(child => child.pid!))
  items.putNowait('compute')
  t.is(await told.get(soon), 'computes')
  const late: number[] = []
  const every = busy / puts * 0.8
  for (let k = 0; k < puts; k += 1) {
    items.putNowait(process.hrtime.bigint())
    await sleep(every)
  }
  while (late.length < puts) late.push(await told.get(soon) as number)
  items.shutdown()
  for (const child of both) t.true(await child.join(soon))
  late.sort((a, b) => a - b)
  const [median, last] = [late[puts >> 1]!, late.at(-1)!]
  // On a machine that does other things too the putter may lose its CPU as well; the long form is for one that does not.
  t.true(median < 10 && last < (isChaos ? 10 : busy / 2), `half within ${median} ms, all within ${last} ms`)
})

test.serial('one item wakes one of those who wait for it', async t => {
  const [count, times] = isChaos ? [50, 100] : [8, 10]
  using items = new Queue<number>()
  using told = new Queue<number>()
  const all = Array.from({ length: count }, () => new Process({ target: async (from: typeof items, to: typeof told) => {
    for await (const _ of from) to.putNowait(process.pid)
  }, args: [items, told], execArgv: quiet }).start())
  const pids = all.map(child => child.pid!)
  await atRest(pids)
  const woken = new Map(pids.map(pid => [pid, 0]))
  for (let k = 0; k < times; k += 1) {
    const before = new Map(pids.map(pid => [pid, spent(pid).sleeps]))
    items.putNowait(k)
    const taker = await told.get(soon)
    // Long enough for others to wake if they had been called.
    await sleep(100)
    for (const pid of pids) if (pid !== taker && spent(pid).sleeps !== before.get(pid)) woken.set(pid, woken.get(pid)! + 1)
  }
  // The engine wakes now and then for itself; a herd would wake every time.
  const most = isChaos ? 0 : 2
  t.true([...woken.values()].every(wakings => wakings <= most), `woken of ${times} times: ${[...woken.values()].join(' ')}`)
  items.shutdown()
  for (const child of all) t.true(await child.join(soon))
})

test.serial('who only waits takes no CPU, also where the thread pool of libuv is blocked', async t => {
  const [count, ms] = isChaos ? [20, 10_000] : [4, 3000]
  using items = new Queue<number>()
  using told = new Queue<number>()
  const target = (from: typeof items, to: typeof told): void => {
    // The one thread that libuv has here waits in a read that ends with the process.
    const fs = process.getBuiltinModule('node:fs')
    const { execFileSync } = process.getBuiltinModule('node:child_process')
    const pipe = `${process.getBuiltinModule('node:os').tmpdir()}/polyproc-pipe-${process.pid}`
    execFileSync('mkfifo', [pipe])
    const fd = fs.openSync(pipe, fs.constants.O_RDWR)
    fs.unlinkSync(pipe)
    fs.read(fd, Buffer.alloc(1), () => undefined)
    void Promise.all(Array.from({ length: 20 }, () => from.get())).then(() => { to.putNowait(0) })
    to.putNowait(process.pid)
  }
  const all = Array.from({ length: count }, () => new Process({ target, args: [items, told], execArgv: quiet, env: { ...process.env, UV_THREADPOOL_SIZE: '1' } }).start())
  for (const _ of all) await told.get(soon)
  const pids = all.map(child => child.pid!)
  await atRest(pids)
  const before = pids.map(spent)
  await sleep(ms)
  for (const [k, pid] of pids.entries()) {
    const { sleeps, cpu } = spent(pid)
    t.true(cpu - before[k]!.cpu < 10 && sleeps - before[k]!.sleeps < 30, `${cpu - before[k]!.cpu} ms of CPU, ${sleeps - before[k]!.sleeps} sleeps`)
  }
  for (let k = 0; k < count * 20; k += 1) items.putNowait(k)
  for (const _ of all) t.is(await told.get(soon), 0)
  // Node does not end by itself while a thread of libuv is blocked.
  for (const child of all) child.kill()
  for (const child of all) t.true(await child.join(soon))
})
