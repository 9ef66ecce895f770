/**
 * A lock's word, changed from here: half of what a lock costs without contention is the two calls. Only what is left when nobody
 * else is concerned: acquiring what this thread released last, and releasing it while nobody waits, or one who does is on its way.
 * Everything else is the native part's, which also says what the bits mean and what a death leaves (`crates/sync/src/owned.rs`).
 *
 * ECMA-262 promises that `Atomics` hold between threads for a SharedArrayBuffer only. V8 makes the same instruction for every
 * buffer; a test lets three processes count under a lock. Other reads are plain ones: nothing is done on the strength of them but
 * the CAS, or a call.
 *
 * # What a crash leaves
 * What the native part leaves, which takes the same two steps. A thread that is terminated between releasing and looking who waits
 * is a dead releaser.
 */

import { native } from './native.js'

/**
 * Where things stand among the words: the head of the list of those who wait, who of them is on its way, the word's halves, somebody
 * glances, how many releases saw somebody on its way.
 */
const [WAITS, WAITS_HIGH, WOKEN, WOKEN_HIGH, WORD, GENERATION, GLANCES, SEEN] = [0, 1, 4, 5, 16, 17, 20, 22]
/** Of so many releases that see somebody on its way one is the native part's, which asks for how long. */
const ASKS = 8
const NAME_AND_STATE = 0x3fff
const RELEASED = 0x3000
const TURN_SHIFT = 14

/** It cannot be acquired, or released, from here. */
export const NOT_HERE = -1
/** It is released, somebody waits, and nobody is on its way. */
export const SOMEBODY_WAITS = 1

/** How the words name this thread. */
let [slot, generation] = [0, 0]

/** Words of a lock that says nothing: it is always for the native part to say. */
export const noWords: Int32Array = new Int32Array(SEEN + 1)

/** The words of a lock that this thread has opened; they must not be touched after it has been closed. */
export function wordsOf(id: number): Int32Array {
  const seen = native.lockWords(id)
  if (seen === null) return noWords
  slot = seen.slot
  generation = seen.generation | 0
  return new Int32Array(seen.words)
}

/** Acquires a lock that this thread released last: the turn, or {@link NOT_HERE}. */
export function take(words: Int32Array): number {
  const seen = words[WORD]!
  if ((seen & NAME_AND_STATE) !== (RELEASED | slot) || words[GENERATION] !== generation) return NOT_HERE
  // So that no sum is greater than 32 bits, for which the engine would have to make this anew.
  const held = (seen >>> TURN_SHIFT) + 1 << TURN_SHIFT | slot
  return Atomics.compareExchange(words, WORD, seen, held) === seen ? held >>> TURN_SHIFT : NOT_HERE
}

/** Releases what this thread holds in that turn while nobody waits, or one who does is on its way: 0, or one of the above. */
export function release(words: Int32Array, turn: number): number {
  const held = turn << TURN_SHIFT | slot
  if (words[WORD] !== held || words[GENERATION] !== generation) return NOT_HERE
  if (words[GLANCES] !== 0) return NOT_HERE
  if (doesAnyWait(words)) {
    if (!isAnyWoken(words)) return NOT_HERE
    const seen = (words[SEEN]! + 1) % ASKS
    words[SEEN] = seen
    if (seen === 0) return NOT_HERE
  }
  if (Atomics.compareExchange(words, WORD, held, held | RELEASED) !== held) return NOT_HERE
  return doesAnyWait(words) && !isAnyWoken(words) ? SOMEBODY_WAITS : 0
}

function doesAnyWait(words: Int32Array): boolean {
  return (words[WAITS]! | words[WAITS_HIGH]!) !== 0
}

/** True when somebody has been woken and has not looked since. Read after the lock is free: that one finds it so. */
function isAnyWoken(words: Int32Array): boolean {
  return (words[WOKEN]! | words[WOKEN_HIGH]!) !== 0
}
