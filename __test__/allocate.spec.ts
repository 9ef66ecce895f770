/** Memory that is handed over without a copy: `allocate` and `free`. */

import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import { allocate, free, memoryUsage, Pipe, Process, Queue, SerializationError } from '#src/index.js'
import { native } from '#src/native.js'
import { collect, leavesNothing, settle } from './helpers/settled.js'

leavesNothing(test)

const soon = { timeout: 10_000 }

test('zeroed bytes, aligned for every kind of element; RangeError for what is no length', t => {
  const bytes = allocate(100_000)
  t.is(bytes.length, 100_000)
  t.is(bytes.byteOffset, 0)
  t.true(bytes.every(byte => byte === 0))
  new Float64Array(bytes.buffer)[1] = 1.5
  t.is(bytes[15], 0x3f)
  free(bytes)
  t.is(allocate(0).length, 0)
  for (const length of [-1, 1.5, NaN, Infinity, '8']) t.throws(() => allocate(length as number), { instanceOf: RangeError })
})

test('a put hands the memory over and detaches it here', async t => {
  using queue = new Queue<Uint8Array>()
  const bytes = allocate(1 << 20)
  bytes.fill(7)
  await queue.put(bytes)
  t.is(bytes.length, 0)
  t.throws(() => { queue.putNowait(bytes) }, { instanceOf: SerializationError, message: /detached/ })
  const got = await queue.get()
  t.deepEqual([got.length, got[0], got[(1 << 20) - 1]], [1 << 20, 7, 7])
  t.true(got instanceof Uint8Array)
  free(got)
  t.is(got.length, 0)
})

test('it goes on to the next process, which writes to it, and back', async t => {
  using there = new Queue<{ name: string; frame: Uint8Array }>()
  using back = new Queue<{ frame: Float64Array; length: number }>()
  const child = new Process({
    target: async () => {
      const { frame } = await there.get()
      const numbers = new Float64Array(frame.buffer, 8, 2)
      numbers[0] = numbers[0]! * 2
      const message = { frame: numbers, length: frame.length }
      await back.put(message)
      if (frame.length !== 0) process.exit(3)
    },
  }).start()
  const frame = allocate(64)
  new Float64Array(frame.buffer)[1] = 21
  await there.put({ name: 'frame', frame })
  const { frame: numbers, length } = await back.get(soon)
  t.deepEqual([numbers.length, numbers.byteOffset, numbers[0], length], [2, 8, 42, 64])
  t.is(numbers.buffer.byteLength, 64)
  t.true(await child.join(soon))
  t.is(child.exitCode, 0)
})

test('a put that does not succeed leaves it: full, timed out, aborted, not to be sent', async t => {
  using queue = new Queue<unknown>(1)
  queue.putNowait('first')
  const bytes = allocate(1000)
  bytes[999] = 9
  t.false(queue.tryPut(bytes))
  await t.throwsAsync(queue.put(bytes, { timeout: 10 }), { name: 'Full' })
  const enough = new AbortController()
  setTimeout(() => { enough.abort(new Error('enough')) }, 10)
  await t.throwsAsync(queue.put(bytes, { signal: enough.signal }), { message: 'enough' })
  t.throws(() => { queue.putNowait({ bytes, socket: new WeakMap() }) }, { instanceOf: SerializationError })
  t.is(bytes[999], 9)
  // One that waits for room hands it over when there is some.
  const waiting = queue.put(bytes)
  t.is(bytes.length, 1000)
  t.is(await queue.get(), 'first')
  await waiting
  t.is(bytes.length, 0)
  t.is(((await queue.get()) as Uint8Array)[999], 9)
})

test('through a pipe, and as an argument of a process', async t => {
  const [left, right] = Pipe()
  const sent = allocate(5000)
  sent[4999] = 5
  await left.send(sent)
  t.is(sent.length, 0)
  t.is((await right.recv() as Uint8Array)[4999], 5)
  left.close()
  right.close()
  const given = allocate(70_000)
  given[69_999] = 6
  const child = new Process({ target: (bytes: Uint8Array) => { process.exitCode = bytes[69_999]! }, args: [given] }).start()
  t.is(given.length, 0)
  t.true(await child.join(soon))
  t.is(child.exitCode, 6)
})

test('two views of one piece stay two views of one piece', async t => {
  using queue = new Queue<[Uint8Array, DataView]>()
  const bytes = allocate(32)
  await queue.put([bytes.subarray(4, 8), new DataView(bytes.buffer, 4, 4)])
  const [view, data] = await queue.get()
  t.is(view.buffer, data.buffer)
  data.setUint8(0, 200)
  t.is(view[0], 200)
})

// Those that measure memory are serial: they run before the others, which use it at the same time.
test.serial('free is harmless for other arrays, and twice; a large one that was received goes back', async t => {
  const own = new Uint8Array([1, 2, 3])
  free(own)
  t.deepEqual([...own], [1, 2, 3])
  const bytes = allocate(8)
  free(bytes)
  free(bytes)
  using queue = new Queue<Uint8Array>()
  await settle()
  const before = memoryUsage().usedBytes
  await queue.put(new Uint8Array(8 << 20))
  const got = await queue.get()
  t.true(memoryUsage().usedBytes > before + (8 << 20) - 1)
  free(got)
  t.is(got.length, 0)
  while (memoryUsage().usedBytes > before + (1 << 20)) await sleep(5)
  t.throws(() => { free('x' as unknown as Uint8Array) }, { instanceOf: TypeError })
})

test.serial('a block with several buffers goes back with the last of them, without a turn of the event loop', async t => {
  using queue = new Queue<Uint8Array[]>()
  await settle()
  const size = 4 << 20
  const parts = [new Uint8Array(size).fill(1), new Uint8Array(size).fill(2)]
  const before = memoryUsage().usedBytes
  for (let k = 0; k < 20; k += 1) {
    queue.putSync(parts)
    const [first, second] = queue.getSync() as [Uint8Array, Uint8Array]
    free(first)
    t.deepEqual([first.length, second.length, second[size - 1]], [0, size, 2])
    t.true(memoryUsage().usedBytes >= before + 2 * size)
    free(second)
    t.true(memoryUsage().usedBytes <= before + (1 << 20))
  }
})

test.serial('V8 is told of the memory for as long as it is shown here', async t => {
  await settle()
  using queue = new Queue<Uint8Array>()
  const size = 16 << 20
  const told = (): number => process.memoryUsage().external
  const before = told()
  const near = (bytes: number): void => { t.true(Math.abs(told() - before - bytes) < 1 << 20) }
  queue.putSync(allocate(size))
  near(0)
  let got = queue.getSync()
  near(size)
  free(got)
  near(0)
  const own = new Uint8Array(size)
  near(size)
  queue.putSync(own)
  got = queue.getSync()
  t.is(got.length, own.length)
  near(2 * size)
  free(got)
  near(size)
})

test.serial('a receiver that is killed leaves nothing of what it had; a message that nobody takes goes with its queue', async t => {
  using queue = new Queue<Uint8Array>()
  using said = new Queue<number>()
  const before = memoryUsage()
  const child = new Process({
    target: async () => {
      const got = await queue.get()
      await said.put(got.length)
      allocate(3 << 20)
      await new Promise(() => { setInterval(() => got.length, 1000) })
    },
  }).start()
  await queue.put(allocate(2 << 20))
  t.is(await said.get(soon), 2 << 20)
  child.kill()
  t.true(await child.join(soon))
  {
    using dropped = new Queue<Uint8Array>()
    await dropped.put(allocate(4 << 20))
  }
  while (memoryUsage().usedBytes > before.usedBytes + (1 << 20)) await sleep(5)
  t.deepEqual(native.checkFamily(), [])
})

test.serial('what nobody uses any more is freed when it is collected', async t => {
  const before = memoryUsage().usedBytes
  for (let k = 0; k < 50; k += 1) allocate(4 << 20)
  for (let k = 0; k < 100 && memoryUsage().usedBytes > before + (1 << 20); k += 1) {
    collect()
    await sleep(5)
  }
  t.true(memoryUsage().usedBytes <= before + (1 << 20))
})
