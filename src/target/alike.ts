/**
 * Whether a process that this one starts would find the same text in a module's file. A message of a queue, or what a
 * process is started with, has no way back on which its receiver could ask for more: a function goes by reference only
 * where that is as good as certain.
 */

import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Script } from './scripts.js'

const answers = new WeakMap<Script, boolean>()

/**
 * True where V8 has the text that the file holds now, or where what turned the one into the other is inherited: a loader
 * named by `--import`, `--require` or `--loader` (tsx, ts-node), or Node's own type stripping. False under vitest and jest,
 * which load modules by themselves, and for a file that changed since. Looked at once a module.
 */
export function isLoadedAlike(script: Script): boolean {
  let answer = answers.get(script)
  if (answer === undefined) answers.set(script, answer = look(script))
  return answer
}

function look({ href, text }: Script): boolean {
  if (href?.startsWith('file:') !== true) return true
  let onDisk: string
  try {
    onDisk = readFileSync(fileURLToPath(href), 'utf8')
  } catch {
    return false
  }
  // What stands around it (a byte order mark, a test runner's function) is no part of the functions in it.
  if (text.includes(onDisk.replace(/^\uFEFF/, ''))) return true
  if (process.env['VITEST'] !== undefined || process.env['JEST_WORKER_ID'] !== undefined) return false
  return hasLoader() || isStripped(href, text, onDisk)
}

/** Flags that children inherit. */
function hasLoader(): boolean {
  const flags = [...process.execArgv, ...(process.env['NODE_OPTIONS'] ?? '').split(/\s+/)]
  return flags.some(flag => /^(?:--import|--require|-r|--loader|--experimental-loader)(?:=|$)/.test(flag))
}

/** Node replaces types with spaces, so that every position stays what it was. */
function isStripped(href: string, text: string, onDisk: string): boolean {
  if (!/\.[mc]?ts(?:[?#]|$)/.test(href) || text.length < onDisk.length) return false
  for (let i = 0; i < onDisk.length; i += 1) if (text[i] !== onDisk[i] && text[i] !== ' ' && text[i] !== ';') return false
  return true
}
