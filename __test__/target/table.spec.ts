// The table of functions in each of the ways in which a program comes to run: whatever the program is made with, a
// function gives in another process what it gives here.

import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { attach } from './debugger.js'
import { bundled, installed, jest, raw, remote, separate, tool, vitest } from './environments.js'

const directory = mkdtempSync(join(tmpdir(), 'polyproc-target-'))
test.after.always(() => {
  rmSync(directory, { recursive: true, force: true })
})

interface Result { passed: number, failed: { name: string, problem: string }[] }

/** Runs an entry to its end and takes the result from what it prints; also how often the entry's top level ran. */
function run(entry: string, execArgv: string[] = [], childArgv: string[] = []): { result: Result, runs: number } {
  const counter = `${entry}.count`
  writeFileSync(counter, '')
  const { stdout, stderr } = spawnSync(process.execPath, [...execArgv, entry], { encoding: 'utf8', timeout: 100_000, env: environment(counter, childArgv) })
  return { result: resultIn(stdout, stderr), runs: readFileSync(counter, 'utf8').length }
}

function environment(counter: string, childArgv: string[] = []): NodeJS.ProcessEnv {
  return { ...process.env, TARGET_REMOTE: remote, TARGET_EXEC_ARGV: JSON.stringify(childArgv), TARGET_COUNTER: counter, NODE_OPTIONS: '' }
}

function resultIn(stdout: string, stderr: string): Result {
  const line = /^RESULT (.*)$/m.exec(stdout)
  if (line === null) throw new Error(`no result: ${stdout.slice(-2000)}${stderr.slice(-2000)}`)
  return JSON.parse(line[1]!) as Result
}

const programs: [name: string, make: (path: string) => string, execArgv?: string[], childArgv?: string[]][] = [
  ['ESM', path => separate(path, 'esm')],
  ['CommonJS', path => separate(path, 'cjs')],
  ['an esbuild bundle', path => bundled(path)],
  ['an esbuild bundle, minified', path => bundled(path, { minify: true })],
  ['an esbuild bundle that keeps names', path => bundled(path, { keepNames: true, minify: true })],
  ['an esbuild bundle in CommonJS', path => bundled(path, { format: 'cjs', outfile: join(path, 'main.cjs'), banner: {} })],
  ['a worker thread', path => {
    separate(path, 'esm')
    writeFileSync(join(path, 'start.js'), 'import { Worker } from "node:worker_threads"; new Worker(new URL("./main.js", import.meta.url))')
    return join(path, 'start.js')
  }],
  ['--cpu-prof', path => separate(path, 'esm'), ['--cpu-prof', `--cpu-prof-dir=${directory}`]],
]
const tsx = installed('tsx')
if (tsx !== null) programs.push(['tsx', path => raw(path), ['--import', tsx], ['--import', tsx]])

for (const [name, make, execArgv, childArgv] of programs) {
  test(`every row in ${name}`, t => {
    const { result, runs } = run(make(join(directory, name.replace(/\W+/g, '-'))), execArgv, childArgv)
    t.deepEqual(result.failed, [])
    t.true(result.passed >= 120, `${result.passed} rows`)
    t.is(runs, 1, 'the entry runs once')
  })
}

/** What would have to stop the program for an instant, which a debugger would show. */
const NOT_WHILE_DEBUGGED = /which cannot be read while a debugger is attached|while a debugger is attached the two cannot be told apart/

test('every row with a debugger attached, but what would have to stop the program', async t => {
  const entry = separate(join(directory, 'debugged'), 'esm')
  const counter = `${entry}.count`
  writeFileSync(counter, '')
  const child = spawn(process.execPath, ['--inspect-wait=127.0.0.1:0', entry], { env: environment(counter), timeout: 100_000 })
  const ended = new Promise(resolve => child.once('close', resolve))
  let [stdout, stderr] = ['', '']
  let attached: ReturnType<typeof attach> | undefined
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
    // Node waits for the client to leave.
    if (stdout.includes('\nRESULT') || stdout.startsWith('RESULT')) void attached?.then(socket => socket.destroy())
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
    const address = /ws:\S+/.exec(stderr)
    if (address !== null) attached ??= attach(address[0])
  })
  await ended
  const { passed, failed } = resultIn(stdout, stderr)
  t.deepEqual(failed.filter(({ problem }) => !NOT_WHILE_DEBUGGED.test(problem)), [])
  t.true(passed >= 120, `${passed} rows`)
  t.log(`refused: ${failed.map(({ name }) => name).join(', ')}`)
  t.is(readFileSync(counter, 'utf8').length, 1, 'the entry runs once')
})

const runners: [name: string, make: (path: string) => void, args: string[]][] = [
  ['vitest', vitest, ['run', '--root', '.']],
  ['jest', jest, ['--coverage', '--coverageReporters=json', '--rootDir', '.']],
]
for (const [name, make, args] of runners) {
  const program = tool(name)
  // jest is not a dependency of the project: run where it is installed.
  if (program === null) continue
  test(`every row under ${name}`, t => {
    const path = join(directory, name)
    make(path)
    const { stdout, stderr } = spawnSync(program, args, {
      cwd: path, encoding: 'utf8', timeout: 110_000, env: { ...process.env, TARGET_RESULT: join(path, 'result.json'), NODE_OPTIONS: '', NODE_PATH: join(program, '../../') },
    })
    let result: Result
    try {
      result = JSON.parse(readFileSync(join(path, 'result.json'), 'utf8')) as Result
    } catch {
      throw new Error(`no result: ${stdout.slice(-2000)}${stderr.slice(-2000)}`)
    }
    t.deepEqual(result.failed, [])
    t.true(result.passed >= 120, `${result.passed} rows`)
  })
}
