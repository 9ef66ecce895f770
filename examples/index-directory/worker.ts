/** What a worker does with some batches: reads their files, and says in one message what is in them. */

import { nothingFound, readBatch, reportOf, type Report } from './tally.js'
import type { Batch } from './walk.js'

/** Batches that are reported together, and the directory that they are of. */
export interface Load {
  root: string
  batches: Batch[]
}

/** In which the system counts what a process reads from disk. */
const BLOCK_BYTES = 512

/** Reads the files of a load. */
export function work({ root, batches }: Load): Report {
  const findings = nothingFound()
  const { fsRead } = process.resourceUsage()
  for (const batch of batches) readBatch(root, batch, findings)
  return reportOf(findings, (process.resourceUsage().fsRead - fsRead) * BLOCK_BYTES)
}
