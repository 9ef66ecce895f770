/**
 * Who keeps the worker processes of a pool: natively, so that one that ends is replaced, and a task that does not stop is ended,
 * also while this event loop stands still.
 */

import { template, type Boot } from '../boot.js'
import { encode } from '../codec/index.js'
import type { Handle } from '../handles.js'
import { flat } from '../handles.js'
import { programFor } from '../launch.js'
import { call, native } from '../native.js'
import type { ProcessSettings } from '../process.js'
import type { Board } from './board.js'

/** How the workers are kept. */
export interface KeeperTerms {
  /** Most workers at a time. Those whose tasks wait for tasks of the same pool are not counted. */
  processes: number
  /** Losses in a row after which the board says that the pool is broken. */
  maxRestarts: number
  /** Between asking a task to stop and the end of its worker, in ms. */
  killAfter: number
  /** The queues of tasks that wait, all kept alive by the board. */
  ready: readonly Handle[]
  /** Put into the inbox of a worker when it is to look which of its tasks are to stop. */
  letter: unknown
}

/** A worker process that was started. */
export interface KeptWorker {
  /** How the native part names the process. */
  key: number
  pid: number
  /** Which of the pool's workers it is, from 1. */
  serial: number
}

/** See the module. For a board that this process made. */
export class Keeper {
  readonly #native: number
  #closed = false

  /**
   * Starts nothing yet. `name` and a number are the name of each worker, which becomes what `boot` says.
   *
   * @throws {@link SerializationError} for what cannot be sent; an error of the file system for a `cwd` that is not there.
   */
  constructor(board: Board, terms: KeeperTerms, settings: ProcessSettings, name: string, boot: Pick<Boot, 'target' | 'args'>) {
    const { processes, maxRestarts, killAfter, ready } = terms
    const letter = encode(terms.letter)
    try {
      this.#native = call(() => native.keeperOpen(board.native, {
        processes, maxRestarts, killAfter, ready: flat(ready),
        letterKind: letter.kind, letter: Buffer.from(letter.bytes.subarray(0, letter.length)),
      }, { program: programFor(settings, true), ...template(name, true, { type: null, fields: {}, ...boot }) }))
    } finally {
      letter.release()
    }
  }

  /** Starts a worker; null when there are as many as there may be, or the keeper is closed. @throws When it cannot be started. */
  start(): KeptWorker | null {
    return this.#closed ? null : call(() => native.keeperStart(this.#native)) ?? null
  }

  /** The workers that have been started and not been seen to end, whoever started them. */
  workers(): KeptWorker[] {
    return this.#closed ? [] : call(() => native.keeperWorkers(this.#native))
  }

  /** A worker is to end, and not to be replaced. */
  expect(key: number): void {
    if (!this.#closed) call(() => { native.keeperExpect(this.#native, key) })
  }

  /** SIGKILL to a worker for what it does: that counts as no loss, and it is replaced. False once the keeper is closed. */
  kill(key: number): boolean {
    if (!this.#closed) call(() => { native.keeperKill(this.#native, key) })
    return !this.#closed
  }

  /** Starts no more workers; those that there are go on. Twice is harmless. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    call(() => { native.keeperClose(this.#native) })
  }
}
