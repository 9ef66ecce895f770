// The table of functions in each of the ways in which a program comes to run: whatever the program is made with, a
// function gives in another process what it gives here.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
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
  const { stdout, stderr } = spawnSync(process.execPath, [...execArgv, entry], {
    encoding: 'utf8', timeout: 100_000,
    env: { ...process.env, TARGET_REMOTE: remote, TARGET_EXEC_ARGV: JSON.stringify(childArgv), TARGET_COUNTER: counter, NODE_OPTIONS: '' },
  })
  const line = /^RESULT (.*)$/m.exec(stdout)
  if (line === null) throw new Error(`no result: ${stdout.slice(-2000)}${stderr.slice(-2000)}`)
  return { result: JSON.parse(line[1]!) as Result, runs: readFileSync(counter, 'utf8').length }
}

const programs: [name: string, make: (path: string) => string, execArgv?: string[], childArgv?: string[]][] = [
  ['ESM', path => separate(path, 'esm')],
  ['CommonJS', path => separate(path, 'cjs')],
  ['an esbuild bundle', path => bundled(path)],
  ['an esbuild bundle, minified', path => bundled(path, { minify: true })],
  ['an esbuild bundle that keeps names', path => bundled(path, { keepNames: true, minify: true })],
  ['an esbuild bundle in CommonJS', path => bundled(path, { format: 'cjs', outfile: join(path, 'main.cjs'), banner: {} })],
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

const runners: [name: string, make: (path: string) => void, args: string[]][] = [
  ['vitest', vitest, ['run', '--root', '.']],
  ['jest', jest, ['--coverage', '--coverageReporters=json', '--rootDir', '.']],
]
for (const [name, make, args] of runners) {
  const program = tool(name)
  // Not a dependency of the project: run where it is installed.
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
