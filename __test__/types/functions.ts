// What the types of functions in other processes allow, and what not, against the declarations that are published.
// Compiled by types.spec.ts, never run: an expected error that does not come is an error.

/* eslint-disable @typescript-eslint/no-meaningless-void-operator, @typescript-eslint/no-unnecessary-type-parameters, @typescript-eslint/no-unused-vars -- only types are looked at */

import { Process, Queue, perProcess, type ModuleTarget, type ProcessOptions, type Target } from 'polyproc'

declare const add: (a: number, b: string) => number
declare const optional: (a?: number) => void
declare const rest: (first: string, ...more: number[]) => void
declare const none: () => Promise<void>
type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false
const same = <A, B>(is: Equal<A, B>): void => { void is }

// Arguments are inferred from the function, or checked against it.
new Process({ target: add, args: [1, 'x'] })
new Process({ target: none })
new Process({ target: none, args: [] })
new Process({ target: optional, args: [1] })
new Process({ target: optional, args: [] })
new Process({ target: optional })
new Process({ target: rest, args: ['a', 1, 2] })
new Process({ target: (a: number) => { void a }, args: [1], name: 'p', daemon: true, stdio: 'pipe' })
new Process({ target: async (q: Queue<number>) => { await q.put(1) }, args: [new Queue<number>()] })
new Process()
new Process({})
new Process({ name: undefined, daemon: undefined, cwd: new URL('file:///') })
const inferred = new Process({ target: add, args: [1, 'x'] })
same<typeof inferred, Process<[a: number, b: string]>>(true)

// @ts-expect-error an argument of another type
new Process({ target: add, args: [1, 2] })
// @ts-expect-error too few arguments
new Process({ target: add, args: [1] })
// @ts-expect-error too many arguments
new Process({ target: none, args: [1] })
// @ts-expect-error a function that needs arguments gets none
new Process({ target: add })
// @ts-expect-error arguments of nothing
new Process({ args: [1] })
// @ts-expect-error not a function
new Process({ target: 'module.js' })
// @ts-expect-error no such option
new Process({ target: none, retries: 3 })
// @ts-expect-error of the words that there are, it is none
new Process({ target: none, stdio: 'pipes' })

// A module and one of its exports.
const module: ModuleTarget = { module: new URL('file:///x.js'), export: 'tasks.resize' }
new Process({ target: module, args: [1, 'anything', {}] })
new Process({ target: { module: './x.js' } })
new Process({ target: { module: './x.js', export: undefined } })
// @ts-expect-error a target without a module
new Process({ target: { export: 'x' } })

// Targets and options of their own.
const target: Target<[number, string], number> = add
const anyTarget: Target = add
const options: ProcessOptions<[number, string]> = { target: add, args: [1, 'x'] }
new Process(options)
void [target, anyTarget]
// @ts-expect-error takes other arguments
const wrong: Target<[boolean], number> = add
void wrong

// A subclass, with fields and its own run.
class Counter extends Process {
  count = 0
  constructor(readonly queue: Queue<number>) {
    super({ name: 'counter' })
  }

  override run(): void {
    this.count += 1
    this.queue.putSync(this.count)
  }
}
const counter = new Counter(new Queue()).start()
same<typeof counter, Counter>(true)
same<typeof counter.exitCode, number | null>(true)
same<ReturnType<typeof counter.join>, Promise<boolean>>(true)
// @ts-expect-error what is read only
counter.pid = 1

// One value a process.
const connection = perProcess(() => ({ uses: 0 }))
same<typeof connection, () => { uses: number }>(true)
same<ReturnType<typeof connection>, { uses: number }>(true)
// @ts-expect-error not a function
perProcess(1)

// Functions are messages like any other.
const tasks = new Queue<(x: number) => string>()
void tasks.put(x => x.toFixed())
// @ts-expect-error another function
void tasks.put((x: string) => x)
async function consume(): Promise<void> {
  const task = await tasks.get()
  same<typeof task, (x: number) => string>(true)
}
void consume
