/** The real job: its totals against the system's own tools, with a worker killed in mid-run, and ended by Ctrl-C. */

import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import test, { type ExecutionContext } from 'ava'
import { childrenOf, example, holds, isRunning, start, type Running } from './helpers/examples.js'
import { random } from './helpers/random.js'

/** A directory that is removed after the test. */
function directory(t: ExecutionContext): string {
  const path = mkdtempSync(join(tmpdir(), 'polyproc-index-'))
  t.teardown(() => { rmSync(path, { recursive: true, force: true }) })
  return path
}

const LARGE = 1200
let large = ''

// So much that a job on it has a middle: 60 MB and more for each of two processes.
test.before(() => {
  large = mkdtempSync(join(tmpdir(), 'polyproc-index-'))
  const next = random(7)
  const vocabulary = Array.from({ length: 5000 }, (_, k) => `word${String.fromCharCode(97 + (k % 26))}${k.toString(26).replace(/\d/g, 'q')}`)
  for (let k = 0; k < LARGE; k += 1) {
    const folder = join(large, `d${k % 10}`)
    mkdirSync(folder, { recursive: true })
    const words = Array.from({ length: 12_000 }, () => vocabulary[Math.floor(next() * vocabulary.length)])
    writeFileSync(join(folder, `file${k}.txt`), words.join(' ').replaceAll('a ', 'a\n'))
  }
})
test.after.always(() => { rmSync(large, { recursive: true, force: true }) })

/** The files below a directory, as `find` sees them. */
function filesIn(root: string): string[] {
  return execFileSync('find', ['.', '-type', 'f', '-printf', '%P\\0'], { cwd: root, encoding: 'utf8', maxBuffer: 1 << 28 }).split('\0').filter(path => path !== '')
}

interface Facts { files: number; bytes: number; lines: number; digest: string }

/** What the system's own tools say of files. */
function factsOf(root: string, paths: readonly string[]): Facts {
  const sorted = [...paths].sort((a, b) => (a < b ? -1 : 1))
  const run = (command: string, args: string[]): string =>
    execFileSync('xargs', ['-0', command, ...args], { cwd: root, input: sorted.join('\0'), encoding: 'utf8', maxBuffer: 1 << 28 })
  // Without names of more than one run, `wc` ends each run with its sum.
  const lines = run('wc', ['-l']).trimEnd().split('\n').filter(line => !line.endsWith(' total')).reduce((sum, line) => sum + Number.parseInt(line, 10), 0)
  const bytes = run('stat', ['-c', '%s']).trimEnd().split('\n').reduce((sum, size) => sum + Number(size), 0)
  return { files: sorted.length, bytes, lines, digest: createHash('sha256').update(run('sha256sum', [])).digest('hex') }
}

const field = (output: string, name: string): string => {
  const found = new RegExp(`^${name} +(\\S.*)$`, 'm').exec(output)?.[1]
  if (found === undefined) throw new Error(`no ${name} in\n${output}`)
  return found
}
const numberIn = (output: string, name: string): number => Number(field(output, name).replaceAll(',', ''))
const printedFacts = (output: string): Facts =>
  ({ files: numberIn(output, 'files'), bytes: numberIn(output, 'bytes'), lines: numberIn(output, 'lines'), digest: field(output, 'sha256 of all') })
const linesAfter = (output: string, word: string): string[] =>
  output.split('\n').filter(line => new RegExp(`^${word} +\\S`).test(line)).map(line => line.slice(word.length).trim())

function index(root: string, ...options: string[]): Running {
  return start(process.execPath, [example('index-directory'), root, ...options])
}

/** Waits until the job is in its middle: both workers have read more than their start takes, and most is left. */
async function workersOf(job: Running): Promise<[number, number]> {
  await job.seen(/^[\d,]+ files, /m)
  const isAtWork = (pid: number): boolean => Number(/^rchar: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, 'utf8'))?.[1]) > 10e6
  let workers: number[] = []
  const are = await holds(() => {
    workers = childrenOf(job.child.pid!)
    return workers.length === 2 && workers.every(isAtWork)
  }, 20_000)
  const [first, second] = workers
  if (!are || first === undefined || second === undefined) throw new Error(`the job has no two workers at work:\n${job.stdout()}`)
  return [first, second]
}

test.serial('totals are those of sha256sum, wc and a count of the words, by two processes and by one', async t => {
  const root = directory(t)
  mkdirSync(join(root, 'deep', 'er'), { recursive: true })
  writeFileSync(join(root, 'empty'), '')
  writeFileSync(join(root, 'no end of line'), 'One two\nthree')
  writeFileSync(join(root, 'deep', 'words.txt'), 'Äpfel äpfel ÄPFEL two\n'.repeat(1000))
  writeFileSync(join(root, 'deep', 'er', 'binary'), Buffer.from([1, 0, 10, 10, 97, 98, 10]))
  // More than a piece, with a word and a letter of two bytes across the seam.
  writeFileSync(join(root, 'deep', 'long'), `${'x '.repeat(512 * 1024 - 3)}abcdéfghij\n`)
  writeFileSync(join(root, 'deep', 'seam'), `${' '.repeat(1024 * 1024 - 1)}éa\n`)
  symlinkSync('nowhere', join(root, 'dangling'))
  symlinkSync('..', join(root, 'deep', 'up'))
  execFileSync('mkfifo', [join(root, 'pipe')])
  const { code, stdout, stderr } = await index(root, '2').ended()
  t.is(code, 0, stdout + stderr)
  t.deepEqual(printedFacts(stdout), factsOf(root, filesIn(root)))
  t.is(numberIn(stdout, 'unreadable'), 0)
  const x = 512 * 1024 - 3
  t.is(numberIn(stdout, 'words'), 3 + 4000 + x + 1 + 1)
  t.is(numberIn(stdout, 'distinct words'), ['one', 'two', 'three', 'äpfel', 'x', 'abcdéfghij', 'éa'].length)
  t.is(field(stdout, 'most frequent'), `x ${x.toLocaleString('en-US')}, äpfel 3,000, two 1,001, abcdéfghij 1, one 1, three 1, éa 1`)
  t.regex(stdout, /^2 processes: [\d.]+ s\none process: [\d.]+ s\n2 processes are [\d.]+ times as fast$/m)
})

/** Has the system give back what it keeps of a file in memory; what it then reads of it comes from disk. */
function evict(path: string): void {
  execFileSync('sync', [path])
  execFileSync('dd', [`if=${path}`, 'iflag=nocache', 'count=0', 'status=none'])
}

test.serial('where files come from disk they are indexed once more, now that they are in memory, and that is the time that counts', async t => {
  const root = directory(t)
  const names = Array.from({ length: 8 }, (_, k) => join(root, `${k}`))
  for (const name of names) writeFileSync(name, 'so it is '.repeat(60_000))
  const probe = join(root, '0')
  evict(probe)
  const before = process.resourceUsage().fsRead
  readFileSync(probe)
  const isCold = process.resourceUsage().fsRead > before
  for (const name of names) evict(name)
  const { code, stdout, stderr } = await index(root, '2').ended()
  t.is(code, 0, stdout + stderr)
  t.deepEqual(printedFacts(stdout), factsOf(root, filesIn(root)))
  const again = isCold ? 'the first time files came from disk; once more, now that they are in memory:\n2 processes: [\\d.]+ s\n' : ''
  if (!isCold) t.log('these files are never anywhere but in memory')
  t.regex(stdout, new RegExp(`^2 processes: [\\d.]+ s\none process: [\\d.]+ s\n${again}2 processes are [\\d.]+ times as fast$`, 'm'))
  // Now that they are in memory nothing is done again.
  t.regex((await index(root, '2').ended()).stdout, /^one process: [\d.]+ s\n2 processes are/m)
})

test.serial('an empty directory has nothing in it; one that is not there is an error', async t => {
  const { code, stdout } = await index(directory(t)).ended()
  t.is(code, 0)
  t.deepEqual(printedFacts(stdout), { files: 0, bytes: 0, lines: 0, digest: createHash('sha256').digest('hex') })
  const missing = await index('/nowhere/at/all').ended()
  t.is(missing.code, 1)
  t.regex(missing.stderr, /ENOENT.*\/nowhere\/at\/all/)
})

test.serial('a file that has gone since the walk is told of and counted, and a pipe in its place is not waited for', async t => {
  const root = large
  mkdirSync(join(root, 'z'))
  t.teardown(() => { rmSync(join(root, 'z'), { recursive: true, force: true }) })
  writeFileSync(join(root, 'z', 'gone'), 'gone')
  writeFileSync(join(root, 'z', 'pipe'), 'pipe')
  const job = index(root, '2')
  // The last of all in order of name: the workers have not come to them yet.
  await job.seen(/^[\d,]+ files, /m)
  rmSync(join(root, 'z', 'gone'))
  rmSync(join(root, 'z', 'pipe'))
  execFileSync('mkfifo', [join(root, 'z', 'pipe')])
  const { code, stdout, stderr } = await job.ended()
  t.is(code, 0, stdout + stderr)
  t.is(numberIn(stdout.replace(/^unreadable +\S+ \(.*$/gm, ''), 'unreadable'), 2)
  t.regex(stdout, /^unreadable +z\/gone \(ENOENT\)$/m)
  t.regex(stdout, /^unreadable +z\/pipe \(not a file\)$/m)
  t.deepEqual(printedFacts(stdout), factsOf(root, filesIn(root)))
})

test.serial('with a worker killed in mid-run it ends, says which files it lost, and has the totals of all others', async t => {
  const root = large
  const job = index(root, '2')
  const [victim] = await workersOf(job)
  process.kill(victim, 'SIGKILL')
  const { code, stdout, stderr } = await job.ended()
  t.is(code, 1, stdout + stderr)
  t.regex(stdout, new RegExp(`^worker ${victim} was killed by signal ${constants.signals.SIGKILL}$`, 'm'))
  const lost = linesAfter(stdout, 'lost')
  t.true(lost.length > 0, stdout)
  t.is(Number.parseInt(field(stdout, 'files lost').replaceAll(',', ''), 10), lost.length)
  const all = filesIn(root)
  t.true(lost.every(path => all.includes(path)))
  t.deepEqual(printedFacts(stdout.replace(/^files lost.*$/m, '')), factsOf(root, all.filter(path => !lost.includes(path))))
})

test.serial('with every worker killed others take their place, and what those had in hand is lost', async t => {
  const root = large
  const job = index(root, '2')
  for (const worker of await workersOf(job)) process.kill(worker, 'SIGKILL')
  const { code, stdout, stderr } = await job.ended()
  t.is(code, 1, stdout + stderr)
  t.is(linesAfter(stdout, 'lost').length + numberIn(stdout.replace(/^files lost.*$/m, ''), 'files'), LARGE)
})

for (const place of ['with processes', 'alone'] as const) {
  test.serial(`Ctrl-C while it works ${place}: the totals so far, exit code 130, and nothing left running`, async t => {
    const root = large
    const job = index(root, '2')
    const workers = await workersOf(job)
    if (place === 'alone') await job.seen(/^2 processes: /m, 60_000)
    await sleep(50)
    process.kill(-job.child.pid!, 'SIGINT')
    const at = Date.now()
    t.true(await holds(() => ![job.child.pid!, ...workers].some(isRunning), 1000), 'something is still running after a second')
    const { code, stdout, stderr } = await job.ended(5000)
    t.is(code, 130, stdout + stderr)
    t.log(`${Date.now() - at} ms`)
    const [, rest] = stdout.split('interrupted; so far:\n')
    t.truthy(rest, stdout)
    t.true(numberIn(rest!, 'files') <= LARGE)
    t.notRegex(rest!, /^lost/m)
    t.is(stderr, '')
  })
}

test.serial('on a terminal a bar shows the progress, and Ctrl-C gives the cursor back', async t => {
  const root = large
  // `script` gives the program a terminal of its own; what is typed there is not needed.
  const job = start('script', ['-qec', `"${process.execPath}" "${example('index-directory')}" "${root}" 2`, '/dev/null'])
  const [hidden, shown] = ['\x1b[?25l', '\x1b[?25h']
  await job.seen(/\x1b\[\?25l[^]*░/)
  t.true(job.stdout().includes(hidden))
  // The first process on a terminal leads its session and the group in its foreground: a shell, or the program that
  // a shell has become. A terminal sends Ctrl-C to that group.
  const [leader] = childrenOf(job.child.pid!)
  t.truthy(leader)
  const family = (pid: number): number[] => [pid, ...childrenOf(pid).flatMap(family)]
  const all = family(leader!)
  process.kill(-leader!, 'SIGINT')
  const { stdout } = await job.ended(5000)
  t.true(stdout.lastIndexOf(shown) > stdout.lastIndexOf(hidden), 'the cursor stays hidden')
  t.true(stdout.indexOf('interrupted; so far:') > stdout.lastIndexOf(shown), 'the totals stand over the bar')
  t.false(all.some(isRunning))
})
