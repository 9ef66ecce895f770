/**
 * Arrays of numbers travel as their bytes: a chunk of them is one copy instead of a value each.
 */

/** From so many on. */
const LEAST = 8

/** The numbers of an array as a Float64Array, if it holds nothing else; the array itself if it does. */
export function encodeNumbers(items: readonly unknown[]): readonly unknown[] | Float64Array {
  const { length } = items
  if (length < LEAST || typeof items[0] !== 'number') return items
  const numbers = new Float64Array(length)
  for (let k = 0; k < length; k += 1) {
    const item = items[k]
    if (typeof item !== 'number') return items
    numbers[k] = item
  }
  return numbers
}
