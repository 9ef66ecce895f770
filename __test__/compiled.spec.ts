// What the engine made of the package is kept beside it, and whatever stands in that file, programs run as they should.

import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, truncateSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'ava'

const root = fileURLToPath(new URL('../..', import.meta.url))
const directory = mkdtempSync(join(tmpdir(), 'polyproc-compiled-'))
test.after.always(() => { rmSync(directory, { recursive: true, force: true }) })

for (const name of ['dist', 'index.js', 'package.json']) cpSync(join(root, name), join(directory, name), { recursive: true })
for (const name of [...readdirSync(root).filter(file => file.endsWith('.node')), 'node_modules']) symlinkSync(join(root, name), join(directory, name))
const folder = join(directory, 'dist/compiled')
rmSync(folder, { recursive: true, force: true })

writeFileSync(join(directory, 'idle.mjs'), 'import { Lock } from \'./dist/index.js\'\nnew Lock().close()\nconsole.log(\'14\')\n')
writeFileSync(join(directory, 'program.mjs'), `
import { Process, SimpleQueue } from './dist/index.js'
const queue = new SimpleQueue()
const factor = 2
const child = new Process({ target: n => queue.put(n * factor), args: [7] })
child.start()
console.log(await queue.get())
await child.join()
`)

writeFileSync(join(directory, 'pool.mjs'), `
import { Pool } from './dist/index.js'
const pool = new Pool(1)
console.log((await pool.map(n => n * 7, [2]))[0])
await pool.close()
await pool.join()
`)

/** What the program prints: 14, whatever is kept. */
function run(name: string, env: NodeJS.ProcessEnv = {}, flags: readonly string[] = []): string {
  const { stdout, stderr } = spawnSync(process.execPath, [...flags, join(directory, name)], { encoding: 'utf8', timeout: 60_000, env: { ...process.env, NODE_OPTIONS: '', ...env } })
  return stdout + stderr
}

function kept(): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

/** How many programs made the file, as its first number says. */
function programs(file: string): number {
  return readFileSync(file).readDoubleLE(0)
}

test.beforeEach(() => { rmSync(folder, { recursive: true, force: true }) })

test.serial('a program that sends a function leaves one file, which the next ones use and add to, until there have been four', t => {
  t.is(run('program.mjs'), '14\n')
  const [file, ...others] = kept()
  t.deepEqual(others, [])
  const { size: first } = statSync(join(folder, file!))
  t.true(first > 50_000)
  // One that runs for so long that the engine has forgotten some of its code adds nothing, and does not count.
  for (let i = 0; programs(join(folder, file!)) < 4; i += 1) {
    t.true(i < 12)
    const { size } = statSync(join(folder, file!))
    t.is(run(i % 2 === 0 ? 'pool.mjs' : 'program.mjs'), '14\n')
    t.true(statSync(join(folder, file!)).size >= size * 0.99)
  }
  const { mtimeMs, size } = statSync(join(folder, file!))
  t.true(size > first * 1.1, `${first} bytes, then ${size}`)
  t.is(run('program.mjs'), '14\n')
  t.is(run('idle.mjs'), '14\n')
  t.deepEqual(kept(), [file])
  t.is(statSync(join(folder, file!)).mtimeMs, mtimeMs)
})

test.serial('one that sends none leaves none, nor does one that is told not to', t => {
  t.is(run('idle.mjs'), '14\n')
  t.is(run('program.mjs', { NODE_DISABLE_COMPILE_CACHE: '1' }), '14\n')
  t.deepEqual(kept(), [])
})

test.serial('a file that is cut short, or holds something else, is made anew', t => {
  t.is(run('program.mjs'), '14\n')
  const file = join(folder, kept()[0]!)
  const whole = readFileSync(file)
  truncateSync(file, whole.length >> 1)
  t.is(run('program.mjs'), '14\n')
  t.is(statSync(file).size > whole.length >> 1, true)
  for (const content of [Buffer.alloc(0), Buffer.from('nothing of the kind'), Buffer.concat([whole.subarray(0, 56), Buffer.alloc(whole.length - 56)])]) {
    writeFileSync(file, content)
    t.is(run('program.mjs'), '14\n')
    t.false(readFileSync(file).equals(content))
  }
})

test.serial('a text that was changed is compiled anew, though it is as long as before', t => {
  const text = join(directory, 'dist/polyproc.cjs')
  const before = readFileSync(text)
  t.is(run('program.mjs'), '14\n')
  try {
    writeFileSync(text, before.toString('latin1').replace('\n// src/errors.ts\n', '\nconsole.log(1)//\n'))
    t.is(statSync(text).size, before.length)
    t.is(run('idle.mjs'), '1\n14\n')
  } finally {
    writeFileSync(text, before)
    utimesSync(text, 1, 1)
  }
  t.is(run('program.mjs'), '14\n')
})

test.serial('each set of flags has a file of its own, of which no more than eight are kept', t => {
  t.is(run('program.mjs'), '14\n')
  t.is(run('program.mjs', {}, ['--stack-size=900']), '14\n')
  t.is(kept().length, 2)
  for (let i = 0; i < 6; i += 1) writeFileSync(join(folder, `v1.0.0-x64-${i}`), '')
  t.is(run('program.mjs', {}, ['--stack-size=901']), '14\n')
  t.is(kept().length, 1)
})

test.serial('a folder that cannot be made is done without', t => {
  writeFileSync(folder, '')
  t.is(run('program.mjs'), '14\n')
  t.is(statSync(folder).size, 0)
})
