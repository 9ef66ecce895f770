/**
 * What a worker of a pool is started to do: in a process of its own, or in a thread.
 */

import { join } from '../native.js'
import type { WorkerBoot } from './core.js'
import { callable } from './functions.js'
import { unpack } from './parcel.js'
import { coreOf, type Pool } from '../pool.js'
import { Worker } from './worker.js'

/** What travels: the board arrives as the pool that it belongs to. */
type Arrived = Omit<WorkerBoot, 'board'> & { readonly board: Pool }

async function work(boot: Arrived, serial: number, end: () => void): Promise<void> {
  const { board: pool, settings, initializer, initArgs } = boot
  const core = coreOf(pool)
  // Ctrl-C at a terminal, and a supervisor that ends the group, reach every process: this one's pool decides.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined)
  if (initializer !== undefined) {
    try {
      const fn = callable(initializer)
      await (fn instanceof Promise ? await fn : fn)(...initArgs)
    } catch (error) {
      core.tell({ what: 'unfit', error: core.sendable(error) })
      throw error
    }
  }
  const worker = new Worker(core.board, core.queues, core.owner, core.levels, settings, () => {
    // A thread's process goes on: what the thread holds would be held by that.
    core.release()
    end()
  })
  core.worker = worker
  core.tell({ what: 'ready', worker: worker.number, pid: process.pid, serial })
  worker.start()
}

/** Becomes a worker process. Rejects with what the initializer threw. */
export function runWorkerProcess(boot: unknown): Promise<void> {
  const arrived = boot as Arrived
  return work(arrived, 0, () => { process.exit(0) })
}

/** Becomes a worker thread. */
export function runWorkerThread(): void {
  const threads = process.getBuiltinModule('node:worker_threads')
  const { boot, serial } = (threads.workerData as { polyproc: { boot: number, serial: number } }).polyproc
  join()
  const begin = async (): Promise<void> => { await work(await unpack(boot) as Arrived, serial, () => { process.exit(0) }) }
  begin().catch((error: unknown) => { process.nextTick(() => { throw error }) })
}
