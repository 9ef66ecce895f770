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
export function handOut(batches: readonly Batch[]): Batch[] {
  const isLarge = (batch: Batch): boolean => batch.bytes > BATCH_BYTES
  return [...batches.filter(isLarge), ...batches.filter(batch => !isLarge(batch))]
}

const LOAD_BYTES = 64 * 1024 * 1024
/** Loads for each worker, so that all of them end at the same time. */
const LOADS = 8

/**
 * Batches that are read and reported together: seldom enough for the words, most of which come again in every report, to cost
 * little to merge.
 */
export function loadsOf(batches: readonly Batch[], workers: number): Batch[][] {
  const most = Math.min(LOAD_BYTES, batches.reduce((sum, { bytes }) => sum + bytes, 0) / (workers * LOADS))
  const loads: Batch[][] = []
  let bytes = Infinity
  for (const batch of batches) {
    if (bytes + batch.bytes > most) {
      loads.push([])
      bytes = 0
    }
    loads.at(-1)!.push(batch)
    bytes += batch.bytes
  }
  return loads
}

/** Walks the directory, in order of name. An entry that cannot be looked at is told of and left out. */
export function walk(root: string): Walk {
  const found: Walk = { batches: [], files: 0, bytes: 0, unreadable: [] }
  let batch: Batch | null = null
  const add = (path: string, bytes: number): void => {
    if (batch === null || batch.paths.length >= BATCH_FILES || batch.bytes + bytes > BATCH_BYTES) {
      batch = { id: found.batches.length, paths: [], bytes: 0 }
      found.batches.push(batch)
    }
    batch.paths.push(path)
    batch.bytes += bytes
    found.files += 1
    found.bytes += bytes
  }
  const below = (folder: string): void => {
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
      if (entry.isDirectory()) below(path)
      else if (entry.isFile()) {
        try {
          add(path, lstatSync(join(root, path)).size)
        } catch (error) {
          found.unreadable.push({ path, reason: reasonOf(error) })
        }
      }
    }
  }
  below('')
  return found
}
