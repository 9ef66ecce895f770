/**
 * Runs of functions at the top of a script that are passed over in one step, so that of a long module only what is asked
 * for is taken apart. A run ends before whatever is not written in the most usual way, which is read in full.
 */

import { BODY, COMMENT } from './skip.js'

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
const STATEMENT = `(?:export )?function [\\w$]+[ \\t]*\\([^()"'\`/]*\\)\\s*${BODY}`
/** Each is found by a look ahead, which is tried in one way only and has nothing to remember afterwards. */
const RUN = new RegExp(`(?:${SPACE}(?=(${STATEMENT}))\\1)+`, 'y')
/** The space before it, `export`, its name. */
const ONE = new RegExp(`(${SPACE})(?=((?:export )?)function ([\\w$]+))${STATEMENT}`, 'y')
/** How much of a text is looked at in one step: what has to be remembered grows with every sign of a statement. */
const WINDOW = 1 << 16

export class Run {
  readonly start: number
  readonly end: number
  private readonly text: string
  /** More than it declares, perhaps: functions have others in them. */
  private words: ReadonlySet<string> | undefined

  constructor(text: string, start: number, end: number) {
    this.text = text
    this.start = start
    this.end = end
  }

  /** Whether one of its functions may have that name. */
  mayDeclare(name: string): boolean {
    this.words ??= new Set(this.text.slice(this.start, this.end).match(/function [\w$]+/g))
    return this.words.has(`function ${name}`)
  }

  /** Its functions, in the order of the text. */
  statements(): Passed[] {
    const found: Passed[] = []
    for (let from = this.start; from < this.end; from = ONE.lastIndex) {
      ONE.lastIndex = from
      const [, space, exported, name] = ONE.exec(this.text) as unknown as readonly [string, string, string, string]
      const start = from + space.length
      const at = start + exported.length
      found.push({ isConstant: false, name, start, end: ONE.lastIndex, at, nameAt: at + 'function '.length })
    }
    return found
  }
}

/** The run that begins at an offset; undefined for none. */
export function runAt(text: string, start: number): Run | undefined {
  RUN.lastIndex = 0
  return RUN.test(text.slice(start, start + WINDOW)) ? new Run(text, start, start + RUN.lastIndex) : undefined
}
