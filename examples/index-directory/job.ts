/** The job from beginning to end: processes, totals, the same on one process, and the end by Ctrl-C. */

import { cpuCount } from 'polyproc'
import { runAlone, runProcesses, type Listener } from './run.js'
import { Progress, showLost, showTime, showTotals, showWalk } from './screen.js'
import { Tally } from './tally.js'

/** Where more than this part of the bytes came from disk, the disk was timed, not the processes. */
const COLD = 0.02
/** What a shell makes of a program that SIGINT ended. */
const INTERRUPTED = 130

/**
 * Indexes a directory and prints what is in it.
 *
 * @param workers Processes; default one for each CPU.
 * @returns The exit code: 0, or 1 when files were lost with a process or the two ways do not agree.
 * @throws The error of the file system when the directory cannot be read.
 */
export async function indexDirectory(root: string, workers = cpuCount()): Promise<number> {
  const progress = new Progress()
  let tally = new Tally()
  const onInterrupt = (): void => {
    progress.stop()
    console.log('\ninterrupted; so far:')
    showTotals(tally)
    process.exit(INTERRUPTED)
  }
  process.once('SIGINT', onInterrupt)
  const listener = (isFirst: boolean): Listener => ({
    onWalk: ({ files, bytes }) => {
      if (isFirst) showWalk(files, bytes)
      progress.start(bytes)
    },
    onProgress: bytes => { progress.add(bytes) },
  })
  /** Runs the job with a new tally; how many ms it took. */
  const timed = async <T>(run: () => Promise<T>): Promise<[ms: number, result: T]> => {
    tally = new Tally()
    const started = performance.now()
    const result = await run()
    const took = performance.now() - started
    progress.stop()
    return [took, result]
  }
  try {
    console.log(`indexing ${root} with ${workers} processes`)
    let [together, { lost, casualties }] = await timed(async () => runProcesses(root, workers, tally, listener(true)))
    showTotals(tally)
    showLost(lost, casualties)
    showTime(workers, together)
    if (lost.length > 0) return 1

    const { digest, bytes } = tally.totals()
    const isCold = tally.fromDisk > bytes * COLD
    const [alone] = await timed(async () => runAlone(root, tally, listener(false)))
    showTime(1, alone)
    const isSame = tally.totals().digest === digest
    if (isSame && isCold) {
      [together, { lost, casualties }] = await timed(async () => runProcesses(root, workers, tally, listener(false)))
      showLost(lost, casualties)
      if (lost.length > 0) return 1
      console.log('the first time files came from disk; once more, now that they are in memory:')
      showTime(workers, together)
    }
    console.log(`${workers} processes are ${(alone / together).toFixed(2)} times as fast`)
    if (isSame) return 0
    console.log('the two did not find the same: were files changed meanwhile?')
    return 1
  } finally {
    progress.stop()
    process.off('SIGINT', onInterrupt)
  }
}
