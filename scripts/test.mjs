// Builds what is stale, runs the suites of suites.mjs one after the other and ends with one line,
// `N passed, N failed`; exits 1 if anything failed.
//
//   npm test                       every suite
//   npm test -- cargo              one suite by name, or several
//   npm test -- ava codec          the ava files whose path contains "codec"
//   npm run chaos                  also the suites that run for long; POLYPROC_CHAOS=1 tells tests to take their time
//
// --no-native leaves the addon as it is, --loose goes on in spite of type errors: for work on one part while another is in pieces.

import { spawn } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { buildNative, buildTests, buildTs } from './build.mjs'
import { suites } from './suites.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const args = process.argv.slice(2)
const flags = new Set(args.filter(arg => arg.startsWith('--')))
const words = args.filter(arg => !arg.startsWith('--'))
const named = words.filter(word => suites.some(suite => suite.name === word))
const filters = words.filter(word => !named.includes(word))
const chosen = suites.filter(suite =>
  named.length > 0
    ? named.includes(suite.name)
    : filters.length > 0 ? suite.name === 'ava' : (suite.when ?? 'always') === 'always' || flags.has('--chaos'))

/** The compiled specs that a filter word selects. */
function specs() {
  const all = readdirSync(`${root}/build/__test__`, { recursive: true }).filter(file => file.endsWith('.spec.js'))
  return all.filter(file => filters.some(word => file.includes(word.replace(/\.ts$/, '.js').replace(/^.*__test__\//, ''))))
    .map(file => `build/__test__/${file}`)
}

/** Runs one suite; its output goes to the terminal as it comes. */
function run(suite) {
  return new Promise(resolve => {
    const extra = suite.name === 'ava' && filters.length > 0 ? specs() : []
    const [program, ...rest] = [...suite.command, ...extra]
    console.log(`\n── ${suite.name}: ${[program, ...rest].join(' ')}`)
    const started = Date.now()
    // A group of its own: whatever a suite leaves running ends with it.
    const child = spawn(program, rest, {
      cwd: root, detached: true, stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...(flags.has('--chaos') ? { POLYPROC_CHAOS: '1' } : {}), ...suite.env },
    })
    const killGroup = signal => { try { process.kill(-child.pid, signal) } catch { /* it is gone */ } }
    let output = ''
    child.stdout.on('data', chunk => { output += chunk; process.stdout.write(chunk) })
    child.stderr.on('data', chunk => { process.stderr.write(chunk) })
    const interrupted = signal => { killGroup('SIGKILL'); process.exit(signal === 'SIGINT' ? 130 : 143) }
    process.once('SIGINT', interrupted).once('SIGTERM', interrupted)
    const seconds = suite.timeout ?? 600
    const timer = setTimeout(() => {
      console.error(`${suite.name}: not done after ${seconds} s, killed`)
      killGroup('SIGKILL')
    }, seconds * 1000)
    child.on('error', error => { console.error(`${suite.name}: ${error.message}`) })
    child.on('exit', () => { setTimeout(() => killGroup('SIGKILL'), 1000).unref() })
    child.on('close', status => {
      clearTimeout(timer)
      process.off('SIGINT', interrupted).off('SIGTERM', interrupted)
      killGroup('SIGKILL')
      const counts = suite.counts?.(output) ?? { passed: status === 0 ? 1 : 0, failed: status === 0 ? 0 : 1 }
      // A suite that fails without naming a test (it did not compile, it was killed) is one failure.
      if (status !== 0 && counts.failed === 0) counts.failed = 1
      resolve({ name: suite.name, seconds: (Date.now() - started) / 1000, names: suite.names?.(output) ?? [], ...counts })
    })
  })
}

const needs = new Set(chosen.flatMap(suite => suite.needs ?? []))
if (needs.has('native') && !flags.has('--no-native')) buildNative({})
if (needs.has('ts')) buildTs({ loose: flags.has('--loose') })
if (needs.has('test')) buildTests({})

let passed = 0
let failed = 0
const lines = []
for (const suite of chosen) {
  const result = await run(suite)
  passed += result.passed
  failed += result.failed
  lines.push(`${result.name}: ${result.passed} passed, ${result.failed} failed (${result.seconds.toFixed(1)} s)`)
  // Again here, at the end, where they are seen.
  lines.push(...result.names.map(name => `  failed: ${name}`))
}
console.log(`\n${lines.join('\n')}`)
console.log(`${passed} passed, ${failed} failed`)
process.exitCode = failed > 0 || passed === 0 ? 1 : 0
