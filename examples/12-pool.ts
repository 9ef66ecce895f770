/** A pool of four processes: map, apply, applyAsync with a callback, mapAsync. */

import { Pool } from 'polyproc'

await using pool = new Pool(4)
const numbers = Array.from({ length: 100 }, (_, n) => n)

console.log(`map: ${(await pool.map(x => x * x, numbers)).join(' ')}`)
console.log(`apply: ${await pool.apply((a: number, b: number) => a ** b, [2, 10])}`)
const answer = pool.applyAsync((text: string) => text.toUpperCase(), ['done'], {
  callback: text => { console.log(`applyAsync: the callback got ${text}`) },
})
await answer.wait()
const roots = pool.mapAsync(Math.sqrt, [1, 4, 9])
console.log(`mapAsync: ${(await roots.get({ timeout: 10_000 })).join(' ')}`)
