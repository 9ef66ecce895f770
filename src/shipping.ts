/**
 * What the codec is taught for one message: shared objects, functions and classes, instances of classes.
 */

import type { Extensions, FunctionDescription, FunctionExtension, HandleExtension, InstanceExtension, MemoryExtension } from './codec/index.js'
import { handleExtension, isShareable } from './handles.js'
import { memoryExtension } from './memory.js'
import { Arrival, describeNamed, instances, setIsHandle, Shipment } from './target/index.js'

setIsHandle(isShareable)

type AnyFunction = (...args: never) => unknown

/** The functions of one message; most have none, so what they need is made when the first is met. */
class Functions implements FunctionExtension {
  #shipment: Shipment | null = null
  #arrival: Arrival | null = null

  describe(fn: AnyFunction): FunctionDescription {
    this.#shipment ??= new Shipment()
    return this.#shipment.describe(fn)
  }

  nameOf(value: object): FunctionDescription | undefined {
    return describeNamed(value)
  }

  create(head: unknown): AnyFunction {
    this.#arrival ??= new Arrival()
    return this.#arrival.create(head)
  }

  fill(fn: AnyFunction, body: unknown): void {
    this.#arrival?.fill(fn, body)
  }
}

/** What there is for one message; only functions need something of their own. */
class OfMessage implements Extensions {
  private functions: Functions | null = null

  get handle(): HandleExtension {
    return handleExtension
  }

  get fn(): FunctionExtension {
    return this.functions ??= new Functions()
  }

  get instance(): InstanceExtension {
    return instances
  }

  get memory(): MemoryExtension {
    return memoryExtension
  }
}

/** For one message, in either direction. */
export function extensionsOf(): Extensions {
  return new OfMessage()
}
