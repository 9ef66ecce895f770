// Functions through what users send them with: the target, arguments and fields of a Process, and messages of a Queue.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { cleanEnv } from '../helpers/programs.js'
import { bundled, separate } from './environments.js'

const directory = mkdtempSync(join(tmpdir(), 'polyproc-real-'))
test.after.always(() => { rmSync(directory, { recursive: true, force: true }) })
const real = new URL('real.js', import.meta.url).href
const polyproc = new URL('../../../dist/index.js', import.meta.url).href

interface Ran { stdout: string, stderr: string, status: number | null, at: string }
/** Runs a program of some files to its end. */
function program(files: Record<string, string>, options: { execArgv?: string[], env?: NodeJS.ProcessEnv } = {}): Ran {
  const at = mkdtempSync(join(directory, 'program-'))
  writeFileSync(join(at, 'package.json'), '{"type":"module"}')
  for (const [name, text] of Object.entries(files)) {
    writeFileSync(join(at, name), name === 'main.js' ? `import { Process, Queue, perProcess } from ${JSON.stringify(polyproc)};\n${text}` : text)
  }
  const { stdout, stderr, status } = spawnSync(process.execPath, [...options.execArgv ?? [], join(at, 'main.js')], {
    encoding: 'utf8', timeout: 60_000, cwd: at, env: cleanEnv(options.env),
  })
  return { stdout, stderr, status, at }
}

/** Runs the table's entry (or a program that starts it) and gives what differed. */
function table(entry: string): { passed: number, failed: unknown[], runs: number } {
  const counter = `${entry}.count`
  writeFileSync(counter, '')
  const { stdout, stderr } = spawnSync(process.execPath, [entry], {
    encoding: 'utf8', timeout: 100_000, env: cleanEnv({ TARGET_REMOTE: real, TARGET_COUNTER: counter }),
  })
  const line = /^RESULT (.*)$/m.exec(stdout)
  if (line === null) throw new Error(`no result: ${stdout.slice(-2000)}${stderr.slice(-2000)}`)
  return { ...JSON.parse(line[1]!) as { passed: number, failed: unknown[] }, runs: readFileSync(counter, 'utf8').length }
}

const entries: [name: string, make: (path: string) => string, runs?: number][] = [
  ['ESM', path => separate(path, 'esm')],
  ['CommonJS', path => separate(path, 'cjs')],
  ['a minified bundle', path => bundled(path, { minify: true })],
  ['a worker thread', path => {
    separate(path, 'esm')
    writeFileSync(join(path, 'start.js'), 'import { Worker } from "node:worker_threads"; new Worker(new URL("./main.js", import.meta.url))')
    return join(path, 'start.js')
  }],
]
for (const [name, make] of entries) {
  test(`every row through a Process and queues, in ${name}`, t => {
    const { passed, failed, runs } = table(make(join(directory, name.replace(/\W+/g, '-'))))
    t.deepEqual(failed, [])
    t.true(passed >= 120, `${passed} rows`)
    t.is(runs, 1, 'the entry runs once')
  })
}

test('recipe 5: a subclass in the entry file, with fields, captured variables and an own class', t => {
  const { stdout, stderr, status, at } = program({
    'main.js': `import { appendFileSync } from 'node:fs'
      appendFileSync('runs', 'x')
      const factor = 3
      class Job { constructor(n) { this.n = n } times() { return this.n * factor } }
      class Base extends Process { label = 'base'; describe() { return this.label + ':' + this.constructor.name } }
      class MyProcess extends Base {
        constructor(job, queue) { super({ name: 'mine' }); this.job = job; this.queue = queue; this.label = 'sub' }
        run() { this.queue.put([this.job.times(), this.job, this.describe(), this.job instanceof Job, this instanceof MyProcess, this instanceof Process, this.name]) }
      }
      const queue = new Queue()
      const child = new MyProcess(new Job(7), queue).start()
      const [times, job, text, ...same] = await queue.get({ timeout: 20000 })
      console.log(JSON.stringify([times, job, text, same, job instanceof Job, child instanceof MyProcess]))
      await child.join(); console.log(child.exitCode)`,
  })
  t.is(stdout, '[21,{"n":7},"sub:MyProcess",[true,true,true,"mine"],true,true]\n0\n', stderr)
  t.is(status, 0)
  t.is(readFileSync(join(at, 'runs'), 'utf8'), 'x')
})

test('a class is the same class on both sides, in every message', t => {
  const { stdout, stderr } = program({
    'lib.js': 'export class Shared { constructor(v) { this.v = v } }',
    'main.js': `import { Shared } from './lib.js'
      class Own extends Shared { twice() { return this.v * 2 } }
      const there = new Queue(), back = new Queue()
      const child = new Process({ target: async () => {
        const [a, b] = [await there.get(), await there.get()]
        await back.put([a instanceof Own, a.constructor === b.constructor, b instanceof Shared, b.twice(), b, new Own(9)])
      } }).start()
      await there.put(new Own(1)); await there.put(new Own(2))
      const [one, same, base, twice, b, fresh] = await back.get({ timeout: 20000 })
      console.log(one, same, base, twice, b instanceof Own, b.constructor === Own, fresh instanceof Own, fresh.twice())
      await child.join()`,
  })
  t.is(stdout, 'true true true 4 true true true 18\n', stderr)
})

test('objects that every process has, and an instance that its class leads back to, wherever they stand', t => {
  const { stdout, stderr } = program({
    'main.js': `import fs from 'node:fs'; import * as ns from 'node:fs'; import path from 'node:path'; import * as wt from 'node:worker_threads'; import threads from 'node:worker_threads'; import tls from 'node:tls'; import cluster from 'node:cluster'
      class Single { static instance = new Single(5); constructor(n) { this.n = n } isMe() { return Single.instance === this } }
      const box = { Math, JSON, Reflect, fs, path, console, process, globalThis, deep: [{ ns, wt }, { threads, tls, cluster }], empty: {}, own: { f: () => 1 } }
      const back = new Queue()
      const child = new Process({ target: async (box, single) => {
        await back.put([box.Math === Math, box.JSON === JSON, box.Reflect === Reflect, box.fs === process.getBuiltinModule('fs'), box.path === process.getBuiltinModule('path'),
          box.console === console, box.process === process, box.globalThis === globalThis, typeof box.deep[0].ns.readFileSync, box.deep[0].wt.isMainThread,
          ...Object.entries(box.deep[1]).map(([name, value]) => value === process.getBuiltinModule(name === 'threads' ? 'worker_threads' : name)),
          JSON.stringify(box.empty), box.own.f(), single.isMe(), single.n, single.constructor.instance === single])
      }, args: [box, Single.instance] }).start()
      console.log(JSON.stringify(await back.get({ timeout: 20000 })))
      class Chain extends Map { static first = new Chain() }
      await back.put(Chain.first).catch(e => console.log(e.message))
      await child.join()`,
  })
  t.is(stdout, `${JSON.stringify([true, true, true, true, true, true, true, true, 'function', true, true, true, true, '{}', 1, true, 5, true])}
item: a Chain cannot be sent: its class leads back to it, and extends a built-in one; keep what leads back out of static members\n`, stderr)
})

const changed = {
  'lib.js': 'export const f = x => [x, "old"]; export class C { tell() { return "old" } }',
  'main.js': `import { f, C } from './lib.js'
    import { writeFileSync } from 'node:fs'
    writeFileSync('lib.js', 'export const f = x => [x, "new"]; export class C { tell() { return "new" } }')
    const there = new Queue(), back = new Queue()
    const child = new Process({ target: f => back.put(f(1)).then(async () => { const c = await there.get(); await back.put([c.tell(), c]) }), args: [f] }).start()
    await there.put(new C())
    const first = await back.get({ timeout: 20000 }), [told, c] = await back.get({ timeout: 20000 })
    console.log(JSON.stringify(first), told, c instanceof C)
    await child.join()`,
}
test('a function whose module has changed on disk goes by value: the receiver could not ask for it', t => {
  const { stdout, stderr } = program(changed)
  t.is(stdout, '[1,"old"] old true\n', stderr)
})

test('the state of a module that is referred to is that of the other process', t => {
  const { stdout, stderr } = program({
    'lib.js': 'let n = 0; export const next = () => n += 1; export const read = () => n',
    'main.js': `import { next, read } from './lib.js'
      const back = new Queue()
      next()
      const child = new Process({ target: (a, b) => { a(); a(); back.put(b()) }, args: [next, read] }).start()
      console.log(await back.get({ timeout: 20000 }), read()); await child.join()`,
  })
  t.is(stdout, '2 1\n', stderr)
})
