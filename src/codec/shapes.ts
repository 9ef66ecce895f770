/**
 * Shapes: lists of keys. A message names the keys of its first object of a shape and numbers the shape, so a
 * thousand rows name their columns once. Both sides remember shapes from message to message: the writer the bytes
 * that a list of keys becomes, the reader the list that a block of bytes stands for.
 *
 * A key block is: byte count of the rest (2 bytes), number of keys (1 byte), then each key as a string tag.
 */

import { MalformedError, Tag } from './format.js'
import { isLatin1, readLatin1, readUtf16 } from './strings.js'

/** More keys than this, or a longer block, and an object is written key by key. */
export const MAX_KEYS = 32
const MAX_BLOCK = 1024

/** A list of keys on the writing side. */
export interface WriteShape {
  readonly keys: readonly string[]
  /** What defines the shape in a message: its tag and its block, in words with zeros behind. Null if the block would be too long. */
  readonly words: Int32Array | null
  /** Bytes of the definition. */
  readonly size: number
  /** Whether an object of the shape can be written without looking at what else it might be. */
  readonly usual: boolean
  /** The message that gave it the number `id`. */
  message: number
  id: number
  /** The shape that was met after this one the last time: mostly the right guess. */
  next: WriteShape | null
  /** How often it was guessed; from {@link WORTH_COMPILING} on, `write` is compiled. */
  uses: number
  write: ShapeWriter | null
}

const WORTH_COMPILING = 16
/** False once the program turned out to forbid it (`--disallow-code-generation-from-strings`). */
let mayCompile = true

/** Compiles a function of quoted keys; null where that is not allowed. */
function compile(parameters: string, body: string): unknown {
  try {
    // eslint-disable-next-line @typescript-eslint/no-implied-eval -- the text holds nothing but quoted keys
    return new Function(parameters, body)
  } catch {
    mayCompile = false
    return null
  }
}

/** What a compiled shape needs of the encoder. */
export interface WriteTarget {
  /** Gives an object its number. */
  register(value: object): void
  writeNamed(value: object): boolean
  beginShape(shape: WriteShape): void
  writeChecked(value: number): void
  writeString(value: string): void
  /** Writes an array inside the root; true if neither has got a number, because nothing in the array can be an object. */
  writeFirstArray(value: unknown[], root: object): boolean
  write(value: unknown): void
}
/** Writes a plain object that has no number yet; false, and nothing was read, if it is not plain or not of the shape. */
type ShapeWriter = (to: WriteTarget, value: object, shape: WriteShape) => boolean

/**
 * A function that writes objects of the shape, for shapes that come often: in a function of their own the engine knows
 * what class of objects comes, and where their properties lie. The object, and the first array in it, are given numbers
 * only when there is a third that could be one of them: who has none need not be noted and forgotten. Null while it is not
 * worth it, or not allowed.
 */
export function writerOf(shape: WriteShape): ShapeWriter | null {
  if (shape.write !== null || shape.uses < 0) return shape.write
  shape.uses += 1
  if (shape.uses < WORTH_COMPILING || !mayCompile) return null
  // Never again for this shape, whatever comes of it.
  shape.uses = -1
  // Whoever has a property of that name is not told by it what its prototype is.
  if (!shape.usual || shape.keys.includes('__proto__')) return null
  const names = shape.keys.map(key => JSON.stringify(key))
  const writes = names.map((name, index) => `
    item = value[${name}]
    ${index > 0 ? '' : `if (typeof item === 'function') {
      registered = true
      to.register(value)
      if (to.writeNamed(value)) return true
    }
    to.beginShape(shape)`}
    if (typeof item === 'number') to.writeChecked(item)
    else if (typeof item === 'string') to.writeString(item)
    else if (!registered && array === null && Array.isArray(item) && item.constructor === Array) {
      if (to.writeFirstArray(item, value)) array = item
      else registered = true
    } else {
      if (!registered && item !== null && (typeof item === 'object' || typeof item === 'function')) {
        registered = true
        to.register(value)
        if (array !== null) to.register(array)
      }
      to.write(item)
    }`)
  // The prototype first: the keys of an array are as many strings as it is long.
  shape.write = compile('to, value, shape', `
    'use strict'
    if (value.__proto__ !== Object.prototype) return false
    const { keys } = shape
    let count = 0
    for (const key in value) {
      if (key !== keys[count] || !Object.prototype.hasOwnProperty.call(value, key)) return false
      count += 1
    }
    if (count !== keys.length) return false
    let item, array = null, registered = false
    ${writes.join('')}
    return true`) as ShapeWriter | null
  return shape.write
}

/** A tree of keys; the shape stands where its keys end. */
interface Node {
  readonly children: Map<string, Node>
  lastKey: string | null
  last: Node | null
  shape: WriteShape | null
}

/** Objects used as dictionaries would let the tree grow without end: it is thrown away at this size. */
const MAX_NODES = 8192
let nodes = 0
const newNode = (): Node => {
  nodes += 1
  return { children: new Map(), lastKey: null, last: null, shape: null }
}
let root = newNode()

/** The definition of a shape: tag and key block. */
function definitionOf(keys: readonly string[]): Buffer | null {
  let size = 4
  for (const key of keys) size += 3 + key.length * 2
  if (size > MAX_BLOCK) return null
  const block = Buffer.alloc(size)
  block[0] = Tag.DefineShape
  let at = 4
  for (const key of keys) {
    if (isLatin1(key)) {
      if (key.length < 32) block[at++] = Tag.ShortString + key.length
      else {
        block[at++] = Tag.Latin1
        block.writeUInt16LE(key.length, at)
        at += 2
      }
      at += block.write(key, at, 'latin1')
    } else {
      block[at++] = Tag.Utf16
      block.writeUInt16LE(key.length, at)
      at += 2
      at += block.write(key, at, 'utf16le')
    }
  }
  block.writeUInt16LE(at - 3, 1)
  block[3] = keys.length
  return block.subarray(0, at)
}

/** Bytes in little endian words, with zeros behind. */
function wordsOf(bytes: Buffer): Int32Array {
  const padded = Buffer.concat([bytes, Buffer.alloc(3)])
  return Int32Array.from({ length: Math.ceil(bytes.length / 4) }, (_, i) => padded.readInt32LE(i * 4))
}

/** What the modules of Node begin with that do not begin with a function: worker_threads, tls, constants. */
const MODULE_STARTS: ReadonlySet<string> = new Set(['isMainThread', 'CLIENT_RENEG_LIMIT', 'RTLD_LAZY'])

/** Whether an object with these keys may be one that every process has, going by the keys alone. */
export function mayBeModule(keys: readonly string[]): boolean {
  return keys.length > 12 && MODULE_STARTS.has(keys[0]!)
}

function newShape(keys: readonly string[]): WriteShape {
  const definition = definitionOf(keys)
  return {
    keys, size: definition?.length ?? 0,
    words: definition === null ? null : wordsOf(definition),
    usual: definition !== null && keys.length > 0 && !mayBeModule(keys),
    message: 0, id: 0, next: null, uses: 0, write: null,
  }
}

/** Before the first shape that there is. */
export const firstShape: WriteShape = newShape([])

/** The shape with exactly these keys in this order. At most {@link MAX_KEYS}. */
export function shapeOf(keys: readonly string[]): WriteShape {
  if (nodes > MAX_NODES) {
    nodes = 0
    root = newNode()
  }
  let node = root
  for (const key of keys) {
    if (node.lastKey === key) {
      node = node.last!
      continue
    }
    let child = node.children.get(key)
    if (child === undefined) {
      child = newNode()
      node.children.set(key, child)
    }
    node.lastKey = key
    node.last = child
    node = child
  }
  return (node.shape ??= newShape(keys))
}

// Not Object.hasOwn: inside a loop over an object the engine drops a call of this one.
// eslint-disable-next-line @typescript-eslint/unbound-method -- it is called with a receiver
const { hasOwnProperty } = Object.prototype

/**
 * Whether these are the object's own enumerable keys in their order. A loop over an object is the one form in which the
 * engine remembers for a class of objects where its properties lie: a list of its keys costs more, and so does reading by them.
 */
export function fits(value: object, keys: readonly string[]): boolean {
  let i = 0
  for (const key in value) {
    if (key !== keys[i] || !hasOwnProperty.call(value, key)) return false
    i += 1
  }
  return i === keys.length
}

/** Whether the shape has exactly these keys. */
export function sameKeys(shape: WriteShape, keys: readonly string[]): boolean {
  const known = shape.keys
  if (known.length !== keys.length) return false
  for (let i = 0; i < keys.length; i += 1) if (known[i] !== keys[i]) return false
  return true
}

/** A list of keys on the reading side. */
export interface ReadShape {
  readonly keys: readonly string[]
  readonly block: Uint8Array
  /** The block without the last few bytes that fill no word. */
  readonly words: Int32Array
  /** Its place among the shapes that are known. */
  readonly slot: number
  /** The place of the shape that was read after this one the last time: mostly the right guess. */
  next: number
  /** How often it was read; from {@link WORTH_COMPILING} on, `make` is compiled. */
  uses: number
  make: Maker | null
}

/** What a compiled shape needs of the decoder. */
export interface ShapeReader {
  read(): unknown
  /** Whether the object that is read next gets another prototype. */
  isAdopting(): boolean
  settle<T extends object>(place: number, value: T): T
}
type Maker = (from: ShapeReader, place: number) => object

/**
 * A function that makes objects of the shape, for shapes that come often: assigning by a key that is only known at
 * run time costs more than everything else that reading an object takes. Null while it is not worth it, or not allowed.
 */
export function makerOf(shape: ReadShape): Maker | null {
  if (shape.make !== null || shape.uses < 0) return shape.make
  shape.uses += 1
  if (shape.uses < WORTH_COMPILING || !mayCompile) return null
  // Never again for this shape, whatever comes of it; in a literal `__proto__` would be the prototype.
  shape.uses = -1
  if (shape.keys.includes('__proto__')) return null
  const names = shape.keys.map(key => JSON.stringify(key))
  // What refers to the object needs it before its properties are read; else it is made of them, in one piece.
  const blank = names.map(name => `${name}: undefined`).join(', ')
  const reads = names.map(name => `object[${name}] = from.read();`).join('\n')
  const locals = names.map((_, index) => `const v${index} = from.read();`).join('\n')
  const whole = names.map((name, index) => `${name}: v${index}`).join(', ')
  shape.make = compile('from, place', `
    if (place !== -1 || from.isAdopting()) {
      const object = from.settle(place, { ${blank} })
      ${reads}
      return object
    }
    ${locals}
    return { ${whole} }`) as Maker | null
  return shape.make
}

const KNOWN = 512
const known: (ReadShape | undefined)[] = new Array<ReadShape | undefined>(KNOWN).fill(undefined)

/** The shape that mostly comes after that one, if it is what starts at `start` and ends before `end`. */
export function guessShape(after: ReadShape, bytes: Buffer, view: DataView, start: number, end: number): ReadShape | null {
  const guess = known[after.next]
  if (guess === undefined) return null
  const { block, words } = guess
  const { length } = block
  if (start + length > end) return null
  let i = 0
  for (; i < words.length; i += 1) if (view.getInt32(start + i * 4, true) !== words[i]) return null
  for (i *= 4; i < length; i += 1) if (bytes[start + i] !== block[i]) return null
  return guess
}

/** Reads a key block that starts at `start` and ends before `end`; its length is that of `block`. */
export function readShape(bytes: Buffer, start: number, end: number): ReadShape {
  const length = 2 + (bytes[start]! | (bytes[start + 1]! << 8))
  if (!(length >= 3 && length <= MAX_BLOCK && start + length <= end)) throw new MalformedError('a key block does not end')
  let hash = length
  for (let i = 2; i < length; i += 1) hash = (Math.imul(hash, 31) + bytes[start + i]!) | 0
  const slot = (hash ^ (hash >>> 13)) & (KNOWN - 1)
  const guess = known[slot]
  if (guess?.block.length === length) {
    const block = guess.block
    let i = 0
    while (i < length && block[i] === bytes[start + i]) i += 1
    if (i === length) return guess
  }
  return (known[slot] = parse(bytes, start, start + length, slot))
}

function parse(bytes: Buffer, start: number, end: number, slot: number): ReadShape {
  const keys: string[] = []
  let at = start + 3
  for (let count = bytes[start + 2]!; count > 0; count -= 1) {
    const tag = bytes[at++]!
    let length: number
    if (tag >= Tag.ShortString && tag < Tag.ShortArray) length = tag - Tag.ShortString
    else {
      if (tag !== Tag.Latin1 && tag !== Tag.Utf16) throw new MalformedError('a key is not a string')
      length = bytes[at]! | (bytes[at + 1]! << 8)
      at += 2
    }
    const size = tag === Tag.Utf16 ? length * 2 : length
    if (!(at + size <= end)) throw new MalformedError('a key does not end')
    keys.push(tag === Tag.Utf16 ? readUtf16(bytes, at, length) : readLatin1(bytes, at, length))
    at += size
  }
  if (at !== end) throw new MalformedError('a key block is too long')
  const block = Buffer.from(bytes.subarray(start, end))
  return { keys, block: new Uint8Array(block), words: wordsOf(block).subarray(0, block.length >> 2), slot, next: slot, uses: 0, make: null }
}
