import { createRequire } from 'node:module'
import test from 'ava'
import * as errors from '#src/errors.js'
import * as mp from 'polyproc'

const bare = Object.entries(errors).filter(([name]) =>
  /^[A-Z]/.test(name) && !['BufferTooShort', 'WorkerLostError', 'SerializationError'].includes(name)) as
  [string, typeof errors.PolyprocError][]

test('every class is exported, is told by name, and has a code of its own', t => {
  const codes = new Set<string>()
  const all: [string, errors.PolyprocError][] = bare.map(([name, Class]) => [name, new Class('m')])
  all.push(['BufferTooShort', new errors.BufferTooShort('m', new Uint8Array(3))])
  all.push(['WorkerLostError', new errors.WorkerLostError('m', { pid: 7, exitCode: -9, signal: 'SIGKILL' })])
  all.push(['SerializationError', new errors.SerializationError('m', 'args[0]')])
  t.is(all.length, 19)
  for (const [name, error] of all) {
    t.true(error instanceof errors.PolyprocError && error instanceof Error, name)
    t.is(error.name, name)
    t.is(String(error), `${name}: m`)
    t.regex(error.code, /^ERR_POLYPROC/)
    t.false(codes.has(error.code), error.code)
    codes.add(error.code)
    t.deepEqual(Object.keys(error).includes('name'), false)
    t.truthy(error.stack?.startsWith(`${name}: m`))
    t.is((mp as Record<string, unknown>)[name], (errors as Record<string, unknown>)[name])
  }
})

test('errors carry what api.d.ts says they carry', t => {
  const lost = new errors.WorkerLostError('gone', { pid: 12, exitCode: 3 })
  t.deepEqual([lost.pid, lost.exitCode, lost.signal, lost.attempt, lost.index], [12, 3, null, 1, null])
  t.is(new errors.SerializationError('m').path, '')
  const cause = new Error('why')
  t.is(new errors.StateError('m', { cause }).cause, cause)
})

test('a failure of the native part becomes the class of its code', t => {
  const native = Object.assign(new Error('the queue is full'), { code: 'ERR_POLYPROC_FULL' })
  const error = errors.fromNative(native) as errors.Full
  t.true(error instanceof errors.Full)
  t.is(error.message, 'the queue is full')
  t.regex(error.stack?.split('\n')[1] ?? '', /errors\.spec/)
  t.is(errors.fromNative(error), error)
  const other = Object.assign(new Error('x'), { code: 'ENOENT' })
  t.is(errors.fromNative(other), other)
  t.is(errors.fromNative('text'), 'text')
  t.true(errors.errorOfCode('ERR_POLYPROC_RANGE', 'm') instanceof RangeError)
  t.is(errors.errorOfCode('ERR_POLYPROC_LATER', 'm').message, 'ERR_POLYPROC_LATER: m')
})

test('require loads the same classes as import', t => {
  const required = createRequire(import.meta.url)('polyproc') as typeof mp
  t.is(required.Empty, mp.Empty)
})
