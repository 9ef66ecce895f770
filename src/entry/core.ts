/**
 * Through this file a program gets the package: the core, and what reads the text of functions. What the engine made of
 * both is kept in a file beside them, as Python keeps its in `__pycache__`, by the first program that sends a function,
 * when it ends; later ones need not compile what they run. What the next few run besides, they add. Whoever may write that file may write the package itself.
 *
 * The file is written under another name, brought to the disk, and renamed: it is whole or not there. It names the
 * texts that it was made of by their length and time, the engine checks its own version and flags. Where anything
 * is amiss the texts are compiled, and the file is written anew. With `NODE_DISABLE_COMPILE_CACHE` it is neither read nor written.
 */

import { closeSync, fsyncSync, mkdirSync, openSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { runInThisContext, type Script } from 'node:vm'
import { load } from './load.js'

const require = createRequire(__filename)

const CORE = join(dirname(__dirname), 'polyproc.cjs')
const ANALYSIS = join(dirname(__dirname), 'analysis.cjs')
const FOLDER = join(dirname(__dirname), 'compiled')
/** Numbers at the beginning of the file: how many programs made it, the lengths of the two parts, in bytes, then time and length of each text. */
const NUMBERS = 7
/** So many programs make it: what one runs is not all that others do. */
const PROGRAMS = 4
const HEAD = NUMBERS * 8
/** Files of this many versions and sets of flags are kept; one more, and they are all made anew. */
const MOST = 8

/** Compiled code by text, and how many programs made it. */
interface Code { readonly programs: number, readonly core: Buffer, readonly analysis: Buffer }

const isOff = Boolean(process.env['NODE_DISABLE_COMPILE_CACHE'])
/** Time and length of the texts, from before they are read: one that is changed while the program runs is told from what was compiled. */
const texts = isOff ? [] : [CORE, ANALYSIS].flatMap(file => {
  const { mtimeMs, size } = statSync(file)
  return [mtimeMs, size]
})
let code: Code | undefined
let coreScript: Script | undefined
let loadedAnalysis: unknown

/** The core's exports. */
export function core(): unknown {
  const known = require.cache[CORE]
  if (known !== undefined) return known.exports
  if (isOff || isThread() || isElsewhere()) return require(CORE)
  code = read()
  const { exports, script } = load(CORE, code?.core)
  coreScript = script
  return exports
}

/** What reads the text of functions. */
export function analysis(): unknown {
  return loadedAnalysis ??= loadAnalysis()
}

function loadAnalysis(): unknown {
  if (isOff || isThread() || isElsewhere()) return require(ANALYSIS)
  // A child, which has the core from its parent.
  if (coreScript === undefined) return load(ANALYSIS, read()?.analysis).exports
  const first = coreScript
  const { exports, script } = load(ANALYSIS, code?.analysis)
  const isTaken = code !== undefined && first.cachedDataRejected !== true && script.cachedDataRejected !== true
  const before = isTaken ? { programs: code!.programs, bytes: code!.core.length + code!.analysis.length } : { programs: 0, bytes: 0 }
  if (before.programs < PROGRAMS) process.once('exit', () => { write(first, script, before) })
  code = undefined
  return exports
}

/** Node takes the whole process with it where a worker thread is ended while it makes a script: see `evaluate` in target/modules.ts. */
function isThread(): boolean {
  // Node marks so what a worker thread may not do. To load the module that knows takes 3 ms.
  return (process.abort as { disabled?: boolean }).disabled === true
}

/** A test runner may give a program a global object of its own: what is compiled here would have another one. */
function isElsewhere(): boolean {
  return runInThisContext('globalThis') !== globalThis
}

/** One for every version of Node and set of flags, since the engine takes no code that was made with others. */
function path(): string {
  let hash = 0
  for (const character of `${process.execArgv.join(' ')} ${process.env['NODE_OPTIONS'] ?? ''}`) hash = (Math.imul(hash, 31) + character.charCodeAt(0)) >>> 0
  return join(FOLDER, `${process.version}-${process.arch}-${hash.toString(36)}`)
}

function read(): Code | undefined {
  let bytes: Buffer
  try {
    bytes = readFileSync(path())
    const [programs = 0, core = 0, analysis = 0, ...from] = Array.from({ length: NUMBERS }, (_, i) => bytes.readDoubleLE(i * 8))
    if (bytes.length !== HEAD + core + analysis || from.some((number, i) => number !== texts[i])) return undefined
    return { programs, core: bytes.subarray(HEAD, HEAD + core), analysis: bytes.subarray(HEAD + core) }
  } catch {
    // There is none, or it may not be read.
    return undefined
  }
}

/** @param before What there was, and what the scripts began with. */
function write(core: Script, analysis: Script, before: { readonly programs: number, readonly bytes: number }): void {
  const file = path()
  const part = `${file}.${process.pid}`
  try {
    const parts = [core.createCachedData(), analysis.createCachedData()].map(data => Buffer.concat([data, Buffer.alloc(-data.length & 7)]))
    // The engine forgets what has not run for long. Of the same code it makes a few bytes more or less.
    if (parts.reduce((sum, { length }) => sum + length, 0) < before.bytes * 0.99) return
    const head = Buffer.alloc(HEAD)
    for (const [i, number] of [before.programs + 1, ...parts.map(data => data.length), ...texts].entries()) head.writeDoubleLE(number, i * 8)
    mkdirSync(FOLDER, { recursive: true })
    const others = readdirSync(FOLDER)
    if (others.length >= MOST) for (const name of others) rmSync(join(FOLDER, name), { force: true })
    const descriptor = openSync(part, 'wx')
    try {
      writeFileSync(descriptor, Buffer.concat([head, ...parts]))
      fsyncSync(descriptor)
    } finally {
      closeSync(descriptor)
    }
    renameSync(part, file)
  } catch {
    // A folder that only others may write, a full disk: programs compile what they run, as before.
    try {
      rmSync(part, { force: true })
    } catch {
      // As above.
    }
  }
}
