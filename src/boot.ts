/**
 * The boot message: what a child is to be and to run. Who it is travels as JSON, for many small parts cost more the codec's
 * way; what it runs as a message, which is kept for the next start where nothing in it can change.
 */

import { addEntries, entryUrls, isSteady } from './target/index.js'
import { currentRecord, setCurrent, settings, type ParentInfo } from './children.js'
import { flat } from './handles.js'
import { surrender } from './memory.js'
import { send, type Received } from './message.js'
import { call, native } from './native.js'
import type { Process, Target } from './process.js'

type Program = Parameters<typeof native.processStart>[0]
type Started = ReturnType<typeof native.processStart>

/** What a child is told of itself. */
interface Said {
  name: string
  daemon: boolean
  /** In base64. */
  authKey: string
  parent: ParentInfo
  entries: string[]
  argv: string[]
}

/** What a child is to run. */
export interface Boot {
  /** The class of the process object, for a subclass of Process. */
  type: (new () => Process) | null
  /** Own properties of the process object. */
  fields: Record<string, unknown>
  target: Target | null
  args: readonly unknown[]
}

/** A message as it was sent for a function that is the same at every start. */
interface Kept { readonly kind: number; readonly bytes: Buffer }
const kept = new WeakMap<object, Kept>()

const none: readonly never[] = []

/** Whether nothing but the function itself is sent. */
const isBare = ({ type, fields, args }: Boot): boolean => type === null && args.length === 0 && Object.keys(fields).length === 0

function said(name: string, daemon: boolean, authKey: Uint8Array, parent: ParentInfo): Said {
  return { name, daemon, authKey: Buffer.from(authKey).toString('base64'), parent, entries: entryUrls(), argv: process.argv.slice(1) }
}

/**
 * Starts a child.
 *
 * @throws {@link SerializationError} for a target, argument or field that cannot be sent.
 */
export function launch(program: Program, name: string, daemon: boolean, authKey: Uint8Array, parent: ParentInfo, boot: Boot): Started {
  const text = JSON.stringify(said(name, daemon, authKey, parent))
  const { target } = boot
  const fn = typeof target === 'function' && isBare(boot) ? target : null
  if (fn !== null) {
    const known = kept.get(fn)
    if (known !== undefined && isSteady(fn)) return call(() => native.processStart(program, text, known.kind, known.bytes, none as never[], none as never[]))
  }
  return send(boot, '', ({ kind, bytes, length, blobs, handles, pieces }) => {
    const message = bytes.subarray(0, length)
    const started = call(() => native.processStart(program, text, kind, message, [...blobs], flat(handles)))
    surrender(pieces)
    if (fn !== null && blobs.length === 0 && handles.length === 0 && isSteady(fn)) kept.set(fn, { kind, bytes: Buffer.from(message) })
    return started
  })
}

/** What is said of children that are started natively, each with a number at the end of its name, and the message for them. */
export interface Template { before: string; after: string; kind: number; message: Buffer; blobs: Uint8Array[]; handles: number[] }

const NUMBER = '\u0000'

/**
 * What children are to find that are started natively, all the same; their names are `name` and a number.
 *
 * @throws {@link SerializationError} for a target or argument that cannot be sent.
 */
export function template(name: string, daemon: boolean, boot: Boot): Template {
  const { authKey } = settings()
  const text = JSON.stringify(said(`${name}${NUMBER}`, daemon, authKey, { key: call(() => native.processKey()), pid: process.pid, name: currentRecord().name }))
  const [before, after] = text.split(JSON.stringify(NUMBER).slice(1, -1)) as [string, string]
  return send(boot, '', ({ kind, bytes, length, blobs, handles }) => ({
    before, after, kind, message: Buffer.from(bytes.subarray(0, length)), blobs: blobs.map(blob => new Uint8Array(blob)), handles: flat(handles),
  }))
}

/** In a child: learns who it is from what its parent left, and gives the message that says what to run; null when nothing was left. */
export function receiveBoot(): Received | null {
  const received = call(() => native.processBoot())
  if (received === null || received === undefined) return null
  const bytes = Buffer.from(received.bytes)
  const length = bytes.readUInt32LE(0)
  const { argv, entries, authKey, ...who } = JSON.parse(bytes.toString('utf8', 4, 4 + length)) as Said
  setCurrent({ ...who, authKey: Uint8Array.from(Buffer.from(authKey, 'base64')) })
  addEntries(entries)
  process.argv.splice(1, Infinity, ...argv)
  return { ...received, kind: bytes[4 + length] ?? 0, bytes: received.bytes.slice(5 + length) }
}
