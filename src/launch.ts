/**
 * The program that a child is: Node with the parent's own flags, and polyproc's entry.
 */

import { accessSync, constants, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isMainThread } from './native.js'
import type { ProcessSettings } from './process.js'

/** What a standard stream of a child is. */
export type Stdio = 'inherit' | 'ignore' | 'pipe'

const stdioNumbers: Record<Stdio, number> = { inherit: 0, ignore: 1, pipe: 2 }

/** Flags that would run the parent's program, or something else than ours, in the child; true: a value follows. */
const dropped = new Map<string, boolean>([
  ['-e', true], ['--eval', true], ['-p', true], ['--print', true], ['-pe', true], ['-c', false], ['--check', false], ['-i', false],
  ['--interactive', false], ['--input-type', true], ['--watch', false], ['--watch-path', true], ['--watch-preserve-output', false],
  ['--run', true], ['--build-snapshot', false], ['--build-snapshot-config', true], ['--env-file', true], ['--env-file-if-exists', true],
])
const droppedPrefixes = ['--inspect', '--test', '--experimental-test']

/** The parent's flags without those. */
export function inheritedFlags(flags: readonly string[]): string[] {
  const kept: string[] = []
  for (let k = 0; k < flags.length; k += 1) {
    const flag = flags[k] as string
    const name = flag.split('=', 1)[0] as string
    const hasValue = dropped.get(name)
    if (hasValue !== undefined) {
      if (hasValue && !flag.includes('=')) k += 1
    } else if (!droppedPrefixes.some(prefix => name === prefix || name.startsWith(`${prefix}-`))) kept.push(flag)
  }
  return kept
}

/** The process's own environment; in a worker thread it is a copy, and a program may put something else in its place. */
const own = isMainThread ? process.env : null

/** What a child finds in its environment, but for what polyproc adds; nothing: what this process has. */
function environment(given: NodeJS.ProcessEnv | undefined): string[] | undefined {
  // Read natively: to go through process.env takes longer than all the rest of a start.
  if (given === undefined && process.env === own) return undefined
  const env: string[] = []
  for (const [name, value] of Object.entries(given ?? process.env)) if (value !== undefined) env.push(`${name}=${value}`)
  return env
}

const inherited = [0, 0, 0]

function stdioOf(stdio: ProcessSettings['stdio']): number[] {
  if (stdio === undefined) return inherited
  const three = Array.isArray(stdio) ? stdio as readonly Stdio[] : Array<Stdio>(3).fill(stdio as Stdio)
  if (three.length !== 3) throw new TypeError('stdio must be one word, or three for stdin, stdout and stderr')
  return three.map(word => {
    const number = stdioNumbers[word]
    if (number === undefined) throw new TypeError(`stdio must be 'inherit', 'ignore' or 'pipe', not ${JSON.stringify(word)}`)
    return number
  })
}

// As a path: the first URL that a process makes takes longer than a tenth of its start.
const entry = join(import.meta.dirname, 'entry/child.cjs')

/** The path of a `cwd` or `execPath` given as a URL. */
function pathOf(place: string | URL): string {
  return place instanceof URL || place.startsWith('file:') ? fileURLToPath(place) : place
}

/** What the native part needs to start a child. */
export function programFor(options: ProcessSettings, daemon: boolean): {
  exec: string; argv: string[]; env?: string[]; cwd?: string; stdio: number[]; daemon: boolean
} {
  const exec = options.execPath === undefined ? process.execPath : pathOf(options.execPath)
  const cwd = options.cwd === undefined ? undefined : pathOf(options.cwd)
  const flags = options.execArgv === undefined ? inheritedFlags(process.execArgv) : options.execArgv
  // What exec and chdir would trip over, while the caller can still be told.
  if (options.execPath !== undefined) accessSync(exec, constants.X_OK)
  if (cwd !== undefined && !statSync(cwd).isDirectory()) throw Object.assign(new Error(`ENOTDIR: not a directory, '${cwd}'`), { code: 'ENOTDIR' })
  const env = environment(options.env)
  return {
    exec,
    argv: [exec, ...flags, entry],
    ...(env === undefined ? {} : { env }),
    ...(cwd === undefined ? {} : { cwd }),
    stdio: stdioOf(options.stdio),
    daemon,
  }
}
