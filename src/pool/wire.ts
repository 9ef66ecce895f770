/**
 * What travels between those who submit and those who work: a value as the codec writes it, and behind it a fixed number of
 * bytes that can be read without the value. So a worker can say on the board whose task it has before it reads what the
 * program sent, and whatever goes wrong in reading is charged to that task.
 */

import type { Message } from '../codec/index.js'

/** Bytes behind the value of a task. */
export const TASK_TAIL = 24
/** Bytes before those, of items. */
const NOTE_TAIL = 12
/** Bytes behind the value of an outcome. */
export const OUTCOME_TAIL = 24

/** What the value of a task is. */
export const Work = {
  /** A list of arguments. */
  Args: 0,
  /** The one argument. */
  One: 1,
  /** Nothing: there are no arguments. */
  None: 2,
  /** Items, each the one argument of a call. */
  Items: 3,
  /** Lists of arguments, one for each call. */
  Lists: 4,
  /** Where the items lie in shared memory, and where the results go: see typed.ts. */
  Range: 5,
  /** Nothing to do but to look at the queues of all priorities. */
  Nudge: 6,
} as const
export type Work = (typeof Work)[keyof typeof Work]

/** How the value of a task is wrapped, and what is wanted. */
export const Flag = {
  /** The value is `[function, value]`. */
  Inline: 1,
  /** Around that: `[context, value]`. */
  Context: 2,
  /** Of items: go on after one that failed. */
  Settled: 4,
  /** Whoever submitted it is told when it is begun. */
  Announced: 8,
} as const

/** The tail of a task, as read. One object a worker, written over by the next. */
export interface TaskTail {
  ticket: number
  /** The parcel of its function; 0: it is in the value. */
  fn: number
  lane: number
  work: Work
  flags: number
  /** Of how many tasks of this pool it is a subtask, one in the other. */
  depth: number
  /** Of items: the parcel-like piece of memory and the word in it where the worker notes which item it is at; see notes.ts. */
  sheet: number
  cell: number
}

/** What the pool's shared words tell: bit n of the first that level n has been used; how many announcements lie in queue 0. */
export const Words = { Used: 0, Announcements: 1 } as const

/** Writes a tail behind an encoded value; returns the length of both. */
export function writeTaskTail(message: Message, ticket: number, fn: number, lane: number, shape: number): number {
  const at = message.extend(TASK_TAIL)
  const { view } = message
  view.setFloat64(at, ticket, true)
  view.setFloat64(at + 8, fn, true)
  view.setUint32(at + 16, lane, true)
  view.setUint32(at + 20, shape, true)
  return at + TASK_TAIL
}

/** What stands before the tail of items. */
export function writeNoteTail(message: Message, sheet: number, cell: number): void {
  const at = message.extend(NOTE_TAIL)
  message.view.setFloat64(at, sheet, true)
  message.view.setUint32(at + 8, cell, true)
}

/** Work, flags and depth as one number. */
export function shapeOf(work: Work, flags: number, depth: number): number {
  return work | flags << 8 | depth << 16
}

/** Whether items come with a place for notes. */
export function isMany(work: Work): boolean {
  return work >= Work.Items && work <= Work.Range
}

/** Reads the tail of the message that ends at `end`; returns where the value ends. */
export function readTaskTail(view: DataView, end: number, to: TaskTail): number {
  const at = end - TASK_TAIL
  to.ticket = view.getFloat64(at, true)
  to.fn = view.getFloat64(at + 8, true)
  to.lane = view.getUint32(at + 16, true)
  const shape = view.getUint32(at + 20, true)
  to.work = (shape & 0xff) as Work
  to.flags = shape >>> 8 & 0xff
  to.depth = shape >>> 16 & 0xff
  if (!isMany(to.work)) return at
  to.sheet = view.getFloat64(at - NOTE_TAIL, true)
  to.cell = view.getUint32(at - NOTE_TAIL + 8, true)
  return at - NOTE_TAIL
}

/** What became of a task. */
export const Status = {
  /** The value is the result; of items: the results, as an array or a Float64Array. */
  Done: 0,
  /** The value is what it threw. */
  Failed: 1,
  /** Of items: `{ values, errors }`, errors as pairs of place and error; without {@link Flag.Settled} those up to the first. */
  Partly: 2,
  /** It ran in a worker that ended, and may not run again; `run` is the number of times that it was tried. */
  Lost: 3,
  /** No outcome: news of a worker for whoever supervises, see worker.ts. */
  News: 4,
  /** No outcome: it has been begun, which {@link Flag.Announced} asked to be told. */
  Begun: 5,
} as const
export type Status = (typeof Status)[keyof typeof Status]

/** The tail of an outcome, as read. */
export interface OutcomeTail {
  ticket: number
  /** When it began, in ms of the machine's clock. */
  began: number
  /** How long it ran, in ms. */
  run: number
  status: Status
  /** The worker's place on the board. */
  slot: number
}

/** Writes a tail behind an encoded outcome; returns the length of both. */
export function writeOutcomeTail(message: Message, ticket: number, began: number, run: number, status: Status, slot: number): number {
  const at = message.extend(OUTCOME_TAIL)
  const { view } = message
  view.setFloat64(at, ticket, true)
  view.setFloat64(at + 8, began, true)
  view.setFloat32(at + 16, run, true)
  view.setUint32(at + 20, status + slot * 2 ** 8, true)
  return at + OUTCOME_TAIL
}

/** Reads the tail of the outcome that ends at `end`. */
export function readOutcomeTail(view: DataView, end: number, to: OutcomeTail): void {
  const at = end - OUTCOME_TAIL
  to.ticket = view.getFloat64(at, true)
  to.began = view.getFloat64(at + 8, true)
  to.run = view.getFloat32(at + 16, true)
  const last = view.getUint32(at + 20, true)
  to.status = (last & 0xff) as Status
  to.slot = last >>> 8
}

/** Milliseconds of the machine's monotonic clock, which all processes share; `performance.now()` counts from the start of each. */
export const clock = (): number => performance.now() + (offset ??= Number(process.hrtime.bigint()) / 1e6 - performance.now())
/** Found when it is first asked for: what loads `performance` is a tenth of what a child needs beyond Node itself. */
let offset: number | undefined
