/**
 * Writes one value as a message. One walk, in which every property is read once, so what is sent is what the value
 * was during the call; objects are numbered as they are met, and one that is met again becomes a reference. Kinds
 * beyond plain objects and arrays are in encode-builtins.ts, errors in error-values.ts.
 */

import { BufferTable, isBlob, isDetached, isResizable, maxByteLength } from './buffers.js'
import { viewTypeOf } from './classify.js'
import { encodeOther } from './encode-builtins.js'
import { SerializationError } from '../errors.js'
import type { Extensions, FunctionDescription, FunctionExtension } from './extensions.js'
import { BLOB_BYTES, BufferEntry, Flag, Kind, Tag, viewTypes } from './format.js'
import { Numbering } from './numbering.js'
import { adviceFor, Refusal } from './refusal.js'
import { shrink } from './scratch.js'
import { firstShape, fits, mayBeModule, MAX_KEYS, sameKeys, shapeOf, writerOf, type WriteShape } from './shapes.js'
import { isLatin1, LOOP_LIMIT } from './strings.js'

/** Counts messages, so that a shape knows whether its number is of this one. */
let messages = 0
const nothingMore: Extensions = {}
const noBytes: readonly Uint8Array[] = []
const noPieces: readonly ArrayBuffer[] = []

export class Encoder extends Numbering {
  kind = 0
  /** Where in the scratch area the message begins. */
  protected start = 0
  /** Its bytes. */
  length = 0
  /** Large buffers, to stand beside the message in this order; the native part copies them. */
  blobs: Uint8Array[] = noBytes as Uint8Array[]
  handles: unknown[] = []
  pieces: ArrayBuffer[] = noPieces as ArrayBuffer[]
  extensions = nothingMore

  private message = 0
  private shapes = 0
  private lastShape = firstShape
  private buffers: BufferTable | null = null
  private needs: Set<string> | null = null

  /** Encodes a value from that place in the area on. */
  encode(value: unknown, extensions: Extensions, start = 0): void {
    this.rewind(start)
    this.start = start
    if (start > this.limit) this.reserve(0)
    if (typeof value === 'object') {
      if (value === null) {
        this.bare(Kind.Null, 0)
        return
      }
      this.extensions = extensions
      if ((ArrayBuffer.isView(value) || value instanceof ArrayBuffer) && this.encodeBytes(value)) return
    } else if (this.encodePrimitive(value)) return
    this.extensions = extensions
    this.encodeGraph(value)
  }

  /** A value that is the whole message; false if it is of a kind that needs a tag. */
  private encodePrimitive(value: unknown): boolean {
    if (typeof value === 'number') {
      const int = value | 0
      if (int === value && (int !== 0 || 1 / value > 0)) {
        this.view.setInt32(this.start, int, true)
        this.bare(Kind.Int32, 4)
      } else {
        this.view.setFloat64(this.start, value, true)
        this.bare(Kind.Float64, 8)
      }
    } else if (typeof value === 'string') this.encodeString(value)
    else if (value === undefined) this.bare(Kind.Undefined, 0)
    else if (typeof value === 'boolean') this.bare(value ? Kind.True : Kind.False, 0)
    else if (typeof value === 'bigint' && BigInt.asIntN(64, value) === value) {
      this.view.setBigInt64(this.start, value, true)
      this.bare(Kind.BigInt64, 8)
    } else return false
    return true
  }

  /** Lets go of everything that the message held, and of much memory. */
  reset(): void {
    this.letGo()
    shrink(this.memory)
  }

  /** Lets go of everything that the message held. */
  protected letGo(): void {
    if (this.blobs.length > 0) this.blobs = noBytes as Uint8Array[]
    if (this.handles.length > 0) this.handles = []
    if (this.pieces.length > 0) this.pieces = noPieces as ArrayBuffer[]
    // They know the functions of the message.
    if (this.extensions !== nothingMore) this.extensions = nothingMore
  }

  private bare(kind: number, length: number): void {
    this.kind = kind
    this.length = length
  }

  private encodeString(text: string): void {
    const { length } = text
    this.reserve(length * 2)
    const { bytes, start } = this
    if (length <= LOOP_LIMIT) {
      let i = 0
      for (; i < length; i += 1) {
        const unit = text.charCodeAt(i)
        if (unit > 255) break
        bytes[start + i] = unit
      }
      if (i === length) {
        this.bare(Kind.Latin1, length)
        return
      }
    } else if (isLatin1(text)) {
      this.bare(Kind.Latin1, bytes.write(text, start, length, 'latin1'))
      return
    }
    this.bare(Kind.Utf16, bytes.write(text, start, length * 2, 'utf16le'))
  }

  /** A view or ArrayBuffer that is the whole message; false if it is of a kind that needs more than its bytes. */
  private encodeBytes(value: ArrayBufferView | ArrayBuffer): boolean {
    const isView = ArrayBuffer.isView(value)
    const buffer = isView ? value.buffer : value
    const prototype = Object.getPrototypeOf(value) as object
    if (!(buffer instanceof ArrayBuffer) || isResizable(buffer)) return false
    if (this.extensions.memory?.handleOf(buffer) !== undefined) return false
    const type = isView ? viewTypes.findIndex(entry => entry.prototype === prototype) : prototype === ArrayBuffer.prototype ? 0 : -1
    if (type < 0 || isDetached(buffer)) return false
    const bytes = isView ? new Uint8Array(buffer, value.byteOffset, value.byteLength) : new Uint8Array(buffer)
    if (bytes.length >= BLOB_BYTES) {
      this.blobs = [bytes]
      this.bare(Kind.Bytes + type, 0)
    } else {
      this.copy(bytes)
      this.bare(Kind.Bytes + type, bytes.length)
    }
    return true
  }

  private encodeGraph(value: unknown): void {
    this.message = messages += 1
    this.shapes = 0
    this.flags = 0
    try {
      const guess = this.lastShape.next
      if (guess === null || !this.writeCompiled(value as object, guess)) this.write(value)
      if (this.needs !== null || (this.flags & Flag.Buffers) !== 0) this.writeSections()
    } finally {
      this.forgetNumbers()
      this.buffers?.clear()
      this.needs = null
    }
    this.kind = Kind.Graph + this.flags
    this.length = this.at - this.start
  }

  /** Writes any value where the cursor is. */
  write(value: unknown): void {
    if (this.at > this.limit) this.reserve(0)
    // Not a switch: only a comparison with a constant is compiled without making the name of the type.
    if (typeof value === 'number') this.writeNumber(value)
    else if (typeof value === 'string') this.writeString(value)
    else if (typeof value === 'object') {
      if (value === null) this.bytes[this.at++] = Tag.Null
      else this.writeObject(value)
    } else if (typeof value === 'boolean') this.bytes[this.at++] = value ? Tag.True : Tag.False
    else if (value === undefined) this.bytes[this.at++] = Tag.Undefined
    else this.writeRare(value)
  }

  private writeRare(value: unknown): void {
    if (typeof value === 'bigint') this.writeBigInt(value)
    else if (typeof value !== 'function') throw new Refusal(value, adviceFor(value))
    else if (!this.writeReference(value)) this.writeFunction(value as (...args: never) => unknown)
  }

  private writeObject(value: object): void {
    if (this.writeReference(value)) return
    const prototype = Object.getPrototypeOf(value) as object | null
    if (prototype === Object.prototype) this.writeProperties(value)
    else if (prototype === Array.prototype && Array.isArray(value)) this.writeArray(value)
    else encodeOther(this, value, prototype)
  }

  /** Writes the outermost object if it is of that shape, and the shape is worth it. */
  private writeCompiled(value: object, guess: WriteShape): boolean {
    const write = writerOf(guess)
    return write !== null && typeof value === 'object' && write(this, value, guess)
  }

  beginShape(shape: WriteShape): void {
    this.lastShape = shape
    this.writeShape(shape, shape.words!)
  }

  writeChecked(value: number): void {
    if (this.at > this.limit) this.reserve(0)
    this.writeNumber(value)
  }

  writeFirstArray(value: readonly unknown[], root: object): boolean {
    if (this.at > this.limit) this.reserve(0)
    return this.writeArray(value, root)
  }

  /** Own enumerable string-keyed properties, as structured clone takes them. */
  writeProperties(value: object): void {
    const guess = this.lastShape.next
    if (guess?.usual === true && fits(value, guess.keys)) this.writeGuessed(value, guess)
    else this.writeUnknown(value)
  }

  /** Properties that were just found to be those of a shape. Each is read once, whatever getters do to the object meanwhile. */
  private writeGuessed(value: object, shape: WriteShape): void {
    const { keys } = shape
    let i = 0
    for (const key in value) {
      if (key !== keys[i]) break
      const item = (value as Record<string, unknown>)[key]
      if (i === 0) {
        if (typeof item === 'function' && this.writeNamed(value)) return
        this.lastShape = shape
        this.writeShape(shape, shape.words!)
      }
      i += 1
      this.write(item)
    }
    if (i < keys.length) this.writeRest(value, shape, i)
  }

  /** The properties from one on that is not there any more, or not where it was. */
  private writeRest(value: object, shape: WriteShape, from: number): void {
    if (from === 0) {
      this.lastShape = shape
      this.writeShape(shape, shape.words!)
    }
    for (let i = from; i < shape.keys.length; i += 1) this.write((value as Record<string, unknown>)[shape.keys[i]!])
  }

  private writeUnknown(value: object): void {
    const keys = Object.keys(value)
    const first = keys.length > 0 ? (value as Record<string, unknown>)[keys[0]!] : undefined
    // Objects that every process has are told by what they look like, so that other objects are not looked up:
    // modules of Node begin with a function, or are long and begin in a way of their own; `Math` and its like show no
    // property but have a tag.
    const mayBeNamed = keys.length > 0 ? typeof first === 'function' || mayBeModule(keys) : (value as { [Symbol.toStringTag]?: unknown })[Symbol.toStringTag] !== undefined
    if (mayBeNamed && this.writeNamed(value)) return
    this.writeFrom(first, value, keys)
  }

  writeKeyed(value: object, keys: readonly string[]): void {
    this.writeFrom(keys.length > 0 ? (value as Record<string, unknown>)[keys[0]!] : undefined, value, keys)
  }

  /** The properties with these keys; the first one has been read already, and no property is read twice. */
  private writeFrom(first: unknown, value: object, keys: readonly string[]): void {
    if (keys.length <= MAX_KEYS) {
      const last = this.lastShape
      let shape = last.next
      if (shape === null || !sameKeys(shape, keys)) last.next = shape = shapeOf(keys)
      this.lastShape = shape
      if (shape.words !== null) {
        this.writeShape(shape, shape.words)
        const known = shape.keys
        if (known.length === 0) return
        this.write(first)
        for (let i = 1; i < known.length; i += 1) this.write((value as Record<string, unknown>)[known[i]!])
        return
      }
    }
    this.bytes[this.at++] = Tag.Object
    this.writeVaruint(keys.length)
    for (let i = 0; i < keys.length; i += 1) {
      this.reserve(0)
      this.writeString(keys[i]!)
      this.write(i === 0 ? first : (value as Record<string, unknown>)[keys[i]!])
    }
  }

  private writeShape(shape: WriteShape, words: Int32Array): void {
    if (shape.message === this.message) {
      if (shape.id < 16) this.bytes[this.at++] = Tag.ShortShape + shape.id
      else {
        this.bytes[this.at++] = Tag.Shape
        this.writeVaruint(shape.id)
      }
      return
    }
    shape.message = this.message
    shape.id = this.shapes
    this.shapes += 1
    this.writeWords(words, shape.size)
  }

  /** @param root An object around it, when neither of the two has its number yet. The result is true if that is still so. */
  writeArray(value: readonly unknown[], root: object | null = null): boolean {
    let unnumbered = root
    // Named properties of an array are looked for only where a match of a regular expression has some: the list of
    // an array's keys costs more than the array.
    const named = (value as { index?: unknown }).index !== undefined
    if (named) this.bytes[this.at++] = Tag.NamedArray
    const { length } = value
    if (length < 16) this.bytes[this.at++] = Tag.ShortArray + length
    else {
      this.bytes[this.at++] = Tag.Array
      this.writeVaruint(length)
    }
    for (let i = 0; i < length; i += 1) {
      const item = value[i]
      // Fractions are written here, where they need not become objects on the heap to be passed on.
      if (typeof item === 'number' && (item | 0) !== item) {
        if (this.at > this.limit) this.reserve(0)
        this.bytes[this.at++] = Tag.Float64
        this.writeFloat64(item)
        continue
      }
      if (unnumbered !== null && typeof item !== 'number' && typeof item !== 'string') {
        this.registerBoth(unnumbered, value)
        unnumbered = null
      }
      if (item === undefined && !Object.hasOwn(value, i)) {
        if (length - i > 64) {
          this.writeSparse(value, i, length)
          break
        }
        this.reserve(0)
        this.bytes[this.at++] = Tag.Hole
      } else this.write(item)
    }
    if (named) {
      if (unnumbered !== null) {
        this.registerBoth(unnumbered, value)
        unnumbered = null
      }
      this.writeKeyed(value, Object.keys(value).filter(key => !isIndex(key)))
    }
    return unnumbered !== null
  }

  /** The rest of an array with holes: what exists, by index, so that a length of a billion costs nothing. */
  private writeSparse(value: readonly unknown[], from: number, length: number): void {
    const indices = Object.keys(value).filter(isIndex).map(Number).filter(index => index >= from && index < length)
    this.reserve(0)
    this.bytes[this.at++] = Tag.SparseRest
    this.writeVaruint(indices.length)
    for (const index of indices) {
      this.reserve(0)
      this.writeVaruint(index)
      this.write(value[index])
    }
  }

  private writeFunction(fn: (...args: never) => unknown): void {
    const extension = this.extensions.fn
    if (extension === undefined) throw new Refusal(fn, adviceFor(fn))
    this.writeDescription(describe(extension, fn))
  }

  /** Writes an object that every process has, as its name; false if it is none, or the message knows no functions. */
  writeNamed(value: object): boolean {
    const description = this.extensions.fn?.nameOf?.(value)
    if (description === undefined) return false
    this.writeDescription(description)
    return true
  }

  private writeDescription({ head, body, needs }: FunctionDescription): void {
    this.reserve(0)
    if (needs !== undefined && needs.length > 0) {
      this.needs ??= new Set()
      for (const url of needs) this.needs.add(url)
    }
    this.bytes[this.at++] = Tag.Function
    this.write(head)
    this.write(body)
  }

  /** A view or ArrayBuffer; its bytes follow in the table behind the value. */
  writeBuffer(value: ArrayBufferView | ArrayBuffer): void {
    const isView = ArrayBuffer.isView(value)
    const buffer = isView ? value.buffer : value
    if (!(buffer instanceof ArrayBuffer) && Object.prototype.toString.call(buffer) !== '[object ArrayBuffer]') {
      throw new Refusal(value, adviceFor(buffer))
    }
    if (isDetached(buffer as ArrayBuffer)) throw new Refusal(value, 'its memory was detached')
    this.buffers ??= new BufferTable()
    const type = isView ? viewTypeOf(value) : 0
    const { elementSize } = viewTypes[type]!
    const number = this.buffers.add(buffer as ArrayBuffer, isView ? value : null, elementSize)
    this.flags |= Flag.Buffers
    this.bytes[this.at++] = isView ? Tag.View : Tag.ArrayBuffer
    if (isView) this.bytes[this.at++] = type
    this.writeVaruint(number)
    if (isView) {
      this.writeVaruint(value.byteOffset)
      this.writeVaruint(value.byteLength / elementSize)
    }
  }

  writeHandle(value: object): void {
    const index = this.handles.push(this.extensions.handle!.toHandle(value)) - 1
    this.bytes[this.at++] = Tag.Handle
    this.writeVaruint(index)
  }

  writeDate(time: number): void {
    this.bytes[this.at++] = Tag.Date
    this.writeFloat64(time)
  }

  /** What stands behind the value: buffers, then modules, then where each begins. */
  private writeSections(): void {
    let buffersAt = 0
    let needsAt = 0
    if ((this.flags & Flag.Buffers) !== 0) {
      buffersAt = this.at
      this.writeBuffers(this.buffers!)
    }
    if (this.needs !== null) {
      this.flags |= Flag.Needs
      needsAt = this.at
      this.writeVaruint(this.needs.size)
      for (const url of this.needs) this.writeString(url)
    }
    this.reserve(0)
    if ((this.flags & Flag.Needs) !== 0) this.writePlace(needsAt)
    if ((this.flags & Flag.Buffers) !== 0) this.writePlace(buffersAt)
  }

  private writePlace(place: number): void {
    this.view.setUint32(this.at, place - this.start, true)
    this.at += 4
  }

  private writeBuffers({ stretches }: BufferTable): void {
    this.reserve(0)
    this.writeVaruint(stretches.length)
    for (const stretch of stretches) {
      this.reserve(0)
      const bytes = new Uint8Array(stretch.buffer, stretch.start, stretch.end - stretch.start)
      const memory = this.extensions.memory?.handleOf(stretch.buffer)
      if (memory !== undefined) {
        if (this.pieces.length === 0) this.pieces = []
        this.pieces.push(stretch.buffer)
        this.bytes[this.at++] = BufferEntry.Memory
        // Of the whole buffer.
        this.writeVaruint(0)
        this.writeVaruint(this.handles.push(memory) - 1)
      } else if (stretch.alias >= 0) {
        this.bytes[this.at++] = BufferEntry.Alias
        // The one that took this one over may have been taken over since.
        let home = stretch.alias
        while (stretches[home]!.alias >= 0) home = stretches[home]!.alias
        this.writeVaruint(home)
      } else if (isBlob(stretch)) {
        if (this.blobs.length === 0) this.blobs = []
        this.bytes[this.at++] = BufferEntry.Blob
        this.writeVaruint(stretch.start)
        this.writeVaruint(this.blobs.push(bytes) - 1)
      } else {
        const resizable = isResizable(stretch.buffer)
        this.bytes[this.at++] = resizable ? BufferEntry.Resizable : BufferEntry.Inline
        this.writeVaruint(stretch.start)
        if (resizable) this.writeVaruint(maxByteLength(stretch.buffer))
        this.writeVaruint(bytes.length)
        this.copy(bytes)
      }
    }
  }
}

/** What an extension says of a function; an error of its own is kept, and gets the path to the function. */
function describe(extension: FunctionExtension, fn: (...args: never) => unknown): FunctionDescription {
  try {
    return extension.describe(fn)
  } catch (error) {
    throw error instanceof SerializationError ? new Refusal(fn, error.message, error) : error
  }
}

/** Whether a key is an array index. */
export function isIndex(key: string): boolean {
  const index = Number(key)
  return Number.isInteger(index) && index >= 0 && index < 0xffffffff && String(index) === key
}
