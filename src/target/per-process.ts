/**
 * `perProcess`: a value of which every process has its own. What travels is not the value but who it is and how to
 * make it, so that every shipment of the same function finds the same value where it arrives.
 */

import { nextId } from './ids.js'

interface Maker { readonly id: string, create: (() => unknown) | undefined }

const makers = new WeakMap<object, Maker>()
const byId = new Map<string, () => unknown>()

/**
 * A value of which every process and worker thread has its own, made there when it is first asked for: connections,
 * caches, models. Capture the returned function in tasks.
 *
 * @param create Makes the value; runs once in each process that asks. If it throws, so does the call, and the next call tries again.
 * @returns A function that gives this process's value. What it is keyed by is this function's identity, whatever shipment brought it.
 * @example
 * ```ts
 * const db = perProcess(() => connect(url))
 * await pool.map(id => db().load(id), ids)
 * ```
 */
export function perProcess<T>(create: () => T): () => T {
  if (typeof create !== 'function') throw new TypeError('perProcess takes a function that makes the value')
  return make({ id: nextId(), create }) as () => T
}

function make(maker: Maker): () => unknown {
  let value: unknown
  let isMade = false
  const get = (): unknown => {
    if (!isMade) {
      if (maker.create === undefined) throw new TypeError('the value has not arrived completely')
      value = maker.create()
      isMade = true
      // What it captured need not be kept for longer than it is of use; another process may still have to be told.
    }
    return value
  }
  makers.set(get, maker)
  byId.set(maker.id, get)
  return get
}

/** Who a function made by `perProcess` is; undefined for any other. */
export function makerOf(fn: object): Maker | undefined {
  return makers.get(fn)
}

/** This process's function for an id that arrived, and whether it still has to be told how to make its value. */
export function arrived(id: string): { get: () => unknown, isNew: boolean } {
  const known = byId.get(id)
  if (known !== undefined) return { get: known, isNew: makers.get(known)?.create === undefined }
  return { get: make({ id, create: undefined }), isNew: true }
}
