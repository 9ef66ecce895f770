// How a process ends, and what its exit code says: returning, exiting, failing, signals, whole trees.

import test, { type ExecutionContext } from 'ava'
import { activeChildren, parentProcess, Process, Queue } from '#src/index.js'
import { fixture, isRunning, until } from './helpers/programs.js'
import { leavesNothing } from './helpers/settled.js'
import { exitWith, forever, spin } from './fixtures/targets.mjs'

leavesNothing(test)

const soon = { timeout: 30_000 }

interface Outcome { code: number | null, signal: string | null, out: string, err: string }

async function outcome(t: ExecutionContext, target: () => unknown): Promise<Outcome> {
  const child = new Process({ target, stdio: ['ignore', 'pipe', 'pipe'] }).start()
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr)])
  t.true(await child.join(soon))
  const found = { code: child.exitCode, signal: child.signal, out, err }
  child.close()
  return found
}

async function text(stream: NodeJS.ReadableStream | null): Promise<string> {
  let all = ''
  for await (const chunk of stream ?? []) all += String(chunk)
  return all
}

test.serial('PROC-05 terminate: join(0) and join(-1) change nothing; -15', async t => {
  const child = new Process({ target: forever, daemon: true }).start()
  for (const timeout of [0, -1]) {
    const began = performance.now()
    t.false(await child.join({ timeout }))
    t.false(child.joinSync({ timeout }))
    t.true(performance.now() - began < 50)
    t.true(child.isAlive())
  }
  t.true(activeChildren().includes(child as Process))
  child.terminate()
  const began = performance.now()
  t.true(await child.join(soon))
  t.true(performance.now() - began < 1000)
  t.false(child.isAlive())
  t.false(activeChildren().includes(child as Process))
  t.is(child.exitCode, -15)
  t.is(child.signal, 'SIGTERM')
  child.terminate()
  child.kill()
  t.is(child.exitCode, -15)
})

test.serial('PROC-06 kill: -9, also of a process that never leaves its loop', async t => {
  for (const target of [forever, spin]) {
    const child = new Process({ target, daemon: true }).start()
    await new Promise(resolve => { setTimeout(resolve, 150) })
    child.kill()
    t.true(await child.join(soon))
    t.is(child.exitCode, -9)
    t.is(child.signal, 'SIGKILL')
  }
})

test.serial('PROC-12 a grandchild sees its parent end, and lives on', async t => {
  using queue = new Queue<unknown[]>()
  const child = new Process({
    target: (to: Queue) => {
      new Process({
        target: async (up: Queue) => {
          const above = parentProcess()
          up.putSync(['before', above?.isAlive(), process.pid])
          const joined = await above?.join({ timeout: 30_000 })
          up.putSync(['after', joined, above?.isAlive(), above?.joinSync({ timeout: 0 })])
        }, args: [to],
      }).start()
      setInterval(() => undefined, 1000)
    }, args: [queue],
  }).start()
  const [, alive, pid] = await queue.get(soon)
  t.true(alive)
  const began = performance.now()
  child.terminate()
  t.deepEqual(await queue.get(soon), ['after', true, false, true])
  t.true(performance.now() - began < 1000)
  t.true(await child.join(soon))
  t.is(child.exitCode, -15)
  t.true(await until(() => !isRunning(pid as number)))
})

test.serial('PROC-25 an uncaught error: stack on stderr with name, file and line; exit code 1', async t => {
  const results = await Promise.all([
    outcome(t, () => { throw new RangeError('on purpose') }),
    outcome(t, async () => { await Promise.resolve(); throw new RangeError('on purpose') }),
    outcome(t, () => { setTimeout(() => { throw new RangeError('on purpose') }) }),
    outcome(t, () => { void Promise.reject(new RangeError('on purpose')) }),
  ])
  for (const { code, err } of results) {
    t.is(code, 1)
    t.regex(err, /RangeError: on purpose\n\s+at /)
    t.regex(err, /throw new RangeError|Promise\.reject\(new RangeError/)
    t.regex(err, /process-exit\.spec/)
    t.regex(err, /\^/)
  }
  const odd = await outcome(t, () => { throw 'a text' })
  t.is(odd.code, 1)
  t.regex(odd.err, /a text/)
})

test.serial('an error of a module’s function names that module’s file and line', async t => {
  const child = new Process({ target: { module: fixture('throws.mjs'), export: 'fail' }, stdio: ['ignore', 'ignore', 'pipe'] }).start()
  const err = await text(child.stderr)
  t.true(await child.join(soon))
  t.regex(err, /throws\.mjs:4\n\s+throw new TypeError\('from a module'\)\n\s+\^/)
  t.regex(err, /TypeError: from a module\n\s+at fail \(file:.*throws\.mjs:4:\d+\)/)
})

test.serial('an error is handled where the child listens for it', async t => {
  const { code, out } = await outcome(t, () => {
    process.on('uncaughtException', error => { console.log(`caught ${error.message}`) })
    throw new Error('mine')
  })
  t.deepEqual([code, out], [0, 'caught mine\n'])
  const later = await outcome(t, async () => {
    process.on('uncaughtException', error => { console.log(`caught ${error.message}`); process.exit(4) })
    await Promise.resolve()
    throw new Error('mine')
  })
  t.deepEqual([later.code, later.out], [4, 'caught mine\n'])
})

test.serial('PROC-26 exit codes', async t => {
  for (const [value, expected] of [[8, 8], [0, 0], [255, 255], [null, 0], [undefined, 0], ['7', 7]] as [unknown, number][]) {
    const child = new Process({ target: exitWith as (code: unknown) => void, args: [value] }).start()
    t.true(await child.join(soon))
    t.is(child.exitCode, expected, `process.exit(${String(value)})`)
  }
  t.is((await outcome(t, () => { process.exitCode = 3 })).code, 3)
  for (const value of [true, false, 'text']) {
    const child = new Process({ target: exitWith as (code: unknown) => void, args: [value], stdio: ['ignore', 'ignore', 'pipe'] }).start()
    const err = await text(child.stderr)
    t.true(await child.join(soon))
    t.is(child.exitCode, 1)
    t.regex(err, /TypeError.*code/)
  }
})

test.serial('PROC-27 exit listeners run before the child counts as joined', async t => {
  using queue = new Queue<string>()
  const child = new Process({ target: (to: Queue) => { process.on('exit', code => { to.putSync(`exit ${code}`) }) }, args: [queue] }).start()
  t.true(await child.join(soon))
  t.is(queue.tryGet(), 'exit 0')
})

test.serial('PROC-30, 31 interrupt: -2 by default, 1 with a listener that throws, nothing with one that does not', async t => {
  using ready = new Queue<number>()
  const plain = new Process({ target: (to: Queue) => { to.putSync(1); setInterval(() => undefined, 1000) }, args: [ready] }).start()
  await ready.get(soon)
  plain.interrupt()
  t.true(await plain.join(soon))
  t.deepEqual([plain.exitCode, plain.signal], [-2, 'SIGINT'])
  const throwing = new Process({
    target: (to: Queue) => {
      process.on('SIGINT', () => { throw new Error('interrupted') })
      to.putSync(1)
      setInterval(() => undefined, 1000)
    }, args: [ready], stdio: ['ignore', 'ignore', 'pipe'],
  }).start()
  await ready.get(soon)
  throwing.interrupt()
  t.regex(await text(throwing.stderr), /Error: interrupted/)
  t.true(await throwing.join(soon))
  t.is(throwing.exitCode, 1)
  const deaf = new Process({
    target: (to: Queue) => { process.on('SIGINT', () => { to.putSync(2) }); to.putSync(1); setInterval(() => undefined, 1000) }, args: [ready],
  }).start()
  t.is(await ready.get(soon), 1)
  deaf.interrupt()
  t.is(await ready.get(soon), 2)
  t.true(deaf.isAlive())
  deaf.terminate()
  t.true(await deaf.join(soon))
  t.is(deaf.exitCode, -15)
})

for (const [signal, number] of [['SIGHUP', 1], ['SIGQUIT', 3], ['SIGABRT', 6], ['SIGSEGV', 11], ['SIGUSR2', 12], ['SIGXCPU', 24]] as const) {
  test.serial(`ended by ${signal}: exitCode ${-number}`, async t => {
    using ready = new Queue<number>()
    const child = new Process({
      target: (to: Queue, name: NodeJS.Signals) => { to.putSync(1); process.kill(process.pid, name); setInterval(() => undefined, 1000) }, args: [ready, signal], cwd: '/tmp',
    }).start()
    await ready.get(soon)
    t.true(await child.join(soon))
    t.is(child.exitCode, -number)
    t.is(child.signal, signal)
  })
}

test.serial('TRACK-02 a handled signal does not cut joinSync short', async t => {
  using ready = new Queue<number>()
  let seen = 0
  const listener = (): void => { seen += 1 }
  process.on('SIGUSR2', listener)
  t.teardown(() => { process.off('SIGUSR2', listener) })
  const child = new Process({
    target: (to: Queue, parent: number) => {
      to.getSync()
      for (let k = 0; k < 5; k += 1) process.kill(parent, 'SIGUSR2')
      const end = Date.now() + 200
      while (Date.now() < end);
    }, args: [ready, process.pid],
  }).start()
  ready.putNowait(1)
  t.true(child.joinSync(soon))
  t.is(child.exitCode, 0)
  t.true(await until(() => seen > 0))
})

test.serial('terminate and kill of a tree end every descendant, not only the child', async t => {
  for (const [how, code] of [['terminate', -15], ['kill', -9]] as const) {
    using told = new Queue<number>()
    function grow(to: Queue, depth: number): void {
      to.putSync(process.pid)
      if (depth > 0) for (let k = 0; k < 2; k += 1) new Process({ target: grow, args: [to, depth - 1] }).start()
      setInterval(() => undefined, 1000)
    }
    const root = new Process({ target: grow, args: [told, 2] }).start()
    const pids: number[] = []
    while (pids.length < 7) pids.push(await told.get(soon))
    root[how]({ tree: true })
    t.true(await root.join(soon))
    t.is(root.exitCode, code)
    t.true(await until(() => !pids.some(isRunning), 2000), `left: ${pids.filter(isRunning).join(' ')}`)
  }
})

test.serial('without tree the descendants go on', async t => {
  using told = new Queue<number>()
  const root = new Process({
    target: (to: Queue) => {
      // It tells of itself, so that it is past its own start: what is killed before that is cleared away with the next death.
      new Process({ target: (up: Queue) => { up.putSync(process.pid); setInterval(() => undefined, 1000) }, args: [to] }).start()
      setInterval(() => undefined, 1000)
    }, args: [told],
  }).start()
  const pid = await told.get(soon)
  root.kill()
  t.true(await root.join(soon))
  t.true(isRunning(pid))
  process.kill(pid, 'SIGKILL')
  t.true(await until(() => !isRunning(pid)))
})
