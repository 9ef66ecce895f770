/** What a process says of itself before it starts, while it runs, and after it was told to end. */

import { setTimeout } from 'node:timers/promises'
import { Process } from 'polyproc'

const child = new Process({ target: () => setTimeout(60_000) })
console.log(`before start:    alive ${child.isAlive()}`)
child.start()
console.log(`running:         alive ${child.isAlive()}`)
child.terminate()
console.log(`after terminate: alive ${child.isAlive()}`)
await child.join()
console.log(`after join:      alive ${child.isAlive()}`)
// 0: it ended without an error; above 0: with that exit code; below 0: killed by that signal.
console.log(`exit code ${child.exitCode}, signal ${child.signal}`)
