/**
 * The program that Node is told to run in a child. It loads the core as `require` would, but from what the engine made of it
 * when the first child ran: to compile the core anew takes a third of what a child needs beyond Node itself. Where that
 * cannot be read, it loads the core by `require`.
 */

import { readSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { Script } from 'node:vm'
import { load } from './load.js'

interface Core {
  runChild(): void
  /** False when there is some, or another child is keeping its own. */
  keepCode(code: Uint8Array): boolean
}

const CORE = '../polyproc.cjs'
/** Long enough after the start for what a child runs first to be compiled, in ms. */
const SETTLED = 100
/** Where compiled code begins; before it stands its length, in bytes, 0 for none. */
const HEAD = 8

const require = createRequire(__filename)

/** The file in memory in which compiled code lies, by the place that the parent reserved for this process; -1: none. */
const descriptor = Number(process.env['POLYPROC_PLACE']?.split(':')[2] ?? -1)

/** What was compiled by a child before this one. Whole, or not there: its length is written last. */
function compiled(): Buffer | undefined {
  const head = Buffer.alloc(HEAD)
  if (readSync(descriptor, head, 0, HEAD, 0) < HEAD) return undefined
  const code = Buffer.allocUnsafeSlow(Number(head.readBigUInt64LE()))
  return code.length > 0 && readSync(descriptor, code, 0, code.length, HEAD) === code.length ? code : undefined
}

interface Found { core: Core; /** What later children may be spared, null where there is nothing to keep. */ script: Script | null }

const plain = (): Found => ({ core: require(CORE) as Core, script: null })

function find(): Found {
  if (descriptor < 0) return plain()
  let code: Buffer | undefined
  try {
    code = compiled()
  } catch {
    // Closed on the way, by a program that stands between the parent and this one.
    return plain()
  }
  const { exports, script } = load(require.resolve(CORE), code)
  return { core: exports as Core, script: code === undefined ? script : null }
}

const { core, script } = find()
core.runChild()

if (script !== null) {
  // Once what is needed at a start has been compiled; at its end, if that comes before.
  const keep = (): void => {
    clearTimeout(timer)
    process.off('exit', keep)
    core.keepCode(script.createCachedData())
  }
  const timer = setTimeout(keep, SETTLED)
  timer.unref()
  process.on('exit', keep)
}
