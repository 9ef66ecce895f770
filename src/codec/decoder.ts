/**
 * Reads a message back into a value. The bytes are not trusted: every count is checked against the bytes that are
 * left before anything of that size is made, every place against its table, `__proto__` is defined and never
 * assigned; what does not fit throws. Kinds beyond plain objects and arrays are in decode-builtins.ts.
 */

import { decodeOther } from './decode-builtins.js'
import type { Extensions } from './extensions.js'
import { BufferEntry, Flag, Kind, MalformedError, Tag, viewTypes } from './format.js'
import { makeResizable } from './buffers.js'
import { guessShape, makerOf, readShape, type ReadShape, type ShapeReader } from './shapes.js'
import { readLatin1, readUtf16 } from './strings.js'

// The tags that most values have, as constants of the module: a compiler folds these, and not the properties of an object.
const { ShortString: SHORT_STRING, ShortArray: SHORT_ARRAY, ShortShape: SHORT_SHAPE, Undefined: UNDEFINED, Float64: FLOAT64 } = Tag
const { Hole: HOLE, SparseRest: SPARSE_REST } = Tag

/** So many shapes stay in the decoder's list after a message. */
const KEPT_SHAPES = 256
/** In place of an object that is announced but not made yet. */
const PENDING = Symbol('pending')
/** In the place of an instance whose class is being read. */
const COMING = Symbol('coming')
const nothingMore: Extensions = {}
const nothing: readonly never[] = []
const empty = Buffer.alloc(0)
const noView = new DataView(new ArrayBuffer(0))

/** Arrays of fractions by their length, up to the longest that is written with one tag. */
const seeds: readonly (readonly number[])[] = Array.from({ length: 16 }, (_, length) => Array.from({ length }, () => 0.5))

export class Decoder implements ShapeReader {
  extensions!: Extensions
  handles: readonly unknown[] = nothing
  private blobs: readonly ArrayBuffer[] = nothing
  private bytes: Buffer = empty
  private view: DataView = noView
  private at = 0
  private end = 0
  private tracking = false
  private places: unknown[] = []
  /** Those of this message are the first so many; the rest are left from others. */
  private readonly shapes: ReadShape[] = []
  private shapeCount = 0
  /** The shape that was defined last, in this message or one before. */
  private lastShape: ReadShape | null = null
  private buffers: (ArrayBuffer | number)[] = []
  private starts: number[] = []
  /** Place and prototype for the next object, whose class came first; -1 for none. */
  private adoptPlace = -1
  private adoptPrototype: object | null = null

  /** Points the decoder at the bytes from `start` to `end`. */
  open(bytes: Buffer, start: number, end: number): void {
    if (bytes !== this.bytes) {
      this.bytes = bytes
      this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    }
    if (!(start >= 0 && start <= end && end <= bytes.length)) throw new MalformedError('the message is outside its memory')
    this.at = start
    this.end = end
  }

  /** Reads a graph message. */
  decode(flags: number, handles: readonly unknown[], blobs: readonly ArrayBuffer[], extensions: Extensions): unknown {
    const start = this.at
    this.handles = handles
    this.blobs = blobs
    this.extensions = extensions
    this.tracking = (flags & Flag.Shared) !== 0
    this.adoptPrototype = null
    // The value ends where the first of the sections behind it begins.
    let bodyEnd = (flags & Flag.Needs) !== 0 ? this.needsPlace(flags, start) : this.end
    if ((flags & Flag.Buffers) !== 0) {
      const placeAt = this.end - 4
      bodyEnd = this.placeAt(placeAt, start)
      this.readBuffers(bodyEnd, placeAt)
    }
    this.at = start
    this.end = bodyEnd
    const value = this.read()
    if (this.at !== bodyEnd) throw new MalformedError('the message does not end with its value')
    return value
  }

  /** The modules that a message wants loaded before it is read. */
  needs(flags: number): string[] {
    if ((flags & Flag.Needs) === 0) return []
    const place = this.needsPlace(flags, this.at)
    this.at = place
    const needs: string[] = []
    for (let count = this.readCount(1); count > 0; count -= 1) {
      const url = this.read()
      if (typeof url !== 'string') throw new MalformedError('a module has no name')
      needs.push(url)
    }
    return needs
  }

  /** Lets go of everything that the message held. */
  reset(): void {
    // A new array costs a few words, setting the length of one a call into the engine.
    this.handles = nothing
    this.blobs = nothing
    this.extensions = nothingMore
    if (this.places.length > 0) this.places = []
    this.shapeCount = 0
    if (this.shapes.length > KEPT_SHAPES) this.shapes.length = KEPT_SHAPES
    if (this.buffers.length > 0) {
      this.buffers = []
      this.starts = []
    }
  }

  private needsPlace(flags: number, start: number): number {
    return this.placeAt(this.end - ((flags & Flag.Buffers) !== 0 ? 8 : 4), start)
  }

  private placeAt(at: number, start: number): number {
    if (at < start) throw new MalformedError('the message is too short')
    const place = start + this.view.getUint32(at, true)
    if (place > at) throw new MalformedError('a section is outside the message')
    return place
  }

  /** Reads any value. */
  read(): unknown {
    const tag = this.readByte()
    if (tag < SHORT_STRING) return tag
    if (tag === FLOAT64) return this.readFloat64()
    if (tag < SHORT_ARRAY) return this.readLatin1(tag - SHORT_STRING)
    if (tag < SHORT_SHAPE) return this.readArray(tag - SHORT_ARRAY)
    if (tag < UNDEFINED) return this.readShaped(this.shapeAt(tag - SHORT_SHAPE))
    switch (tag) {
      case Tag.Undefined: return undefined
      case Tag.Null: return null
      case Tag.False: return false
      case Tag.True: return true
      case Tag.Int8: this.take(1); return this.view.getInt8(this.at - 1)
      case Tag.Int16: this.take(2); return this.view.getInt16(this.at - 2, true)
      case Tag.Int32: this.take(4); return this.view.getInt32(this.at - 4, true)
      case Tag.Latin1: return this.readLatin1(this.readCount(1))
      case Tag.Utf16: {
        const units = this.readCount(2)
        this.take(units * 2)
        return readUtf16(this.bytes, this.at - units * 2, units)
      }
      case Tag.BigInt64: this.take(8); return this.view.getBigInt64(this.at - 8, true)
      case Tag.BigInt: {
        const negative = this.readByte() !== 0
        const digits = this.readLatin1(this.readCount(1))
        const value = BigInt(`0x${digits}`)
        return negative ? -value : value
      }
      case Tag.Array: return this.readArray(this.readVaruint())
      case Tag.DefineShape:
      case Tag.Shape:
      case Tag.Object: return this.readObject(tag)
      case Tag.NullObject: return this.readInto(this.settle(this.reserve(), Object.create(null) as object))
      case Tag.Reference: {
        const place = this.readVaruint()
        const value = this.places[place]
        if (value === undefined) throw new MalformedError('a reference leads nowhere')
        // A class that leads back to its instance gets the instance before it has its prototype.
        if (value === COMING) return this.places[place] = {}
        if (value === PENDING) throw new MalformedError('a value is needed to make itself')
        return value
      }
      default: return decodeOther(this, tag)
    }
  }

  readByte(): number {
    if (this.at >= this.end) throw new MalformedError('the message ends too early')
    return this.bytes[this.at++]!
  }

  readVaruint(): number {
    let byte = this.readByte()
    if (byte < 0x80) return byte
    let value = byte & 0x7f
    for (let factor = 128; factor < 2 ** 53; factor *= 128) {
      byte = this.readByte()
      value += (byte & 0x7f) * factor
      if (byte < 0x80) return value
    }
    throw new MalformedError('a number is too long')
  }

  /** A count of things of at least `size` bytes each, which must still be there. */
  readCount(size: number): number {
    const count = this.readVaruint()
    if (count * size > this.end - this.at) throw new MalformedError('a count is larger than the message')
    return count
  }

  readFloat64(): number {
    this.take(8)
    return this.view.getFloat64(this.at - 8, true)
  }

  /** Moves over `size` bytes, which must be there. */
  private take(size: number): void {
    this.at += size
    if (this.at > this.end) throw new MalformedError('the message ends too early')
  }

  private readLatin1(length: number): string {
    this.take(length)
    return readLatin1(this.bytes, this.at - length, length)
  }

  /** The place of the object that is read next, in the order in which the writer met them. */
  reserve(): number {
    if (this.adoptPrototype !== null) return this.adoptPlace
    return this.tracking ? this.places.push(PENDING) - 1 : -1
  }

  /** Puts an object in its place, from where references find it. */
  settle<T extends object>(place: number, value: T): T {
    if (this.adoptPrototype !== null) {
      Object.setPrototypeOf(value, this.adoptPrototype)
      this.adoptPrototype = null
    }
    if (place >= 0) this.places[place] = value
    return value
  }

  /** An instance will stand at a place: what refers to it while its class is read gets it without a class. */
  announce(place: number): void {
    if (place >= 0) this.places[place] = COMING
  }

  /** The instance for a place, now that its prototype is known. */
  anticipated(place: number, prototype: object): object {
    const early = place >= 0 ? this.places[place] : COMING
    return early === COMING ? Object.create(prototype) as object : Object.setPrototypeOf(early, prototype) as object
  }

  /** Reads a value of a built-in kind into an object of the class with that prototype, at that place. */
  readAdopted(place: number, prototype: object): object {
    this.adoptPlace = place
    this.adoptPrototype = prototype
    const value = this.read()
    if (this.isAdopting() || typeof value !== 'object' || value === null) {
      throw new MalformedError('a class extends nothing')
    }
    return value
  }

  /** Asked by a call, since the type checker does not see that reading changes it. */
  isAdopting(): boolean {
    return this.adoptPrototype !== null
  }

  private readArray(length: number): unknown[] {
    // The length may be far more than the elements that are there, so nothing is made for it: the bytes end the loop.
    if (length > 0xffffffff) throw new MalformedError('an array is too long')
    const place = this.reserve()
    if (length < seeds.length && this.areFractions(length)) return this.settle(place, this.readFractions(length))
    const array: unknown[] = []
    this.settle(place, array)
    for (let i = 0; i < length; i += 1) {
      const next = this.bytes[this.at]
      // Numbers are read here, where they need not become objects on the heap to be returned.
      if (next === FLOAT64) {
        this.readByte()
        array.push(this.readFloat64())
      } else if (next === HOLE) {
        this.readByte()
        array.length = i + 1
      } else if (next === SPARSE_REST) {
        this.readByte()
        this.readSparse(array, length)
        break
      } else array.push(this.read())
    }
    return array
  }

  /** Whether nothing but fractions follows, so many; false for none. */
  private areFractions(length: number): boolean {
    const { bytes, at } = this
    if (at + length * 9 > this.end) return false
    for (let i = 0; i < length; i += 1) if (bytes[at + i * 9] !== FLOAT64) return false
    return length > 0
  }

  /** An array made in its size: one that grows has room for more than a dozen from the first element on. */
  private readFractions(length: number): number[] {
    const array = seeds[length]!.slice()
    const { view, at } = this
    for (let i = 0; i < length; i += 1) array[i] = view.getFloat64(at + i * 9 + 1, true)
    this.at = at + length * 9
    return array
  }

  private shapeAt(id: number): ReadShape {
    const shape = this.shapes[id]
    if (shape === undefined || id >= this.shapeCount) throw new MalformedError('a shape is used before it is defined')
    return shape
  }

  private readShaped(shape: ReadShape): object {
    const place = this.reserve()
    const made = makerOf(shape)?.(this, place)
    if (made !== undefined) return made
    const target: Record<string, unknown> = this.settle(place, {})
    for (const key of shape.keys) {
      if (key === '__proto__') defineOwn(target, key, this.read())
      else target[key] = this.read()
    }
    return target
  }

  /** A plain object in any of the forms without a number of their own. */
  private readObject(tag: number): object {
    const shape = this.shapeFor(tag)
    if (shape !== null) return this.readShaped(shape)
    const target = this.settle(this.reserve(), {})
    for (let count = this.readCount(2); count > 0; count -= 1) defineOwn(target, this.readKey(), this.read())
    return target
  }

  /** The shape of an object with that tag, or null where keys and values alternate. */
  private shapeFor(tag: number): ReadShape | null {
    if (tag === Tag.Object) return null
    if (tag === Tag.Shape) return this.shapeAt(this.readVaruint())
    if (tag >= Tag.ShortShape && tag < Tag.Undefined) return this.shapeAt(tag - Tag.ShortShape)
    if (tag !== Tag.DefineShape) throw new MalformedError('properties are missing')
    const last = this.lastShape
    let shape = last === null ? null : guessShape(last, this.bytes, this.view, this.at, this.end)
    if (shape === null) {
      shape = readShape(this.bytes, this.at, this.end)
      if (last !== null) last.next = shape.slot
    }
    this.lastShape = shape
    this.at += shape.block.length
    this.shapes[this.shapeCount++] = shape
    return shape
  }

  private readKey(): string {
    const key = this.read()
    if (typeof key !== 'string') throw new MalformedError('a key is not a string')
    return key
  }

  /** Moves over an `undefined` if it is what follows. */
  nextIsUndefined(): boolean {
    if (this.bytes[this.at] !== Tag.Undefined || this.at >= this.end) return false
    this.at += 1
    return true
  }

  /** Reads properties into an object that may have a class: own properties, whatever setters the class has. */
  readInto<T extends object>(target: T): T {
    const shape = this.shapeFor(this.readByte())
    if (shape !== null) {
      for (const key of shape.keys) defineOwn(target, key, this.read())
      return target
    }
    for (let count = this.readCount(2); count > 0; count -= 1) defineOwn(target, this.readKey(), this.read())
    return target
  }

  private readBuffers(place: number, end: number): void {
    const bodyEnd = this.end
    this.at = place
    this.end = end
    for (let count = this.readCount(2); count > 0; count -= 1) {
      const entry = this.readByte()
      const start = this.readVaruint()
      this.starts.push(start)
      if (entry === BufferEntry.Alias) {
        this.buffers.push(start)
      } else if (entry === BufferEntry.Blob) {
        const blob = this.blobs[this.readVaruint()]
        if (blob === undefined) throw new MalformedError('a buffer is missing')
        this.buffers.push(blob)
      } else if (entry === BufferEntry.Memory) {
        const handle = this.handles[this.readVaruint()]
        const { memory } = this.extensions
        if (handle === undefined || memory === undefined) throw new MalformedError('a piece of memory is missing')
        this.buffers.push(memory.open(handle))
      } else {
        const max = entry === BufferEntry.Resizable ? this.readVaruint() : -1
        const length = this.readCount(1)
        const buffer = max >= 0 ? makeResizable(length, max) : new ArrayBuffer(length)
        this.take(length)
        new Uint8Array(buffer).set(this.bytes.subarray(this.at - length, this.at))
        this.buffers.push(buffer)
      }
    }
    this.end = bodyEnd
  }

  /** The buffer with that number in the table, and where in its first home it began. */
  bufferAt(number: number): { buffer: ArrayBuffer; start: number } {
    const found = this.buffers[number]
    const target = typeof found === 'number' ? found : number
    const buffer = this.buffers[target]
    if (buffer === undefined || typeof buffer === 'number') throw new MalformedError('a buffer is missing')
    return { buffer, start: this.starts[target]! }
  }

  private readSparse(array: unknown[], length: number): void {
    // An index far beyond the end makes V8 keep the array as a dictionary; a length alone would make it reserve that much.
    if (length > array.length + 4096) {
      array[length - 1] = undefined
      Reflect.deleteProperty(array, length - 1)
    } else array.length = length
    for (let count = this.readCount(2); count > 0; count -= 1) {
      const index = this.readVaruint()
      if (index >= length) throw new MalformedError('an index is outside its array')
      array[index] = this.read()
    }
  }
}

/** Sets an own property without calling a setter or touching the prototype. */
function defineOwn(target: object, key: string, value: unknown): void {
  if (key in target) Object.defineProperty(target, key, { value, enumerable: true, writable: true, configurable: true })
  else (target as Record<string, unknown>)[key] = value
}

/** Reads a message that is one bare value; undefined means that the kind is not a bare one. */
export function decodeBare(kind: number, bytes: Buffer, start: number, end: number, blobs: readonly ArrayBuffer[]): unknown {
  const length = end - start
  const expect = (size: number): void => {
    if (length !== size) throw new MalformedError('the message has the wrong length')
  }
  switch (kind) {
    case Kind.Undefined: return undefined
    case Kind.Null: return null
    case Kind.False: return false
    case Kind.True: return true
    case Kind.Int32: expect(4); return bytes.readInt32LE(start)
    case Kind.Float64: expect(8); return bytes.readDoubleLE(start)
    case Kind.Latin1: return readLatin1(bytes, start, length)
    case Kind.Utf16:
      if (length % 2 !== 0) throw new MalformedError('the message has the wrong length')
      return readUtf16(bytes, start, length / 2)
    case Kind.BigInt64: expect(8); return bytes.readBigInt64LE(start)
  }
  const type = viewTypes[kind - Kind.Bytes]
  if (kind < Kind.Bytes || type === undefined) throw new MalformedError(`there is no kind ${kind} of message`)
  let buffer = blobs[0]
  if (buffer === undefined) {
    buffer = new ArrayBuffer(length)
    new Uint8Array(buffer).set(bytes.subarray(start, end))
  }
  if (kind === Kind.Bytes) return buffer
  if (buffer.byteLength % type.elementSize !== 0) throw new MalformedError('the message has the wrong length')
  return type.make(buffer, 0, buffer.byteLength / type.elementSize)
}
