/**
 * Who holds a lock, in words.
 */

import { children, settings } from './children.js'
import { call, native } from './native.js'

/** The name of a process, where this one knows it. */
function nameOf(pid: number): string {
  const { name, parent } = settings()
  const known = pid === process.pid ? name : pid === parent?.pid ? parent.name : [...children].find(child => child.pid === pid)?.name
  return known === undefined ? `process ${pid}` : `${known} (process ${pid})`
}

/** State, owner and waiters of the lock of an id: `locked by MainProcess (process 12), thread 0, 2 waiting`. */
export function describeOwner(id: number): string {
  const { locked, mine, pid, member, depth } = call(() => native.lockState(id))
  const waiting = call(() => native.sharedWaiters(id))
  // Loading it takes a while, so it is loaded only for who looks.
  const { threadId } = process.getBuiltinModule('node:worker_threads')
  const who = mine ? `${nameOf(pid)}, this thread (${threadId})` : `${nameOf(pid)}, ${pid === process.pid ? 'another thread' : 'a thread'} of it (member ${member})`
  return `${locked ? `locked by ${who}` : 'unlocked'}${locked && depth > 1 ? `, ${depth} times` : ''}${waiting > 0 ? `, ${waiting} waiting` : ''}`
}
