/**
 * One file: its SHA-256, its size, its lines and its words. It is read piece by piece, so that a file of any size takes
 * the same memory.
 */

import { createHash } from 'node:crypto'
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'
import { StringDecoder } from 'node:string_decoder'

/** Words in lower case, and how often each was met. */
export type Words = Map<string, number>

export interface FileRecord {
  path: string
  sha256: string
  bytes: number
  /** As `wc -l` counts: ends of lines. */
  lines: number
  words: number
}

const PIECE_BYTES = 1024 * 1024
/** Where a file that is no text is told by a zero byte, as grep and git do. */
const BINARY_CHECK_BYTES = 8192
const NEWLINE = 10
const word = /\p{L}+/gu
/** A word may go on in the next piece: what stands at the end is kept for it, up to this many characters. */
const LONGEST_CARRY = 1024
const wordAtEnd = /\p{L}+$/u

const piece = Buffer.allocUnsafeSlow(PIECE_BYTES)

function countLines(bytes: Buffer): number {
  let lines = 0
  for (let at = bytes.indexOf(NEWLINE); at >= 0; at = bytes.indexOf(NEWLINE, at + 1)) lines += 1
  return lines
}

function countWords(text: string, words: Words): number {
  const found = text.toLowerCase().match(word)
  if (found === null) return 0
  for (const match of found) {
    const before = words.get(match)
    if (before !== undefined) words.set(match, before + 1)
    // A match is a window on the text around it, which would be kept as long as the word: a new word is copied.
    else words.set(Buffer.from(match).toString(), 1)
  }
  return found.length
}

/**
 * Reads a file and adds its words to `words`; those of a file that is no text are not counted.
 *
 * @param path Where it is; `name` is what the record calls it.
 * @throws The error of the file system when it cannot be read to its end; then nothing has been added.
 */
export function readFile(path: string, name: string, words: Words): FileRecord {
  // Should a pipe stand where the walk met a file, opening it must not wait for whoever writes to it.
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW)
  try {
    if (!fstatSync(fd).isFile()) throw Object.assign(new Error(`${path} is no longer a file`), { code: 'not a file' })
    const hash = createHash('sha256')
    const record: FileRecord = { path: name, sha256: '', bytes: 0, lines: 0, words: 0 }
    const decoder = new StringDecoder('utf8')
    let isText = true
    /** Text that is not counted before the next piece has been read. */
    let pending = ''
    /** Words of the pieces so far, of a file that has several. */
    const own: Words = new Map()
    for (;;) {
      const length = readSync(fd, piece, 0, PIECE_BYTES, null)
      if (length === 0) break
      const bytes = piece.subarray(0, length)
      if (record.bytes === 0) isText = bytes.subarray(0, BINARY_CHECK_BYTES).indexOf(0) < 0
      hash.update(bytes)
      record.bytes += length
      record.lines += countLines(bytes)
      if (!isText) continue
      if (pending !== '') {
        const carry = wordAtEnd.exec(pending.slice(-LONGEST_CARRY))?.[0] ?? ''
        record.words += countWords(pending.slice(0, pending.length - carry.length), own)
        pending = carry
      }
      pending += decoder.write(bytes)
    }
    record.words += countWords(pending + decoder.end(), words)
    for (const [text, count] of own) words.set(text, (words.get(text) ?? 0) + count)
    record.sha256 = hash.digest('hex')
    return record
  } finally {
    closeSync(fd)
  }
}
