/** A daemon ends with its parent; for an ordinary process the parent waits when it has nothing left to do. */

import { setTimeout } from 'node:timers/promises'
import { currentProcess, Process } from 'polyproc'

async function count(): Promise<void> {
  const { name } = currentProcess()
  console.log(`${name} starts, pid ${process.pid}`)
  for (let step = 1; step <= 10; step += 1) {
    await setTimeout(200)
    console.log(`${name}: ${step} of 10`)
  }
  console.log(`${name} is done`)
}

new Process({ name: 'background', target: count, daemon: true }).start()
new Process({ name: 'foreground', target: count }).start()
await setTimeout(1200)
console.log('the parent has nothing left to do')
