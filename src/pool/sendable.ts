/** What is sent of an outcome when not all of it can be. */

import { encode } from '../codec/index.js'
import { SerializationError } from '../errors.js'
import { extensionsOf } from '../shipping.js'
import type { ChunkOutcome } from './chunk.js'
import { Status } from './wire.js'

/** What is sent of an outcome that cannot be: of an error what can, of items those that can. */
export function sendable(value: unknown, status: Status, problem: unknown): [value: unknown, status: Status] {
  if (status === Status.Failed) return [plainError(value, problem), status]
  if (status === Status.Partly || Array.isArray(value)) {
    const { values, errors } = Array.isArray(value) ? { values: value as unknown[], errors: [] } : value as ChunkOutcome
    const kept: { values: unknown[], errors: [number, unknown][] } = { values: [], errors: [] }
    for (const [place, error] of errors) kept.errors.push([place, tried(error) === null ? error : plainError(error, problem)])
    for (const [place, item] of Array.from(values).entries()) {
      const refusal = tried(item)
      if (refusal === null) kept.values[place] = item
      else kept.errors.push([place, refusal])
    }
    return [kept, Status.Partly]
  }
  return [problem, Status.Failed]
}

/** Why a value cannot be sent, null if it can. */
function tried(value: unknown): unknown {
  try {
    encode(value, extensionsOf(), 'result').release()
    return null
  } catch (error) {
    return error
  }
}

/** An error of the same name, message and stack, without what cannot be sent. */
function plainError(error: unknown, problem: unknown): unknown {
  if (!(error instanceof Error)) return problem
  const plain = new Error(error.message)
  const { stack } = error
  Object.defineProperty(plain, 'name', { value: error.name, configurable: true, writable: true })
  if (typeof stack === 'string') Object.defineProperty(plain, 'stack', { value: stack, configurable: true, writable: true })
  if (problem instanceof Error) Object.defineProperty(plain, 'cause', { value: new SerializationError(`not all of the error could be sent: ${problem.message}`), configurable: true, writable: true })
  return plain
}
