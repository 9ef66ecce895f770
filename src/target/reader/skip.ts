/**
 * Finds where a bracket in a script's text closes without reading what is in between, so that of a long module only
 * what a function needs is read. All that is told apart is text that holds no brackets of its own: strings, templates,
 * comments, regular expressions. Whether a slash divides or begins a regular expression is decided by what stands
 * before it; where that takes more than a look, {@link UnreadableError} hands the text to the full parser.
 */

/** Text that this reader leaves to the full parser: syntax that it does not know, or a place that it cannot be sure of. */
export class UnreadableError extends Error {}

const IN_BRACES = /[{}"'`/]/g
const IN_PARENTHESES = /[()"'`/]/g
const IN_SQUARES = /[[\]"'`/]/g
const IN_TEMPLATE = /[`\\]|\$\{/g
const LINE_END = /[\n\r\u2028\u2029]/g
const REGEX = /\/(?:[^/\\[\n\r]|\\.|\[(?:[^\]\\\n\r]|\\.)*\])+\/\w*/y

/** Words that an operand follows: a slash after them begins a regular expression. */
const BEFORE_OPERAND = new Set(['return', 'typeof', 'instanceof', 'in', 'new', 'delete', 'void', 'throw', 'case', 'do', 'else'])
/** Words of which it depends on what is around them. */
const UNCLEAR = new Set(['of', 'await', 'yield'])
const BEFORE_PARENTHESIS = new Set(['if', 'while', 'for', 'with'])

/*
 * Parts of patterns. Their alternatives begin with different signs and each has one end only, so that a text can be
 * matched in one way and a failure is told in the time of one look.
 */

/** Strings, and templates that hold nothing but names. */
export const QUOTED = '"(?:[^"\\\\\\n]|\\\\.)*"|\'(?:[^\'\\\\\\n]|\\\\.)*\'|`(?:[^`\\\\$]|\\\\[^]|\\$(?!\\{)|\\$\\{[\\w.$]*\\})*`'
export const COMMENT = '//[^\\n\\r\\u2028\\u2029]*[\\n\\r\\u2028\\u2029]|/\\*[^*]*\\*+(?:[^/*][^*]*\\*+)*/'
/** What holds no brace that counts. */
const PLAIN = `[^{}"'\`/]|${QUOTED}|${COMMENT}`
/** A body with blocks and objects three deep, and no slashes but comments: most bodies, in one step. */
export const BODY = `\\{(?:${PLAIN}|\\{(?:${PLAIN}|\\{(?:${PLAIN})*\\})*\\})*\\}`
const PLAIN_BODY = new RegExp(BODY, 'y')
const PLAIN_PARAMETERS = /\([^()"'`/]*\)/y
/** How far that is tried: what it takes grows with every sign. */
const PLAIN_LENGTH = 4000

/** The offset after the body that begins at `open`. */
export function skipBody(text: string, open: number): number {
  PLAIN_BODY.lastIndex = 0
  return PLAIN_BODY.test(text.slice(open, open + PLAIN_LENGTH)) ? open + PLAIN_BODY.lastIndex : skipBrackets(text, open)
}

/** The offset after the parameters that begin at `open`. */
export function skipParameters(text: string, open: number): number {
  PLAIN_PARAMETERS.lastIndex = open
  return PLAIN_PARAMETERS.test(text) ? PLAIN_PARAMETERS.lastIndex : skipBrackets(text, open)
}

/** The offset after the bracket that closes the one at `open`. */
export function skipBrackets(text: string, open: number): number {
  const bracket = text.charCodeAt(open)
  const interesting = bracket === 0x7b ? IN_BRACES : bracket === 0x28 ? IN_PARENTHESES : IN_SQUARES
  let depth = 0
  let at = open
  let afterComment = -1
  for (;;) {
    interesting.lastIndex = at
    if (!interesting.test(text)) throw new UnreadableError('a bracket is never closed')
    at = interesting.lastIndex
    const unit = text.charCodeAt(at - 1)
    switch (unit) {
      case 0x7b:
      case 0x5b:
      case 0x28: depth += 1; break
      case 0x7d:
      case 0x5d:
      case 0x29:
        depth -= 1
        if (depth === 0) return at
        break
      case 0x22:
      case 0x27: at = skipString(text, at - 1); break
      case 0x60: at = skipTemplate(text, at - 1); break
      default: {
        const next = text.charCodeAt(at)
        if (next === 0x2f) at = afterComment = skipLine(text, at)
        else if (next === 0x2a) at = afterComment = skipComment(text, at - 1)
        else if (beginsRegex(text, at - 1, open, afterComment)) at = skipRegex(text, at - 1)
      }
    }
  }
}

const IN_VALUE = /[{}()[\]"'`/,;\n\r\u2028\u2029]/g

/**
 * The offset at which an expression on one line may end, apart from what is in its brackets and strings: at a semicolon
 * or at the end of the line. -1 if there is something else first that takes a closer look.
 */
export function skipValue(text: string, start: number): number {
  for (let at = start; ;) {
    IN_VALUE.lastIndex = at
    if (!IN_VALUE.test(text)) return text.length
    at = IN_VALUE.lastIndex
    switch (text.charCodeAt(at - 1)) {
      case 0x7b:
      case 0x5b:
      case 0x28: at = skipBrackets(text, at - 1); break
      case 0x22:
      case 0x27: at = skipString(text, at - 1); break
      case 0x60: at = skipTemplate(text, at - 1); break
      case 0x3b:
      case 0x0a:
      case 0x0d: return at - 1
      default: return -1
    }
  }
}

/** The offset after a string that begins at `start`. */
export function skipString(text: string, start: number): number {
  const quote = text[start]!
  for (let end = text.indexOf(quote, start + 1); end >= 0; end = text.indexOf(quote, end + 1)) {
    let slashes = 0
    while (text.charCodeAt(end - 1 - slashes) === 0x5c) slashes += 1
    if (slashes % 2 === 0) return end + 1
  }
  throw new UnreadableError('a string is never closed')
}

function skipTemplate(text: string, start: number): number {
  let at = start + 1
  for (;;) {
    IN_TEMPLATE.lastIndex = at
    if (!IN_TEMPLATE.test(text)) throw new UnreadableError('a template is never closed')
    at = IN_TEMPLATE.lastIndex
    switch (text.charCodeAt(at - 1)) {
      case 0x60: return at
      case 0x5c: at += 1; break
      default: at = skipBrackets(text, at - 1)
    }
  }
}

function skipLine(text: string, at: number): number {
  LINE_END.lastIndex = at
  return LINE_END.test(text) ? LINE_END.lastIndex : text.length
}

export function skipComment(text: string, start: number): number {
  const end = text.indexOf('*/', start + 2)
  if (end < 0) throw new UnreadableError('a comment is never closed')
  return end + 2
}

/** The offset after a regular expression that begins at `start`. */
export function skipRegex(text: string, start: number): number {
  REGEX.lastIndex = start
  if (!REGEX.test(text)) throw new UnreadableError('a regular expression is never closed')
  return REGEX.lastIndex
}

/** Whether the slash at `at` begins a regular expression, by what stands before it, not further back than `from`. */
function beginsRegex(text: string, at: number, from: number, afterComment: number): boolean {
  let before = at - 1
  while (before > from && isSpace(text.charCodeAt(before))) before -= 1
  if (before < afterComment) throw new UnreadableError('a slash after a comment')
  const unit = text.charCodeAt(before)
  switch (text[before]) {
    // Arrays, strings and templates end an operand.
    case ']':
    case '"':
    case '\'':
    case '`': return false
    case ')': return closesCondition(text, before, from)
    case '+':
    case '-':
      if (text.charCodeAt(before - 1) === unit) throw new UnreadableError('a slash after ++ or --')
      return true
    // After a brace: a block or an object. After a dot: a number or a member. After a slash: a regular expression ends there.
    case '}':
    case '.':
    case '/': throw new UnreadableError('a slash whose meaning is unclear')
    default:
  }
  if (unit > 127) throw new UnreadableError('a slash after a letter that is not ASCII')
  const word = /[\w$]+$/.exec(text.slice(Math.max(from, before - 12), before + 1))?.[0]
  if (word === undefined) return true
  if (UNCLEAR.has(word)) throw new UnreadableError(`a slash after ${word}`)
  if (!BEFORE_OPERAND.has(word)) return false
  const previous = text[before - word.length]
  // `object.return / 2`, and a word that is longer than what was cut out.
  if (previous === '.' || previous === '#') throw new UnreadableError('a slash after a member')
  return true
}

function isSpace(unit: number): boolean {
  return unit <= 0x20 || unit === 0xa0 || unit === 0xfeff || unit === 0x2028 || unit === 0x2029
}

/** Whether the parenthesis that closes at `close` is that of `if (…)` and its like, after which a statement begins. */
function closesCondition(text: string, close: number, from: number): boolean {
  let depth = 0
  for (let at = close; at >= from && at > close - 500; at -= 1) {
    switch (text[at]) {
      case ')': depth += 1; break
      case '(':
        depth -= 1
        if (depth === 0) {
          const word = /([.#]?)([\w$]+)\s*$/.exec(text.slice(Math.max(from, at - 40), at))
          if (word === null || !BEFORE_PARENTHESIS.has(word[2]!)) {
            // `for await (…)`
            if (word?.[2] === 'await') throw new UnreadableError('a slash after await (…)')
            return false
          }
          if (word[1] !== '') throw new UnreadableError('a slash after a member')
          return true
        }
        break
      // What is in these cannot be read backwards.
      case '"':
      case '\'':
      case '`':
      case '/': throw new UnreadableError('a slash after a parenthesis')
      default:
    }
  }
  throw new UnreadableError('a slash after a long parenthesis')
}
