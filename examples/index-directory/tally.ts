/** The index as it grows: what is known of every file so far, and the totals over them. */

import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { readFile, type FileRecord, type Words } from './read-file.js'
import { reasonOf, type Batch, type Unreadable } from './walk.js'
import { WordTotals, wordReportOf, type WordReport } from './word-totals.js'

/** What was found in some batches. */
export interface Findings {
  /** Ids of the batches. */
  batches: number[]
  files: FileRecord[]
  unreadable: Unreadable[]
  words: Words
}
/** Findings as one message, so that they are known whole or not at all. */
export interface Report extends Omit<Findings, 'words'> {
  words: WordReport
  /** Bytes that were not in memory yet. */
  fromDisk: number
}
export interface Totals {
  files: number
  bytes: number
  lines: number
  words: number
  distinctWords: number
  /** SHA-256 of what `sha256sum` prints for all the files in order of path. */
  digest: string
  frequent: [word: string, count: number][]
}

export function nothingFound(): Findings {
  return { batches: [], files: [], unreadable: [], words: new Map() }
}

export function reportOf({ words, ...findings }: Findings, fromDisk: number): Report {
  return { ...findings, words: wordReportOf(words), fromDisk }
}

/** Reads the files of a batch and adds what they are to the findings. */
export function readBatch(root: string, batch: Batch, findings: Findings): void {
  for (const path of batch.paths) {
    try {
      findings.files.push(readFile(join(root, path), path, findings.words))
    } catch (error) {
      findings.unreadable.push({ path, reason: reasonOf(error) })
    }
  }
  findings.batches.push(batch.id)
}

/** All that is known so far. */
export class Tally {
  /** Files of all readers; its words are those that this process has read itself since the last totals. */
  readonly found: Findings = nothingFound()
  readonly #words = new WordTotals()
  /** Bytes that had to be read from disk. */
  fromDisk = 0

  add(report: Report): void {
    const { batches, files, unreadable } = this.found
    this.fromDisk += report.fromDisk
    for (const id of report.batches) batches.push(id)
    for (const file of report.files) files.push(file)
    for (const path of report.unreadable) unreadable.push(path)
    this.#words.add(report.words)
  }

  /** Files of batches of which nothing was heard. */
  missing(batches: readonly Batch[]): string[] {
    const reported = new Set(this.found.batches)
    return batches.filter(batch => !reported.has(batch.id)).flatMap(batch => batch.paths).sort()
  }

  totals(): Totals {
    const hash = createHash('sha256')
    let [bytes, lines, words] = [0, 0, 0]
    const files = [...this.found.files].sort((a, b) => (a.path < b.path ? -1 : 1))
    for (const file of files) {
      hash.update(`${file.sha256}  ${file.path}\n`)
      bytes += file.bytes
      lines += file.lines
      words += file.words
    }
    this.#words.add(wordReportOf(this.found.words))
    this.found.words.clear()
    return {
      files: files.length, bytes, lines, words, distinctWords: this.#words.size, digest: hash.digest('hex'),
      frequent: this.#words.mostFrequent(10),
    }
  }
}
