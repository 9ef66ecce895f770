// What a file of tests must leave behind: nothing. No process, no shared object, no block of shared memory, no descriptor,
// and books that balance.

import { readdirSync } from 'node:fs'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { TestFn } from 'ava'
import { native } from '#src/native.js'
import { activeChildren, memoryUsage } from '#src/index.js'
import { until } from './programs.js'

setFlagsFromString('--expose-gc')
/** Collects garbage, now. */
export const collect = runInNewContext('gc') as () => void

/** Collects garbage, and lets go of what it kept. */
export async function settle(): Promise<void> {
  for (let k = 0; k < 3; k += 1) {
    collect()
    await new Promise(setImmediate)
  }
}

export interface Figures { fds: number, usedBytes: number, objects: number, processes: number, members: number }

export function figures(): Figures {
  const { usedBytes, objects, processes, members } = memoryUsage()
  return { fds: readdirSync('/proc/self/fd').length, usedBytes, objects, processes, members }
}

/** Waits until the figures are those of before, or no more; returns what differs. */
export async function differences(before: Figures, ms = 3000): Promise<string[]> {
  const find = (): string[] => {
    collect()
    const after = figures()
    const found = (Object.keys(before) as (keyof Figures)[]).filter(key => after[key] > before[key]).map(key => `${key}: ${before[key]} before, ${after[key]} after`)
    if (activeChildren().length > 0) found.push(`children: ${activeChildren().map(child => child.name).join(', ')}`)
    return [...found, ...native.checkFamily()]
  }
  await until(() => find().length === 0, ms)
  return find()
}

/** At the end of the file: everything is as it was at its beginning. */
export function leavesNothing(test: TestFn): void {
  let before: Figures
  // What is made once for the whole process, with the first wait, is no leftover.
  test.serial.before(async () => { before = await warm() })
  test.after.always('leaves nothing behind', async t => { t.deepEqual(await differences(before), []) })
}

/** Figures once everything that is made on first use has been made. */
export async function warm(): Promise<Figures> {
  const { Process, Queue } = await import('#src/index.js')
  const queue = new Queue<number>()
  const child = new Process({ target: (to: typeof queue) => { to.putSync(1) }, args: [queue], stdio: 'ignore' }).start()
  await queue.get()
  await child.join()
  queue.close()
  await until(() => memoryUsage().processes === 1, 1000)
  return figures()
}
