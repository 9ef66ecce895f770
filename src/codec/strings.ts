/**
 * Strings: one byte a code unit where all are below 256, else two, which is what V8 holds itself. Short ones are
 * read and written in JavaScript, since a call into Node's native string functions costs more than the copy, and
 * short ones that come again and again (keys, names, states) are found in a small table instead of being made anew.
 */

/** Longest string that is copied by a loop. */
export const LOOP_LIMIT = 40

/** Whether every code unit is below 256. */
export function isLatin1(text: string): boolean {
  return !/[^\x00-\xff]/.test(text)
}

const TABLE_SIZE = 1024
const TABLE_LIMIT = 24
const table: string[] = new Array<string>(TABLE_SIZE).fill('')

/** The Latin-1 string of `length` bytes at `start`. The caller has checked the bounds. */
export function readLatin1(bytes: Buffer, start: number, length: number): string {
  if (length > TABLE_LIMIT) return bytes.toString('latin1', start, start + length)
  if (length === 0) return ''
  let hash = length
  for (let i = 0; i < length; i += 1) hash = (Math.imul(hash, 31) + bytes[start + i]!) | 0
  const slot = (hash ^ (hash >>> 15)) & (TABLE_SIZE - 1)
  const known = table[slot]!
  if (known.length === length) {
    let i = 0
    while (i < length && known.charCodeAt(i) === bytes[start + i]) i += 1
    if (i === length) return known
  }
  return (table[slot] = bytes.toString('latin1', start, start + length))
}

/** The string of `units` code units of two bytes at `start`. */
export function readUtf16(bytes: Buffer, start: number, units: number): string {
  return bytes.toString('utf16le', start, start + units * 2)
}
