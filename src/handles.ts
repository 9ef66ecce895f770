/**
 * Handles: how a shared object travels. In a message it is an entry of the message's table of handles, which keeps the
 * object alive on the way; as a token it is a text.
 */

import type { HandleExtension } from './codec/index.js'
import { ClosedError, StateError } from './errors.js'
import { call, join, native } from './native.js'

/** Index and generation of an object's header in shared memory. */
export type Handle = readonly [index: number, generation: number]

/** What every class of shared objects has. Throws ClosedError once it is closed. */
export const handleOf: unique symbol = Symbol('polyproc.handle')

/** An object of this package that stands for something in shared memory. */
export interface Shareable {
  [handleOf](): Handle
}

/** Kinds of object, by the number that stands in their header: how a process opens one. */
const kinds = new Map<number, (handle: Handle) => object>()

/** Teaches how objects of a kind are opened. */
export function registerKind(kind: number, open: (handle: Handle) => object): void {
  kinds.set(kind, open)
}

export function isShareable(value: unknown): value is Shareable {
  return typeof value === 'object' && value !== null && handleOf in value
}

/** Opens the object of a handle, whatever its kind. */
export function open(handle: Handle): object {
  join()
  const kind = call(() => native.objectKind(handle[0], handle[1]))
  const opener = kinds.get(kind)
  if (opener === undefined) throw new StateError(`shared objects of kind ${kind} are unknown to this version of polyproc`)
  return opener(handle)
}

/** For the codec. */
export const handleExtension: HandleExtension = {
  isHandle: isShareable,
  toHandle: value => (value as Shareable)[handleOf](),
  fromHandle: entry => open(entry as Handle),
}

/** As the native part takes handles: index and generation of each in one row. */
export function flat(handles: readonly unknown[]): number[] {
  return handles.flatMap(handle => handle as number[])
}

/** As the codec takes them: pairs. */
export function pairs(row: readonly number[]): Handle[] {
  const handles: Handle[] = []
  for (let k = 0; k + 1 < row.length; k += 2) handles.push([row[k] as number, row[k + 1] as number])
  return handles
}

/**
 * A text that stands for a shared object: for `workerData`, `postMessage`, `child_process` messages, `argv`. Good in every
 * process of the family while somebody holds the object.
 *
 * @throws {@link ClosedError} when the object is closed here; `TypeError` for what is no shared object.
 * @example
 * ```ts
 * const worker = new Worker(file, { workerData: toToken(queue) })
 * // there: const queue = fromToken<Queue>(workerData)
 * ```
 */
export function toToken(object: object): string {
  if (!isShareable(object)) throw new TypeError('toToken takes a shared object of this package')
  const [index, generation] = object[handleOf]()
  return `polyproc:${call(() => native.familyNonce())}:${index}:${generation}`
}

/**
 * The object that a token stands for; this process holds it from now on.
 *
 * @throws {@link ClosedError} when the object is gone; {@link StateError} for a token of another family; `TypeError` for
 * what is no token.
 */
export function fromToken<T extends object = object>(token: string): T {
  const parts = /^polyproc:([0-9a-f]+):(\d+):(\d+)$/.exec(token)
  if (parts === null) throw new TypeError(`not a token of polyproc: ${JSON.stringify(token)}`)
  join()
  if (parts[1] !== call(() => native.familyNonce())) {
    throw new StateError('the token was made in another family of processes: their shared memory is not the same')
  }
  try {
    return open([Number(parts[2]), Number(parts[3])]) as T
  } catch (error) {
    if (error instanceof ClosedError) throw new ClosedError('the object that the token stands for is gone: nobody holds it any more')
    throw error
  }
}
