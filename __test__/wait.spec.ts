// Waiting for several things at once, and the simple queue.

import test from 'ava'
import { ClosedError, Pipe, Process, Queue, SimpleQueue, wait, waitSync, type Connection } from '#src/index.js'
import { leavesNothing } from './helpers/settled.js'

leavesNothing(test)
const soon = { timeout: 30_000 }

for (const slow of [false, true]) {
  test.serial(`WAIT-0${slow ? 2 : 1} four pipes${slow ? ' with delays' : ''}: every message once, and each end of file`, async t => {
    const readers: Connection<never>[] = []
    const children = []
    for (let k = 0; k < 4; k += 1) {
      const [reader, writer] = Pipe({ duplex: false })
      children.push(new Process({
        target: async (end: Connection, slow: boolean) => {
          for (let i = 0; i < 10; i += 1) {
            if (slow) await new Promise(resolve => setTimeout(resolve, Math.random() * 50))
            await end.send([i, process.pid])
          }
        },
        args: [writer, slow],
      }).start())
      writer.close()
      readers.push(reader)
    }
    const messages: string[] = []
    const open = new Set(readers)
    while (open.size > 0) {
      const ready = await wait(open, soon)
      t.true(ready.length > 0)
      for (const reader of ready) {
        try {
          messages.push(String(await reader.recv({ timeout: 0 })))
        } catch (error) {
          t.is((error as Error).name, 'EOFError')
          open.delete(reader)
          reader.close()
        }
      }
    }
    t.is(new Set(messages).size, 40)
    for (const child of children) t.true(await child.join(soon))
  })
}

test.serial('WAIT-05 a timeout gives nothing, a message gives exactly its end', async t => {
  const [a, b] = Pipe()
  const began = performance.now()
  t.deepEqual(await wait([a, b], { timeout: 200 }), [])
  t.true(performance.now() - began >= 195)
  t.deepEqual(waitSync([a, b], { timeout: 50 }), [])
  await a.send(1)
  t.deepEqual(await wait([a, b], soon), [b])
  t.deepEqual(waitSync([a, b], soon), [b])
  a.close()
  b.close()
})

test.serial('WAIT-06 processes, connections and queues together', async t => {
  const [a, b] = Pipe()
  const queue = new Queue()
  const child = new Process({ target: () => new Promise(resolve => setTimeout(resolve, 300)) }).start()
  t.deepEqual(await wait([child, a, queue], { timeout: 0 }), [])
  t.deepEqual(await wait([child, a, queue], soon), [child])
  b.sendSync(1)
  t.deepEqual(await wait([child, a, queue], soon), [child, a])
  queue.putSync(1)
  t.deepEqual(waitSync([child, a, queue], soon), [child, a, queue])
  a.close()
  b.close()
  queue.close()
})

test.serial('WAIT-07 a negative timeout is none', async t => {
  const [a, b] = Pipe()
  t.deepEqual(await wait([a, b], { timeout: -1 }), [])
  t.deepEqual(waitSync([a], { timeout: -1 }), [])
  a.close()
  b.close()
})

test.serial('wait: aborts, nonsense, closed objects, nothing at all', async t => {
  const queue = new Queue()
  const reason = new Error('enough')
  t.is(await t.throwsAsync(wait([queue], { signal: AbortSignal.abort(reason) })), reason)
  const controller = new AbortController()
  const waiting = wait([queue], { signal: controller.signal })
  controller.abort(reason)
  t.is(await t.throwsAsync(waiting), reason)
  await t.throwsAsync(wait([{} as Queue]), { instanceOf: TypeError })
  await t.throwsAsync(wait([queue], { timeout: NaN }), { instanceOf: RangeError })
  t.deepEqual(await wait([], { timeout: 10 }), [])
  const waitingAgain = wait([queue])
  queue.close()
  await t.throwsAsync(waitingAgain, { instanceOf: ClosedError })
  await t.throwsAsync(wait([queue]), { instanceOf: ClosedError })
})

test.serial('a blocking wait for several things is ended by another process', t => {
  const queues = [new Queue(), new SimpleQueue(), new Queue()]
  const child = new Process({
    target: async (queue: SimpleQueue) => { await new Promise(resolve => setTimeout(resolve, 100)); await queue.put('now') }, args: [queues[1] as SimpleQueue],
  }).start()
  t.deepEqual(waitSync(queues, soon), [queues[1]])
  t.is((queues[1] as SimpleQueue).getSync(), 'now')
  t.true(child.joinSync(soon))
  for (const queue of queues) queue.close()
})

test.serial('SQUEUE-01 to 03 a simple queue', async t => {
  const queue = new SimpleQueue<string>()
  t.true(queue.empty())
  const child = new Process({ target: async (queue: SimpleQueue) => { await queue.put('a'); queue.putSync('b') }, args: [queue] }).start()
  t.true(await child.join(soon))
  t.false(queue.empty())
  t.is(await queue.get(), 'a')
  t.is(queue.getSync(), 'b')
  t.true(queue.empty())
  queue.close()
  t.throws(() => queue.empty(), { instanceOf: ClosedError })
  await t.throwsAsync(queue.put('c'), { instanceOf: ClosedError })
  t.notThrows(() => { queue.close() })
})

test.serial('putMany and getMany', async t => {
  const queue = new Queue<number>({ maxSize: 5 })
  const child = new Process({ target: (queue: Queue<number>) => queue.putMany(Array.from({ length: 20 }, (_, k) => k)), args: [queue] }).start()
  const items: number[] = []
  while (items.length < 20) items.push(...await queue.getMany(3, soon))
  t.deepEqual(items, Array.from({ length: 20 }, (_, k) => k))
  t.true(await child.join(soon))
  const error = await t.throwsAsync<Error & { count: number }>(queue.putMany([1, 2, 3, 4, 5, 6, 7], { timeout: 50 }))
  t.is(error.name, 'Full')
  t.is(error.count, 5)
  t.deepEqual(queue.getManySync(10), [1, 2, 3, 4, 5])
  await t.throwsAsync(queue.getMany(1, { timeout: 20 }), { name: 'Empty' })
  await t.throwsAsync(queue.getMany(0), { instanceOf: RangeError })
  queue.close()
})
