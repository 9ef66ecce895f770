/** Every recipe, run as a user would run it: what must be seen is seen. */

import test from 'ava'
import { example, holds, isRunning, start } from './helpers/examples.js'

async function linesOf(name: string): Promise<string[]> {
  const { code, stdout, stderr } = await start(process.execPath, [example(name)]).ended()
  if (code !== 0 || stderr !== '') throw new Error(`${name} ended with ${code}\n${stdout}${stderr}`)
  return stdout.trimEnd().split('\n')
}
const distinct = (texts: readonly (string | undefined)[]): number => new Set(texts).size
const pidIn = (line: string): string | undefined => /pid (\d+)/.exec(line)?.[1]

test('recipe 1: five lines from five pids', async t => {
  const lines = await linesOf('01-spawn')
  t.deepEqual(lines.map(line => line.replace(/pid \d+/, 'pid')).sort(), [0, 1, 2, 3, 4].map(n => `process ${n} of five, pid`))
  t.is(distinct(lines.map(pidIn)), 5)
})

test('recipe 2: the given name, and Process-2', async t => {
  const lines = await linesOf('02-name')
  for (const name of ['resizer', 'Process-2']) {
    t.deepEqual(lines.filter(line => line.endsWith(name)), [`starting ${name}`, `exiting ${name}`])
  }
  t.is(lines.length, 4)
})

test('recipe 3: the ordinary process finishes, the daemon is gone with the parent', async t => {
  const program = start(process.execPath, [example('03-background')])
  const daemon = Number((await program.seen(/background starts, pid (\d+)/))[1])
  await program.seen(/nothing left to do/)
  t.true(await holds(() => !isRunning(daemon), 1500), 'the daemon is still running')
  const { code, stdout } = await program.ended()
  t.is(code, 0)
  t.regex(stdout, /foreground is done/)
  t.notRegex(stdout, /background is done/)
})

test('recipe 3, its parent killed with SIGKILL', async t => {
  const program = start(process.execPath, [example('03-background')])
  const [, daemon] = await program.seen(/background starts, pid (\d+)/)
  const [, ordinary] = await program.seen(/foreground starts, pid (\d+)/)
  program.child.kill('SIGKILL')
  t.true(await holds(() => !isRunning(Number(daemon)), 1000), 'the daemon outlives its parent by more than a second')
  await program.seen(/foreground is done/)
  t.true(await holds(() => !isRunning(Number(ordinary)), 2000))
  t.notRegex(program.stdout(), /background is done/)
})

test('recipe 4: alive before, while and after; the exit code', async t => {
  const [before, running, terminated, joined, code] = await linesOf('04-kill')
  t.is(before, 'before start:    alive false')
  t.is(running, 'running:         alive true')
  t.regex(terminated!, /^after terminate: alive (true|false)$/)
  t.is(joined, 'after join:      alive false')
  t.is(code, 'exit code -15, signal SIGTERM')
})

test('recipe 5: five processes of a class, each with its field', async t => {
  const lines = await linesOf('05-subclass')
  t.deepEqual(lines.map(line => line.replace(/, pid \d+/, '')).sort(), [1, 2, 3, 4, 5].map(n => `MyProcess-${n} works on item ${n * 10}`))
  t.is(distinct(lines.map(pidIn)), 5)
})

test('recipe 6: every item once and in order, the sizes true, the queue empty at the end', async t => {
  const lines = await linesOf('06-queue')
  const put = lines.flatMap(line => /^producer: put (\d+), size of the queue (\d+)$/.exec(line)?.slice(1).map(Number) ?? [])
  const got = lines.flatMap(line => /^consumer: got (\d+)$/.exec(line)?.[1] ?? []).map(Number)
  t.is(put.length, 20)
  t.deepEqual(got, put.filter((_, k) => k % 2 === 0))
  t.is(lines.at(-1), 'consumer: the queue is empty')
  t.is(lines.length, 21)
  // A line is written after what it tells of: one item may have been taken of which it is not told yet, or the last line
  // of the producer may be late.
  let [puts, gets] = [0, 0]
  for (const line of lines) {
    const size = /size of the queue (\d+)/.exec(line)?.[1]
    if (size === undefined) gets += 1
    else {
      puts += 1
      t.true(Number(size) <= puts && Number(size) >= puts - gets - 1, `${size} after ${puts} puts and ${gets} gets`)
    }
  }
})

test('recipe 7: join returns only after the last item has been marked', async t => {
  const lines = await linesOf('07-joinable-queue')
  t.is(lines.at(-1), 'producer: everything is done')
  const done = lines.slice(0, -1).map(line => Number(/^(?:first|second|third): done with (\d)$/.exec(line)?.[1]))
  t.deepEqual(done.sort(), [1, 2, 3, 4, 5, 6, 7, 8, 9])
})

test('recipe 9: the two behind the barrier carry almost the same time, the others their own', async t => {
  const lines = await linesOf('09-synchronize')
  t.is(lines.length, 4)
  const at = (name: string): number => Number(/ at (\d+)$/.exec(lines.find(line => line.startsWith(`${name} `)) ?? '')?.[1])
  t.true(Math.abs(at('first') - at('second')) < 150, lines.join('\n'))
  t.true(at('fourth') - at('third') > 150, lines.join('\n'))
})

test('recipe 10: each primitive keeps the order that it promises', async t => {
  t.deepEqual(await linesOf('10-every-primitive'), [
    'Lock: parent: mine first, child: mine now',
    'RLock: child: mine twice',
    'Semaphore: child: signal 1, child: signal 2, child: signal 3',
    'Condition: child: tea and cake',
    'Event: parent: ready, set, child: go',
  ])
})

test('recipe 12: a pool maps, applies, and calls back', async t => {
  t.deepEqual(await linesOf('12-pool'), [
    `map: ${Array.from({ length: 100 }, (_, n) => n * n).join(' ')}`,
    'apply: 1024',
    'applyAsync: the callback got DONE',
    'mapAsync: 1 2 3',
  ])
})
