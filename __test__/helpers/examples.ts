/** The examples run as a user would run them, with what they printed and what they left behind. */

import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export interface Ended {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}
export interface Running {
  child: ChildProcess
  /** What has been printed so far. */
  stdout: () => string
  /** Resolves once the output matches. @throws when the program ends, or `ms` pass, before that. */
  seen: (pattern: RegExp, ms?: number) => Promise<RegExpExecArray>
  /** @throws when it has not ended, and closed its output, after `ms`; then its group is killed. */
  ended: (ms?: number) => Promise<Ended>
}

/** An example by its path in `examples/`, without extension. */
export function example(name: string): string {
  return fileURLToPath(new URL(`../../examples/${name}.js`, import.meta.url))
}

/** Starts a program in a group of its own, so that a signal can be sent to all of it. */
export function start(command: string, args: readonly string[]): Running {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true })
  let [stdout, stderr, isOver] = ['', '', false]
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => { stdout += chunk })
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => { stderr += chunk })
  const closed = once(child, 'close').then(() => { isOver = true })
  const killAll = (): void => { try { process.kill(-child.pid!, 'SIGKILL') } catch { /* it is gone */ } }
  return {
    child,
    stdout: () => stdout,
    seen: async (pattern, ms = 20_000) => {
      for (const until = Date.now() + ms; ;) {
        const found = pattern.exec(stdout)
        if (found !== null) return found
        if (isOver || Date.now() > until) {
          killAll()
          throw new Error(`${isOver ? 'ended' : 'timed out'} without ${pattern}:\n${stdout}${stderr}`)
        }
        await new Promise(resolve => setTimeout(resolve, 2))
      }
    },
    ended: async (ms = 60_000) => {
      const late = new AbortController()
      const timer = setTimeout(() => { late.abort(); killAll() }, ms)
      await closed
      clearTimeout(timer)
      if (late.signal.aborted) throw new Error(`killed after ${ms} ms:\n${stdout}${stderr}`)
      return { code: child.exitCode, signal: child.signalCode, stdout, stderr }
    },
  }
}

/** Processes whose parent is `pid`, by pid. */
export function childrenOf(pid: number): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(text => text !== '').map(Number)
  } catch {
    return []
  }
}

/** Whether there is such a process; one that has ended and whose parent has not asked yet does not count. */
export function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

/** Waits until something holds. @returns false when it does not within `ms`. */
export async function holds(condition: () => boolean, ms: number): Promise<boolean> {
  for (const until = Date.now() + ms; ;) {
    if (condition()) return true
    if (Date.now() > until) return false
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}
