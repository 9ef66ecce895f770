/** The job in two ways: by the workers of a pool, and by this process alone. */

import { setImmediate } from 'node:timers/promises'
import { Pool, WorkerLostError } from 'polyproc'
import { readBatch, type Tally } from './tally.js'
import { loads, nothingMet, walk, type Walk } from './walk.js'
import { work, type Load } from './worker.js'

/** Told how the job goes on. */
export interface Listener {
  /** The directory has been walked; nothing has been read yet. */
  onWalk: (found: Walk) => void
  /** So many bytes more are in the tally. */
  onProgress: (bytes: number) => void
}
/** A worker that did not end by itself, with files in hand. */
export interface Casualty {
  pid: number
  /** Negative: killed by that signal. */
  exitCode: number
}
/**
 * Indexes the directory with that many workers. A worker that is killed is replaced; the files that it had in hand are `lost`.
 *
 * @throws The error of the file system when the directory itself cannot be read; what else a worker throws.
 */
export async function runProcesses(root: string, workers: number, tally: Tally, { onWalk, onProgress }: Listener): Promise<{ lost: string[]; casualties: Casualty[] }> {
  await using pool = new Pool({ processes: workers, name: 'indexer' })
  // They boot while this process walks.
  const ready = Promise.all(Array.from({ length: workers }, () => pool.apply(work, [{ root, batches: [] }])))
  const found = nothingMet()
  function * input(): Generator<Load> {
    for (const batches of loads(root, workers, found)) yield { root, batches }
    for (const path of found.unreadable) tally.found.unreadable.push(path)
    onWalk(found)
  }
  const casualties: Casualty[] = []
  for await (const outcome of pool.imapUnordered(work, input(), { settled: true, chunkSize: 1, bufferSize: Infinity })) {
    if (outcome.status === 'fulfilled') {
      tally.add(outcome.value)
      onProgress(outcome.value.batches.reduce((sum, id) => sum + found.batches[id]!.bytes, 0))
    } else if (outcome.reason instanceof WorkerLostError) casualties.push(outcome.reason)
    else throw outcome.reason
  }
  await ready
  return { lost: tally.missing(found.batches), casualties }
}

/** The same without other processes. Between batches the event loop turns, so that Ctrl-C is heard. */
export async function runAlone(root: string, tally: Tally, { onWalk, onProgress }: Listener): Promise<void> {
  const found = nothingMet()
  const batches = [...walk(root, found)]
  for (const path of found.unreadable) tally.found.unreadable.push(path)
  onWalk(found)
  for (const batch of batches) {
    readBatch(root, batch, tally.found)
    onProgress(batch.bytes)
    await setImmediate()
  }
}
