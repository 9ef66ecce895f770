// Limits: of the family's own, and of the system. What does not fit is a typed error that says what to do; never a signal.

import { mkdirSync, rmdirSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import { fixture, run } from './helpers/programs.js'

const node = `exec "${process.execPath}"`

/** Runs a fixture in a shell that has limited itself. */
function limited(limits: string, file: string, args: string[] = [], env: NodeJS.ProcessEnv = {}): ReturnType<typeof run> {
  return run('', [], { command: ['sh', '-c', `${limits}; ${node} "${fixture(file)}" ${args.join(' ')}`], env })
}

test.serial('POLYPROC_MAX_BYTES: puts until OutOfMemoryError, which names limit and knob; nothing is lost, and room made is room again', async t => {
  const { code, signal, out, err } = await run('fills.mjs', ['queue'], { env: { POLYPROC_MAX_BYTES: String(64 * 1024 * 1024) } })
  t.deepEqual([code, signal, err], [0, null, ''])
  const lines = out.trim().split('\n')
  t.regex(lines[0] ?? '', /^OutOfMemoryError ERR_POLYPROC_OUT_OF_MEMORY .*67108864|64 MiB/)
  t.regex(lines[0] ?? '', /maxBytes|POLYPROC_MAX_BYTES/)
  t.regex(lines[1] ?? '', /^within the limit true/)
  t.regex(lines[2] ?? '', /^all items true/)
  t.regex(lines[3] ?? '', /^again true/)
  t.regex(lines[4] ?? '', /^books balance true/)
})

test.serial('the limit counts for large buffers, boot messages and new queues, in children too', async t => {
  const { code, signal, out, err } = await run('fills.mjs', ['rest'], { env: { POLYPROC_MAX_BYTES: String(48 * 1024 * 1024) } })
  t.deepEqual([code, signal, err], [0, null, ''])
  t.deepEqual(out.trim().split('\n'), ['buffer OutOfMemoryError', 'async put OutOfMemoryError', 'boot OutOfMemoryError', 'queues OutOfMemoryError', 'child OutOfMemoryError', 'works again 1'])
})

test.serial('under ulimit -v the memory is smaller, or a typed error says that it cannot be had', async t => {
  for (const kib of [60_000_000, 8_000_000, 3_000_000, 1_500_000]) {
    const { code, signal, out, err } = await limited(`ulimit -v ${kib}`, 'small.mjs')
    // Node itself may not start under the smallest.
    if (!out.includes('node runs')) continue
    t.is(signal, null, `${kib} KiB: ${err}`)
    t.is(code, 0, `${kib} KiB: ${err}`)
    t.regex(out, /works 3 child 4|StateError|PolyprocError|OutOfMemoryError/, `${kib} KiB`)
  }
})

test.serial('under ulimit -f the memory is smaller, or a typed error says what leaves no room', async t => {
  for (const blocks of [100_000_000, 8_000_000, 600_000, 1000]) {
    const { code, signal, out, err } = await limited(`ulimit -f ${blocks}`, 'small.mjs')
    t.is(signal, null, `${blocks} blocks: ${err}`)
    t.is(code, 0, `${blocks} blocks: ${err}`)
    t.regex(out, blocks > 1000 ? /works 3 child 4/ : /StateError .*ulimit -f/, `${blocks} blocks: ${out}`)
  }
})

/** A control group with so much memory, where one can be made here. */
function memoryGroup(bytes: number): { path: string; remove: () => Promise<void> } | null {
  for (const [root, limit] of [['/sys/fs/cgroup/memory', 'memory.limit_in_bytes'], ['/sys/fs/cgroup', 'memory.max']] as const) {
    const path = `${root}/polyproc-test-${process.pid}`
    const remove = async (): Promise<void> => {
      for (let k = 0; ; k += 1) {
        try {
          rmdirSync(path)
          return
        } catch (error) {
          // Its last process is on its way out.
          if (k > 200) throw error
          await sleep(20)
        }
      }
    }
    try {
      mkdirSync(path)
    } catch {
      continue
    }
    try {
      writeFileSync(`${path}/${limit}`, String(bytes))
      return { path, remove }
    } catch {
      rmdirSync(path)
    }
  }
  return null
}

test.serial('in a control group with little memory the limit is half of that, and comes before the kernel kills', async t => {
  const group = memoryGroup(384 << 20)
  if (group === null) {
    t.log('no control group can be made here')
    t.pass()
    return
  }
  try {
    // With core dumps on: shared memory is not in them.
    const { code, signal, out, err } = await limited(`echo $$ > ${group.path}/cgroup.procs; ulimit -c unlimited`, 'fills.mjs', ['queue'])
    t.deepEqual([code, signal, err], [0, null, ''])
    const lines = out.trim().split('\n')
    t.regex(lines[0] ?? '', /^OutOfMemoryError ERR_POLYPROC_OUT_OF_MEMORY/)
    const [, used, most] = /^within the limit true (\d+) of (\d+)$/.exec(lines[1] ?? '') ?? []
    t.is(Number(most), 192 << 20)
    t.true(Number(used) > 130 << 20)
    t.deepEqual(lines.slice(2).map(line => line.split(' ').slice(0, -1).join(' ')), ['all items true', 'again true', 'books balance'])
  } finally {
    await group.remove()
  }
})

test.serial('with few descriptors and few processes allowed: a typed error, and the parent goes on', async t => {
  const few = await limited('ulimit -n 64', 'small.mjs')
  t.deepEqual([few.code, few.signal], [0, null], few.err)
  t.regex(few.out, /works 3 child 4/)
})

test.serial('a limit set on a running process (prlimit) ends nothing', async t => {
  const { code, signal, out, err } = await run('small.mjs', ['prlimit'])
  t.deepEqual([code, signal], [0, null], err)
  t.regex(out, /limited (works|OutOfMemoryError|PolyprocError|StateError)/)
})
