/**
 * A bar on a terminal that tells how far a map is; nothing where the output is no terminal, or `cli-progress` is not installed.
 */

import { createRequire } from 'node:module'

interface Bar { start(total: number, at: number): void, update(at: number): void, setTotal(total: number): void, stop(): void }
interface Library { SingleBar: new (options: object) => Bar }

function load(): Library | null {
  try {
    return createRequire(import.meta.filename)('cli-progress') as Library
  } catch {
    return null
  }
}

/** See the module. */
export class ProgressBar {
  readonly #bar: Bar | null
  #total = 0

  constructor(label: boolean | string) {
    const library = process.stderr.isTTY ? load() : null
    if (library === null) {
      this.#bar = null
      return
    }
    const name = typeof label === 'string' ? `${label} ` : ''
    this.#bar = new library.SingleBar({ format: `${name}{bar} {value}/{total} · {eta_formatted}`, stream: process.stderr, hideCursor: false, clearOnComplete: false })
    this.#bar.start(0, 0)
  }

  update(done: number, total: number | undefined): void {
    if (this.#bar === null) return
    // As long as nobody knows how many there are, there are as many as were seen.
    const known = total ?? Math.max(done + 1, this.#total)
    if (known !== this.#total) this.#bar.setTotal(this.#total = known)
    this.#bar.update(done)
  }

  stop(): void {
    this.#bar?.stop()
  }
}
