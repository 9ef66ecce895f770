/**
 * polyproc: Python's multiprocessing for Node.js.
 *
 * @packageDocumentation
 */

import * as self from './index.js'
import { registerPackage } from './target/index.js'

export {
  AuthenticationError, BrokenBarrierError, BrokenPipeError, BrokenPoolError, BufferTooShort, CancelledError, ClosedError,
  DeadlockError, Empty, EOFError, Full, InterruptedError, OutOfMemoryError, PolyprocError, SerializationError, ShutDown,
  StateError, TimeoutError, WorkerLostError,
} from './errors.js'
export { fromToken, toToken } from './handles.js'
export { allocate, free } from './memory.js'
export { configure, memoryUsage, type Configuration } from './native.js'
export {
  activeChildren, cpuCount, currentProcess, isMainProcess, parentProcess, Process, type ModuleTarget, type ProcessOptions,
  type ProcessSettings, type Target,
} from './process.js'
export { type LockGuard } from './acquirable.js'
export { Barrier, type BarrierOptions } from './barrier.js'
export { Condition, type ConditionOptions } from './condition.js'
export { Event } from './event.js'
export { Lock } from './lock.js'
export { RLock } from './rlock.js'
export { BoundedSemaphore, Semaphore, type SemaphoreOptions } from './semaphore.js'
export {
  currentTask, Pool, ThreadPool, type AsyncResult, type CurrentTask, type ImapOptions, type MapOptions, type PoolOptions, type PoolStats,
  type Settled, type TaskOptions, type TypedArray,
} from './pool.js'
export { Connection, Pipe } from './connection.js'
export { JoinableQueue, type Delivery, type JoinableQueueOptions } from './joinable-queue.js'
export { Queue, type Named, type QueueOptions } from './queue.js'
export { perProcess } from './target/index.js'
export { SimpleQueue } from './simple-queue.js'
export { wait, waitAllSync as waitSync, type SyncWaitOptions, type Waitable, type WaitOptions } from './waiting.js'

// What this package hands out travels by name, and means the receiver's own.
registerPackage(self)
