// Who is of the family: children of every kind, worker threads, cluster workers, unrelated programs with one name; and who is not.

import test from 'ava'
import { ClosedError, configure, fromToken, memoryUsage, Queue, StateError, toToken } from '#src/index.js'
import { Program, run, until } from './helpers/programs.js'
import { leavesNothing } from './helpers/settled.js'

leavesNothing(test)

/** Each worker puts its pid and takes those of the others: all have seen all. */
function complete(t: { deepEqual(a: unknown, b: unknown): unknown }, out: string, count: number): void {
  const seen = out.trim().split('\n').filter(line => line.startsWith('saw ')).map(line => line.slice(4))
  t.deepEqual([...new Set(seen)].length, 1)
  t.deepEqual(seen.length, count)
  t.deepEqual(new Set(seen[0]?.split(' ')).size, count)
}

for (const kind of ['cluster', 'fork', 'threads', 'processes']) {
  test.serial(`four ${kind === 'cluster' ? 'cluster workers' : kind === 'fork' ? 'child_process.fork children' : kind} share new Queue({ name: 'jobs' }) with no set-up`, async t => {
    const { out, err, code } = await run('attach.mjs', [kind, 4])
    t.deepEqual([code, err], [0, ''])
    complete(t, out, 4)
  })
}

for (const kind of ['cluster', 'fork']) {
  test.serial(`the ${kind} primary is killed and the workers go on`, async t => {
    const program = new Program('attach.mjs', [kind, 4, 'survive'], { limit: 15_000 })
    t.teardown(() => { program.killAll() })
    await program.said('all ready')
    process.kill(program.pid, 'SIGKILL')
    await program.ended
    const lines = (): string[] => program.out.split('\n').filter(line => line.startsWith('saw '))
    t.true(await until(() => lines().length === 4, 10_000), `${program.out} ${program.err}`)
    complete(t, lines().join('\n'), 4)
  })
}

test.serial('who comes after the founder has ended finds the family by its environment', async t => {
  const program = new Program('late.mjs', ['founder'], { limit: 15_000 })
  t.teardown(() => { program.killAll() })
  await program.said('ready')
  process.kill(program.pid, 'SIGKILL')
  await program.ended
  t.true(await until(() => program.out.includes('got '), 10_000), program.err)
  t.deepEqual([program.out, program.err], ['ready\ngot what came late\n', ''])
})

test.serial('two unrelated programs with the same POLYPROC_ARENA share, with another they do not', async t => {
  const name = `test-${process.pid}`
  const options = { env: { POLYPROC_ARENA: name } }
  const first = new Program('named-arena.mjs', ['give', 'ours'], options)
  await first.said('ready')
  const other = await run('named-arena.mjs', ['look', 'ours'], { env: { POLYPROC_ARENA: `${name}-other` } })
  t.deepEqual([other.code, other.out], [0, 'ready\nempty\n'])
  const second = await run('named-arena.mjs', ['take', 'ours'], options)
  t.deepEqual([second.code, second.out, second.err], [0, 'ready\ntook from the first\n', ''])
  t.regex((await first.ended).out, /took from the second/)
  // All have gone: the name founds a new one.
  const third = await run('named-arena.mjs', ['look', 'ours'], options)
  t.is(third.out, 'ready\nempty\n')
  const bad = await run('named-arena.mjs', ['look', 'ours'], { env: { POLYPROC_ARENA: 'with space' } })
  t.is(bad.code, 1)
  t.regex(bad.err, /StateError: POLYPROC_ARENA must have/)
})

test.serial('a child of a named arena’s program belongs to it, and configure({ arena }) does the same', async t => {
  const name = `test-${process.pid}-c`
  const first = new Program('named-arena.mjs', ['give', 'ours', 'configure', name])
  await first.said('ready')
  const second = await run('named-arena.mjs', ['take', 'ours', 'child'], { env: { POLYPROC_ARENA: name } })
  t.deepEqual([second.code, second.out, second.err], [0, 'ready\ntook from the first\n', ''])
  t.regex((await first.ended).out, /took from the second/)
})

test.serial('an environment without the variable is an error that says so, an empty one founds a family', async t => {
  const lacking = await run('environment.mjs', ['lacking'])
  t.regex(lacking.out, /StateError .*POLYPROC_ARENA_V1/)
  const own = await run('environment.mjs', ['empty'])
  t.regex(own.out, /a family of its own/)
})

test.serial('a variable that leads nowhere is a clear error at the first use, never a second memory', async t => {
  for (const [value, expected] of [
    ['abc:63:1:1', /cannot reach.*descriptor 63.*process 1/s], ['nonsense', /is not what polyproc writes there/], ['abc:0:999999999:1', /cannot reach/],
  ] as const) {
    const { out, code } = await run('environment.mjs', ['use'], { env: { POLYPROC_ARENA_V1: value } })
    t.is(code, 0)
    t.regex(out, /^imported\nStateError ERR_POLYPROC_STATE/)
    t.regex(out, expected)
  }
})

test.serial('a name in a cluster worker whose primary has not imported polyproc is a StateError', async t => {
  const { out } = await run('cluster-bare.mjs')
  t.regex(out, /StateError ERR_POLYPROC_STATE .*primary.*import/)
  t.regex(out, /without a name: fine/)
})

test.serial('tokens: of another family, of what is gone, of no queue', async t => {
  using queue = new Queue<number>()
  const token = toToken(queue)
  t.regex(token, /^polyproc:[0-9a-f]+:\d+:\d+$/)
  using same = fromToken<Queue<number>>(token)
  queue.putNowait(3)
  t.is(same.getNowait(), 3)
  const { out } = await run('environment.mjs', ['token', token])
  t.regex(out, /StateError ERR_POLYPROC_STATE .*another family/)
  const gone = new Queue()
  const stale = toToken(gone)
  gone.close()
  t.throws(() => fromToken(stale), { instanceOf: ClosedError, message: /gone/ })
  t.throws(() => toToken(gone), { instanceOf: ClosedError })
  t.throws(() => fromToken('polyproc:xyz'), { instanceOf: TypeError })
  t.throws(() => toToken({}), { instanceOf: TypeError })
  t.throws(() => fromToken(token.replace(/\d+$/, '99999')), { instanceOf: ClosedError })
  t.regex(t.throws(() => fromToken(token.replace(/:\d+:(\d+)$/, ':99999999:$1'))).name, /^(?:ClosedError|PolyprocError|StateError|RangeError)$/)
})

test.serial('configure comes before the first use, with limits that make sense', async t => {
  t.throws(() => { configure({ maxBytes: 2 ** 30 }) }, { instanceOf: StateError, message: /before/ })
  for (const options of [{ maxBytes: -1 }, { maxBytes: 0.5 }, { maxProcesses: 513 }, { maxMembers: 5000 }, { maxBytes: Number.NaN }]) {
    t.throws(() => { configure(options) }, { instanceOf: RangeError })
  }
  const { out, err } = await run('configured.mjs')
  t.is(err, '')
  t.deepEqual(out.trim().split('\n'), ['limit 134217728', 'processes: OutOfMemoryError the shared memory has room for 2 processes and all are in use', 'child 134217728', 'later StateError'])
  const byEnvironment = await run('configured.mjs', ['environment'], { env: { POLYPROC_MAX_BYTES: '100000000' } })
  t.regex(byEnvironment.out, /limit 100000000/)
  const bad = await run('configured.mjs', ['environment'], { env: { POLYPROC_MAX_BYTES: 'many' } })
  t.regex(bad.err, /RangeError: POLYPROC_MAX_BYTES must be a whole number/)
})

test.serial('memoryUsage counts', t => {
  const before = memoryUsage()
  t.true(before.maxBytes > 2 ** 26)
  t.is(before.processes, 1)
  using queue = new Queue<Buffer>()
  t.is(memoryUsage().objects, before.objects + 1)
  queue.putNowait(Buffer.alloc(1_000_000))
  t.true(memoryUsage().usedBytes >= before.usedBytes + 1_000_000)
  queue.shutdown({ immediate: true })
})

test.serial('of two copies of the package in one thread the one that is used last works, and the other says so', async t => {
  const { out, err, code } = await run('copies.cjs', [])
  t.is(err, '')
  t.deepEqual(out.trim().split('\n'), ['first', 'true', 'second', ...Array.from({ length: 4 }, () => 'ERR_POLYPROC_STATE')])
  t.is(code, 0)
})
