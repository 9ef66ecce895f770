/**
 * The wire format: what the kind of a message says, and the tags of the values inside a `graph` message.
 * Integers are little endian; `varuint` is seven bits a byte, lowest first, at most 2^53 - 1. Both ends are
 * the same version of this package (the arena's layout version is checked on attaching), so the format
 * carries no version of its own.
 */

/** Kinds of message. Those below `Graph` hold one bare value, and their bytes are nothing but it. */
export const Kind = {
  Undefined: 0,
  Null: 1,
  False: 2,
  True: 3,
  /** 4 bytes. */
  Int32: 4,
  /** 8 bytes. */
  Float64: 5,
  /** A string of code units below 256, one byte each. */
  Latin1: 6,
  /** Any other string, two bytes a code unit, so lone surrogates arrive as they were. */
  Utf16: 7,
  /** 8 bytes, two's complement. */
  BigInt64: 8,
  /** `Bytes + type` (an index into {@link viewTypes}): the bytes of one view or ArrayBuffer. */
  Bytes: 16,
  /** `Graph + flags`: a tagged value, then the sections that the flags name. */
  Graph: 32,
} as const

/** Flags of `Kind.Graph`: what a reader must prepare for. A message pays only for what it uses. */
export const Flag = {
  /** Some object occurs twice: the reader numbers the objects as they come. */
  Shared: 1,
  /** A table of the buffers under the views stands behind the value; its place is in the last four bytes. */
  Buffers: 2,
  /** A list of modules to load first stands behind the value; its place is in the four bytes before that. */
  Needs: 4,
} as const

/** Tags of values. 0x00 … 0x7f are the integers 0 … 127. */
export const Tag = {
  /** 0x80 … 0x9f: a Latin-1 string of 0 … 31 code units. */
  ShortString: 0x80,
  /** 0xa0 … 0xaf: an array of 0 … 15 elements. */
  ShortArray: 0xa0,
  /** 0xb0 … 0xbf: an object of the shape with that number, defined earlier in the message. */
  ShortShape: 0xb0,
  Undefined: 0xc0,
  Null: 0xc1,
  False: 0xc2,
  True: 0xc3,
  Int8: 0xc4,
  Int16: 0xc5,
  Int32: 0xc6,
  Float64: 0xc7,
  /** varuint length, bytes. */
  Latin1: 0xc8,
  /** varuint code units, two bytes each. */
  Utf16: 0xc9,
  BigInt64: 0xca,
  /** sign byte, varuint length, hexadecimal digits. */
  BigInt: 0xcb,
  /** varuint length, elements. */
  Array: 0xcc,
  /** In an array: an element that does not exist. */
  Hole: 0xcd,
  /** In an array, instead of the rest: varuint count, then index and value of each that exists. */
  SparseRest: 0xce,
  /** An array, then an object with its named properties. */
  NamedArray: 0xcf,
  /** Defines the next shape and holds an object of it: a key block, then the values. */
  DefineShape: 0xd0,
  /** varuint shape number, values. */
  Shape: 0xd1,
  /** varuint count, then key and value of each: objects with too many keys for a shape. */
  Object: 0xd2,
  /** Either kind of object follows, without a prototype. */
  NullObject: 0xd3,
  /** varuint number of an object that came before, in order of appearance. */
  Reference: 0xd4,
  /** varuint count, keys and values. */
  Map: 0xd5,
  /** varuint count, values. */
  Set: 0xd6,
  Date: 0xd7,
  /** source, flags. */
  RegExp: 0xd8,
  /** See error-values.ts. */
  Error: 0xd9,
  Url: 0xda,
  UrlSearchParams: 0xdb,
  /** The primitive. */
  Boxed: 0xdc,
  /** varuint buffer number. */
  ArrayBuffer: 0xdd,
  /** type byte, varuint buffer number, byte offset, length in elements. */
  View: 0xde,
  /** varuint index into the message's handles. */
  Handle: 0xdf,
  /** head, body: see extensions.ts. */
  Function: 0xe0,
  /** class, then an object with its own properties. */
  Instance: 0xe1,
  /** class, a value of a built-in kind that the class extends, an object with its own properties or undefined. */
  Derived: 0xe2,
  DomException: 0xe3,
  /** type, exported bytes. */
  KeyObject: 0xe4,
} as const

/** Kinds of entry in the table of buffers. */
export const BufferEntry = { Inline: 0, Blob: 1, Alias: 2, Resizable: 3, Memory: 4 } as const

interface ViewType {
  name: string
  /** Null where the running Node does not have it (Float16Array before 24). */
  prototype: object | null
  elementSize: number
  make: (buffer: ArrayBuffer, offset: number, length: number) => ArrayBufferView
}

type ViewConstructor = new (buffer: ArrayBuffer, offset: number, length: number) => ArrayBufferView
function viewType(name: string, elementSize: number): ViewType {
  const Class = (globalThis as Record<string, unknown>)[name] as ViewConstructor | undefined
  return {
    name, elementSize,
    prototype: Class === undefined ? null : Class.prototype as object,
    make(buffer, offset, length) {
      if (Class === undefined) throw new TypeError(`this version of Node has no ${name}`)
      return new Class(buffer, offset, length)
    },
  }
}

/** Types of bytes; the position is the number on the wire. Place 0 is an ArrayBuffer, which is no view. */
export const viewTypes: readonly ViewType[] = [
  { ...viewType('Uint8Array', 1), name: 'ArrayBuffer', prototype: null },
  viewType('Uint8Array', 1),
  {
    name: 'Buffer', prototype: Buffer.prototype as object, elementSize: 1,
    make: (buffer, offset, length) => Buffer.from(buffer, offset, length),
  },
  viewType('Int8Array', 1),
  viewType('Uint8ClampedArray', 1),
  viewType('Int16Array', 2),
  viewType('Uint16Array', 2),
  viewType('Int32Array', 4),
  viewType('Uint32Array', 4),
  viewType('Float32Array', 4),
  viewType('Float64Array', 8),
  viewType('BigInt64Array', 8),
  viewType('BigUint64Array', 8),
  viewType('DataView', 1),
  viewType('Float16Array', 2),
]

/** Bytes from which on a buffer is handed over beside the message instead of being copied into the scratch area. */
export const BLOB_BYTES = 32 * 1024

/** An error that the codec's own checks throw for bytes that no encoder wrote. */
export class MalformedError extends Error {}
