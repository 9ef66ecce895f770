/** Consumers mark what they have done, and the producer waits until all of it is. */

import { setTimeout } from 'node:timers/promises'
import { JoinableQueue, Process } from 'polyproc'

async function consume(queue: JoinableQueue<number>, name: string): Promise<void> {
  for await (const item of queue) {
    await setTimeout(20 * item)
    console.log(`${name}: done with ${item}`)
    queue.taskDone()
  }
}

const queue = new JoinableQueue<number>()
const consumers = ['first', 'second', 'third'].map(name => new Process({ target: consume, args: [queue, name] }).start())
for (let item = 1; item <= 9; item += 1) await queue.put(item)
await queue.join()
console.log('producer: everything is done')
queue.shutdown()
for (const consumer of consumers) await consumer.join()
