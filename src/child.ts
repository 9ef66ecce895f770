/**
 * What a child does: takes the boot message that its parent left in shared memory, becomes the process that it describes,
 * and runs it. An error that nothing catches ends it with its stack on stderr and exit code 1.
 */

import { readFileSync, writeSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { inspect } from 'node:util'
import { receiveBoot, type Boot } from './boot.js'
import { StateError } from './errors.js'
import { join, native } from './native.js'
import { needs, read } from './message.js'
import { enter, type ModuleTarget, type Process } from './process.js'
import { runWorkerProcess } from './pool/entry.js'
import { WORKER_PROGRAM } from './pool/hired.js'
import { importFrom, preload } from './target/index.js'

/** Writes an error as Node does for what nothing catches: where it was thrown, the line, the stack. */
function report(error: unknown): void {
  const text = error instanceof Error ? `${sourceLine(error.stack)}${inspect(error)}` : `Uncaught ${inspect(error)}`
  try {
    writeSync(2, `${text}\n\nNode.js ${process.version}\n`)
  } catch {
    // stderr is closed: there is nobody to tell.
  }
}

function sourceLine(stack: string | undefined): string {
  const place = /\(?((?:file:\/\/)?\/[^()\n]+?):(\d+):(\d+)\)?$/m.exec(stack ?? '')
  if (place === null) return ''
  const [, file = '', line = '0', column = '0'] = place
  try {
    const text = readFileSync(file.startsWith('file:') ? fileURLToPath(file) : file, 'utf8').split('\n')[Number(line) - 1]
    return text === undefined ? '' : `${file}:${line}\n${text}\n${' '.repeat(Math.max(0, Number(column) - 1))}^\n\n`
  } catch {
    return ''
  }
}

/** Ends the process as an uncaught error does; a listener of `uncaughtException` may still want it. */
function crash(error: unknown): void {
  if (process.listenerCount('uncaughtException') > 0) {
    process.nextTick(() => { throw error })
    return
  }
  report(error)
  process.exit(1)
}

async function load({ module, export: name = 'default' }: ModuleTarget): Promise<(...args: unknown[]) => unknown> {
  const namespace = await importFrom(import.meta.filename)(String(module)) as Record<string, unknown>
  let found: unknown = namespace
  for (const part of name.split('.')) found = (found as Record<string, unknown> | null | undefined)?.[part]
  if (typeof found !== 'function') throw new TypeError(`${String(module)} does not export a function ${name}`)
  return found as (...args: unknown[]) => unknown
}

async function begin(): Promise<() => unknown> {
  join()
  const received = receiveBoot()
  if (received === null) throw new StateError('this process was not given anything to run: its parent ended before it had begun')
  const loading = preload(needs(received))
  if (loading !== undefined) await loading
  const boot = read(received) as Boot
  const self: Process = enter(boot)
  const { target, args } = boot
  if (target === null || typeof target === 'function') return () => self.run()
  if (target.module === WORKER_PROGRAM) return () => runWorkerProcess(args[0])
  const fn = await load(target)
  return () => fn(...args)
}

/** Becomes the process that the parent described, and runs it. */
export function runChild(): void {
  begin().then(run => {
    // Outside the promise, so that what it throws is an uncaught error like any other.
    setImmediate(() => {
      const result = run()
      if (typeof (result as PromiseLike<unknown> | null | undefined)?.then === 'function') (result as PromiseLike<unknown>).then(undefined, crash)
    })
  }, crash)
}

/** Keeps what the engine made of this program for the children to come; false when there is some already. */
export function keepCode(code: Uint8Array): boolean {
  return native.keepCode(code)
}
