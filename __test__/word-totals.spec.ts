/** Words of many reports, merged by the example's hash table, against a Map. */

import test from 'ava'
import { WordTotals, wordReportOf } from '../examples/index-directory/word-totals.js'

/** More words than the table has room for at first, and more bytes. */
const MANY = 600_000

test('main-job › words of several reports are counted together, also where the table grows', t => {
  const totals = new WordTotals()
  const expected = new Map<string, number>()
  for (const from of [0, MANY / 2, MANY]) {
    const words = new Map<string, number>()
    for (let k = from; k < from + MANY; k += 1) {
      const word = `größe${k.toString(36)}`.padEnd(14, 'ß')
      words.set(word, 1 + (k % 7))
      expected.set(word, (expected.get(word) ?? 0) + 1 + (k % 7))
    }
    totals.add(wordReportOf(words))
  }
  totals.add(wordReportOf(new Map([['ｗ', 50], ['a', 50], ['größe', 3]])))
  t.is(totals.size, expected.size + 3)
  const sorted = [...expected].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1))
  t.deepEqual(totals.mostFrequent(10), [['a', 50], ['ｗ', 50], ...sorted.slice(0, 8)])
})
