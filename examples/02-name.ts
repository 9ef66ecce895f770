/** A process with a name of its own, and one with the name that it is given. */

import { setTimeout } from 'node:timers/promises'
import { currentProcess, Process } from 'polyproc'

async function work(): Promise<void> {
  const { name } = currentProcess()
  console.log(`starting ${name}`)
  await setTimeout(200)
  console.log(`exiting ${name}`)
}

const named = new Process({ name: 'resizer', target: work }).start()
const unnamed = new Process({ target: work }).start()
await named.join()
await unnamed.join()
