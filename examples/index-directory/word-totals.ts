/**
 * The words of all processes together. One process merges them for all, so that it must cost little: a hash table over the
 * bytes of the words, which makes no string of each.
 */

import type { Words } from './read-file.js'

// Large enough for most to stay as they are: the system gives memory for what is used of it.
const FIRST_SLOTS = 2 ** 20
const FIRST_BYTES = 2 ** 23
// FNV-1a.
const HASH_BASIS = 0x811c9dc5 | 0
const HASH_PRIME = 0x01000193
/** What stands after each word: the end of a line. */
const END = 10

/** Words as a message. */
export interface WordReport {
  /** The words on a line each. */
  words: Uint8Array
  counts: Uint32Array
}

/** The message that tells of these words. */
export function wordReportOf(words: Words): WordReport {
  let text = ''
  for (const word of words.keys()) text += `${word}\n`
  return { words: Buffer.from(text), counts: Uint32Array.from(words.values()) }
}

/** Counts of words, into which reports are merged. */
export class WordTotals {
  /** The words one after the other; each ends where the next begins. */
  #text = Buffer.alloc(FIRST_BYTES)
  readonly #ends: number[] = []
  readonly #hashes: number[] = []
  readonly #counts: number[] = []
  /** Where a hash leads to: the number of a word and 1, or 0. A word is in the first free slot from there on. */
  #slots = new Uint32Array(FIRST_SLOTS)

  /** Adds the counts of a report. */
  add({ words, counts }: WordReport): void {
    let from = 0
    for (const count of counts) {
      let to = from
      let hash = HASH_BASIS
      for (; words[to] !== END; to += 1) hash = Math.imul(hash ^ words[to]!, HASH_PRIME)
      this.#counts[this.#find(hash, words, from, to)]! += count
      from = to + 1
    }
  }

  /** How many words there are. */
  get size(): number {
    return this.#counts.length
  }

  /** The `most` words that occur most often; of two that occur as often, first the one that sorts first. */
  mostFrequent(most: number): [word: string, count: number][] {
    const found: [word: string, count: number][] = []
    this.#counts.forEach((count, id) => {
      if (found.length === most && count < found[most - 1]![1]) return
      const word = this.#text.toString('utf8', this.#start(id), this.#ends[id])
      const at = found.findIndex(([other, known]) => count > known || count === known && word < other)
      found.splice(at < 0 ? found.length : at, 0, [word, count])
      found.length = Math.min(found.length, most)
    })
    return found
  }

  #start(id: number): number {
    return id === 0 ? 0 : this.#ends[id - 1]!
  }

  /** The number of a word; a new one gets the next. */
  #find(hash: number, bytes: Uint8Array, from: number, to: number): number {
    const slots = this.#slots
    for (let slot = hash & (slots.length - 1); ; slot = (slot + 1) & (slots.length - 1)) {
      const id = slots[slot]! - 1
      if (id < 0) {
        slots[slot] = this.#ends.length + 1
        return this.#append(hash, bytes, from, to)
      }
      if (this.#hashes[id] === hash && this.#isAt(id, bytes, from, to)) return id
    }
  }

  #isAt(id: number, bytes: Uint8Array, from: number, to: number): boolean {
    const start = this.#start(id)
    if (this.#ends[id]! - start !== to - from) return false
    for (let at = from; at < to; at += 1) if (this.#text[start + at - from] !== bytes[at]) return false
    return true
  }

  #append(hash: number, bytes: Uint8Array, from: number, to: number): number {
    const id = this.#ends.length
    const start = this.#start(id)
    const end = start + to - from
    if (end > this.#text.length) this.#text = Buffer.concat([this.#text, Buffer.alloc(end)])
    for (let at = from; at < to; at += 1) this.#text[start + at - from] = bytes[at]!
    this.#ends.push(end)
    this.#hashes.push(hash)
    this.#counts.push(0)
    if (this.#ends.length * 2 > this.#slots.length) this.#spread()
    return id
  }

  /** Twice as many slots: at least half are free, so that a search is short. */
  #spread(): void {
    const slots = new Uint32Array(this.#slots.length * 2)
    this.#hashes.forEach((hash, id) => {
      let slot = hash & (slots.length - 1)
      while (slots[slot] !== 0) slot = (slot + 1) & (slots.length - 1)
      slots[slot] = id + 1
    })
    this.#slots = slots
  }
}
