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
/** The bytes of the strings in the table, so that comparing does not take a string apart. */
const tableBytes = new Uint8Array(TABLE_SIZE * TABLE_LIMIT)

/** The Latin-1 string of `length` bytes at `start`. The caller has checked the bounds. */
export function readLatin1(bytes: Buffer, start: number, length: number): string {
  if (length > TABLE_LIMIT) return bytes.toString('latin1', start, start + length)
  if (length === 0) return ''
  // The first, the middle and the last few bytes tell most strings apart.
  const last = start + length - 1
  let hash = length + (bytes[start]! << 5) + (bytes[(start + last) >> 1]! << 9)
  hash = Math.imul(hash, 31) + bytes[last]!
  if (length > 2) hash = Math.imul(hash, 31) + bytes[last - 1]! + (bytes[last - 2]! << 4)
  const slot = (hash ^ (hash >>> 11)) & (TABLE_SIZE - 1)
  const known = table[slot]!
  const home = slot * TABLE_LIMIT
  if (known.length === length) {
    let i = 0
    while (i < length && tableBytes[home + i] === bytes[start + i]) i += 1
    if (i === length) return known
  }
  for (let i = 0; i < length; i += 1) tableBytes[home + i] = bytes[start + i]!
  return (table[slot] = length <= 12 ? joined(bytes, start, length) : bytes.toString('latin1', start, start + length))
}

/** Makes a string of up to 12 units out of fours, which stays in compiled code; longer ones would be left in pieces. */
function joined(bytes: Buffer, start: number, length: number): string {
  let text = ''
  let at = start
  const end = start + length
  for (; at + 4 <= end; at += 4) text += String.fromCharCode(bytes[at]!, bytes[at + 1]!, bytes[at + 2]!, bytes[at + 3]!)
  switch (end - at) {
    case 1: return text + String.fromCharCode(bytes[at]!)
    case 2: return text + String.fromCharCode(bytes[at]!, bytes[at + 1]!)
    case 3: return text + String.fromCharCode(bytes[at]!, bytes[at + 1]!, bytes[at + 2]!)
    default: return text
  }
}

/** The string of `units` code units of two bytes at `start`. */
export function readUtf16(bytes: Buffer, start: number, units: number): string {
  return bytes.toString('utf16le', start, start + units * 2)
}
