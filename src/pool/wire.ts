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

/** Writes a tail behind an encoded value; returns the length of both. */
export function writeTaskTail(message: Message, ticket: number, fn: number, lane: number, shape: number): number {
  const at = message.extend(TASK_TAIL)
  const { bytes } = message
  bytes.writeDoubleLE(ticket, at)
  bytes.writeDoubleLE(fn, at + 8)
  bytes.writeUInt32LE(lane, at + 16)
  bytes.writeUInt32LE(shape, at + 20)
  return at + TASK_TAIL
}

/** What stands before the tail of items. */
export function writeNoteTail(message: Message, sheet: number, cell: number): void {
  const at = message.extend(NOTE_TAIL)
  message.bytes.writeDoubleLE(sheet, at)
  message.bytes.writeUInt32LE(cell, at + 8)
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
export function readTaskTail(bytes: Buffer, end: number, to: TaskTail): number {
  const at = end - TASK_TAIL
  to.ticket = bytes.readDoubleLE(at)
  to.fn = bytes.readDoubleLE(at + 8)
  to.lane = bytes.readUInt32LE(at + 16)
  to.work = bytes[at + 20] as Work
  to.flags = bytes[at + 21]!
  to.depth = bytes[at + 22]!
  if (!isMany(to.work)) return at
  to.sheet = bytes.readDoubleLE(at - NOTE_TAIL)
  to.cell = bytes.readUInt32LE(at - NOTE_TAIL + 8)
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
  const { bytes } = message
  bytes.writeDoubleLE(ticket, at)
  bytes.writeDoubleLE(began, at + 8)
  bytes.writeFloatLE(run, at + 16)
  bytes.writeUInt32LE(status + slot * 2 ** 8, at + 20)
  return at + OUTCOME_TAIL
}

/** Reads the tail of the outcome that ends at `end`. */
export function readOutcomeTail(bytes: Buffer, end: number, to: OutcomeTail): void {
  const at = end - OUTCOME_TAIL
  to.ticket = bytes.readDoubleLE(at)
  to.began = bytes.readDoubleLE(at + 8)
  to.run = bytes.readFloatLE(at + 16)
  const last = bytes.readUInt32LE(at + 20)
  to.status = (last & 0xff) as Status
  to.slot = last >>> 8
}

/** Milliseconds of the machine's monotonic clock, which all processes share; `performance.now()` counts from the start of each. */
const offset = Number(process.hrtime.bigint()) / 1e6 - performance.now()
export const clock = (): number => performance.now() + offset
