/** Names for functions and texts that no other process or thread gives: a random part, and a count. */

let prefix: string | undefined
let count = 0

export function nextId(): string {
  prefix ??= makePrefix()
  count += 1
  return `${prefix}.${count.toString(36)}`
}

/**
 * 62 bits. Not by node:crypto, whose loading alone takes as long as reading a function. The time and the process are in
 * them, since `--random-seed` gives every process of a program the same random numbers.
 */
function makePrefix(): string {
  const moment = Number(process.hrtime.bigint() & 0xffffffffn)
  const half = (salt: number): string => {
    const mixed = Math.imul(Math.imul(moment ^ salt, 0x9e3779b1) ^ process.pid, 0x85ebca6b)
    return (((mixed ^ (mixed >>> 15)) ^ Math.floor(Math.random() * 2 ** 32)) >>> 1).toString(36)
  }
  return half(0x5f356495) + half(0x41c6ce57)
}
