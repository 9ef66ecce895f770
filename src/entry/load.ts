/** Loads a file of the package as `require` would, but from what the engine made of it before, where there is that. */

import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { createRequire, Module } from 'node:module'
import { dirname } from 'node:path'
import { Script } from 'node:vm'

const require = createRequire(__filename)

/** What `require` puts around a module's text. */
const [HEAD, TAIL] = ['(function (exports, require, module, __filename, __dirname) {', '\n})']

/**
 * The text of a module as a function. Put together as bytes, since strings that are joined are written a second time; ASCII, as
 * the bundler writes it: the quickest to make a string of.
 */
function read(file: string): string {
  const descriptor = openSync(file, 'r')
  try {
    const { size } = fstatSync(descriptor)
    const bytes = Buffer.allocUnsafeSlow(HEAD.length + size + TAIL.length)
    bytes.write(HEAD, 0, 'latin1')
    const end = HEAD.length + readSync(descriptor, bytes, HEAD.length, size, 0)
    return bytes.toString('latin1', 0, end + bytes.write(TAIL, end, 'latin1'))
  } finally {
    closeSync(descriptor)
  }
}

export interface Loaded {
  readonly exports: unknown
  /** What can be asked for the compiled code. */
  readonly script: Script
}

/**
 * @param file Its path, absolute.
 * @param code What the engine made of the same text. It refuses code of another version or with other flags, and
 *   compiles anew: `script.cachedDataRejected` tells.
 */
export function load(file: string, code: Buffer | undefined): Loaded {
  const script = new Script(read(file), { filename: file, ...(code === undefined ? {} : { cachedData: code }) })
  const module = new Module(file) as Module & { paths: string[] }
  module.filename = file
  // Where `import 'polyproc'` finds it, so that there is one.
  require.cache[file] = module
  try {
    const run = script.runInThisContext() as (...args: unknown[]) => void
    run.call(module.exports, module.exports, createRequire(file), module, file, dirname(file))
  } catch (error) {
    Reflect.deleteProperty(require.cache, file)
    throw error
  }
  module.loaded = true
  return { exports: module.exports, script }
}
