// Every kind that cannot travel, in each place of a Process and of a queue where it can stand: refused by the call that
// would send it, with the path to it, and nothing is started or put.

import { createServer, Socket } from 'node:net'
import { spawn } from 'node:child_process'
import { Readable } from 'node:stream'
import { createHash } from 'node:crypto'
import { Worker } from 'node:worker_threads'
import test from 'ava'
import { activeChildren, Process, Queue, SerializationError } from 'polyproc'

class Secret { #hidden = 1; get() { return this.#hidden } }
const context = new SharedArrayBuffer(8)
const native = /belongs to this process/

/** Makes one of each kind, here or in another process. */
const kinds: [name: string, make: () => unknown, says: RegExp][] = [
  ['a socket', () => new Socket(), native],
  ['a server', () => createServer(), native],
  ['a child process', () => spawn('true', { stdio: 'ignore' }), native],
  ['a stream', () => Readable.from([]), native],
  ['a hash', () => createHash('sha1'), native],
  ['a worker thread', () => { const worker = new Worker('', { eval: true, stdout: true, stderr: true }); worker.unref(); return worker }, native],
  ['a port', () => new MessageChannel().port1, native],
  ['a timer', () => { const timer = setTimeout(() => undefined, 0); clearTimeout(timer); return timer }, native],
  ['a WeakMap', () => new WeakMap(), /WeakMap|known to this process alone/],
  ['a WeakSet', () => new WeakSet(), /WeakSet|known to this process alone/],
  ['a WeakRef', () => new WeakRef({}), /WeakRef|known to this process alone/],
  ['a Promise', () => Promise.resolve(1), /await it first/],
  ['an AbortSignal', () => new AbortController().signal, /currentTask\(\)\.signal/],
  ['an AbortController', () => new AbortController(), /currentTask\(\)\.signal/],
  ['a running generator', () => (function* () { yield 1 })(), /send what it yields/],
  ['a symbol', () => Symbol('mine'), /known to one process alone/],
  ['a Proxy of a function', () => new Proxy(() => 1, {}), /native function of an addon, or a Proxy/],
]
/** Kinds whose maker itself could not travel. */
const here: typeof kinds = [
  ['an instance with a private field', () => new Secret(), /private field #hidden of Secret/],
  ['memory shared by threads', () => context, /SharedMemory/],
]

class Job extends Process {
  field: unknown
  deep: unknown
}

for (const [name, make, says] of [...kinds, ...here]) {
  test.serial(`${name}: captured, in a captured object, a field, an argument, an item`, async t => {
    const value = make()
    const box = { list: [value] }
    const job = (set: (job: Job) => void): Job => {
      const made = new Job()
      set(made)
      return made
    }
    const queue = new Queue()
    const places: [place: string, send: () => unknown, path: RegExp][] = [
      ['captured', () => new Process({ target: () => [value] }).start(), /^target/],
      ['in a captured object', () => new Process({ target: () => box }).start(), /captured\.box\.list\[0\]$/],
      ['captured by an argument', () => new Process({ target: (f: () => unknown) => f(), args: [() => box] }).start(), /args\[0\].*box\.list\[0\]$/],
      ['a field', () => job(made => { made.field = value }).start(), /^fields\.field$/],
      ['in a field', () => job(made => { made.deep = { value } }).start(), /^fields\.deep\.value$/],
      ['an argument', () => new Process({ target: (x: unknown) => x, args: [value] }).start(), /^args\[0\]$/],
      ['in an argument', () => new Process({ target: (x: unknown) => x, args: [{ value }] }).start(), /^args\[0\]\.value$/],
      ['an item', () => { queue.putNowait(value) }, /^item$/],
      ['in an item', () => { queue.putSync([new Map([['k', value]])]) }, /^item\[0\]\.get\("k"\)$/],
      ['captured in an item', () => { queue.putSync(() => box) }, /item.*box\.list\[0\]$/],
    ]
    for (const [place, send, path] of places) {
      const error = t.throws(send as () => void, { instanceOf: SerializationError }, place)
      t.regex(error.message, says, place)
      t.regex(error.path, path, place)
      if (place === 'captured') t.regex(error.message, /'value' \(declared at .*refused-real\.spec|captured\.value: /)
    }
    await t.throwsAsync(queue.put({ value }), { instanceOf: SerializationError, message: says })
    t.is(queue.qsize(), 0)
    t.deepEqual(activeChildren(), [])
    queue.close()
  })
}

test.serial('results: the same kinds, sent back by another process', async t => {
  const back = new Queue<[string, string, string]>()
  const child = new Process({
    target: async () => {
      for (const [name, make] of kinds) {
        try {
          await back.put(['sent', name, { result: make() } as never])
        } catch (error) {
          await back.put([name, (error as SerializationError).message, (error as SerializationError).path])
        }
      }
      process.exit()
    },
  }).start()
  for (const [name, , says] of kinds) {
    const [kind, message, path] = await back.get({ timeout: 20_000 })
    t.is(kind, name, message)
    t.regex(message, says)
    t.is(path, 'item[2].result')
  }
  await child.join()
})

test('a private field of a subclass of Process', t => {
  class Hiding extends Process {
    #secret = 1
    override run(): unknown { return this.#secret }
  }
  const error = t.throws(() => new Hiding().start(), { instanceOf: SerializationError })
  t.regex(error.message, /private field #secret of Hiding/)
})

test('variables that the target assigns, or that have no value yet', t => {
  let count = 0
  const assigned = t.throws(() => new Process({ target: () => { count += 1 } }).start(), { instanceOf: SerializationError })
  t.regex(assigned.message, /assigns the captured variable 'count' \(declared at .*perProcess/)
  class Counting extends Process { override run(): void { count += 1 } }
  t.regex(t.throws(() => new Counting().start()).message, /assigns the captured variable 'count'/)
  t.regex(t.throws(() => new Process({ target: () => soon }).start()).message, /captures 'soon' .*no value yet/)
  const soon = count
})
