/**
 * Where the items of a map come from: an array, anything that can be iterated, now or in time.
 */

import { numbersIn } from './numbers.js'

/** Items one after the other, in parts. */
export interface Source {
  /** How many there are; undefined while that is not known. */
  readonly length: number | undefined
  /**
   * Up to `most` items, at least one unless there is none left; a promise where the next one has to be waited for.
   *
   * @throws What the iterator throws; items before that were given by an earlier call, or come with {@link InputError}.
   */
  take(most: number): ArrayLike<unknown> | Promise<unknown[]>
  /** No more is wanted: iterators are told. */
  close(): void
}

/** What an iterator threw, and what it had given before in the same part. */
export class InputError {
  constructor(readonly error: unknown, readonly before: unknown[]) {}
}

class ArraySource implements Source {
  readonly length: number
  readonly #items: readonly unknown[]
  #at = 0

  constructor(items: readonly unknown[]) {
    this.#items = items
    this.length = items.length
  }

  take(most: number): ArrayLike<unknown> {
    const end = Math.min(this.#at + most, this.length)
    const part = numbersIn(this.#items, this.#at, end) ?? this.#items.slice(this.#at, end)
    this.#at += part.length
    return part
  }

  close(): void { /* Nobody is to be told. */ }
}

class IteratorSource implements Source {
  length: number | undefined = undefined
  readonly #iterator: Iterator<unknown>
  #count = 0

  constructor(iterator: Iterator<unknown>) {
    this.#iterator = iterator
  }

  take(most: number): unknown[] {
    const part: unknown[] = []
    while (part.length < most && this.length === undefined) {
      let next: IteratorResult<unknown>
      try {
        next = this.#iterator.next()
      } catch (error) {
        this.length = this.#count + part.length
        throw new InputError(error, part)
      }
      if (next.done === true) this.length = this.#count + part.length
      else part.push(next.value)
    }
    this.#count += part.length
    return part
  }

  close(): void {
    if (this.length !== undefined) return
    this.length = this.#count
    this.#iterator.return?.()
  }
}

class AsyncSource implements Source {
  length: number | undefined = undefined
  readonly #iterator: AsyncIterator<unknown>
  #count = 0

  constructor(iterator: AsyncIterator<unknown>) {
    this.#iterator = iterator
  }

  /** One at a time: the next may be long in coming. */
  async take(): Promise<unknown[]> {
    if (this.length !== undefined) return []
    let next: IteratorResult<unknown>
    try {
      next = await this.#iterator.next()
    } catch (error) {
      this.length = this.#count
      throw new InputError(error, [])
    }
    if (next.done === true) {
      this.length = this.#count
      return []
    }
    this.#count += 1
    return [next.value]
  }

  close(): void {
    if (this.length !== undefined) return
    this.length = this.#count
    void this.#iterator.return?.().then(undefined, () => undefined)
  }
}

/** @throws TypeError for what cannot be iterated, and what its iterator throws at once. */
export function sourceOf(items: unknown): Source {
  if (Array.isArray(items)) return new ArraySource(items as unknown[])
  const iterable = items as Partial<Iterable<unknown> & AsyncIterable<unknown>> | null | undefined
  if (typeof iterable?.[Symbol.asyncIterator] === 'function') return new AsyncSource(iterable[Symbol.asyncIterator]!())
  if (typeof iterable?.[Symbol.iterator] === 'function') return new IteratorSource(iterable[Symbol.iterator]!())
  throw new TypeError('the items must be an array or another iterable')
}
