/**
 * What it costs to start a process: how long `start()` keeps the event loop from turning, with nothing and with 4 GB of
 * buffers in the parent, beside `child_process.spawn`; and how long it takes from there to the first byte that the
 * child writes, beside `node -e`. All take turns in one run, since only such figures can be compared.
 *
 *   npm run bench -- spawn
 *   POLYPROC_BENCH_GB=1 npm run bench -- spawn      with less memory than 4 GB
 */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Readable } from 'node:stream'
import { Process } from 'polyproc'

const BLOCKING_STARTS = 50
const FIRST_BYTE_STARTS = 30
const gigabytes = Number(process.env['POLYPROC_BENCH_GB'] ?? 4)

const median = (list: readonly number[]): number => [...list].sort((a, b) => a - b)[list.length >> 1]!
const ms = (value: number): string => `${value.toFixed(value < 10 ? 3 : 1)} ms`

function nothing(): void { /* The start is what is measured. */ }
function writeByte(): void { process.stdout.write('x') }

/** Time in ms that each way keeps the event loop from turning: medians of alternating starts. */
async function blocking(): Promise<{ ours: number; theirs: number }> {
  const ours: number[] = []
  const theirs: number[] = []
  for (let n = -3; n < BLOCKING_STARTS; n += 1) {
    const child = new Process({ target: nothing })
    let begun = performance.now()
    child.start()
    // The first few warm up: the function is read once, the code compiled.
    if (n >= 0) ours.push(performance.now() - begun)
    await child.join()
    begun = performance.now()
    const peer = spawn(process.execPath, ['-e', ''], { stdio: 'inherit' })
    if (n >= 0) theirs.push(performance.now() - begun)
    await once(peer, 'exit')
  }
  return { ours: median(ours), theirs: median(theirs) }
}

/** Time in ms to the first byte of the child's output: medians of alternating starts. */
async function firstByte(): Promise<{ ours: number; theirs: number }> {
  const ours: number[] = []
  const theirs: number[] = []
  const firstOf = async (output: Readable): Promise<number> => {
    await once(output, 'data')
    return performance.now()
  }
  for (let n = -2; n < FIRST_BYTE_STARTS; n += 1) {
    let begun = performance.now()
    const child = new Process({ target: writeByte, stdio: ['inherit', 'pipe', 'inherit'] }).start()
    let took = await firstOf(child.stdout!) - begun
    if (n >= 0) ours.push(took)
    await child.join()
    begun = performance.now()
    const peer = spawn(process.execPath, ['-e', "process.stdout.write('x')"], { stdio: ['inherit', 'pipe', 'inherit'] })
    took = await firstOf(peer.stdout!) - begun
    if (n >= 0) theirs.push(took)
    await once(peer, 'exit')
  }
  return { ours: median(ours), theirs: median(theirs) }
}

const rows: string[][] = []
const empty = await blocking()
rows.push(['start, event loop blocked, no buffers', ms(empty.ours), ms(empty.theirs), (empty.ours / empty.theirs).toFixed(3)])
const first = await firstByte()
rows.push(['start to first byte', ms(first.ours), ms(first.theirs), (first.ours / first.theirs).toFixed(2)])
// Touched, so that there are page tables to copy.
const buffers = Array.from({ length: gigabytes * 4 }, (_, k) => Buffer.alloc(1 << 28, k + 1))
const large = await blocking()
rows.push([`start, event loop blocked, ${gigabytes} GB of buffers`, ms(large.ours), ms(large.theirs), (large.ours / large.theirs).toFixed(4)])
console.log('| median | polyproc | child_process.spawn | ratio |\n|---|---|---|---|')
for (const row of rows) console.log(`| ${row.join(' | ')} |`)
console.log(`\nwith ${buffers.length / 4} GB, start() takes ${(large.ours / empty.ours).toFixed(2)} times what it takes with none`)
