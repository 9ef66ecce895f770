// What a child has of its parent: environment, directory, program, flags, streams; and what it has not.

import { closeSync, openSync, readdirSync, readlinkSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import test, { type ExecutionContext } from 'ava'
import { cpuCount, perProcess, Process, Queue } from '#src/index.js'
import { fixture, run } from './helpers/programs.js'
import { leavesNothing } from './helpers/settled.js'

leavesNothing(test)

const soon = { timeout: 30_000 }

/** What `ask` gives in a child with those options. */
async function answer<R>(t: ExecutionContext, ask: () => R, options: ConstructorParameters<typeof Process>[0] = {}): Promise<R> {
  using queue = new Queue<R>()
  const child = new Process({ ...options, target: (to: typeof queue, fn: typeof ask) => { to.putSync(fn()) }, args: [queue, ask] } as never).start()
  const result = await queue.get(soon)
  t.true(await child.join(soon))
  t.is(child.exitCode, 0)
  return result
}

test.serial('the environment: the parent’s as it is now, or the one given, without what is the parent’s alone', async t => {
  process.env['POLYPROC_TEST_NOW'] = 'now=ü'
  const inherited = await answer(t, () => ({ ...process.env }))
  Reflect.deleteProperty(process.env, 'POLYPROC_TEST_NOW')
  t.is(inherited['POLYPROC_TEST_NOW'], 'now=ü')
  t.is(inherited['PATH'], process.env['PATH'])
  for (const name of ['NODE_CHANNEL_FD', 'NODE_UNIQUE_ID', 'POLYPROC_PLACE']) t.false(name in inherited, name)
  const given = await answer(t, () => ({ ...process.env }), { env: { ONLY: 'this', SKIPPED: undefined } })
  t.deepEqual(Object.keys(given).filter(name => !name.startsWith('POLYPROC_')), ['ONLY'])
})

test.serial('the directory: the parent’s, or the one given as path or URL', async t => {
  const ask = (): string => process.cwd()
  t.is(await answer(t, ask), process.cwd())
  t.is(await answer(t, ask, { cwd: '/usr' }), '/usr')
  t.is(await answer(t, ask, { cwd: new URL('file:///usr/') }), '/usr')
})

test.serial('PROC-15 another program: execPath', async t => {
  t.is(await answer(t, () => process.execPath, { execPath: process.execPath }), process.execPath)
  // A program in between that becomes Node: its pid is the child's all the same.
  t.true(await answer(t, () => process.execPath.endsWith('node'), { execPath: fixture('a node') }))
  // One that closes what the parent passed on: the memory is found through the parent, the rest is done without.
  t.true(await answer(t, () => process.execPath.endsWith('node'), { execPath: fixture('closes-descriptors') }))
})

test.serial('PROC-28 flags are inherited by children and grandchildren', async t => {
  const { out, code, err } = await run('flags.mjs', [], { execArgv: ['--max-old-space-size=222', '--no-warnings'] })
  t.deepEqual([code, err], [0, ''])
  t.deepEqual(out.trim().split('\n'), Array(3).fill('--max-old-space-size=222 --no-warnings'))
  t.deepEqual(await answer(t, () => process.execArgv, { execArgv: ['--stack-size=900'] }), ['--stack-size=900'])
})

test.serial('a program given by -e, -p or on standard input is not run again in its children', async t => {
  const code = `import('polyproc').then(async ({ Process }) => {
    console.log('once'); const child = new Process({ target: () => { console.log('child') } }).start(); await child.join(); console.log(child.exitCode) })`
  const cwd = fixture('.')
  for (const command of [
    [process.execPath, '-e', code], [process.execPath, '--eval', code], [process.execPath, `--eval=${code}`], [process.execPath, '--input-type=module', '-e', code],
    [process.execPath, '-p', `${code}, "printed"`], ['sh', '-c', `echo '${code.replaceAll('\'', '"')}' | "${process.execPath}" -`],
  ]) {
    const ended = await run('', [], { command, cwd })
    t.is(ended.code, 0, ended.err)
    t.deepEqual(ended.out.trim().split('\n').filter(line => line !== 'printed'), ['once', 'child', '0'])
  }
})

test.serial('under tsx and under --import, children have the same', async t => {
  const ended = await run('typed.ts', [], { execArgv: ['--import', 'tsx'], cwd: fixture('.') })
  t.is(ended.err, '')
  t.deepEqual(ended.out.trim().split('\n'), ['closure 42', 'module 7', 'exit codes 0 0'])
})

test.serial('CTX-06 a child finds modules as its parent does', async t => {
  const found = await answer(t, () => [process.argv[1], process.argv.length])
  t.deepEqual(found, [process.argv[1], process.argv.length])
})

test.serial('PROC-29 a descriptor of the parent is not open in the child', async t => {
  const path = fixture('targets.mjs')
  const fd = openSync(path, 'r')
  t.teardown(() => { closeSync(fd) })
  const links = await answer(t, () => readdirSync('/proc/self/fd').map(name => {
    try {
      return readlinkSync(`/proc/self/fd/${name}`)
    } catch {
      return ''
    }
  }))
  t.false(links.includes(path))
  // One that the parent was started with, and that every exec keeps open.
  const { out, code } = await run('', [], { command: ['sh', '-c', `exec 9<"${path}"; exec "${process.execPath}" "${fixture('descriptors.mjs')}"`] })
  t.is(code, 0)
  const [own, child] = out.trim().split('\n').map(line => line.split(' '))
  t.true(own?.includes(path))
  t.false(child?.includes(path))
})

test.serial('piped streams carry what is written, both ways', async t => {
  const child = new Process({
    target: () => {
      process.stdin.setEncoding('utf8')
      process.stdin.on('data', text => { process.stdout.write(String(text).toUpperCase()) })
      process.stdin.on('end', () => { process.stderr.write('the end') })
    }, stdio: 'pipe',
  }).start()
  t.truthy(child.stdin)
  const [out, err] = [text(child.stdout), text(child.stderr)]
  child.stdin?.write('one ')
  child.stdin?.end('x'.repeat(300_000))
  t.is(await out, `ONE ${'X'.repeat(300_000)}`)
  t.is(await err, 'the end')
  t.true(await child.join(soon))
  t.is(child.exitCode, 0)
  child.close()
  const plain = new Process({ target: () => undefined }).start()
  t.deepEqual([plain.stdin, plain.stdout, plain.stderr], [null, null, null])
  t.true(await plain.join(soon))
})

test.serial('ignored streams lead nowhere', async t => {
  t.deepEqual(await answer(t, () => [0, 1, 2].map(fd => readlinkSync(`/proc/self/fd/${fd}`)), { stdio: 'ignore' }), Array(3).fill('/dev/null'))
})

test.serial('PROC-19 a parent without stdout and stderr starts children all the same', async t => {
  for (const redirect of ['>&-', '2>&-', '>&- 2>&- <&-', '>/dev/full 2>/dev/full']) {
    const ended = await run('', [], { command: ['sh', '-c', `exec "${process.execPath}" "${fixture('no-streams.mjs')}" ${redirect}`] })
    t.is(ended.code, 17, `${redirect}: ${ended.err}`)
  }
})

test.serial('PROC-20 a child that closes its own stdout and stderr ends with 0', async t => {
  for (const fds of [[1], [2], [1, 2], [0, 1, 2]]) {
    const child = new Process({ target: (numbers: number[], close: typeof closeSync) => { for (const fd of numbers) close(fd) }, args: [fds, closeSync] }).start()
    t.true(await child.join(soon))
    t.is(child.exitCode, 0)
  }
  for (const name of ['stdout', 'stderr'] as const) {
    const child = new Process({ target: (which: 'stdout' | 'stderr') => { process[which].destroy() }, args: [name], stdio: 'pipe' }).start()
    t.true(await child.join(soon))
    t.is(child.exitCode, 0)
    child.close()
  }
})

test.serial('PROC-10 cpuCount counts affinity', async t => {
  t.is(cpuCount(), availableParallelism())
  const code = 'import("polyproc").then(mp => console.log(mp.cpuCount()))'
  const { out } = await run('', [], { command: ['taskset', '-c', '0', process.execPath, '-e', code], cwd: fixture('.') })
  t.is(out.trim(), '1')
})

test.serial('perProcess: made once in each process, again after a failure', async t => {
  let made = 0
  const place = perProcess(() => {
    made += 1
    return { pid: process.pid, made }
  })
  t.is(place(), place())
  t.deepEqual(place(), { pid: process.pid, made: 1 })
  using queue = new Queue<unknown[]>()
  const children = [1, 2].map(() => new Process({
    target: (to: Queue) => { to.putSync([place().pid === process.pid, place() === place(), process.pid]) }, args: [queue],
  }).start())
  const pids = new Set<unknown>()
  for (const child of children) {
    const [own, same, pid] = await queue.get(soon)
    t.true(own)
    t.true(same)
    pids.add(pid)
    t.true(await child.join(soon))
  }
  t.is(pids.size, 2)
  let failing = true
  const flaky = perProcess(() => {
    if (failing) throw new Error('not yet')
    return 'fine'
  })
  t.throws(flaky, { message: 'not yet' })
  failing = false
  t.is(flaky(), 'fine')
})

test.serial('MISC-01, 02 NODE_DEBUG=polyproc says what happens, in children too; without it nothing', async t => {
  const loud = await run('nested.mjs', [], { env: { NODE_DEBUG: 'polyproc' } })
  t.is(loud.code, 0)
  t.regex(loud.err, /POLYPROC \d+: outer started, pid \d+/)
  t.regex(loud.err, /POLYPROC \d+: inner started, pid \d+/)
  t.regex(loud.err, /POLYPROC \d+: outer \(pid \d+\) ended with 0/)
  t.is((await run('nested.mjs')).err, '')
})

async function text(stream: NodeJS.ReadableStream | null): Promise<string> {
  let all = ''
  for await (const chunk of stream ?? []) all += String(chunk)
  return all
}

test.serial('what the first child compiled of polyproc is there for those after it, and nobody can change it', async t => {
  using told = new Queue<{ length: number; refused: string }>()
  const look = (to: typeof told): void => {
    const fs = process.getBuiltinModule('node:fs')
    const fd = fs.readdirSync('/proc/self/fd').map(Number).find(number => {
      try { return fs.readlinkSync(`/proc/self/fd/${number}`).startsWith('/memfd:polyproc-code') } catch { return false }
    })!
    const head = Buffer.alloc(8)
    fs.readSync(fd, head, 0, 8, 0)
    let refused = ''
    try { fs.writeSync(fd, head, 0, 8, 0) } catch (error) { refused = (error as NodeJS.ErrnoException).code! }
    to.putNowait({ length: Number(head.readBigUInt64LE()), refused })
  }
  for (let k = 0; k < 2; k += 1) await new Process({ target: look, args: [told] }).start().join()
  await told.get(soon)
  const { length, refused } = await told.get(soon)
  t.true(length > 10_000, `${length} bytes`)
  t.is(refused, 'EPERM')
})
