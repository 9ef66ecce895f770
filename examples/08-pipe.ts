/** Numbers through one pipe, their squares through another, each until end of file. */

import { Pipe, Process, type Connection } from 'polyproc'

async function count(out: Connection<number, never>): Promise<void> {
  for (let n = 0; n < 10; n += 1) await out.send(n)
  out.close()
}

async function square(numbers: Connection<never, number>, squares: Connection<number, never>): Promise<void> {
  for await (const n of numbers) await squares.send(n * n)
}

const [numbers, toNumbers] = Pipe<number>({ duplex: false })
const [squares, toSquares] = Pipe<number>({ duplex: false })
const counter = new Process({ target: count, args: [toNumbers] }).start()
const squarer = new Process({ target: square, args: [numbers, toSquares] }).start()
// The children hold these ends now: only theirs keep the pipes open.
toNumbers.close()
numbers.close()
toSquares.close()

for await (const n of squares) console.log(n)
console.log('End')
await counter.join()
await squarer.join()
