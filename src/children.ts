/**
 * Who this process is to polyproc, and the children that it has started.
 */

import { place } from './native.js'
import type { Process } from './process.js'

/** What a child knows of its parent. */
export interface ParentInfo { key: number; pid: number; name: string }

/** Children that have been started and whose end has not been seen. */
export const children = new Set<Process>()

interface Settings {
  name: string
  daemon: boolean
  authKey: Uint8Array<ArrayBuffer>
  parent: ParentInfo | null
  /** Started by polyproc. */
  readonly isChild: boolean
}

let authKey: Uint8Array<ArrayBuffer> | null = null

const own: Settings = {
  name: 'MainProcess', daemon: false, parent: null, isChild: place !== null,
  // Made when it is asked for: a child is told it, and starts sooner without node:crypto.
  get authKey() {
    authKey ??= Uint8Array.from(process.getBuiltinModule('node:crypto').randomBytes(32))
    return authKey
  },
  set authKey(key) {
    authKey = key
  },
}

/** What this process was told at its start. */
export function settings(): Settings {
  return own
}

/** Name and flag of this process. */
export function currentRecord(): { name: string; daemon: boolean; isMain: boolean } {
  return { name: own.name, daemon: own.daemon, isMain: own.parent === null }
}

/** In a child: takes over what the parent said. */
export function setCurrent(said: { name: string; daemon: boolean; authKey: Uint8Array<ArrayBuffer>; parent: ParentInfo }): void {
  Object.assign(own, said)
}
