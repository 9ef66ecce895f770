/**
 * The regular files below a directory, cut into batches: what a process is handed at once. Links are not followed, so
 * that every file is met once and nothing outside the directory is.
 */

import { lstatSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

/** A file or directory that could not be read, and why. */
export interface Unreadable {
  path: string
  reason: string
}
/** Files to be read by one process; paths are relative to the directory. */
export interface Batch {
  id: number
  paths: string[]
  /** Size of the files together when they were met. */
  bytes: number
}
export interface Walk {
  batches: Batch[]
  files: number
  bytes: number
  unreadable: Unreadable[]
}

const BATCH_BYTES = 512 * 1024
const BATCH_FILES = 64

/** What went wrong, in one word where the system has one. */
export function reasonOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? String(error)
}

/** The order in which to hand them out: a file larger than a batch first, or one process is left alone with it at the end. */
function largeFirst(batches: readonly Batch[]): Batch[] {
  const isLarge = (batch: Batch): boolean => batch.bytes > BATCH_BYTES
  return [...batches.filter(isLarge), ...batches.filter(batch => !isLarge(batch))]
}

/** What a worker has to do while the rest is being met. */
const FIRST_BYTES = 8 * 1024 * 1024
const LEAST_BYTES = 1024 * 1024
/** Each load is a worker's share of this part of what is left: ever smaller, so that all workers end at the same time. */
const PART = 3

/**
 * Walks the directory and yields its batches in loads, each to be read and reported together: seldom enough for the words, most
 * of which come again in every report, to cost little to merge. Each worker has one as soon as there is enough for it; all the
 * others come when everything has been met.
 */
export function * loads(root: string, workers: number, found: Walk): Generator<Batch[]> {
  let load: Batch[] = []
  let bytes = 0
  let begun = 0
  for (const batch of walk(root, found)) {
    load.push(batch)
    bytes += batch.bytes
    if (begun === workers || bytes < FIRST_BYTES) continue
    yield load
    load = []
    bytes = 0
    begun += 1
  }
  let left = bytes
  const rest = largeFirst(load)
  load = []
  bytes = 0
  for (const batch of rest) {
    load.push(batch)
    bytes += batch.bytes
    if (bytes < Math.max(LEAST_BYTES, left / (workers * PART))) continue
    yield load
    left -= bytes
    load = []
    bytes = 0
  }
  if (load.length > 0) yield load
}

/** Nothing has been met yet. */
export function nothingMet(): Walk {
  return { batches: [], files: 0, bytes: 0, unreadable: [] }
}

/**
 * Walks the directory, in order of name, and yields each batch when it is whole; what was met so far stands in `found`. An entry
 * that cannot be looked at is told of there and left out.
 *
 * @throws The error of the file system when the directory itself cannot be read.
 */
export function * walk(root: string, found: Walk): Generator<Batch> {
  function * add(path: string, bytes: number): Generator<Batch> {
    let batch = found.batches.at(-1)
    if (batch === undefined || batch.paths.length >= BATCH_FILES || batch.bytes + bytes > BATCH_BYTES) {
      if (batch !== undefined) yield batch
      batch = { id: found.batches.length, paths: [], bytes: 0 }
      found.batches.push(batch)
    }
    batch.paths.push(path)
    batch.bytes += bytes
    found.files += 1
    found.bytes += bytes
  }
  function * below(folder: string): Generator<Batch> {
    let entries
    try {
      entries = readdirSync(join(root, folder), { withFileTypes: true })
    } catch (error) {
      // That the directory itself is not there is for the caller to say.
      if (folder === '') throw error
      found.unreadable.push({ path: folder, reason: reasonOf(error) })
      return
    }
    entries.sort((a, b) => (a.name < b.name ? -1 : 1))
    for (const entry of entries) {
      const path = join(folder, entry.name)
      if (entry.isDirectory()) yield * below(path)
      else if (entry.isFile()) {
        let bytes
        try {
          bytes = lstatSync(join(root, path)).size
        } catch (error) {
          found.unreadable.push({ path, reason: reasonOf(error) })
          continue
        }
        yield * add(path, bytes)
      }
    }
  }
  yield * below('')
  yield * found.batches.slice(-1)
}
