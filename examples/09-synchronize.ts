/** Two processes wait for each other at a barrier and print one after the other; two others do not wait. */

import { setTimeout } from 'node:timers/promises'
import { Barrier, Lock, Process } from 'polyproc'

async function together(barrier: Barrier, lock: Lock, name: string, delay: number): Promise<void> {
  await setTimeout(delay)
  await barrier.wait()
  using guard = await lock.acquire()
  console.log(`${name} ${guard.ownerDied ? 'after a death' : 'behind the barrier'} at ${Date.now()}`)
}

async function alone(name: string, delay: number): Promise<void> {
  await setTimeout(delay)
  console.log(`${name} by itself at ${Date.now()}`)
}

const barrier = new Barrier(2)
const lock = new Lock()
const processes = [
  new Process({ target: together, args: [barrier, lock, 'first', 50] }),
  new Process({ target: together, args: [barrier, lock, 'second', 1050] }),
  new Process({ target: alone, args: ['third', 50] }),
  new Process({ target: alone, args: ['fourth', 1050] }),
]
for (const each of processes) each.start()
for (const each of processes) await each.join()
