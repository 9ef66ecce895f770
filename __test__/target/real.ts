// The table's other process as users have it: a Process, and queues in both directions.

import { Process, Queue } from 'polyproc'

type Call = readonly [fn: (...args: unknown[]) => unknown, args: unknown[]]
type Answer = readonly [threw: boolean, value: unknown]

/** What the other process runs: calls what comes, and sends back what that gives, until the queue is shut down. */
export async function serve(calls: Queue<Call>, answers: Queue<Answer>): Promise<void> {
  for (;;) {
    let answer: Answer
    try {
      const [fn, args] = await calls.get()
      answer = [false, await fn(...args)]
    } catch (error) {
      if ((error as Error).name === 'ShutDown') return
      answer = [true, error]
    }
    try {
      await answers.put(answer)
    } catch (error) {
      await answers.put([true, error])
    }
  }
}

export class Remote {
  private readonly calls = new Queue<Call>()
  private readonly answers = new Queue<Answer>()
  private readonly child: Process

  constructor(options: { execArgv?: string[] } = {}) {
    this.child = new Process({ target: serve, args: [this.calls, this.answers], ...(options.execArgv === undefined ? {} : { execArgv: options.execArgv }) })
    this.child.start()
  }

  async call(fn: (...args: any[]) => unknown, ...args: unknown[]): Promise<unknown> {
    await this.calls.put([fn, args])
    const [threw, value] = await this.answers.get({ timeout: 20_000 })
    if (threw) throw value
    return value
  }

  async close(): Promise<void> {
    this.calls.shutdown()
    await this.child.join()
  }
}
