/**
 * The functions of tasks. One that nothing can change any more is put into shared memory once, and named in each task by a
 * number; a worker fetches it when it first meets the number. Any other travels with its task.
 */

import { encode } from '../codec/index.js'
import { targetOf, type ModuleTarget, type Target } from '../process.js'
import { extensionsOf } from '../shipping.js'
import { importFrom, isSelfContained, isSteady } from '../target/index.js'
import { pack, unpack, type Parcel } from './parcel.js'

type AnyFunction = (...args: never) => unknown

/** A function as it is sent: by its parcel, or with each task. */
export interface Sent {
  readonly fn: Target
  readonly parcel: Parcel | null
}

/** What workers call. */
export type Runnable = (...args: unknown[]) => unknown

/** Functions that have been sent, by what they are here. */
let sent = new WeakMap<object, Parcel>()
/** Functions of modules that were named, by name. */
const named = new Map<string, Parcel>()
const MOST_NAMED = 256

/** The function of the task before, the text of one whose text says all, and how they are sent: most tasks are like the one before. */
let lastFunction: object | null = null
let lastText = ''
let lastSent: Sent | null = null

/**
 * How the function of one task is sent.
 *
 * @throws TypeError for what is no function; {@link SerializationError} for one that cannot be sent.
 */
export function sentOnce(fn: Target): Sent {
  if (lastSent !== null && typeof fn === 'function' && !hasAny(fn) && (fn === lastFunction || lastText !== '' && toText.call(fn) === lastText)) return lastSent
  const parcel = steadyParcel(fn)
  const sent: Sent = { fn, parcel }
  if (parcel !== null && typeof fn === 'function') {
    lastFunction = fn
    const text = textOf(fn)
    lastText = texts.get(text) === parcel ? text : ''
    lastSent = sent
  }
  return sent
}

// The one way to a text, whatever a function calls its own.
// eslint-disable-next-line @typescript-eslint/unbound-method
const toText = Function.prototype.toString

/** The text of a function, empty for one that is too long to be compared again and again. */
function textOf(fn: AnyFunction): string {
  const text = toText.call(fn)
  return text.length > LONGEST_TEXT ? '' : text
}

/** Whether something was hung on a function. */
function hasAny(fn: object): boolean {
  for (const _ in fn) return true
  return false
}

/** How the function of all tasks of a call is sent: as it is now. @throws As {@link sentOnce}. */
export function sentForAll(fn: Target): Sent {
  return { fn, parcel: steadyParcel(fn) ?? packFunction(fn as AnyFunction, false) }
}

/**
 * The parcel of a function that stays as it is; null for one that has to travel with each task: it captures what may
 * change.
 *
 * @throws {@link SerializationError} for one that cannot be sent.
 */
function steadyParcel(fn: Target): Parcel | null {
  if (typeof fn !== 'function') {
    if (typeof fn !== 'object' || (fn as unknown) === null || !('module' in fn)) throw new TypeError('a task is a function or { module, export }')
    return namedParcel(fn)
  }
  const target = fn as AnyFunction
  let parcel = sent.get(target) ?? alike(target)
  if (parcel === undefined || sent.has(target) && !isSteady(target)) {
    const packed = packFunction(target, true)
    if (packed === null) return null
    parcel = packed
    sent.set(target, parcel)
    if (isSelfContained(target)) remember(target, parcel)
  }
  return parcel
}

/** Parcels of arrow functions whose text says all, by the text: a loop makes the same one again and again. */
const texts = new Map<string, Parcel>()
const MOST_TEXTS = 256
const LONGEST_TEXT = 1024

function alike(fn: AnyFunction): Parcel | undefined {
  if (texts.size === 0) return undefined
  // One that something was hung on is another.
  return Reflect.ownKeys(fn).length === 2 ? texts.get(toText.call(fn)) : undefined
}

function remember(fn: AnyFunction, parcel: Parcel): void {
  const text = textOf(fn)
  if (text === '') return
  if (texts.size >= MOST_TEXTS) texts.delete(texts.keys().next().value!)
  texts.set(text, parcel)
}

function packFunction(fn: AnyFunction, onlySteady: boolean): Parcel | null {
  const message = encode(fn, extensionsOf(), 'fn')
  try {
    // Known only once it has been described.
    return onlySteady && !isSteady(fn) ? null : pack(message)
  } finally {
    message.release()
  }
}

function namedParcel(target: ModuleTarget): Parcel {
  const name = `${String(target.module)}\n${target.export ?? ''}`
  let parcel = named.get(name)
  if (parcel === undefined) {
    const message = encode(targetOf(target), extensionsOf(), 'fn')
    try {
      parcel = pack(message)
    } finally {
      message.release()
    }
    // The oldest goes: tasks that name it have it in their own record.
    if (named.size >= MOST_NAMED) named.delete(named.keys().next().value!)
    named.set(name, parcel)
  }
  return parcel
}

/** Gives back the memory of all functions that were sent: no pool is left in this thread. */
export function forgetFunctions(): void {
  sent = new WeakMap()
  named.clear()
  texts.clear()
  lastFunction = lastSent = null
  lastText = ''
}

/** What a worker has fetched, the oldest first. */
const fetched = new Map<number, Runnable>()
const MOST_FETCHED = 1024

/** The function of a number; a promise where it has to load modules. */
export function fetchFunction(key: number): Runnable | Promise<Runnable> {
  const known = fetched.get(key)
  if (known !== undefined) return known
  const keep = (fn: Runnable): Runnable => {
    if (fetched.size >= MOST_FETCHED) fetched.delete(fetched.keys().next().value!)
    fetched.set(key, fn)
    return fn
  }
  const value = unpack(key)
  if (value instanceof Promise) return value.then(read => callable(read)).then(keep)
  const fn = callable(value)
  return fn instanceof Promise ? fn.then(keep) : keep(fn)
}

/** What a task says is to be called: a function, or a module and one of its exports. */
export function callable(value: unknown): Runnable | Promise<Runnable> {
  return typeof value === 'function' ? value as Runnable : load(value as ModuleTarget)
}

async function load({ module, export: name = 'default' }: ModuleTarget): Promise<Runnable> {
  const namespace = await importFrom(import.meta.filename)(String(module)) as Record<string, unknown>
  let found: unknown = namespace
  for (const part of name.split('.')) found = (found as Record<string, unknown> | null | undefined)?.[part]
  if (typeof found !== 'function') throw new TypeError(`${String(module)} does not export a function ${name}`)
  return found as Runnable
}
