/**
 * Runs of functions at the top of a script that are passed over in one step, so that of a long module only what is asked
 * for is taken apart. A run ends before whatever is not written in the most usual way, which is read in full.
 */

import { BODY, COMMENT, skipBody } from './skip.js'

/** A statement that was passed over: `function f(…) {…}` or `const x = …`, exported or not. */
export interface Passed {
  readonly isConstant: boolean
  readonly name: string
  /** Of the statement. */
  readonly start: number
  readonly end: number
  /** Where the word `function` or `const` is, and where the name. */
  readonly at: number
  readonly nameAt: number
}

const SPACE = `(?:\\s|${COMMENT})*`
const PARAMETERS = '[ \\t]*\\([^()"\'`/]*\\)\\s*'
const SPACES = new RegExp(SPACE, 'y')
const HEAD = new RegExp(`((?:export )?)function ([\\w$]+)${PARAMETERS}`, 'y')
/** Each is found by a look ahead, which is tried in one way only and has nothing to remember afterwards. */
const RUN = new RegExp(`(?:${SPACE}(?=((?:export )?function [\\w$]+${PARAMETERS}${BODY}))\\1)+`, 'y')
/** How much of a text is looked at in one step: what has to be remembered grows with every sign of a statement. */
const WINDOW = 1 << 16

export class Run {
  readonly start: number
  readonly end: number
  private readonly text: string
  /** More than it declares, perhaps: functions have others in them. */
  private words: ReadonlySet<string> | undefined

  constructor(text: string, start: number, end: number, words?: ReadonlySet<string>) {
    this.text = text
    this.start = start
    this.end = end
    this.words = words
  }

  /** Its functions of that name. */
  find(name: string): Passed[] {
    this.words ??= new Set(this.text.slice(this.start, this.end).match(/function [\w$]+/g))
    const wanted = `function ${name}`
    const found: Passed[] = []
    if (!this.words.has(wanted)) return found
    for (let at = this.text.indexOf(wanted, this.start); at >= 0 && at < this.end; at = this.text.indexOf(wanted, at + wanted.length)) {
      const statement = this.statementAt(at + 1)
      if (statement?.at === at && statement.name === name) found.push(statement)
    }
    return found
  }

  /** The one of its functions that an offset is in; undefined if it is between two. */
  statementAt(offset: number): Passed | undefined {
    RUN.lastIndex = 0
    // Those that end before it.
    const start = this.next(this.start + (RUN.test(this.text.slice(this.start, offset)) ? RUN.lastIndex : 0))
    if (start > offset || start >= this.end) return undefined
    const statement = this.statementFrom(start)
    return offset < statement.end ? statement : undefined
  }

  /** Its functions, in the order of the text. */
  statements(): Passed[] {
    const found: Passed[] = []
    for (let start = this.next(this.start); start < this.end; start = this.next(found.at(-1)!.end)) found.push(this.statementFrom(start))
    return found
  }

  /** What is left of it on both sides of one of its functions. */
  without({ start, end }: Passed): Run[] {
    const parts = [new Run(this.text, this.start, start, this.words), new Run(this.text, end, this.end, this.words)]
    return parts.filter(part => part.next(part.start) < part.end)
  }

  /** Where the next statement begins. */
  private next(from: number): number {
    SPACES.lastIndex = from
    SPACES.test(this.text)
    return SPACES.lastIndex
  }

  private statementFrom(start: number): Passed {
    HEAD.lastIndex = start
    const [, exported, name] = HEAD.exec(this.text) as unknown as readonly [string, string, string]
    const at = start + exported.length
    return { isConstant: false, name, start, end: skipBody(this.text, HEAD.lastIndex), at, nameAt: at + 'function '.length }
  }
}

/** The run that begins at an offset; undefined for none. */
export function runAt(text: string, start: number): Run | undefined {
  RUN.lastIndex = 0
  return RUN.test(text.slice(start, start + WINDOW)) ? new Run(text, start, start + RUN.lastIndex) : undefined
}
