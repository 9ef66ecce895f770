/**
 * The native part, and the family that this process belongs to: found or founded when the package is imported, before
 * anything is mapped, so that whoever is started from now on shares it.
 */

import { createRequire } from 'node:module'
import type * as Native from '../index.js'
import { fromNative, StateError } from './errors.js'
import { encodeNoMore, onScratch } from './codec/index.js'

function loadNative(): typeof Native {
  const load = createRequire(import.meta.filename)
  try {
    // Where it stands in the package. The generated loader would first read files to learn what machine this is.
    return load(`../polyproc.${process.platform}-${process.arch}-gnu.node`) as typeof Native
  } catch {
    return load('../index.js') as typeof Native
  }
}

/** The native part, as index.d.ts says. */
export const native = loadNative()

const raw = native.bareCalls(Buffer.allocUnsafeSlow(40))
/** What the native part reads and writes: numbers for a call, then its result. */
const cells = new Int32Array(raw.cells.buffer, raw.cells.byteOffset, 8)
const doubles = new Float64Array(raw.cells.buffer, raw.cells.byteOffset, 5)

const TWO_32 = 2 ** 32
const whole = (): number => cells[4] as number
const [queuePut, queuePutNumber, queueGet, lockTry, lockGlance, lockReleaseTurn, rlockTry, semaphoreTry, semaphoreRelease, semaphoreValue, eventIsSet] = [
  raw['queuePut']!, raw['queuePutNumber']!, raw['queueGet']!, raw['lockTry']!, raw['lockGlance']!, raw['lockReleaseTurn']!, raw['rlockTry']!,
  raw['semaphoreTry']!, raw['semaphoreRelease']!, raw['semaphoreValue']!, raw['eventIsSet']!,
]
const lockLookAfter = raw['lockLookAfter']!
const [eventSet, eventClear, conditionWait, conditionNotify, barrierMeet] = [
  raw['eventSet']!, raw['eventClear']!, raw['conditionWait']!, raw['conditionNotify']!, raw['barrierMeet']!,
]
const [queueGlance, waitBegin, waitEnd, waitCalled] = [raw['queueGlance']!, raw['waitBegin']!, raw['waitEnd']!, raw['waitCalled']!]
const [queuePutMany, queueGetMany, joinableTake, joinableDone] = [raw['queuePutMany']!, raw['queueGetMany']!, raw['joinableTake']!, raw['joinableDone']!]
const [boardSubmit, boardClaim, boardSettle, boardStop, boardStopAsked, boardLost, boardRelease, boardState, boardSetState] = [
  raw['boardSubmit']!, raw['boardClaim']!, raw['boardSettle']!, raw['boardStop']!, raw['boardStopAsked']!, raw['boardLost']!,
  raw['boardRelease']!, raw['boardState']!, raw['boardSetState']!,
]
const [boardLimit, boardWant] = [raw['boardLimit']!, raw['boardWant']!]

/** Calls about one task: a board, a lane, a ticket of up to 53 bits. */
const ofTask = (call: () => void) => (id: number, lane: number, ticket: number): number => {
  cells[0] = id
  cells[1] = lane
  doubles[4] = ticket
  call()
  return cells[4] as number
}

/** Calls without the cost of the generated ones, nor of arguments and results: numbers cross through the cells. */
export const bare = {
  /** For comparison. */
  nothing: raw['nothing']!,
  /** Puts the message in the first `length` bytes of a sending area: 0 done, 1 full, 2 shut down. */
  queuePut(id: number, kind: number, area: number, length: number): number {
    cells[0] = id
    cells[1] = kind
    cells[2] = area
    cells[3] = length
    queuePut()
    return whole()
  },
  /** The same for a number, which needs no area. */
  queuePutNumber(id: number, value: number): number {
    cells[0] = id
    doubles[4] = value
    queuePutNumber()
    return whole()
  },
  /**
   * A small message is copied to a receiving area: its kind, see {@link gotLength}. Else -1 nothing, -2 ended, -3 fetch it by `receive`,
   * -4 a number, see {@link gotNumber}.
   */
  queueGet(id: number, area: number): number {
    cells[0] = id
    cells[1] = area
    queueGet()
    return whole()
  },
  /** Bytes of the message that was taken in the call before. */
  gotLength: (): number => cells[0]! >>> 0,
  /** The number that was taken in the call before. */
  gotNumber: (): number => doubles[3] as number,
  /**
   * 1 when there is something to get within some microseconds, 0 when not. Where such a look has not paid lately others may have the
   * core instead: -1 when nothing is there then.
   */
  queueGlance(id: number): number {
    cells[0] = id
    queueGlance()
    return whole()
  },
  /**
   * Begins to wait in the event loop; returns the number of the wait. The caller must look once more, but where the wait is for a
   * message and {@link isMore} says false: none was there after it stood in the list.
   */
  waitBegin(what: number, id: number): number {
    cells[0] = what
    doubles[4] = id
    waitBegin()
    return doubles[3] as number
  },
  /** What `waitBegin` and `waitCalled` say besides, right after them. */
  isMore: (): boolean => cells[4] === 1,
  /** Ends a wait. If it was called and nobody has looked since, the next one in the list is called instead. */
  waitEnd(what: number, id: number, wait: number): void {
    cells[0] = what
    cells[1] = wait
    cells[2] = wait / TWO_32
    doubles[4] = id
    waitEnd()
  },
  /** Says whether a wait rests: then the listener is called before the event loop sleeps. */
  rests(is: boolean): void {
    cells[5] = is ? 1 : 0
  },
  /**
   * The next of the waits that were called and must look now, -1 for none; {@link isMore} tells of others. `first` asks who was
   * called since.
   */
  waitCalled(first: boolean): number {
    cells[0] = first ? 1 : 0
    waitCalled()
    return doubles[3] as number
  },
  /**
   * Puts the messages that stand in a sending area from `start` to `end`, each behind its length and kind: how many there was room
   * for, or, when that is none, 0 full, -1 shut down. A failure throws when it is the first that fails.
   */
  queuePutMany(id: number, area: number, start: number, end: number): number {
    cells[0] = id
    cells[1] = area
    cells[2] = start
    cells[3] = end
    queuePutMany()
    return whole()
  },
  /**
   * Up to `max` messages are copied to a receiving area, each behind its length and kind and, in a joinable queue, ticket and
   * place of its slot as doubles: how many they are, and 2^32 more when another is to be fetched by `receive`. Else -1
   * nothing, -2 ended.
   */
  queueGetMany(id: number, area: number, max: number): number {
    cells[0] = id
    cells[1] = area
    cells[2] = max
    queueGetMany()
    return doubles[3] as number
  },
  /**
   * As queueGet, of a joinable queue: the item is in this thread's hand, see {@link takenTicket} and {@link takenSlot}; `receives`: it may
   * be given back.
   */
  joinableTake(id: number, area: number, receives: boolean): number {
    cells[0] = id
    cells[1] = area
    cells[2] = receives ? 1 : 0
    joinableTake()
    return whole()
  },
  /** The ticket of the item that was taken in the call before. */
  takenTicket: (): number => doubles[4] as number,
  /** The place of its slot. */
  takenSlot: (): number => (cells[1]! >>> 0) + (cells[2]! >>> 0) * TWO_32,
  /** Marks an item in hand done: 1, or 0 when it is in the hand of somebody else. */
  joinableDone(id: number, ticket: number, slot: number): number {
    cells[0] = id
    cells[1] = slot
    cells[2] = slot / TWO_32
    doubles[4] = ticket
    joinableDone()
    return whole()
  },
  /** The acquisition, or -1. */
  lockTry(id: number): number {
    cells[0] = id
    lockTry()
    return whole()
  },
  /** The acquisition if that is possible within some microseconds, or -1. */
  lockGlance(id: number): number {
    cells[0] = id
    lockGlance()
    return whole()
  },
  /** Releases the acquisition of that turn, if it is still held. */
  lockReleaseTurn(id: number, turn: number): void {
    cells[0] = id
    cells[1] = turn
    lockReleaseTurn()
  },
  /** Wakes one who waits for a lock that was released without a call. */
  lockLookAfter(id: number): void {
    cells[0] = id
    lockLookAfter()
  },
  /** The acquisition, or -1. */
  rlockTry(id: number, context: number): number {
    cells[0] = id
    cells[1] = context
    rlockTry()
    return whole()
  },
  /** 0, or -1 where there is no permit. */
  semaphoreTry(id: number): number {
    cells[0] = id
    semaphoreTry()
    return whole()
  },
  /** Gives a permit back; with `own` 1 only one that this thread has, where the semaphore keeps books. */
  semaphoreRelease(id: number, own: number): void {
    cells[0] = id
    cells[1] = own
    semaphoreRelease()
  },
  /** The permits that nobody has taken. */
  semaphoreValue(id: number): number {
    cells[0] = id
    semaphoreValue()
    return whole()
  },
  /** 1 or 0. */
  eventIsSet(id: number): number {
    cells[0] = id
    eventIsSet()
    return whole()
  },
  /** Sets an event, and calls those who wait. */
  eventSet(id: number): void {
    cells[0] = id
    eventSet()
  },
  /** Clears an event. */
  eventClear(id: number): void {
    cells[0] = id
    eventClear()
  },
  /** Waits, blocking, for at most `timeout` ms (negative: for ever), and holds the lock again: 0 notified, 1 late, 2 cut short. */
  conditionWait(id: number, context: number, timeout: number, interruptible: boolean): number {
    cells[0] = id
    cells[1] = context
    cells[2] = interruptible ? 1 : 0
    doubles[4] = timeout
    conditionWait()
    return whole()
  },
  /** Notifies up to `most`, less than 2^32, of those who wait. */
  conditionNotify(id: number, context: number, most: number): void {
    cells[0] = id
    cells[1] = context
    cells[2] = most
    conditionNotify()
  },
  /**
   * Arrives and blocks until the round is over, which is broken after `timeout` ms (negative: never): the place, or -1 broken,
   * -2 cut short, -3 the round before is not over, -4 the action is to be run, see {@link metRound} and {@link metPlace}.
   */
  barrierMeet(id: number, timeout: number, interruptible: boolean): number {
    cells[0] = id
    cells[1] = interruptible ? 1 : 0
    doubles[4] = timeout
    barrierMeet()
    return whole()
  },
  /** The round of which the action is to be run. */
  metRound: (): number => cells[0]! >>> 0,
  /** The place of the one who runs it. */
  metPlace: (): number => cells[1] as number,
  /** The ticket of a new task that may be begun `attempts` times. */
  boardSubmit(id: number, lane: number, attempts: number): number {
    cells[0] = id
    cells[1] = lane
    cells[2] = attempts
    boardSubmit()
    return doubles[3] as number
  },
  /** n > 0: run it, as attempt n; 0: drop it; -n: it is lost after n attempts. */
  boardClaim(id: number, lane: number, ticket: number, worker: number): number {
    cells[0] = id
    cells[1] = lane
    cells[2] = worker
    doubles[4] = ticket
    boardClaim()
    return whole()
  },
  /** 1, or 0 when the task is not the worker's any more. */
  boardSettle(id: number, lane: number, ticket: number, worker: number): number {
    cells[0] = id
    cells[1] = lane
    cells[2] = worker
    doubles[4] = ticket
    boardSettle()
    return whole()
  },
  /** -1 it will not run, -2 it was over, else the worker that was asked to stop. */
  boardStop: ofTask(boardStop),
  /** The task is to be over in `ms` milliseconds, 0 to 2^32 - 1. */
  boardLimit(id: number, lane: number, ticket: number, ms: number): void {
    cells[0] = id
    cells[1] = lane
    cells[2] = ms
    doubles[4] = ticket
    boardLimit()
  },
  /** More workers are wanted. */
  boardWant(id: number): void {
    cells[0] = id
    boardWant()
  },
  /** 1 when the worker is to stop. */
  boardStopAsked: ofTask(boardStopAsked),
  /** After how many attempts it is lost; 0 when it is not. */
  boardLost: ofTask(boardLost),
  /** 1, or 0 when it was free. */
  boardRelease(id: number, lane: number, ticket: number): number {
    cells[0] = id
    cells[1] = lane
    doubles[4] = ticket
    boardRelease()
    return whole()
  },
  /** What a worker says of itself, -1 when there is no such worker. */
  boardState(id: number, worker: number): number {
    cells[0] = id
    cells[1] = worker
    boardState()
    return doubles[3] as number
  },
  /** 1, or 0 when there is no such worker. */
  boardSetState(id: number, worker: number, state: number): number {
    cells[0] = id
    cells[1] = worker
    cells[2] = state
    boardSetState()
    return whole()
  },
}

/** False in a worker thread. */
export const isMainThread: boolean = native.isMainThread()

/** In a child of ours: generation and slot of the place that its parent reserved. Never inherited further. */
const PLACE = 'POLYPROC_PLACE'

/** The place that the parent reserved for this process, null in a process that the user started. */
export const place = takePlace()

function takePlace(): { slot: number; generation: number; code: number } | null {
  const value = process.env[PLACE]
  if (value === undefined) return null
  if (isMainThread) delete process.env[PLACE]
  const [slot, generation, code = -1] = value.split(':').map(Number)
  return slot === undefined || generation === undefined ? null : { slot, generation, code }
}

interface Variable { name: string; value: string; founded: boolean }
/** The name of the variable that leads descendants to the family's memory, and its value. */
let variable: Variable | null = null

function adopt(found: Variable | null): void {
  if (found === null) return
  variable = found
  process.env[found.name] = found.value
}

const VARIABLE = 'POLYPROC_ARENA_V1'
const named = process.env['POLYPROC_ARENA']
adopt(native.findFamily(process.env[VARIABLE] ?? null, place === null ? named ?? null : null) ?? null)
if (place !== null) native.joinAs(place.generation, place.slot, place.code)
configureFromEnvironment()
if (isMainThread) process.on('exit', () => { native.threadsEnd() })

function configureFromEnvironment(): void {
  const number = (name: string): number | null => {
    const text = process.env[name]
    if (text === undefined || text === '') return null
    const value = Number(text)
    if (!Number.isSafeInteger(value) || value <= 0) throw new RangeError(`${name} must be a whole number above 0, not ${text}`)
    return value
  }
  const [bytes, processes, members] = [number('POLYPROC_MAX_BYTES'), number('POLYPROC_MAX_PROCESSES'), number('POLYPROC_MAX_MEMBERS')]
  if (bytes === null && processes === null && members === null) return
  try {
    native.configureFamily(null, bytes, processes, members)
  } catch (error) {
    // Loaded a second time in this process (a worker thread): the first has settled it.
    if ((error as { code?: unknown }).code !== 'ERR_POLYPROC_STATE') throw error
  }
}

/** Options of {@link configure}. */
export interface Configuration {
  /** Name of the arena that unrelated processes of this user share. Environment: `POLYPROC_ARENA`. */
  arena?: string | undefined
  /** Limit on shared memory in bytes; default half of what the machine or the cgroup has. Environment: `POLYPROC_MAX_BYTES`. */
  maxBytes?: number | undefined
  /** Limit on processes in the family, at most 512. Environment: `POLYPROC_MAX_PROCESSES`. */
  maxProcesses?: number | undefined
  /** Limit on threads in the family, each process's native one included, at most 4096. Environment: `POLYPROC_MAX_MEMBERS`. */
  maxMembers?: number | undefined
}

/**
 * Sets limits of the shared memory, or its name, before the first shared object is made.
 *
 * @throws {@link StateError} later than that, or when the family has settled another value. `RangeError` for a number that is
 * not whole, not above 0, or above the most that is possible.
 * @example
 * ```ts
 * configure({ maxBytes: 512 * 1024 * 1024 })
 * ```
 */
export function configure(options: Configuration): void {
  const whole = (name: string, value: number | undefined, most: number): number | null => {
    if (value === undefined) return null
    if (!Number.isSafeInteger(value) || value <= 0 || value > most) {
      throw new RangeError(`${name} must be a whole number from 1 to ${most}, not ${value}`)
    }
    return value
  }
  const bytes = whole('maxBytes', options.maxBytes, 64 * 1024 ** 3)
  const processes = whole('maxProcesses', options.maxProcesses, 512)
  const members = whole('maxMembers', options.maxMembers, 4096)
  adopt(call(() => native.configureFamily(options.arena ?? null, bytes, processes, members)) ?? null)
}

/** Figures of the shared memory: what OutOfMemoryError is about. Sizes in bytes. */
export function memoryUsage(): { maxBytes: number; usedBytes: number; objects: number; processes: number; members: number } {
  join()
  return call(() => native.familyMemory())
}

/**
 * Names mean nothing in a cluster worker whose primary is not of the family: every worker would have an object of its own.
 *
 * @throws {@link StateError} there.
 */
export function allowNames(): void {
  if (variable?.founded !== true || named !== undefined) return
  const { isWorker } = createRequire(import.meta.filename)('node:cluster') as { isWorker: boolean }
  if (isWorker) {
    throw new StateError('the primary of this cluster has not imported polyproc, so its workers share no memory and a name would '
      + "be a different object in each: add import 'polyproc' to the primary, before it forks")
  }
}

/** Calls into the native part; its failures become errors of this package. */
export function call<T>(fn: () => T): T {
  try {
    return fn()
  } catch (error) {
    throw fromNative(error)
  }
}

let joined = false

/** Joins the family, once, before the first use of shared memory. */
export function join(): void {
  if (joined) return
  takeOver()
  call(() => {
    if (!isMainThread) {
      native.setWorker()
      native.setPulse(() => undefined)
    }
    native.scratch(true, 0, receiving(0))
    onScratch((index, bytes) => { native.scratch(false, index, bytes) })
  })
  joined = true
}

/**
 * Of the copies of this module in a thread (a test runner loads one for each file of tests) one has the areas and the event
 * loop: the one that was first used last. What the others are asked for fails.
 */
const copies = raw as { leave?: () => void }
const leaving: (() => void)[] = []
let isLeft = false

/** What is done here once another copy of the package is used in this thread. */
export function onLeaving(leave: () => void): void {
  leaving.push(leave)
}

function refuse(): never {
  throw new StateError('another copy of polyproc has been loaded in this thread since, and is the one to be used')
}

function takeOver(): void {
  try {
    copies.leave?.()
  } catch {
    // What it was loaded in may be gone.
  }
  copies.leave = () => {
    isLeft = true
    for (const leave of leaving) leave()
    areas.length = 0
    encodeNoMore(refuse)
    bare.waitBegin = bare.queueGet = bare.queuePutNumber = refuse
  }
}

const RECEIVING_BYTES = 64 * 1024
const areas: Buffer[] = []

/** The area into which messages are copied that are received at that depth of nesting. */
export function receiving(depth: number): Buffer {
  let area = areas[depth]
  if (area === undefined) {
    if (isLeft) refuse()
    area = Buffer.allocUnsafeSlow(RECEIVING_BYTES)
    areas[depth] = area
    if (depth > 0) native.scratch(true, depth, area)
  }
  return area
}
