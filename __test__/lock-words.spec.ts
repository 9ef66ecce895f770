// The part of the lock that is done without a call: when it may, when it must not, and that two processes agree on it.

import test from 'ava'
import { Lock, Process, Queue } from '#src/index.js'
import { lockId } from '#src/acquirable.js'
import { NOT_HERE, noWords, release, take, wordsOf } from '#src/lock-words.js'
import { leavesNothing } from './helpers/settled.js'

leavesNothing(test)

const isHere = process.arch === 'x64'
const WORD = 16
const GLANCES = 20
const WOKEN = 4
/** Of so many releases that see somebody on its way one is a call. */
const ASKS = 8
/** A lock has no use for this one. */
const UNUSED = 24
/** How long processes count. */
const MS = 1000

/** A lock that this thread has released, and its words. */
function released(): [Lock, Int32Array] {
  const lock = new Lock()
  lock.acquireSync().release()
  return [lock, wordsOf(lock[lockId]())]
}

/** In another process: acquires and releases, or acquires and ends. */
async function another(lock: Lock, releases: boolean): Promise<void> {
  const process = new Process({
    target: (theirs: Lock, isReleased: boolean) => {
      const guard = theirs.acquireSync()
      if (isReleased) guard.release()
    }, args: [lock, releases],
  }).start()
  await process.join()
}

test.serial('LOCK-01 words: taken and released from here, as the native part sees it', t => {
  const [lock, words] = released()
  t.is(words === noWords, !isHere)
  if (!isHere) return
  const turn = take(words)
  t.not(turn, NOT_HERE)
  t.true(lock.locked)
  t.is(lock.tryAcquire(), null)
  t.is(take(words), NOT_HERE, 'it is held')
  t.is(release(words, turn - 1), NOT_HERE, 'another turn')
  t.is(release(words, turn), 0)
  t.false(lock.locked)
  t.is(release(words, turn), NOT_HERE, 'a second time')
  const guard = lock.tryAcquire()
  t.is(take(words), NOT_HERE, 'the native part holds it')
  guard!.release()
  t.not(take(words), NOT_HERE)
  lock.release()
  lock.close()
})

test.serial('LOCK-01 words: a lock that another process had last is not for here, nor one whose owner died', async t => {
  if (!isHere) { t.pass(); return }
  const [lock, words] = released()
  await another(lock, true)
  t.is(take(words), NOT_HERE)
  lock.acquireSync().release()
  t.is(release(words, take(words)), 0)
  await another(lock, false)
  t.is(take(words), NOT_HERE)
  const guard = lock.acquireSync()
  t.true(guard.ownerDied, 'that it died is told')
  guard.release()
  lock.close()
})

test.serial('LOCK-01 words: turns go on past their greatest', t => {
  if (!isHere) { t.pass(); return }
  const [lock, words] = released()
  words[WORD]! |= 0xffff_c000 | 0
  const turn = take(words)
  t.is(turn, 0)
  t.is(release(words, turn), 0)
  const guard = lock.acquireSync()
  t.is(release(words, 0), NOT_HERE)
  guard.release()
  t.false(lock.locked)
  words[WORD]! |= 0x7fff_c000
  for (let k = 0; k < 3; k += 1) t.is(release(words, take(words)), 0)
  lock.close()
})

test.serial('LOCK-01 words: while somebody waits or glances, a release is a call, but for those that leave all to one who is on its way', async t => {
  if (!isHere) { t.pass(); return }
  const [lock, words] = released()
  const turn = take(words)
  const waits = lock.acquire()
  await new Promise(resolve => { setTimeout(resolve, 20) })
  t.is(release(words, turn), NOT_HERE)
  // As if it had been woken and had not looked yet.
  words[WOKEN] = 1
  const outcomes = Array.from({ length: ASKS }, () => {
    const outcome = release(words, turn)
    if (outcome !== NOT_HERE) words[WORD] = turn << 14 | words[WORD]! & 0xfff
    return outcome
  })
  t.deepEqual(outcomes, [...Array.from({ length: ASKS - 1 }, () => 0), NOT_HERE])
  words[WOKEN] = 0
  lock.release()
  const guard = await waits
  guard.release()
  words[GLANCES] = 1
  t.is(release(words, take(words)), NOT_HERE)
  lock.release()
  t.is(words[GLANCES], 0)
  lock.close()
})

test.serial('LOCK-03 guards of a lock that is used often are good for one release, also after it is closed', t => {
  const lock = new Lock()
  for (let k = 0; k < 100; k += 1) lock.acquireSync().release()
  const first = lock.acquireSync()
  first.release()
  const second = lock.acquireSync()
  first.release()
  t.true(lock.locked)
  lock.close()
  second.release()
  t.throws(() => lock.tryAcquire(), { name: 'ClosedError' })
  t.throws(() => lock.acquireSync(), { name: 'ClosedError' })
})

test.serial('LOCK-02 three processes count in a plain cell under a lock that each often takes many times in a row', async t => {
  if (!isHere) { t.pass(); return }
  using lock = new Lock()
  using done = new Queue<number>()
  const target = (theirs: Lock, to: Queue, ms: number): void => {
    const cells = wordsOf(theirs[lockId]())
    const until = performance.now() + ms
    let [mine, turns] = [0, 1]
    while (performance.now() < until) {
      // Sometimes one turn, sometimes many.
      turns = turns * 5 % 97
      for (let k = 0; k < turns * 10; k += 1) {
        const guard = theirs.acquireSync()
        cells[UNUSED]! += 1
        guard.release()
        mine += 1
      }
    }
    to.putSync(mine)
  }
  const children = [0, 1, 2].map(() => new Process({ target, args: [lock, done, MS] }).start())
  let sum = 0
  for (const child of children) {
    sum += await done.get()
    await child.join()
  }
  t.true(sum > 10_000, String(sum))
  lock.acquireSync().release()
  t.is(wordsOf(lock[lockId]())[UNUSED], sum | 0)
})
