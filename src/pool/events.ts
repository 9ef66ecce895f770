/**
 * What a pool tells on `node:diagnostics_channel`: nothing is made for a message that nobody listens to.
 */

import { channel } from 'node:diagnostics_channel'

const submit = channel('polyproc:task:submit')
const start = channel('polyproc:task:start')
const end = channel('polyproc:task:end')
const lost = channel('polyproc:task:lost')
const workerStart = channel('polyproc:worker:start')
const workerEnd = channel('polyproc:worker:end')

/** Of a task: its number, the name of its pool, and who runs it. */
export interface TaskEvent { readonly id: number, readonly pool: string, readonly pid?: number | undefined }
/** Times in ms; `error` of a task that failed. */
export interface TaskEndEvent extends TaskEvent { readonly waitTime: number, readonly runTime: number, readonly failed: boolean }

export const events = {
  get wantsSubmit(): boolean { return submit.hasSubscribers },
  get wantsStart(): boolean { return start.hasSubscribers },
  get wantsEnd(): boolean { return end.hasSubscribers },
  submit(event: TaskEvent): void { submit.publish(event) },
  start(event: TaskEvent): void { start.publish(event) },
  end(event: TaskEndEvent): void { end.publish(event) },
  lost(event: TaskEvent & { readonly error: unknown }): void { if (lost.hasSubscribers) lost.publish(event) },
  workerStart(event: { readonly pool: string, readonly pid: number }): void { if (workerStart.hasSubscribers) workerStart.publish(event) },
  workerEnd(event: { readonly pool: string, readonly pid: number, readonly exitCode: number }): void { if (workerEnd.hasSubscribers) workerEnd.publish(event) },
}
