// Pipes: messages, boundaries, ends, and what happens when one of them is gone.

import { randomBytes } from 'node:crypto'
import test from 'ava'
import {
  BrokenPipeError, BufferTooShort, ClosedError, EOFError, Pipe, Process, Queue, StateError, TimeoutError, type Connection,
} from '#src/index.js'
import { leavesNothing } from './helpers/settled.js'

leavesNothing(test)
const soon = { timeout: 30_000 }

test.serial('PIPE-01 values, bytes and end of file over a duplex pipe to an echo child', async t => {
  const [here, there] = Pipe()
  const echo = new Process({
    target: async (end: Connection) => {
      try {
        for (;;) await end.send(await end.recv())
      } catch (error) {
        if ((error as Error).name !== 'EOFError') throw error
      }
    },
    args: [there],
  }).start()
  there.close()
  const value = { list: [1, 2.5, null], map: new Map([['a', new Set([1n])]]), when: new Date(0) }
  await here.send(value)
  t.deepEqual(await here.recv(soon), value)
  await here.sendBytes(Buffer.from('hello'))
  t.is(Buffer.from(await here.recvBytes(soon)).toString(), 'hello')
  await here.sendBytes(Uint8Array.of(1, 2, 3))
  const target = new Uint8Array(10)
  t.is(await here.recvBytesInto(target, { offset: 4, ...soon }), 3)
  t.deepEqual([...target], [0, 0, 0, 0, 1, 2, 3, 0, 0, 0])
  await here.sendBytes(Uint8Array.from({ length: 20 }, (_, k) => k))
  const short = await t.throwsAsync<BufferTooShort>(here.recvBytesInto(target, soon), { instanceOf: BufferTooShort })
  t.is(short.bytes.length, 20)
  t.false(await here.poll())
  t.false(await here.poll({ timeout: -1 }))
  const began = performance.now()
  t.false(await here.poll({ timeout: 150 }))
  t.true(performance.now() - began >= 145)
  await here.send('x')
  t.true(await here.poll({ timeout: Infinity }))
  t.is(await here.recv(soon), 'x')
  const large = new Uint8Array(randomBytes(16 * 1024 * 1024))
  await here.sendBytes(large)
  t.is(Buffer.compare(await here.recvBytes(soon), large), 0)
  here.close()
  t.true(await echo.join(soon))
  t.is(echo.exitCode, 0)
})

test.serial('PIPE-01 the reader finds end of file when the last holder of the other end closes it', async t => {
  const [here, there] = Pipe()
  const child = new Process({ target: (end: Connection) => { end.sendSync('last'); end.close() }, args: [there] }).start()
  there.close()
  t.is(await here.recv(soon), 'last')
  await t.throwsAsync(here.recv(soon), { instanceOf: EOFError })
  await t.throwsAsync(here.recvBytes(soon), { instanceOf: EOFError })
  t.true(await here.poll(), 'end of file is ready')
  await t.throwsAsync(here.send(1), { instanceOf: BrokenPipeError })
  t.throws(() => { here.sendSync(1) }, { instanceOf: BrokenPipeError })
  t.true(await child.join(soon))
  here.close()
})

test.serial('PIPE-02 a one-way pipe', async t => {
  const [reader, writer] = Pipe<number>({ duplex: false })
  t.deepEqual([reader.readable, reader.writable, writer.readable, writer.writable], [true, false, false, true])
  await t.throwsAsync((reader as Connection).send(1), { instanceOf: StateError })
  await t.throwsAsync(writer.recv(), { instanceOf: StateError })
  await t.throwsAsync(writer.poll(), { instanceOf: StateError })
  t.throws(() => writer.pollSync(), { instanceOf: StateError })
  writer.sendSync(5)
  t.is(reader.recvSync(soon), 5)
  reader.close()
  writer.close()
})

test.serial('PIPE-03 the parent closes its copy of the child’s end before the child has begun', async t => {
  const [here, there] = Pipe()
  const child = new Process({ target: async (end: Connection) => { await end.send('here'); end.close() }, args: [there] }).start()
  there.close()
  t.is(await here.recv(soon), 'here')
  t.true(await child.join(soon))
  t.is(child.exitCode, 0)
  here.close()
})

test.serial('PIPE-04 a message without bytes is a message', async t => {
  const [reader, writer] = Pipe({ duplex: false })
  await writer.sendBytes(new Uint8Array(0))
  t.true(await reader.poll())
  t.true(await reader.poll())
  t.is((await reader.recvBytes()).length, 0)
  t.false(await reader.poll())
  reader.close()
  writer.close()
})

test.serial('PIPE-05 messages of several sizes keep their order and boundaries', async t => {
  const [reader, writer] = Pipe({ duplex: false })
  const sizes = [0, 10, 0, 200, 0, 40_000, 1, 0]
  const child = new Process({
    target: async (end: Connection, sizes: number[]) => { for (const size of sizes) await end.sendBytes(Buffer.alloc(size, size % 251)) },
    args: [writer, sizes],
  }).start()
  writer.close()
  for (const size of sizes) {
    while (!await reader.poll({ timeout: 10 }));
    t.deepEqual(await reader.recvBytes(), new Uint8Array(Buffer.alloc(size, size % 251)))
  }
  t.true(await child.join(soon))
  reader.close()
})

test.serial('PIPE-06 messages sent back to back are never merged, and polling takes nothing', async t => {
  const [a, b] = Pipe()
  for (const text of ['a', 'b', 'cd']) b.sendBytesSync(Buffer.from(text))
  for (const text of ['a', 'b', 'cd']) {
    for (let k = 0; k < 5; k += 1) t.true(a.pollSync())
    t.is(Buffer.from(a.recvBytesSync(soon)).toString(), text)
  }
  t.false(a.pollSync())
  a.close()
  b.close()
})

test.serial('PIPE-07 slices of bytes', async t => {
  const [reader, writer] = Pipe({ duplex: false })
  const bytes = Buffer.from('abcdefghijklmnopqrstuvwxyz')
  for (const [options, expected] of [
    [{}, 'abcdefghijklmnopqrstuvwxyz'], [{ offset: 5 }, 'fghijklmnopqrstuvwxyz'], [{ offset: 7, size: 8 }, 'hijklmno'], [{ offset: 26 }, ''], [{ offset: 26, size: 0 }, ''],
  ] as const) {
    await writer.sendBytes(bytes, options)
    t.is(Buffer.from(await reader.recvBytes(soon)).toString(), expected)
  }
  for (const options of [{ offset: 27 }, { offset: 22, size: 5 }, { offset: 26, size: 1 }, { offset: -1 }, { size: -1 }, { offset: 4, size: -1 }, { offset: NaN }]) {
    await t.throwsAsync(writer.sendBytes(bytes, options), { instanceOf: RangeError })
  }
  t.false(await reader.poll())
  reader.close()
  writer.close()
})

test.serial('PIPE-07 a message longer than asked for closes the connection', async t => {
  const [reader, writer] = Pipe({ duplex: false })
  await writer.sendBytes(new Uint8Array(100))
  await t.throwsAsync(reader.recvBytes({ maxLength: 99 }), { instanceOf: StateError })
  t.true(reader.closed)
  await t.throwsAsync(reader.recvBytes({ maxLength: -1 }), { instanceOf: RangeError })
  writer.close()
})

test.serial('PIPE-08 leaving the scope closes', async t => {
  const [a, b] = Pipe()
  {
    using end = a
    t.false(end.closed)
  }
  t.true(a.closed)
  await t.throwsAsync(a.recv(), { instanceOf: ClosedError })
  await t.throwsAsync(a.send(1), { instanceOf: ClosedError })
  a.close()
  b.close()
})

test.serial('PIPE-09 who only polls takes nothing', async t => {
  const [reader, writer] = Pipe({ duplex: false })
  using ready = new Queue()
  const child = new Process({
    target: async (end: Connection<never>, ready: Queue) => { await ready.put('up'); for (let k = 0; k < 50; k += 1) await end.poll({ timeout: 1 }) },
    args: [reader, ready],
  }).start()
  await ready.get(soon)
  for (let k = 0; k < 20; k += 1) {
    await writer.send([k, 'x'.repeat(300)])
    t.deepEqual(await reader.recv(soon), [k, 'x'.repeat(300)])
  }
  t.true(await child.join(soon))
  reader.close()
  writer.close()
})

test.serial('several writers and readers of one end each get whole messages', async t => {
  const [reader, writer] = Pipe({ duplex: false })
  using results = new Queue<string>()
  const writers = [0, 1].map(w => new Process({
    target: async (end: Connection) => { for (let k = 0; k < 200; k += 1) await end.send({ id: `${w}:${k}`, pad: 'y'.repeat(k) }) }, args: [writer],
  }).start())
  const readers = [0, 1].map(() => new Process({
    target: async (end: Connection<never, { id: string, pad: string }>, results: Queue<string>) => {
      for await (const { id, pad } of end) {
        if (pad.length !== Number(id.split(':')[1])) throw new Error(`torn: ${id}`)
        await results.put(id)
      }
    },
    args: [reader, results],
  }).start())
  writer.close()
  reader.close()
  const seen = new Set<string>()
  for (let k = 0; k < 400; k += 1) seen.add(await results.get(soon))
  t.is(seen.size, 400)
  for (const child of [...writers, ...readers]) {
    t.true(await child.join(soon))
    t.is(child.exitCode, 0)
  }
})

test.serial('a writer that is killed: what it had sent arrives whole, then end of file', async t => {
  const [reader, writer] = Pipe({ duplex: false })
  const child = new Process({
    target: async (end: Connection) => { for (let k = 0; ; k += 1) await end.send([k, 'z'.repeat(k % 1000)]) }, args: [writer],
  }).start()
  writer.close()
  let next = 0
  for (; next < 100; next += 1) t.is((await reader.recv(soon))[0], next)
  child.kill()
  t.true(await child.join(soon))
  for await (const [k, pad] of reader as Connection<never, [number, string]>) {
    if (k !== next || pad.length !== k % 1000) t.fail(`message ${k} after ${next - 1}`)
    next += 1
  }
  t.pass()
  reader.close()
})

test.serial('an end travels through a pipe and a queue, and a wait for one that is gone ends', async t => {
  const [a, b] = Pipe()
  const [c, d] = Pipe()
  await a.send({ deep: [{ end: c }] })
  c.close()
  const { deep } = await b.recv(soon) as { deep: [{ end: Connection }] }
  await d.send('through')
  t.is(await deep[0].end.recv(soon), 'through')
  const waiting = deep[0].end.recv()
  d.close()
  await t.throwsAsync(waiting, { instanceOf: EOFError })
  deep[0].end.close()
  a.close()
  b.close()
})

test.serial('timeouts, aborts, and closing under a wait', async t => {
  const [a, b] = Pipe()
  await t.throwsAsync(a.recv({ timeout: 30 }), { instanceOf: TimeoutError })
  t.throws(() => a.recvSync({ timeout: 30 }), { instanceOf: TimeoutError })
  const reason = new Error('enough')
  const controller = new AbortController()
  const aborted = a.recv({ signal: controller.signal })
  controller.abort(reason)
  t.is(await t.throwsAsync(aborted), reason)
  await b.send('kept')
  t.is(await a.recv(), 'kept')
  const waiting = a.recv()
  a.close()
  await t.throwsAsync(waiting, { instanceOf: ClosedError })
  b.close()
})
