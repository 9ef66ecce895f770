/**
 * polyproc: Python's multiprocessing for Node.js.
 *
 * @packageDocumentation
 */

export {
  AuthenticationError, BrokenBarrierError, BrokenPipeError, BrokenPoolError, BufferTooShort, CancelledError, ClosedError,
  DeadlockError, Empty, EOFError, Full, InterruptedError, OutOfMemoryError, PolyprocError, SerializationError, ShutDown,
  StateError, TimeoutError, WorkerLostError,
} from './errors.js'
