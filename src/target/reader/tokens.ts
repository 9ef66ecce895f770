/** The words, numbers and signs of a script's text, one at a time. What a slash means is for the parser to say. */

import { skipRegex, skipString, UnreadableError } from './skip.js'

export const enum Kind { End, Name, Private, Number, String, Sign, Template }

const SPACE = /(?:[\s\uFEFF]+|\/\/[^\n\r\u2028\u2029]*|\/\*[^]*?\*\/)+/y
const BREAK = /[\n\r\u2028\u2029]/
const NAME = /[\p{ID_Start}$_][\p{ID_Continue}$\u200C\u200D]*/yu
const ASCII_NAME = /[\w$]+/y
const NUMBER = /0[xX][\da-fA-F_]+n?|0[oO][0-7_]+n?|0[bB][01_]+n?|(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?[\d_]+)?n?/y
const SIGN = /[{}()[\],;:~@#]|\.\.\.|\.|\?\.(?!\d)|\?\?=|\?\?|\?|=>|={1,3}|!==?|!|>{1,3}=?|<<=|<<|<=|<|\+\+|\+=|\+|--|-=|-|\*\*=|\*\*|\*=|\*|\/=|\/|%=|%|&&=|&&|&=|&|\|\|=|\|\||\|=|\||\^=|\^/y

export class Tokens {
  readonly text: string
  /** The token that is looked at: its kind, its text (empty for strings), where it is, and whether a line ends before it. */
  kind = Kind.End
  value = ''
  start = 0
  end = 0
  newline = false
  /** Where the token before it ended. */
  lastEnd = 0

  constructor(text: string) {
    this.text = text
  }

  /** Goes to the first token at or after an offset. */
  goTo(offset: number): void {
    this.end = this.lastEnd = offset
    this.next()
  }

  next(): void {
    const { text } = this
    let at = this.lastEnd = this.end
    let unit = text.charCodeAt(at)
    this.newline = false
    // One space between two tokens is the most common.
    if (unit === 0x20) unit = text.charCodeAt(at += 1)
    if (unit <= 0x20 || unit === 0x2f || unit > 127) {
      SPACE.lastIndex = at
      if (SPACE.test(text)) {
        this.newline = BREAK.test(text.slice(at, SPACE.lastIndex))
        at = SPACE.lastIndex
        unit = text.charCodeAt(at)
      }
    }
    this.start = at
    if ((unit >= 0x61 && unit <= 0x7a) || (unit >= 0x41 && unit <= 0x5a) || unit === 0x24 || unit === 0x5f) this.take(Kind.Name, ASCII_NAME, at)
    else if (unit >= 0x30 && unit <= 0x39) this.take(Kind.Number, NUMBER, at)
    else if (unit === 0x22 || unit === 0x27) {
      this.kind = Kind.String
      this.value = ''
      this.end = skipString(text, at)
    } else if (unit === 0x60) {
      this.kind = Kind.Template
      this.value = '`'
      this.end = at + 1
    } else if (unit === 0x2e && text.charCodeAt(at + 1) >= 0x30 && text.charCodeAt(at + 1) <= 0x39) this.take(Kind.Number, NUMBER, at)
    else if (unit === 0x23) {
      this.take(Kind.Private, ASCII_NAME, at + 1)
      this.start = at
    } else if (Number.isNaN(unit)) {
      this.kind = Kind.End
      this.value = ''
      this.end = at
    } else if (unit > 127) this.take(Kind.Name, NAME, at)
    else this.take(Kind.Sign, SIGN, at)
  }

  private take(kind: Kind, pattern: RegExp, at: number): void {
    pattern.lastIndex = at
    if (!pattern.test(this.text)) throw this.unreadable()
    let end = pattern.lastIndex
    const next = this.text.charCodeAt(end)
    if (kind === Kind.Name || kind === Kind.Private) {
      // Letters of other scripts, and letters written as escapes, which are left to the full parser.
      if (next > 127 && pattern !== NAME) {
        NAME.lastIndex = at
        if (!NAME.test(this.text)) throw this.unreadable()
        end = NAME.lastIndex
      }
      if (this.text.charCodeAt(end) === 0x5c) throw this.unreadable()
    }
    this.kind = kind
    this.end = end
    this.value = this.text.slice(at, end)
  }

  /** Reads the slash that the current token begins with as a regular expression. */
  takeRegex(): void {
    this.end = skipRegex(this.text, this.start)
  }

  unreadable(): UnreadableError {
    return new UnreadableError(`cannot read ${this.text.slice(this.start, this.start + 20)} at ${this.start}`)
  }

  isWord(): boolean {
    return this.kind === Kind.Name
  }

  isSign(value: string): boolean {
    return this.kind === Kind.Sign && this.value === value
  }

  isName(value: string): boolean {
    return this.kind === Kind.Name && this.value === value
  }

  /** Goes on if the token is that sign. */
  eat(value: string): boolean {
    if (this.kind !== Kind.Sign || this.value !== value) return false
    this.next()
    return true
  }

  eatName(value: string): boolean {
    if (this.kind !== Kind.Name || this.value !== value) return false
    this.next()
    return true
  }

  expect(value: string): void {
    if (!this.eat(value)) throw this.unreadable()
  }

  expectName(value: string): void {
    if (!this.eatName(value)) throw this.unreadable()
  }

  /** The token after this one, without going there. */
  peek(): { kind: Kind, value: string, newline: boolean, end: number, start: number } {
    const { kind, value, start, end, newline, lastEnd } = this
    this.next()
    const found = { kind: this.kind, value: this.value, newline: this.newline, end: this.end, start: this.start }
    this.kind = kind
    this.value = value
    this.start = start
    this.end = end
    this.newline = newline
    this.lastEnd = lastEnd
    return found
  }
}

/** What a string literal's text means. */
export function unquote(raw: string): string {
  const inner = raw.slice(1, -1)
  if (!inner.includes('\\')) return inner
  return inner.replace(/\\(?:u\{([\da-fA-F]+)\}|u([\da-fA-F]{4})|x([\da-fA-F]{2})|([0-7]{1,3})|(\r\n|[^]))/g, (_all, long?: string, short?: string, byte?: string, octal?: string, other?: string) => {
    const code = long ?? short ?? byte
    if (code !== undefined) return String.fromCodePoint(Number.parseInt(code, 16))
    if (octal !== undefined) return String.fromCharCode(Number.parseInt(octal, 8))
    return ESCAPES[other!] ?? other!
  })
}

const ESCAPES: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', b: '\b', f: '\f', v: '\v', '\n': '', '\r': '', '\r\n': '', '\u2028': '', '\u2029': '' }
