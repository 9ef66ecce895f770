/** What the job shows: a progress bar on a terminal, and its results in words. */

import { SingleBar } from 'cli-progress'
import type { Casualty } from './run.js'
import type { Tally } from './tally.js'

const number = (value: number): string => value.toLocaleString('en-US')
const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`

/** A progress bar; nothing where the output is no terminal. */
export class Progress {
  #bar: SingleBar | null = null

  start(bytes: number): void {
    if (!process.stdout.isTTY) return
    this.#bar = new SingleBar({
      format: '{bar} {percentage}% of {size}, {eta_formatted} to go', hideCursor: true, clearOnComplete: true,
      gracefulExit: false, barCompleteChar: '█', barIncompleteChar: '░',
    })
    this.#bar.start(bytes, 0, { size: megabytes(bytes) })
  }

  add(bytes: number): void {
    this.#bar?.increment(bytes)
  }

  /** Takes the bar away and shows the cursor again. Twice is harmless. */
  stop(): void {
    this.#bar?.stop()
    this.#bar = null
  }
}

export function showWalk(files: number, bytes: number): void {
  console.log(`${number(files)} files, ${megabytes(bytes)}`)
}

export function showTotals(tally: Tally): void {
  const { files, bytes, lines, words, distinctWords, digest, frequent } = tally.totals()
  const { unreadable } = tally.found
  for (const { path, reason } of unreadable) console.log(`unreadable      ${path} (${reason})`)
  console.log(`files           ${number(files)}`)
  console.log(`unreadable      ${number(unreadable.length)}`)
  console.log(`bytes           ${number(bytes)}`)
  console.log(`lines           ${number(lines)}`)
  console.log(`words           ${number(words)}`)
  console.log(`distinct words  ${number(distinctWords)}`)
  console.log(`sha256 of all   ${digest}`)
  console.log(`most frequent   ${frequent.map(([word, count]) => `${word} ${number(count)}`).join(', ')}`)
}

export function showLost(lost: readonly string[], casualties: readonly Casualty[]): void {
  for (const { pid, exitCode } of casualties) {
    console.log(`worker ${pid} ${exitCode < 0 ? `was killed by signal ${-exitCode}` : `ended with exit code ${exitCode}`}`)
  }
  for (const path of lost) console.log(`lost            ${path}`)
  if (lost.length > 0) console.log(`files lost      ${number(lost.length)}: handed to a process that ended before it had reported them`)
}

export function showTime(processes: number, ms: number): void {
  console.log(`${processes === 1 ? 'one process:' : `${processes} processes:`} ${(ms / 1000).toFixed(2)} s`)
}
