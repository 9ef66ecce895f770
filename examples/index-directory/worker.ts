/** What each process does: takes batches until there are none, and reports twice a second. */

import { ShutDown, type Queue } from 'polyproc'
import { nothingFound, readBatch, reportOf, type Report } from './tally.js'
import type { Batch } from './walk.js'

/**
 * Often enough for the progress to be seen and for little to be lost with a process that is killed, seldom enough for
 * the words, most of which come again in every report, to cost little to merge.
 */
const REPORT_MS = 500

/** Reads batches of files below `root` until `todo` is shut down and drained. */
export function work(root: string, todo: Queue<Batch>, done: Queue<Report>): void {
  let findings = nothingFound()
  let reported = performance.now()
  const send = (): void => {
    if (findings.batches.length > 0) done.putSync(reportOf(findings))
    findings = nothingFound()
    reported = performance.now()
  }
  try {
    for (;;) {
      readBatch(root, todo.getSync(), findings)
      if (performance.now() - reported >= REPORT_MS) send()
    }
  } catch (error) {
    if (!(error instanceof ShutDown)) throw error
    send()
  }
}
