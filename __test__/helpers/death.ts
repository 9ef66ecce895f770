/** How long after the end of a process something comes to pass. */

import { readFileSync } from 'node:fs'

/** Blocks until the kernel says that a process has ended, at most 10 s; when that was, as `performance.now()` tells it. */
export function endOf(pid: number): number {
  const late = performance.now() + 10_000
  for (;;) {
    let state = 'gone'
    try {
      state = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ').at(-1)!
    } catch { /* it has been reaped */ }
    const now = performance.now()
    if (/^(Z|X|gone)/.test(state)) return now
    if (now > late) throw new Error(`process ${pid} does not end: ${state}`)
  }
}

/**
 * The least of three: what `round` measures is longer where others keep both cores busy, and none is shorter than it can be.
 * Each round returns the ms from an end to what must follow it.
 */
export async function leastOf(round: () => Promise<number>): Promise<number> {
  const all: number[] = []
  for (let k = 0; k < 3; k += 1) all.push(await round())
  return Math.min(...all)
}
