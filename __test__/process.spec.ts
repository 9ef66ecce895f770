// The life of a process: what it is before, while and after it runs, as seen from both sides.

import { inspect } from 'node:util'
import test from 'ava'
import { Process, Queue, activeChildren, ClosedError, currentProcess, isMainProcess, parentProcess, SerializationError, StateError } from '#src/index.js'
import { fixture, run, until } from './helpers/programs.js'
import { collect, leavesNothing } from './helpers/settled.js'
import { forever, report } from './fixtures/targets.mjs'

leavesNothing(test)

const soon = { timeout: 30_000 }

interface Report { args: unknown[], name: string, daemon: boolean, pid: number, real: number, authKey: Uint8Array, alive: boolean }

test.serial('PROC-01 the current process', t => {
  const self = currentProcess()
  t.is(self, currentProcess())
  t.true(self.isAlive())
  t.false(self.daemon)
  t.is(self.exitCode, null)
  t.is(self.pid, process.pid)
  t.is(self.name, 'MainProcess')
  t.true(self.authKey instanceof Uint8Array && self.authKey.length >= 16)
  t.true(isMainProcess)
  t.throws(() => self.start(), { instanceOf: StateError })
  t.throws(() => { self.close() }, { instanceOf: StateError })
})

for (const [kind, args] of [
  ['array', [1, 'str', [1], [[2]]]], ['set', new Set<unknown>([1, 'str', [1]])], ['generator', (function* () { yield 1; yield 'str' })()], ['typed array', Uint8Array.of(3, 4)],
] as [string, Iterable<unknown>][]) {
  test.serial(`PROC-02 arguments from ${kind === 'array' ? 'an' : 'a'} ${kind}`, async t => {
    using queue = new Queue<Report>()
    const expected = kind === 'generator' ? [1, 'str'] : [...args]
    const rest = kind === 'generator' ? args : expected
    const child = new Process({ target: report as (...args: unknown[]) => void, args: (function* () { yield queue; yield* rest })() as never }).start()
    t.deepEqual((await queue.get(soon)).args, expected)
    t.true(await child.join(soon))
    t.is(child.exitCode, 0)
  })
}

test.serial('PROC-03 daemon defaults to the flag of the creating process, an explicit one wins', async t => {
  t.false(new Process().daemon)
  t.true(new Process({ daemon: true }).daemon)
  using queue = new Queue<boolean[]>()
  for (const daemon of [true, false]) {
    const child = new Process({
      target: (to: typeof queue) => { to.putSync([new Process().daemon, new Process({ daemon: false }).daemon, new Process({ daemon: true }).daemon, currentProcess().daemon]) },
      args: [queue], daemon,
    }).start()
    t.deepEqual(await queue.get(soon), [daemon, false, true, daemon])
    t.true(await child.join(soon))
  }
  const child = new Process()
  child.daemon = true
  t.true(child.daemon)
  t.throws(() => { (child as { daemon: unknown }).daemon = 1 }, { instanceOf: TypeError })
})

test.serial('PROC-04 the whole life of a process', async t => {
  using queue = new Queue<Report>()
  using go = new Queue<number>()
  const child = new Process({
    target: (to: Queue, gate: Queue, ...args: unknown[]) => { report(to, ...args); gate.getSync() }, args: [queue, go, 'hello', 43, { xx: 1, yy: null }], name: 'SomeProcess', daemon: true,
  })
  t.false(child.isAlive())
  t.true(child.daemon)
  t.is(child.pid, null)
  t.is(child.exitCode, null)
  t.is(child.signal, null)
  t.false(activeChildren().includes(child as Process))
  t.is(child.start(), child)
  t.true(Number.isInteger(child.pid) && child.pid !== process.pid)
  t.is(child.exitCode, null)
  t.true(child.isAlive())
  t.true(activeChildren().includes(child as Process))
  t.throws(() => child.start(), { instanceOf: StateError, message: /started already/ })
  t.throws(() => { child.daemon = false }, { instanceOf: StateError })
  const seen = await queue.get(soon)
  t.deepEqual(seen.args, ['hello', 43, { xx: 1, yy: null }])
  t.is(seen.name, 'SomeProcess')
  t.true(seen.daemon)
  t.true(seen.alive)
  t.is(seen.pid, child.pid ?? 0)
  t.is(seen.real, child.pid ?? 0)
  t.deepEqual([...seen.authKey], [...currentProcess().authKey])
  t.false(await child.join({ timeout: 0 }))
  t.true(child.isAlive())
  go.putNowait(1)
  t.true(await child.join(soon))
  t.is(child.exitCode, 0)
  t.is(child.signal, null)
  t.false(child.isAlive())
  t.false(activeChildren().includes(child as Process))
  t.true(await child.join())
  t.true(child.joinSync({ timeout: 0 }))
})

test.serial('PROC-07 activeChildren is a fresh array that has a child from start to its end', async t => {
  const child = new Process({ target: forever })
  t.deepEqual(activeChildren(), [])
  child.start()
  t.deepEqual(activeChildren(), [child as Process])
  t.not(activeChildren(), activeChildren())
  activeChildren().pop()
  t.is(activeChildren().length, 1)
  child.kill()
  await child.join(soon)
  t.deepEqual(activeChildren(), [])
  // Also without a join, once it has ended.
  const other = new Process({ target: forever }).start()
  other.kill()
  t.true(await until(() => activeChildren().length === 0))
  t.is(other.exitCode, -9)
})

test.serial('PROC-08 children of children, two levels deep', async t => {
  using queue = new Queue<string>()
  function recurse(to: Queue, id: string): void {
    to.putSync(id)
    if (id.length >= 3) return
    for (const k of [0, 1]) {
      const child = new Process({ target: recurse, args: [to, `${id}${k}`] }).start()
      child.joinSync()
    }
  }
  const child = new Process({ target: recurse, args: [queue, '0'] }).start()
  t.true(await child.join({ timeout: 30_000 }))
  const ids: string[] = []
  for (let id = queue.tryGet(); id !== undefined; id = queue.tryGet()) ids.push(id)
  t.deepEqual(ids, ['0', '00', '000', '001', '01', '010', '011'])
})

test.serial('PROC-11 parentProcess is null here, and names the parent in a child', async t => {
  t.is(parentProcess(), null)
  using queue = new Queue<unknown[]>()
  function tell(to: Queue, deeper: boolean): void {
    const above = parentProcess()
    to.putSync([above?.pid, above?.name, above?.isAlive(), isMainProcess])
    if (deeper) new Process({ target: tell, args: [to, false], name: 'grandchild' }).start().joinSync()
  }
  const child = new Process({ target: tell, args: [queue, true], name: 'child' }).start()
  t.deepEqual(await queue.get(soon), [process.pid, 'MainProcess', true, false])
  t.deepEqual(await queue.get(soon), [child.pid, 'child', true, false])
  t.true(await child.join(soon))
})

test.serial('PROC-13 waiting for a process before start is a StateError', async t => {
  const child = new Process({ target: forever })
  await t.throwsAsync(child.join(), { instanceOf: StateError })
  await t.throwsAsync(child.join({ timeout: 0 }), { instanceOf: StateError })
  t.throws(() => child.joinSync(), { instanceOf: StateError })
  t.throws(() => { child.terminate() }, { instanceOf: StateError })
  t.throws(() => { child.kill() }, { instanceOf: StateError })
  t.throws(() => { child.interrupt() }, { instanceOf: StateError })
})

test.serial('PROC-14 close: refused while it runs, then final, twice harmless, collectable', async t => {
  let child: Process | null = new Process({ target: forever }).start() as Process
  t.throws(() => { child?.close() }, { instanceOf: StateError, message: /running/ })
  t.true(child.isAlive())
  child.kill()
  t.true(await child.join(soon))
  child.close()
  child.close()
  t.throws(() => child?.isAlive(), { instanceOf: ClosedError, message: /closed/ })
  await t.throwsAsync(child.join(), { instanceOf: ClosedError })
  t.throws(() => child?.joinSync(), { instanceOf: ClosedError })
  t.throws(() => { child?.terminate() }, { instanceOf: ClosedError })
  t.throws(() => child?.pid, { instanceOf: ClosedError })
  t.throws(() => child?.exitCode, { instanceOf: ClosedError })
  t.throws(() => child?.start(), { instanceOf: ClosedError })
  new Process().close()
  const ref = new WeakRef(child)
  child = null
  await new Promise(setImmediate)
  t.true(await until(() => { collect(); return ref.deref() === undefined }))
})

test.serial('PROC-16 the parent keeps neither target nor arguments once the process is started', async t => {
  let keep: { target: () => void, arg: object } | null = { target: () => undefined, arg: { some: 'thing' } }
  const refs = [new WeakRef(keep.target), new WeakRef(keep.arg)]
  const child = new Process({ target: keep.target as (arg: object) => void, args: [keep.arg] }).start()
  t.true(await child.join(soon))
  keep = null
  await new Promise(setImmediate)
  t.true(await until(() => { collect(); return refs.every(ref => ref.deref() === undefined) }))
  t.is(child.exitCode, 0)
})

test.serial('PROC-18 the child goes on after its target has returned while its loop has work, and not for unreferenced work', async t => {
  using queue = new Queue<string>()
  const child = new Process({
    target: (to: Queue) => {
      setTimeout(() => { to.putSync('late') }, 100)
      setTimeout(() => { to.putSync('never') }, 100_000).unref()
    }, args: [queue],
  }).start()
  t.is(await queue.get(soon), 'late')
  t.true(await child.join(soon))
  t.is(child.exitCode, 0)
  t.is(queue.tryGet(), undefined)
})

test.serial('PROC-24 a subclass with its own run and fields', async t => {
  class Upper extends Process {
    readonly requests = new Queue<string | null>()
    readonly replies = new Queue<string>()
    constructor(readonly prefix: string) { super({ name: undefined }) }
    override run(): void {
      for (let text = this.requests.getSync(); text !== null; text = this.requests.getSync()) this.replies.putSync(this.prefix + text.toUpperCase())
    }
  }
  const child = new Upper('> ')
  t.regex(child.name, /^Upper-\d+$/)
  child.start()
  child.requests.putNowait('one')
  t.is(await child.replies.get(soon), '> ONE')
  child.requests.putNowait('two')
  t.is(await child.replies.get(soon), '> TWO')
  child.requests.putNowait(null)
  t.true(await child.join(soon))
  t.is(child.exitCode, 0)
  child.requests.close()
  child.replies.close()
})

test.serial('a subclass may call super.run and await in run', async t => {
  using queue = new Queue<string>()
  class Around extends Process {
    override async run(): Promise<void> {
      await new Promise(resolve => { setTimeout(resolve, 10) })
      await super.run()
    }
  }
  const child = new Around({ target: (to: Queue) => { to.putSync(currentProcess().constructor.name) }, args: [queue] }).start()
  t.is(await queue.get(soon), 'Around')
  t.true(await child.join(soon))
})

test.serial('names: given, by number, of a subclass, of a child of a child; settable', async t => {
  using queue = new Queue<string>()
  const first = new Process({ target: (to: Queue) => {
    to.putSync(currentProcess().name)
    const inner = new Process({ target: (deep: Queue) => { deep.putSync(currentProcess().name) }, args: [to] })
    inner.start().joinSync()
    const second = new Process()
    to.putSync(second.name)
  }, args: [queue] })
  const number = Number(/^Process-(\d+)$/.exec(first.name)?.[1])
  t.true(number >= 1)
  t.is(new Process().name, `Process-${number + 1}`)
  t.is(new (class Mine extends Process {})().name, `Mine-${number + 2}`)
  t.is(new Process({ name: 'given' }).name, 'given')
  // A number is taken by whoever has a name of its own, too: the second process is Process-2.
  t.is(new Process().name, `Process-${number + 4}`)
  first.start()
  t.is(await queue.get(soon), `Process-${number}`)
  t.is(await queue.get(soon), `Process-${number}:1`)
  t.is(await queue.get(soon), `Process-${number}:2`)
  t.true(await first.join(soon))
  const renamed = new Process({ target: (to: Queue) => { to.putSync(currentProcess().name) }, args: [queue] })
  renamed.name = 'renamed'
  renamed.start()
  t.is(await queue.get(soon), 'renamed')
  t.true(await renamed.join(soon))
  t.throws(() => { (renamed as { name: unknown }).name = 1 }, { instanceOf: TypeError })
})

test.serial('a module and export by name: default, named, dotted, by URL, path and relative path', async t => {
  using queue = new Queue<string>()
  const path = fixture('targets.mjs')
  const url = new URL(`file://${path}`)
  for (const [target, expected] of [
    [{ module: url }, 'default x'], [{ module: path }, 'default x'], [{ module: url.href, export: 'default' }, 'default x'], [{ module: path, export: 'tools.deep.put' }, 'deep x'],
  ] as const) {
    const child = new Process({ target, args: [queue, 'x'] }).start()
    t.is(await queue.get(soon), expected)
    t.true(await child.join(soon))
  }
  for (const target of [{ module: path, export: 'nothing' }, { module: path, export: 'notAFunction' }, { module: '/no/such/file.mjs' }]) {
    const child = new Process({ target, stdio: ['ignore', 'ignore', 'pipe'] }).start()
    const err = await text(child.stderr)
    t.true(await child.join(soon))
    t.is(child.exitCode, 1)
    t.regex(err, /does not export a function|Cannot find module/)
  }
})

test.serial('what cannot be started throws in start, says why, and leaves the process as it was', t => {
  const refused = new Process({ target: (() => undefined) as (arg: unknown) => void, args: [{ deep: [Symbol('no')] }] })
  const error = t.throws(() => refused.start(), { instanceOf: SerializationError })
  t.regex((error as SerializationError).path, /args\[0\]\.deep\[0\]/)
  t.is(refused.pid, null)
  t.false(refused.isAlive())
  t.throws(() => new Process({ execPath: '/no/such/node' }).start(), { code: 'ENOENT' })
  t.throws(() => new Process({ cwd: '/no/such/place' }).start(), { code: 'ENOENT' })
  t.throws(() => new Process({ cwd: fixture('targets.mjs') }).start(), { code: 'ENOTDIR' })
  t.throws(() => new Process({ stdio: 'pipes' as never }).start(), { instanceOf: TypeError, message: /stdio/ })
  t.throws(() => new Process({ stdio: ['pipe'] as never }).start(), { instanceOf: TypeError, message: /stdio/ })
  t.throws(() => new Process('text' as never), { instanceOf: TypeError })
  t.throws(() => new Process({ target: 7 as never }), { instanceOf: TypeError })
  t.throws(() => new Process({ args: 7 as never }), { instanceOf: TypeError })
  t.deepEqual(activeChildren(), [])
})

test.serial('a file that cannot be executed is exit code 127 or an error of start', async t => {
  let child: Process
  try {
    child = new Process({ execPath: fixture('not-a-program'), stdio: 'ignore' }).start() as Process
  } catch (error) {
    t.regex(String(error), /EACCES|ENOEXEC|permission|format/i)
    return
  }
  t.true(await child.join(soon))
  t.is(child.exitCode, 127)
})

test.serial('join by several at once, with timeouts, aborts and threads blocked', async t => {
  using go = new Queue<number>()
  const child = new Process({ target: (gate: Queue) => { gate.getSync() }, args: [go] }).start()
  const reason = new Error('enough')
  const controller = new AbortController()
  const aborted = child.join({ signal: controller.signal })
  const late = child.join({ timeout: 200 })
  const joins = [child.join(), child.join(soon), child.join({ timeout: Infinity })]
  const began = performance.now()
  t.false(await late)
  const ms = performance.now() - began
  t.true(ms >= 195 && ms < 1000, `${ms} ms`)
  controller.abort(reason)
  t.is(await t.throwsAsync(aborted), reason)
  await t.throwsAsync(child.join({ signal: AbortSignal.abort(reason) }), { is: reason })
  await t.throwsAsync(child.join({ timeout: Number.NaN }), { instanceOf: RangeError })
  const sync = performance.now()
  t.false(child.joinSync({ timeout: 200 }))
  t.true(performance.now() - sync >= 195 && performance.now() - sync < 400)
  t.false(child.joinSync({ timeout: -1 }))
  go.putNowait(1)
  t.true(child.joinSync(soon))
  t.deepEqual(await Promise.all(joins), [true, true, true])
  t.is(child.exitCode, 0)
})

test.serial('an aborted signal terminates it, and one that is aborted already refuses the start', async t => {
  const controller = new AbortController()
  const child = new Process({ target: forever, signal: controller.signal }).start()
  controller.abort()
  t.true(await child.join(soon))
  t.is(child.exitCode, -15)
  const reason = new Error('no')
  t.throws(() => new Process({ target: forever, signal: AbortSignal.abort(reason) }).start(), { is: reason })
})

test.serial('disposal: terminate for `using`, terminate and join and close for `await using`', async t => {
  let kept: Process
  {
    using child = new Process({ target: forever }).start()
    kept = child as Process
  }
  t.true(await kept.join(soon))
  t.is(kept.exitCode, -15)
  {
    await using child = new Process({ target: forever }).start()
    kept = child as Process
  }
  t.throws(() => kept.exitCode, { instanceOf: ClosedError })
  {
    await using never = new Process()
    t.is(never.pid, null)
  }
})

test.serial('CTX-01 a process started at the top level of an entry without a guard simply runs, once', async t => {
  const { out, code, err } = await run('no-guard.mjs')
  t.is(err, '')
  t.is(code, 0)
  t.deepEqual(out.trim().split('\n'), ['top level', 'in the child', 'exit code 0'])
})

test.serial('inspected, a process says what it is', async t => {
  const child = new Process({ target: forever, name: 'shown', daemon: true })
  t.regex(inspect(child), /Process "shown" \{ initial, daemon \}/)
  child.start()
  t.regex(inspect(child), new RegExp(`pid ${child.pid}, running`))
  child.kill()
  await child.join(soon)
  t.regex(inspect(child), /ended with -9/)
  child.close()
  t.regex(inspect(child), /closed/)
})

async function text(stream: NodeJS.ReadableStream | null): Promise<string> {
  let all = ''
  for await (const chunk of stream ?? []) all += String(chunk)
  return all
}
