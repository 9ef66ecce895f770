/** A class of processes: its own `run`, and fields that travel with it. */

import { Process } from 'polyproc'

class MyProcess extends Process {
  readonly item: number

  constructor(item: number) {
    super()
    this.item = item
  }

  override run(): void {
    console.log(`${this.name} works on item ${this.item}, pid ${process.pid}`)
  }
}

const processes = [10, 20, 30, 40, 50].map(item => new MyProcess(item).start())
for (const child of processes) await child.join()
