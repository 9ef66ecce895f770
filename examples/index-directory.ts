/**
 * The real job alone: `node build/examples/index-directory.js DIR [PROCESSES]`. Counts what is in the files of a
 * directory with a pool of worker processes; see the files of index-directory/ for how.
 */

import { resolve } from 'node:path'
import { indexDirectory } from './index-directory/job.js'

const [directory = '.', workers] = process.argv.slice(2)
process.exitCode = await indexDirectory(resolve(directory), workers === undefined ? undefined : Number(workers))
