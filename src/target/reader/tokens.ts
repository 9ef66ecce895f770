/** The words, numbers and signs of a script's text, one at a time. What a slash means is for the parser to say. */

import { skipComment, skipRegex, skipString, UnreadableError } from './skip.js'

export const enum Kind { End, Name, Private, Number, String, Sign, Template }

/*
 * Most of a text is taken apart without patterns: each would have to be compiled first, which takes as long as reading a module.
 */
const BREAK = /[\n\r\u2028\u2029]/
const OTHER_SPACE = /\s/
const NAME = /[\p{ID_Start}$_][\p{ID_Continue}$\u200C\u200D]*/yu
const NUMBER = /0[xX][\da-fA-F_]+n?|0[oO][0-7_]+n?|0[bB][01_]+n?|(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?[\d_]+)?n?/y
/** Signs of one letter that begin no longer one. */
const SINGLE = '{}()[],;:~@#'
const LONG_SIGNS = new Set([
  '...', '?.', '??=', '??', '=>', '===', '==', '!==', '!=', '>>>=', '>>>', '>>=', '>>', '>=', '<<=', '<<', '<=', '++', '+=', '--', '-=', '**=', '**', '*=', '/=', '%=',
  '&&=', '&&', '&=', '||=', '||', '|=', '^=',
])
const LONGEST_SIGN = 4

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
    this.lastEnd = this.end
    let at = this.end
    let unit = text.charCodeAt(at)
    this.newline = false
    // One space between two tokens is the most common.
    if (unit === 0x20) unit = text.charCodeAt(at += 1)
    if (unit <= 0x20 || unit === 0x2f || unit > 127) unit = text.charCodeAt(at = this.skipSpace(at))
    this.start = at
    if (isLetter(unit)) this.takeName(Kind.Name, at)
    else if (isDigit(unit)) this.takeNumber(at)
    else if (unit === 0x22 || unit === 0x27) this.set(Kind.String, '', skipString(text, at))
    else if (unit === 0x60) this.set(Kind.Template, '`', at + 1)
    else if (unit === 0x2e && isDigit(text.charCodeAt(at + 1))) this.takeNumber(at)
    else if (unit === 0x23) {
      this.takeName(Kind.Private, at + 1)
      this.start = at
    } else if (Number.isNaN(unit)) this.set(Kind.End, '', at)
    else if (unit > 127) this.takeName(Kind.Name, at)
    else this.takeSign(at)
  }

  private set(kind: Kind, value: string, end: number): void {
    this.kind = kind
    this.value = value
    this.end = end
  }

  /** The offset of the first token; whether a line ends before it. */
  private skipSpace(from: number): number {
    const { text } = this
    for (let at = from; ; at += 1) {
      const unit = text.charCodeAt(at)
      if (isLineEnd(unit)) this.newline = true
      else if (unit === 0x2f) {
        const next = text.charCodeAt(at + 1)
        if (next === 0x2a) {
          const end = skipComment(text, at)
          this.newline ||= BREAK.test(text.slice(at, end))
          at = end - 1
        } else if (next === 0x2f) {
          // Not past the end of the line, which counts.
          while (at < text.length && !isLineEnd(text.charCodeAt(at))) at += 1
          at -= 1
        } else return at
      } else if (unit > 127 ? !OTHER_SPACE.test(text[at]!) : !(unit <= 0x20)) return at
    }
  }

  private takeName(kind: Kind, at: number): void {
    const { text } = this
    let end = at
    let unit = text.charCodeAt(end)
    while (isLetter(unit) || isDigit(unit)) unit = text.charCodeAt(end += 1)
    // Letters of other scripts, and letters written as escapes, which are left to the full parser.
    if (unit > 127) {
      NAME.lastIndex = at
      if (!NAME.test(text)) throw this.unreadable()
      end = NAME.lastIndex
    }
    if (end === at || text.charCodeAt(end) === 0x5c) throw this.unreadable()
    this.set(kind, text.slice(at, end), end)
  }

  private takeNumber(at: number): void {
    const { text } = this
    let end = at
    let unit = text.charCodeAt(end)
    while (isDigit(unit)) unit = text.charCodeAt(end += 1)
    if (unit === 0x2e || isLetter(unit)) {
      NUMBER.lastIndex = at
      if (!NUMBER.test(text)) throw this.unreadable()
      end = NUMBER.lastIndex
    }
    this.set(Kind.Number, text.slice(at, end), end)
  }

  private takeSign(at: number): void {
    const { text } = this
    let sign = text[at]!
    if (!SINGLE.includes(sign)) {
      for (let length = LONGEST_SIGN; length > 1; length -= 1) {
        const longer = text.slice(at, at + length)
        // `a?.5:1`
        if (LONG_SIGNS.has(longer) && !(longer === '?.' && isDigit(text.charCodeAt(at + 2)))) {
          sign = longer
          break
        }
      }
      if (sign.charCodeAt(0) < 0x21 || sign === '\\') throw this.unreadable()
    }
    this.set(Kind.Sign, sign, at + sign.length)
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

/** ASCII, with the signs that names may hold. */
function isLetter(unit: number): boolean {
  return (unit >= 0x61 && unit <= 0x7a) || (unit >= 0x41 && unit <= 0x5a) || unit === 0x24 || unit === 0x5f
}

function isDigit(unit: number): boolean {
  return unit >= 0x30 && unit <= 0x39
}

function isLineEnd(unit: number): boolean {
  return unit === 0x0a || unit === 0x0d || unit === 0x2028 || unit === 0x2029
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
