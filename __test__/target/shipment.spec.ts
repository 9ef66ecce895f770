// What is sent once, what is the same again where it arrives, and what a shipment costs.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import { perProcess } from '#src/target/index.js'
import { separate, remote as remoteUrl } from './environments.js'
import { Remote } from './remote.js'

const directory = mkdtempSync(join(tmpdir(), 'polyproc-shipment-'))
const remote = new Remote()
test.after.always(async () => {
  await remote.close()
  rmSync(directory, { recursive: true, force: true })
})

const LIMIT = 5
const limited = (x: number): number => Math.min(x, LIMIT)
test.serial('a function with constants travels once, then as an id', async t => {
  t.is(await remote.call(limited, 9), 5)
  const first = remote.lastSize
  t.is(await remote.call(limited, 9), 5)
  t.is(await remote.call(limited, 3), 3)
  t.true(remote.lastSize < 40, `${remote.lastSize} bytes`)
  t.true(first > 200)
})

test.serial('closures of one text bring it once', async t => {
  const make = (n: number) => (x: number): number => x + n
  t.is(await remote.call(make(1), 1), 2)
  const first = remote.lastSize
  t.is(await remote.call(make(2), 1), 3)
  t.true(remote.lastSize < first / 2, `${remote.lastSize} of ${first}`)
})

const OFFSET = { by: 100 }
let level = 1
const named = (x: number): number => x + LIMIT + OFFSET.by + level
const nested = (): (() => string) => {
  const named = (): string => 'another one'
  return named
}
let assigned = (x: number): number => x + LIMIT
test.serial('functions of a module that was read before are themselves, whatever shares their name', async t => {
  await remote.call(limited, 1)
  t.is(await remote.call(named, 1), 107)
  OFFSET.by = 200
  level = 2
  t.is(await remote.call(named, 1), 208)
  t.is(await remote.call(nested()), 'another one')
  t.is(await remote.call(assigned, 1), 6)
  assigned = x => x * LIMIT
  t.is(await remote.call(assigned, 7), 35)
  const own = [1, 2].map(n => {
    const named = (x: number): number => x * n + LIMIT
    return named
  })
  t.deepEqual([await remote.call(own[0]!, 10), await remote.call(own[1]!, 10)], [15, 25])
})

test.serial('a variable that changes is read again', async t => {
  let factor = 2
  const scale = (x: number): number => x * factor
  t.is(await remote.call(scale, 3), 6)
  factor = 10
  t.is(await remote.call(scale, 3), 30)
  factor = 11
  t.is(await remote.call(scale, 3), 33)
})

test.serial('a captured object is what it is at each call', async t => {
  const list = [1]
  const count = (): number => list.length
  t.is(await remote.call(count), 1)
  list.push(2)
  t.is(await remote.call(count), 2)
})

class Point {
  static made = 0
  constructor(readonly x: number) {}
  double(): number { return this.x * 2 }
}
test.serial('a class is that very class again, on both sides', async t => {
  const keep = (C: unknown): boolean => {
    const known = (globalThis as any).keptClass
    ;(globalThis as any).keptClass = C
    return known === undefined || known === C
  }
  t.true(await remote.call(keep, Point))
  t.true(await remote.call(keep, Point))
  t.true(await remote.call((p: Point) => p instanceof Point && p.constructor === (globalThis as any).keptClass, new Point(1)))
  const back = await remote.call((x: number) => new Point(x), 4)
  t.true(back instanceof Point)
  t.is(back.double(), 8)
})

test.serial('a function that arrived can be sent back, and is called here', async t => {
  const offset = 7
  const back = await remote.call((n: number) => (x: number): number => x + n + offset, 1) as (x: number) => number
  t.is(back(1), 9)
  const again = await remote.call((f: (x: number) => number) => f(2), back)
  t.is(again, 10)
})

const connection = perProcess(() => ({ pid: process.pid, uses: 0 }))
test.serial('perProcess: one value a process, whichever shipment brought it', async t => {
  const use = (): { pid: number, uses: number } => { const c = connection(); c.uses += 1; return { ...c } }
  const one = await remote.call(use)
  const two = await remote.call(() => { const c = connection(); c.uses += 1; return { ...c } })
  t.is(one.pid, remote.child.pid!)
  t.deepEqual([one.uses, two.uses], [1, 2])
  t.is(connection().pid, process.pid)
  t.is(connection().uses, 0)
})

test.serial('perProcess tries again after an error', async t => {
  const flaky = perProcess(() => { const g = globalThis as any; g.tries = (g.tries ?? 0) + 1; if (g.tries < 2) throw new Error('not yet'); return g.tries as number })
  await t.throwsAsync(async () => remote.call(() => flaky()), { message: 'not yet' })
  t.is(await remote.call(() => flaky()), 2)
})

let cache: number[] | undefined
const lazily = (x: number): number => { cache ??= []; return cache!.push(x) }
test.serial('a variable that a captured function assigns is each process\'s own from then on', async t => {
  t.is(await remote.call((x: number) => lazily(x), 1), 1)
  t.is(await remote.call((x: number) => lazily(x) + 0, 1), 2)
  t.is(cache, undefined)
})

test.serial('two closures share their variable with each other and with no other', async t => {
  const make = () => { let n = 0; return { up: () => { n += 1 }, get: () => n } }
  const [a, b] = [make(), make()]
  t.deepEqual(await remote.call(() => { a.up(); a.up(); b.up(); return [a.get(), b.get()] }), [2, 1])
  t.deepEqual([a.get(), b.get()], [0, 0])
})

test.serial('of a scope with 1,000 variables, the one that is used travels', async t => {
  const names = Array.from({ length: 1000 }, (_, i) => `v${i}`)
  // eslint-disable-next-line @typescript-eslint/no-implied-eval -- a scope of that size, written by hand, would be the longest file here
  const make = new Function(`${names.map((name, i) => `const ${name} = 'value ${i} '.repeat(100);`).join('')}
    return [() => v7.length, () => [${names.join(',')}]]`) as () => [() => number]
  t.is(await remote.call(make()[0]), 800)
  t.true(remote.lastSize < 3000, `${remote.lastSize} bytes`)
})

test.serial('errors point at the file and line that the function was written in', async t => {
  const fail = (): never => { throw new TypeError('here') }
  // What runs is the compiled file; its own stacks may be told in terms of the source.
  const line = readFileSync(fileURLToPath(import.meta.url), 'utf8').split('\n').findIndex(text => text.includes('new TypeError("here")')) + 1
  const error = await t.throwsAsync(async () => remote.call(fail), { instanceOf: TypeError })
  const place = /shipment\.spec\.js:(\d+):(\d+)/.exec(error.stack!)!
  t.is(Number(place[1]), line)
})

/** Runs a program of some files to its end; what it prints, and how it ended. */
function program(files: Record<string, string>, execArgv: string[] = []): { stdout: string, stderr: string, status: number | null } {
  const at = mkdtempSync(join(directory, 'program-'))
  writeFileSync(join(at, 'package.json'), '{"type":"module"}')
  for (const [name, text] of Object.entries(files)) writeFileSync(join(at, name), `${name === 'main.js' ? `import { Remote } from ${JSON.stringify(remoteUrl)};\n` : ''}${text}`)
  return spawnSync(process.execPath, [...execArgv, join(at, 'main.js')], { encoding: 'utf8', timeout: 60_000, cwd: at, env: { ...process.env, NODE_OPTIONS: '' } })
}

test('a module with top-level await, imported and referred to', t => {
  const { stdout, stderr } = program({
    'late.js': 'export const late = await Promise.resolve(3); export const add = x => x + late',
    'main.js': `import { add, late } from './late.js'
      const r = new Remote(); console.log(await r.call(add, 1), await r.call(x => add(x) + late, 1)); await r.close()`,
  })
  t.is(stdout, '4 7\n', stderr)
})

test('a module that imports the entry back: the entry is not run again for what it exports', t => {
  const { stdout, stderr } = program({
    'helper.js': `import { config } from './main.js'
      export const makeTask = n => x => x * n * config.scale`,
    'main.js': `import { makeTask } from './helper.js'
      import { appendFileSync } from 'node:fs'
      appendFileSync('runs', 'x')
      export const config = { scale: 10 }
      const r = new Remote(); console.log(await r.call(makeTask(2), 3)); await r.close()
      console.log((await import('node:fs')).readFileSync('runs', 'utf8'))`,
  })
  t.is(stdout, '60\nx\n', stderr)
})

test('--permission: a clear error', t => {
  const { stderr } = program({
    'main.js': 'const k = 1; import { encode } from ' + JSON.stringify(new URL('../../../dist/codec/index.js', import.meta.url).href)
      + '; import { Shipment } from ' + JSON.stringify(new URL('../../../dist/target/index.js', import.meta.url).href) + '; encode(() => k, { fn: new Shipment() })',
  }, ['--experimental-permission', '--allow-fs-read=*', '--allow-addons'])
  t.regex(stderr, /SerializationError: .*inspector, which Node's permission model \(--permission\) refuses: export it from a module other than the entry/)
})

test('code generation switched off: references work, the rest is a clear error', t => {
  const { stdout, stderr } = program({
    'lib.js': 'export const double = x => x * 2',
    'main.js': `import { double } from './lib.js'
      const r = new Remote({ execArgv: ['--disallow-code-generation-from-strings'] })
      console.log(await r.call(double, 4))
      try { await r.call(x => x, 1) } catch (e) { console.log(e.message) }
      await r.close()`,
  }, ['--disallow-code-generation-from-strings'])
  t.regex(stdout, /^8\n.*can only be sent by value, and --disallow-code-generation-from-strings forbids/, stderr)
})

test('a reference whose text differs is sent by value instead', t => {
  const { stdout, stderr } = program({
    'lib.js': 'export const f = x => [x, "old"]',
    'main.js': `import { f } from './lib.js'
      import { writeFileSync } from 'node:fs'
      writeFileSync('lib.js', 'export const f = x => [x, "new"]')
      const r = new Remote(); console.log(JSON.stringify(await r.call(f, 1))); await r.close()`,
  })
  t.is(stdout, '[1,"old"]\n', stderr)
})

test('in a worker thread', t => {
  const { stdout, stderr } = program({
    'worker.js': `import { Remote } from ${JSON.stringify(remoteUrl)}
      import { parentPort } from 'node:worker_threads'
      import { basename } from 'node:path'
      const K = 2; class A { v = 3; get = () => this.v * K }
      const r = new Remote(); parentPort.postMessage(await r.call(x => [x * K, basename('/q/w'), new A().get()], 4)); 
      parentPort.postMessage(await r.call(new A().get)); await r.close()`,
    'main.js': `import { Worker } from 'node:worker_threads'
      new Worker(new URL('./worker.js', import.meta.url)).on('message', m => console.log(JSON.stringify(m)))`,
  })
  t.is(stdout, '[8,"w",6]\n6\n', stderr)
})

test('with --inspect: all but what would have to stop the program', t => {
  const { stdout, stderr } = program({
    'main.js': `const K = 2; class A { v = 3; get = () => this.v * K }
      const r = new Remote(); console.log(await r.call(x => x * K + new A().get(), 4))
      try { await r.call(new A().get) } catch (e) { console.log(e.message) }
      await r.close()`,
  }, ['--inspect=127.0.0.1:0'])
  t.regex(stdout, /^14\n.*'get' uses this of the function around it .*while a debugger is attached: copy it into a variable first/, stderr)
})

test('import attributes', t => {
  const { stdout, stderr } = program({
    'data.json': '{"n":5}',
    'main.js': `import data from './data.json' with { type: 'json' }
      const r = new Remote(); console.log(await r.call(x => x + data.n, 1)); await r.close()`,
  })
  t.is(stdout, '6\n', stderr)
})

test('import.meta is that of the module that wrote the function', t => {
  const { stdout, stderr } = program({
    'main.js': `const r = new Remote()
      const there = await r.call(() => [import.meta.url, import.meta.dirname, import.meta.filename, import.meta.resolve('./x.js')])
      console.log(JSON.stringify(there) === JSON.stringify([import.meta.url, import.meta.dirname, import.meta.filename, import.meta.resolve('./x.js')])); await r.close()`,
  })
  t.is(stdout, 'true\n', stderr)
})

test('CommonJS: require, __filename and __dirname of the module that wrote the function', t => {
  const at = join(directory, 'cjs')
  separate(at, 'cjs')
  writeFileSync(join(at, 'main.js'), `const { join } = require('node:path'); const local = require('./old.cjs'); const K = 1
    ;(async () => { const { Remote } = await import(${JSON.stringify(remoteUrl)}); const r = new Remote()
    console.log(JSON.stringify(await r.call(x => [__filename, __dirname, require('./old.cjs').plus(x), local.plus(K), join('a', 'b')], 2))); await r.close() })()`)
  const { stdout, stderr } = spawnSync(process.execPath, [join(at, 'main.js')], { encoding: 'utf8', env: { ...process.env, NODE_OPTIONS: '' } })
  t.deepEqual(stdout === '' ? stderr : JSON.parse(stdout), [join(at, 'main.js'), at, 102, 101, 'a/b'])
  t.true(readFileSync(join(at, 'old.cjs'), 'utf8').length > 0)
})
