/**
 * The seams through which the rest of the package teaches the codec its own kinds of value: shared objects,
 * functions and classes, and instances of classes. The codec knows nothing of what is behind them.
 */

/** Objects of this package that stand for something in shared memory. */
export interface HandleExtension {
  isHandle(value: object): boolean
  /**
   * The entry for the message's table of handles (what it is, is between this and `fromHandle`). Called once a
   * message for each object. Throws if the object cannot be sent (closed).
   */
  toHandle(value: object): unknown
  /** The object for an entry of the table that came with the message. */
  fromHandle(entry: unknown): object
}

/**
 * How a function or class is written: the head is what must be known to make the function, the body what is
 * filled in afterwards. Both are ordinary values of the same message, so captured values keep their identity
 * and may lead back to the function: from the body only, since the function does not exist before its head.
 */
export interface FunctionDescription {
  /** Source, names, a superclass, a reference to a module's export. */
  head: unknown
  /** Captured variables, own properties; undefined for none. */
  body: unknown
  /** URLs of modules that the receiver must have loaded before it decodes the message. */
  needs?: readonly string[] | undefined
}

/** Functions, methods and classes. */
export interface FunctionExtension {
  /** Called once a message for each function. Throws SerializationError for one that cannot be sent. */
  describe(fn: (...args: never) => unknown): FunctionDescription
  /**
   * How an object is written that every process has by a name (`Math`, `process`, a module of Node), undefined for any
   * other. Asked about objects that look as if they could be one; `create` gives the receiver's.
   */
  nameOf?(value: object): FunctionDescription | undefined
  /** Makes the function; its body comes later. */
  create(head: unknown): (...args: never) => unknown
  fill(fn: (...args: never) => unknown, body: unknown): void
}

/** Objects whose prototype belongs to a class that is not the language's own. */
export interface InstanceExtension {
  /**
   * The class to send along (as any function is), or a sentence saying why the instance cannot be sent, to stand
   * behind "x cannot be sent: ". Own enumerable properties travel by themselves.
   */
  classOf(value: object, constructor: unknown): ((...args: never) => unknown) | string
}

/** Memory that is handed over instead of copied. */
export interface MemoryExtension {
  /** What stands for the memory of a buffer in the message's table of handles; undefined for any other buffer. */
  handleOf(buffer: ArrayBuffer): unknown
  /** The buffer at the other end. */
  open(entry: unknown): ArrayBuffer
}

/** What the codec is given beside the values. Each part that is missing refuses its kind of value. */
export interface Extensions {
  handle?: HandleExtension | undefined
  fn?: FunctionExtension | undefined
  instance?: InstanceExtension | undefined
  memory?: MemoryExtension | undefined
}
