/** A daemon ends with its parent; for an ordinary process the parent waits when it has nothing left to do. */

import { setTimeout } from 'node:timers/promises'
import { currentProcess, Process, Queue } from 'polyproc'

async function count(started: Queue<string>): Promise<void> {
  const { name } = currentProcess()
  console.log(`${name} starts, pid ${process.pid}`)
  await started.put(name)
  for (let step = 1; step <= 5; step += 1) {
    await setTimeout(200)
    console.log(`${name}: ${step} of 5`)
  }
  console.log(`${name} is done`)
}

const started = new Queue<string>()
new Process({ name: 'background', target: count, args: [started], daemon: true }).start()
new Process({ name: 'foreground', target: count, args: [started] }).start()
await started.get()
await started.get()
await setTimeout(300)
console.log('the parent has nothing left to do')
