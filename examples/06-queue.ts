/** A producer and a slower consumer, joined by a queue. */

import { randomInt } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import { Empty, Process, Queue } from 'polyproc'

async function produce(queue: Queue<number>): Promise<void> {
  for (let n = 0; n < 10; n += 1) {
    const item = randomInt(256)
    await queue.put(item)
    console.log(`producer: put ${item}, size of the queue ${queue.qsize()}`)
    await setTimeout(50)
  }
}

async function consume(queue: Queue<number>): Promise<void> {
  try {
    for (;;) {
      const item = await queue.get({ timeout: 500 })
      console.log(`consumer: got ${item}`)
      await setTimeout(100)
    }
  } catch (error) {
    if (!(error instanceof Empty)) throw error
    console.log('consumer: the queue is empty')
  }
}

const queue = new Queue<number>()
const producer = new Process({ target: produce, args: [queue] }).start()
const consumer = new Process({ target: consume, args: [queue] }).start()
await producer.join()
await consumer.join()
