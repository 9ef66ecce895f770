// Pools in bad weather: workers that are killed all the time, pools that are ended at any moment. `npm run chaos` takes ten times as long.

import test from 'ava'
import { activeChildren, Pool, WorkerLostError } from '#src/index.js'
import { isChaos, isRunning, until } from './helpers/programs.js'
import { random } from './helpers/random.js'
import { leavesNothing } from './helpers/settled.js'

leavesNothing(test)

const SIGNALS = ['SIGKILL', 'SIGSEGV', 'SIGABRT'] as const
const sleep = async (ms: number): Promise<void> => new Promise(resolve => { setTimeout(resolve, ms) })

/** Processes of a pool that run. */
const workersOf = (name: string): number[] => activeChildren().filter(child => child.name.startsWith(name)).map(child => child.pid!).filter(isRunning)

/** Kills a worker every 100 ms until told to stop; returns how many. */
function killing(name: string, next: () => number): () => number {
  let kills = 0
  const timer = setInterval(() => {
    const workers = workersOf(name)
    const victim = workers[Math.floor(next() * workers.length)]
    if (victim !== undefined) process.kill(victim, SIGNALS[kills++ % SIGNALS.length])
  }, 100)
  return () => {
    clearInterval(timer)
    return kills
  }
}

for (const retries of [0, 50]) {
  test.serial(`a worker is killed every 100 ms: everything settles, ${retries === 0 ? 'and in time' : 'and with retries resolves'}`, async t => {
    const seconds = isChaos ? 60 : 6
    // Workers may be killed faster than they start: that alone does not break the pool.
    const pool = new Pool({ processes: 4, stdio: 'ignore', name: `storm${retries}`, maxRestarts: 1e6 })
    const next = random(retries + 1)
    const times: number[] = []
    const odd: unknown[] = []
    let [lost, done, isOver] = [0, 0, false]
    // Tasks of up to 20 ms, each of 16 followed by the next.
    const chain = async (): Promise<void> => {
      while (!isOver) {
        const began = performance.now()
        const id = next()
        try {
          const result = await pool.apply(async (given: number, ms: number) => {
            await new Promise(resolve => { setTimeout(resolve, ms) })
            return given
          }, [id, next() * 20], { retries })
          if (result === id) done += 1
          else odd.push(result)
        } catch (error) {
          if (error instanceof WorkerLostError) lost += 1
          else {
            odd.push(error)
            return
          }
        }
        times.push(performance.now() - began)
      }
    }
    const chains = Promise.all(Array.from({ length: 16 }, chain))
    await until(() => done > 50, 20_000)
    times.length = 0
    const stop = killing(pool.name, next)
    await sleep(seconds * 400)
    // The caller stands still for a while: what it waits for may be lost, and is told so all the same.
    const until0 = performance.now() + seconds * 100
    while (performance.now() < until0) {
      try {
        t.is(pool.applySync((x: number) => x + 1, [1]), 2)
      } catch (error) {
        t.true(error instanceof WorkerLostError, String(error))
      }
    }
    await sleep(seconds * 500)
    const kills = stop()
    const ended = performance.now()
    t.true(await until(() => pool.stats().workers === 4 && workersOf(pool.name).length === 4, 5000))
    const back = performance.now() - ended
    isOver = true
    await chains
    times.sort((a, b) => a - b)
    const p99 = times[Math.floor(times.length * 0.99)]!
    t.log(`${kills} kills, ${done} done, ${lost} lost; p99 ${p99.toFixed(0)} ms, the last ${times.at(-1)!.toFixed(0)} ms; 4 workers again after ${back.toFixed(0)} ms`)
    t.deepEqual(odd, [])
    t.true(kills >= seconds * 5)
    t.true(done > 100)
    if (retries === 0) {
      t.true(lost > 0)
      // The short form shares the machine with other tests.
      t.true(p99 < (isChaos ? 1000 : 3000), `p99 ${p99} ms`)
    } else t.is(lost, 0)
    t.true(back < (isChaos ? 500 : 2000), `${back} ms`)
    await pool.terminate()
    t.true(await pool.join())
  })
}

test.serial('pools that are ended at any moment, from the main flow, a callback, a signal handler', async t => {
  const times = isChaos ? 1000 : 60
  const next = random(3)
  let longest = 0
  for (let k = 0; k < times; k += 1) {
    const pool = new Pool({ processes: 4, name: 'short' })
    const tasks = Array.from({ length: Math.floor(next() * 51) }, async (_, n) => pool.apply(async (ms: number) => new Promise(resolve => { setTimeout(resolve, ms) }), [n]))
    const settled = Promise.allSettled(tasks)
    const wait = next() * 20
    let began = 0
    await new Promise<void>(resolve => {
      const end = (): void => {
        began = performance.now()
        void pool.terminate().then(resolve)
      }
      if (k % 3 === 0) void sleep(wait).then(end)
      else if (k % 3 === 1) setTimeout(end, wait)
      else {
        // A listener for signals does not keep a program alive.
        const alive = setTimeout(() => undefined, 10_000)
        process.once('SIGUSR2', () => {
          clearTimeout(alive)
          end()
        })
        setTimeout(() => { process.kill(process.pid, 'SIGUSR2') }, wait)
      }
    })
    t.true(await pool.join())
    await settled
    longest = Math.max(longest, performance.now() - began)
  }
  t.log(`the longest took ${longest.toFixed(0)} ms`)
  t.true(longest < 2000, `${longest} ms`)
  t.deepEqual(workersOf('short'), [])
})
