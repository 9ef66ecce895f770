/** Worker threads that run a function of the test on shared objects, handed over by token. */

import { Worker } from 'node:worker_threads'
import { toToken } from '#src/index.js'

const CODE = `
const { workerData, parentPort } = require('node:worker_threads')
import('polyproc').then(async mp => {
  const result = await (0, eval)('(' + workerData.source + ')')(...workerData.tokens.map(token => mp.fromToken(token)))
  parentPort.postMessage({ result })
}).catch(error => { parentPort.postMessage({ error: String(error.stack) }) })
`

/** A thread at work. */
export interface Thread<R> {
  readonly worker: Worker
  /** Resolves with what the function returned, once it has. */
  readonly result: Promise<R>
}

/** Runs `fn`, which uses nothing but its arguments, in a worker thread. */
export function inThread<A extends object[], R>(fn: (...objects: A) => R, ...objects: A): Thread<Awaited<R>> {
  const worker = new Worker(CODE, { eval: true, workerData: { source: fn.toString(), tokens: objects.map(toToken) } })
  const result = new Promise<Awaited<R>>((resolve, reject) => {
    worker.once('message', ({ result: value, error }: { result: Awaited<R>, error?: string }) => {
      if (error === undefined) resolve(value)
      else reject(new Error(error))
    })
    worker.once('error', reject)
    worker.once('exit', () => { reject(new Error('the thread ended without a result')) })
  })
  result.catch(() => {})
  return { worker, result }
}
