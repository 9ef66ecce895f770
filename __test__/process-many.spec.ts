// Many processes, one after the other and killed at birth: all are heard of, and nothing is left.

import { readdirSync } from 'node:fs'
import test from 'ava'
import { Process } from '#src/index.js'
import { native } from '#src/native.js'
import { differences, leavesNothing, warm } from './helpers/settled.js'

leavesNothing(test)

test.serial('PROC-09 100 processes started back to back all exit 0', async t => {
  const before = await warm()
  const all = Array.from({ length: 100 }, () => new Process({ target: () => undefined }).start())
  t.is(new Set(all.map(child => child.pid)).size, 100)
  t.true((await Promise.all(all.map(child => child.join({ timeout: 60_000 })))).every(Boolean))
  t.deepEqual(all.map(child => child.exitCode), Array<number>(100).fill(0))
  t.deepEqual(await differences(before), [])
})

test.serial('PROC-09 100 processes killed right after start all end by the signal', async t => {
  const before = await warm()
  for (const how of ['terminate', 'kill'] as const) {
    const all = Array.from({ length: 50 }, () => {
      const child = new Process({ target: () => { setInterval(() => undefined, 1000) } }).start()
      child[how]()
      return child
    })
    t.true((await Promise.all(all.map(child => child.join({ timeout: 60_000 })))).every(Boolean))
    t.deepEqual([...new Set(all.map(child => child.exitCode))], how === 'kill' ? [-9] : [-15])
    for (const child of all) t.false(child.isAlive())
  }
  t.deepEqual(await differences(before), [])
})

test.serial('killed while they boot, at moments spread over the boot', async t => {
  const before = await warm()
  const all = Array.from({ length: 24 }, (_, k) => {
    const child = new Process({ target: (list: number[]) => { list.push(1); setInterval(() => undefined, 1000) }, args: [Array<number>(1000).fill(k)] }).start()
    setTimeout(() => { child.kill() }, k * 12)
    return child
  })
  t.true((await Promise.all(all.map(child => child.join({ timeout: 60_000 })))).every(Boolean))
  t.deepEqual([...new Set(all.map(child => child.exitCode))], [-9])
  t.deepEqual(await differences(before), [])
})

test.serial('PROC-17 siblings alive at once have the same descriptors: none leaks into later children', async t => {
  const { Queue } = await import('#src/index.js')
  using counts = new Queue<string>()
  using go = new Queue<number>()
  const all = Array.from({ length: 5 }, () => new Process({
    target: (to: typeof counts, gate: typeof go, read: typeof readdirSync) => {
      to.putSync(read('/proc/self/fd').join(' '))
      gate.getSync()
    }, args: [counts, go, readdirSync], stdio: ['ignore', 'inherit', 'inherit'],
  }).start())
  const seen: number[] = []
  while (seen.length < 5) seen.push((await counts.get({ timeout: 20_000 })).split(' ').length)
  t.is(new Set(seen).size, 1, seen.join(' '))
  for (const _ of all) go.putNowait(1)
  for (const child of all) t.true(await child.join({ timeout: 30_000 }))
  t.deepEqual(native.checkFamily(), [])
})
