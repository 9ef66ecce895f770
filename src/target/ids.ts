/** Names for functions and texts that no other process or thread gives: a random part, and a count. */

import { randomBytes } from 'node:crypto'

let prefix: string | undefined
let count = 0

export function nextId(): string {
  prefix ??= randomBytes(9).toString('base64url')
  count += 1
  return `${prefix}.${count.toString(36)}`
}
