// Programs of their own for the tests that end, kill or limit a whole process: each runs in a group of its own, for a
// bounded time, and whatever it leaves in that group is killed with it.

import { spawn, type ChildProcess } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

/** The path of a file in `__test__/fixtures`. */
export function fixture(name: string): string {
  return fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url))
}

/** How a program ended, and what it wrote. */
export interface Ended { code: number | null, signal: NodeJS.Signals | null, out: string, err: string, ms: number }

export interface ProgramOptions {
  env?: NodeJS.ProcessEnv
  cwd?: string
  execArgv?: readonly string[]
  /** Instead of Node with the fixture: a program and its arguments. */
  command?: readonly string[]
  /** In ms, after which it is killed; default 20 000. */
  limit?: number
}

/** A running program. */
export class Program {
  readonly child: ChildProcess
  readonly ended: Promise<Ended>
  out = ''
  err = ''
  readonly #began = performance.now()
  #over = false

  constructor(file: string, args: readonly (string | number)[] = [], options: ProgramOptions = {}) {
    const [command = process.execPath, ...rest] = options.command ?? [process.execPath, ...options.execArgv ?? [], fixture(file), ...args.map(String)]
    this.child = spawn(command, rest, { detached: true, stdio: ['pipe', 'pipe', 'pipe'], env: cleanEnv(options.env), cwd: options.cwd })
    const timer = setTimeout(() => { this.killAll() }, options.limit ?? 20_000)
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => { this.out += text })
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => { this.err += text })
    this.ended = new Promise((resolve, reject) => {
      this.child.on('error', reject)
      // Not 'close': children may go on and keep the pipes.
      this.child.on('exit', (code, signal) => {
        clearTimeout(timer)
        this.#over = true
        const ms = performance.now() - this.#began
        // What has been written is in the pipes already.
        setTimeout(() => { resolve({ code, signal, out: this.out, err: this.err, ms }) }, 30)
      })
    })
  }

  get pid(): number {
    return this.child.pid ?? 0
  }

  get isOver(): boolean {
    return this.#over
  }

  /** The text after `word` in the first line of the output that begins with it; throws when none has come in time. */
  async said(word: string, ms = 10_000): Promise<string> {
    const find = (): string | undefined => this.out.split('\n').slice(0, -1).find(line => line === word || line.startsWith(`${word} `))
    if (await until(() => find() !== undefined || this.#over, ms) && find() === undefined) await sleep(30)
    const line = find()
    if (line === undefined) throw new Error(`no line "${word} …" after ${ms} ms; out: ${this.out}; err: ${this.err}`)
    return line.slice(word.length + 1)
  }

  /** Kills the group: the program and all children that stayed in it. */
  killAll(): void {
    try {
      process.kill(-this.pid, 'SIGKILL')
    } catch {
      // Nobody is left.
    }
  }
}

/** Runs a fixture to its end. */
export async function run(file: string, args: readonly (string | number)[] = [], options: ProgramOptions = {}): Promise<Ended> {
  const program = new Program(file, args, options)
  const ended = await program.ended
  program.killAll()
  return ended
}

/** An environment without the tests' own family: the program founds one. */
export function cleanEnv(extra: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  const env = { ...process.env }
  for (const name of Object.keys(env)) if (name.startsWith('POLYPROC_') && name !== 'POLYPROC_CHAOS') Reflect.deleteProperty(env, name)
  for (const name of ['NODE_CHANNEL_FD', 'NODE_V8_COVERAGE', 'NODE_OPTIONS', 'NODE_UNIQUE_ID']) Reflect.deleteProperty(env, name)
  // An empty text is what says so: without it polyproc would miss the family of its ancestor.
  return { ...env, POLYPROC_ARENA_V1: '', ...extra }
}

/** Looks every 2 ms; true as soon as the condition holds, false after `ms`. */
export async function until(condition: () => boolean, ms = 5000): Promise<boolean> {
  const end = performance.now() + ms
  for (;;) {
    if (condition()) return true
    if (performance.now() > end) return false
    await sleep(2)
  }
}

/** True while a process exists and is no zombie. */
export function isRunning(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return !['Z', 'X'].includes(stat.slice(stat.lastIndexOf(')') + 2)[0] ?? 'X')
  } catch {
    return false
  }
}

/** The long form of a test: `npm run chaos`. */
export const isChaos = process.env['POLYPROC_CHAOS'] === '1'
