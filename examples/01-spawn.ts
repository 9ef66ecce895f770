/** Five processes on one function, each with a number of its own. */

import { Process } from 'polyproc'

function greet(index: number): void {
  console.log(`process ${index} of five, pid ${process.pid}`)
}

const processes = Array.from({ length: 5 }, (_, index) => new Process({ target: greet, args: [index] }).start())
for (const child of processes) await child.join()
