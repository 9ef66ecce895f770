/** Names for functions and texts that no other process or thread gives: a random part, and a count. */

let prefix: string | undefined
let count = 0

export function nextId(): string {
  // Loaded when it is needed: a child that sends no function starts sooner without.
  prefix ??= process.getBuiltinModule('node:crypto').randomBytes(9).toString('base64url')
  count += 1
  return `${prefix}.${count.toString(36)}`
}
