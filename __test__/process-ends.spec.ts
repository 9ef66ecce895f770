// The ends of a parent, and what its children do then.

import test, { type ExecutionContext } from 'ava'
import { isRunning, Program, until } from './helpers/programs.js'

interface Pids { daemons: number[], deaf: number[], ordinary: number[] }

async function begin(t: ExecutionContext, way: string, ordinaryMs = 60_000): Promise<[Program, Pids]> {
  const program = new Program('endings.mjs', [way, ordinaryMs], { limit: 40_000 })
  t.teardown(() => { program.killAll() })
  const pids = JSON.parse(await program.said('children', 20_000)) as Pids
  t.is(pids.daemons.length, 4)
  t.is(pids.deaf.length, 1)
  t.is(pids.ordinary.length, 2)
  await program.said('ending')
  return [program, pids]
}

/** All daemons end within the time, and how the ordinary children fare a while later. */
async function look(t: ExecutionContext, { daemons, deaf, ordinary }: Pids): Promise<void> {
  t.true(await until(() => ![...daemons, ...deaf].some(isRunning), 1000), 'daemons are gone within a second')
  t.deepEqual(ordinary.map(isRunning), [true, true], 'ordinary children go on')
}

test.serial('natural end: daemons get SIGTERM, SIGKILL after a second; then ordinary children are waited for', async t => {
  const [program, { daemons, deaf, ordinary }] = await begin(t, 'natural', 4000)
  const began = performance.now()
  t.true(await until(() => !daemons.some(isRunning), 700), 'SIGTERM ends daemons at once')
  t.true(deaf.some(isRunning), 'the one that does not listen has a second')
  t.true(await until(() => !deaf.some(isRunning), 1500))
  const ms = performance.now() - began
  t.true(ms > 700 && ms < 1500, `SIGKILL after ${ms} ms`)
  t.deepEqual(ordinary.map(isRunning), [true, true])
  t.false(program.isOver)
  const { code, signal, err } = await program.ended
  t.deepEqual([code, signal, err], [0, null, ''])
  t.deepEqual(ordinary.map(isRunning), [false, false], 'the parent ended after them')
  t.regex(program.out, /exit listener/)
})

for (const [way, expected] of [['exit', 5], ['error', 1], ['rejection', 1]] as const) {
  test.serial(`${way === 'exit' ? 'process.exit()' : `uncaught ${way}`}: at once; daemons go with it, ordinary children go on`, async t => {
    const [program, pids] = await begin(t, way)
    const began = performance.now()
    const { code, signal, err } = await program.ended
    t.true(performance.now() - began < 1000)
    t.deepEqual([code, signal], [expected, null])
    if (way !== 'exit') t.regex(err, /on purpose/)
    await look(t, pids)
  })
}

for (const [how, way] of [['SIGTERM', 'wait'], ['SIGINT', 'wait'], ['SIGKILL', 'wait'], ['SIGKILL', 'busy']] as const) {
  test.serial(`${how}${way === 'busy' ? ' while its event loop is blocked' : ''}: daemons are gone within a second, ordinary children go on`, async t => {
    const [program, pids] = await begin(t, way)
    process.kill(program.pid, how)
    const { signal } = await program.ended
    t.is(signal, how)
    await look(t, pids)
  })
}
