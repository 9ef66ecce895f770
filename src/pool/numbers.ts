/**
 * Arrays of numbers travel as their bytes: a chunk of them is one copy instead of a value each.
 */

/** From so many on. */
const LEAST = 8

/** The items from one place to before another as numbers; null where they are few, or something else is among them. */
export function numbersIn(items: readonly unknown[], from: number, to: number): Float64Array | null {
  const length = to - from
  if (length < LEAST || typeof items[from] !== 'number') return null
  const numbers = new Float64Array(length)
  for (let k = 0; k < length; k += 1) {
    const item = items[from + k]
    if (typeof item !== 'number') return null
    numbers[k] = item
  }
  return numbers
}

/** The numbers of an array as a Float64Array, if it holds nothing else; the array itself if it does. */
export function encodeNumbers(items: ArrayLike<unknown>): ArrayLike<unknown> {
  return Array.isArray(items) ? numbersIn(items, 0, items.length) ?? items : items
}

/** One array of all the values, in their order. */
export function join(parts: readonly ArrayLike<unknown>[]): unknown[] {
  const length = parts.reduce((sum, part) => sum + part.length, 0)
  // The first part is often one item, which tells how long one takes.
  const all: unknown[] = parts.some(part => part instanceof Float64Array) ? roomForNumbers(length) : []
  let at = 0
  for (const part of parts) {
    // The last parts of numbers are often so few that they came as they are.
    if (part instanceof Float64Array) fill(all, at, part)
    else for (let k = 0; k < part.length; k += 1) all[at + k] = part[k]
    at += part.length
  }
  return all
}

/** An array of fractions has its numbers in itself: it neither grows nor changes its kind while it is filled. */
function roomForNumbers(length: number): number[] {
  const all = [0.5]
  all.length = length
  return all
}

/** On its own: it sees these kinds of arrays, and no other. */
function fill(all: unknown[], at: number, numbers: Float64Array): void {
  for (let k = 0; k < numbers.length; k += 1) all[at + k] = numbers[k]
}
