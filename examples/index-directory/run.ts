/** The job in two ways: by worker processes joined with queues, and by this process alone. */

import { setImmediate, setTimeout } from 'node:timers/promises'
import { Process, Queue } from 'polyproc'
import { readBatch, type Report, type Tally } from './tally.js'
import { handOut, walk, type Batch, type Walk } from './walk.js'

/** By name: to find where a function stands takes as long as to read a hundred files, and the workers are waited for. */
const worker = { module: new URL('worker.js', import.meta.url), export: 'work' }

/** Told how the job goes on. */
export interface Listener {
  /** The directory has been walked; nothing has been read yet. */
  onWalk: (found: Walk) => void
  /** So many bytes more are in the tally. */
  onProgress: (bytes: number) => void
}
/** A worker that did not end by itself. */
export interface Casualty {
  name: string
  pid: number
  /** Negative: killed by that signal. */
  exitCode: number
}
const SIGINT = 2
/** Batches that lie ready for a worker while the walk goes on. */
const BATCHES_AHEAD = 2

/**
 * Indexes the directory with that many worker processes; ends when all of them have, however they end. What a killed
 * worker had reported is in the tally; the files of which it had not are `lost`.
 *
 * @throws The error of the file system when the directory itself cannot be read.
 */
export async function runProcesses(root: string, workers: number, tally: Tally, { onWalk, onProgress }: Listener): Promise<{ lost: string[]; casualties: Casualty[] }> {
  using todo = new Queue<Batch>()
  using done = new Queue<Report>()
  // Daemons: whatever becomes of this process, they do not outlive it. They boot while it walks.
  const processes = Array.from({ length: workers }, (_, k) =>
    new Process({ name: `indexer-${k + 1}`, target: worker, args: [root, todo, done], daemon: true }).start())
  // They begin on what has been met; the rest is kept back until it is known which files are the large ones.
  const rest: Batch[] = []
  const found = walk(root, batch => {
    if (todo.qsize() < workers * BATCHES_AHEAD) todo.putNowait(batch)
    else rest.push(batch)
  })
  for (const path of found.unreadable) tally.found.unreadable.push(path)
  onWalk(found)
  for (const batch of handOut(rest)) todo.putNowait(batch)
  todo.shutdown()

  const ended = Promise.all(processes.map(worker => worker.join())).then(() => { done.shutdown() })
  for await (const report of done) {
    tally.add(report)
    onProgress(report.batches.reduce((sum, id) => sum + found.batches[id]!.bytes, 0))
  }
  await ended
  const casualties = processes.filter(worker => worker.exitCode !== 0)
    .map(worker => ({ name: worker.name, pid: worker.pid!, exitCode: worker.exitCode! }))
  // Ctrl-C reaches the workers and this process alike: it is about to hear of it.
  if (casualties.some(({ exitCode }) => exitCode === -SIGINT)) await setTimeout(100)
  return { lost: tally.missing(found.batches), casualties }
}

/** The same without other processes. Between batches the event loop turns, so that Ctrl-C is heard. */
export async function runAlone(root: string, tally: Tally, { onWalk, onProgress }: Listener): Promise<void> {
  const found = walk(root)
  for (const path of found.unreadable) tally.found.unreadable.push(path)
  onWalk(found)
  for (const batch of found.batches) {
    readBatch(root, batch, tally.found)
    onProgress(batch.bytes)
    await setImmediate()
  }
}
