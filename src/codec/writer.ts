/**
 * Where the bytes of a message are written: a cursor over one scratch area that grows by itself, and the values that
 * need no memory of what came before.
 */

import { type Area, areaAt, grow } from './scratch.js'
import { Tag } from './format.js'
import { isLatin1, LOOP_LIMIT } from './strings.js'

/** Room that `reserve` guarantees beyond what it is asked for, so that small writes need no check of their own. */
const SLACK = 64

export class Writer {
  protected readonly memory: Area
  bytes: Buffer
  view: DataView
  protected at = 0
  /** A small write that begins here or before needs no check. */
  protected limit = 0

  constructor(depth: number) {
    this.memory = areaAt(depth)
    this.bytes = this.memory.bytes
    this.view = this.memory.view
    this.rewind()
  }

  /** Goes to a place in the area, which may have been replaced since. */
  protected rewind(at = 0): void {
    this.bytes = this.memory.bytes
    this.view = this.memory.view
    this.limit = this.bytes.length - SLACK
    this.at = at
  }

  /** Makes sure of `size` bytes and {@link SLACK} more. */
  protected reserve(size: number): void {
    if (this.at + size <= this.limit) return
    grow(this.memory, this.at, this.at + size + SLACK)
    this.rewind(this.at)
  }

  writeVaruint(value: number): void {
    const { bytes } = this
    while (value >= 0x80) {
      bytes[this.at++] = (value % 128) | 0x80
      value = Math.floor(value / 128)
    }
    bytes[this.at++] = value
  }

  writeNumber(value: number): void {
    const int = value | 0
    if (int === value && (int !== 0 || 1 / value > 0)) {
      if (int >= 0 && int < 128) this.bytes[this.at++] = int
      else if (int >= -128 && int < 128) {
        this.bytes[this.at++] = Tag.Int8
        this.bytes[this.at++] = int
      } else {
        // In one way for both, so that the first number that takes four bytes does not undo what was compiled.
        const isShort = (int << 16) >> 16 === int
        this.bytes[this.at] = isShort ? Tag.Int16 : Tag.Int32
        this.view.setInt32(this.at + 1, int, true)
        this.at += isShort ? 3 : 5
      }
      return
    }
    this.bytes[this.at++] = Tag.Float64
    this.view.setFloat64(this.at, value, true)
    this.at += 8
  }

  writeString(text: string): void {
    const { length } = text
    if (length > LOOP_LIMIT) {
      this.writeLongString(text)
      return
    }
    this.reserve(length * 2)
    const { bytes } = this
    const start = this.at
    let at = start
    if (length < 32) bytes[at++] = Tag.ShortString + length
    else {
      bytes[at++] = Tag.Latin1
      bytes[at++] = length
    }
    for (let i = 0; i < length; i += 1) {
      const unit = text.charCodeAt(i)
      if (unit > 255) {
        this.writeUtf16(text)
        return
      }
      bytes[at++] = unit
    }
    this.at = at
  }

  private writeLongString(text: string): void {
    if (!isLatin1(text)) {
      this.writeUtf16(text)
      return
    }
    this.reserve(text.length)
    this.bytes[this.at++] = Tag.Latin1
    this.writeVaruint(text.length)
    this.at += this.bytes.write(text, this.at, text.length, 'latin1')
  }

  private writeUtf16(text: string): void {
    this.reserve(text.length * 2)
    this.bytes[this.at++] = Tag.Utf16
    this.writeVaruint(text.length)
    this.at += this.bytes.write(text, this.at, text.length * 2, 'utf16le')
  }

  writeBigInt(value: bigint): void {
    if (BigInt.asIntN(64, value) === value) {
      this.bytes[this.at++] = Tag.BigInt64
      this.view.setBigInt64(this.at, value, true)
      this.at += 8
      return
    }
    const digits = (value < 0n ? -value : value).toString(16)
    this.reserve(digits.length)
    this.bytes[this.at++] = Tag.BigInt
    this.bytes[this.at++] = value < 0n ? 1 : 0
    this.writeVaruint(digits.length)
    this.at += this.bytes.write(digits, this.at, digits.length, 'latin1')
  }

  writeTag(tag: number): void {
    this.bytes[this.at++] = tag
  }

  protected writeFloat64(value: number): void {
    this.view.setFloat64(this.at, value, true)
    this.at += 8
  }

  /** So many bytes, given in words. */
  protected writeWords(words: Int32Array, size: number): void {
    this.reserve(size)
    const { view, at } = this
    for (let i = 0; i < words.length; i += 1) view.setInt32(at + i * 4, words[i]!, true)
    this.at = at + size
  }

  protected copy(bytes: Uint8Array): void {
    this.reserve(bytes.length)
    if (bytes.length <= LOOP_LIMIT) {
      for (let i = 0, { at } = this; i < bytes.length; i += 1, at += 1) this.bytes[at] = bytes[i]!
    } else this.bytes.set(bytes, this.at)
    this.at += bytes.length
  }
}
