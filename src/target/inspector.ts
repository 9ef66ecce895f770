/**
 * What V8's inspector knows about a function, asked in-process and synchronously: where its text is, the values of the
 * variables around it (copies: read again when they may have changed), what it is bound to. The debugger domain is
 * switched on only for moments, since what it switches on costs; the rest leaves no trace.
 */

import { createRequire } from 'node:module'
import type * as Inspector from 'node:inspector'
import type { Debugger, InspectorNotification, Runtime, Session } from 'node:inspector'
import { SerializationError } from '../errors.js'

export interface Location {
  readonly scriptId: string
  /** Both from 0. */
  readonly line: number
  readonly column: number
}

export interface Facts {
  /** Null for functions that have no text: native ones, bound ones. */
  readonly location: Location | null
  /** The variables around the function, innermost scope first. Without those of the global object. */
  readonly scopes: readonly Readonly<Record<string, unknown>>[]
  /** That of them which holds the top of an ES module; null for a function of another script. */
  readonly moduleScope: Readonly<Record<string, unknown>> | null
  readonly bound: { readonly target: AnyFunction, readonly self: unknown, readonly args: readonly unknown[] } | null
  /** Static private fields of a class, by name with the `#`; null where there are none. */
  readonly privates: Readonly<Record<string, unknown>> | null
}

export interface ScriptFacts {
  readonly id: string
  readonly url: string
  readonly isModule: boolean
  /** Of the text, in UTF-16 units. */
  readonly length: number
  /** Where the text begins in its file, from 0: not at the start for code compiled with an offset. */
  readonly startLine: number
  readonly startColumn: number
}

export type AnyFunction = (...args: never) => unknown

/** Passes values between this module and the inspector's side without touching the global object. */
interface Holder { fn: unknown, scopes: { object: Record<string, unknown>, description: string }[], out: unknown }

const holder: Holder = { fn: undefined, scopes: [], out: undefined }
const GROUP = 'polyproc'
/** Values that were passed to the inspector's side by name, to give each a name of its own. */
let passes = 0
let session: Session | undefined
let holderId = ''
let answer: unknown
let failure: Error | null = null
const onAnswer = (error: Error | null, result?: unknown): void => {
  failure = error
  answer = result
}

/** Loaded only when a function has to be read. */
function loadInspector(): typeof Inspector {
  return createRequire(import.meta.filename)('node:inspector') as typeof Inspector
}

function connect(): Session {
  const inspector = loadInspector()
  let made: Session
  try {
    made = new inspector.Session()
    made.connect()
  } catch (error) {
    throw new SerializationError(
      'this function can only be sent by value, and reading it needs the inspector, which '
      + `${(error as { code?: string }).code === 'ERR_ACCESS_DENIED' ? 'Node\'s permission model (--permission) refuses' : 'this Node does not allow'}: `
      + 'export it from a module other than the entry, or name it as { module, export }', '', { cause: error })
  }
  session = made
  holderId = passed(holder, expression => ask<Runtime.EvaluateReturnType>('Runtime.evaluate', { expression, objectGroup: 'polyproc-holder' })).result.objectId!
  return made
}

/**
 * Makes a value reachable by an expression for the inspector, for the time of a call. It hangs on an object of Node's and
 * not on the global object: a test runner's modules have another global object than the one that the inspector evaluates in.
 */
export function passed<T>(value: unknown, use: (expression: string) => T): T {
  const inspector = loadInspector()
  const name = `__polyproc${passes += 1}`
  Object.defineProperty(inspector, name, { value, configurable: true })
  try {
    return use(`process.getBuiltinModule('node:inspector').${name}`)
  } finally {
    Reflect.deleteProperty(inspector, name)
  }
}

// The type of the answer follows from the method's name, which the caller knows.
// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters
function ask<T>(method: string, parameters?: object): T {
  const open = session ?? connect()
  failure = null
  answer = undefined
  ;(open as { post(method: string, parameters: object | undefined, done: typeof onAnswer): void }).post(method, parameters, onAnswer)
  const result = { failure: failure as Error | null, answer }
  if (result.failure !== null) throw result.failure
  return result.answer as T
}

function call(objectId: string, body: string, withHolder = false): Runtime.RemoteObject {
  return ask<Runtime.CallFunctionOnReturnType>('Runtime.callFunctionOn', {
    objectId, functionDeclaration: body, objectGroup: GROUP, silent: true, ...(withHolder ? { arguments: [{ objectId: holderId }] } : {}),
  }).result
}

/** The value behind an object of the inspector: the very same one. */
function valueOf(remote: Runtime.RemoteObject | undefined): unknown {
  if (remote === undefined) return undefined
  if (remote.objectId === undefined) {
    if (remote.type === 'undefined') return undefined
    if (remote.unserializableValue === undefined) return remote.value
    const text = remote.unserializableValue
    return text.endsWith('n') ? BigInt(text.slice(0, -1)) : Number(text)
  }
  call(remote.objectId, 'function(h){h.out=this}', true)
  const value = holder.out
  holder.out = undefined
  return value
}

/**
 * Asks about a function: about 0.3 ms.
 *
 * @throws {@link SerializationError} where the inspector may not be used (`--permission`).
 */
export function inspect(fn: AnyFunction): Facts {
  if (session === undefined) connect()
  holder.fn = fn
  try {
    const { objectId } = call(holderId, 'function(){return this.fn}')
    const properties = ask<Runtime.GetPropertiesReturnType & { privateProperties?: PrivateProperty[] }>('Runtime.getProperties', { objectId, ownProperties: true })
    const internal = new Map((properties.internalProperties ?? []).map(item => [item.name, item.value]))
    const target = internal.get('[[TargetFunction]]')
    const place = internal.get('[[FunctionLocation]]')?.value as Debugger.Location | undefined
    const scopes = internal.get('[[Scopes]]')?.objectId
    if (scopes !== undefined && place !== undefined) call(scopes, 'function(h){h.scopes=Array.from(this)}', true)
    const found = holder.scopes
    return {
      location: place === undefined ? null : { scriptId: place.scriptId, line: place.lineNumber, column: place.columnNumber ?? 0 },
      scopes: found.filter(item => item.description !== 'Global').map(item => item.object),
      moduleScope: found.find(item => item.description === 'Module')?.object ?? null,
      bound: target === undefined ? null : {
        target: valueOf(target) as AnyFunction,
        self: valueOf(internal.get('[[BoundThis]]')),
        args: Array.from(valueOf(internal.get('[[BoundArgs]]')) as unknown[]),
      },
      privates: privatesOf(properties.privateProperties),
    }
  } finally {
    holder.fn = undefined
    holder.scopes = []
    releaseSoon()
  }
}

let isReleasing = false
/** The inspector keeps what it was asked about until it is told not to: once a turn, since many functions may be asked about in one. */
function releaseSoon(): void {
  if (isReleasing) return
  isReleasing = true
  queueMicrotask(() => {
    isReleasing = false
    try {
      ask('Runtime.releaseObjectGroup', { objectGroup: GROUP })
    } catch {
      // The inspector is gone, and what it kept with it: nobody could be told of it here.
    }
  })
}

interface PrivateProperty { name: string, value?: Runtime.RemoteObject, get?: unknown, set?: unknown }

function privatesOf(properties: readonly PrivateProperty[] | undefined): Record<string, unknown> | null {
  const fields = properties?.filter(item => item.get === undefined && item.set === undefined) ?? []
  return fields.length === 0 ? null : Object.fromEntries(fields.map(item => [item.name, valueOf(item.value)]))
}

/**
 * All scripts of this isolate, by one pulse of the debugger: 20 to 60 ms the first time, when V8 makes up its list,
 * some 3 ms later. Calls `use` while the texts can be asked for.
 */
export function withScripts<T>(use: (scripts: readonly ScriptFacts[], textOf: (id: string) => string) => T): T {
  const open = session ?? connect()
  const scripts: ScriptFacts[] = []
  const onParsed = ({ params }: InspectorNotification<Debugger.ScriptParsedEventDataType>): void => {
    scripts.push({
      id: params.scriptId, url: params.url, isModule: params.isModule === true, length: params.length ?? 0, startLine: params.startLine, startColumn: params.startColumn,
    })
  }
  open.on('Debugger.scriptParsed', onParsed)
  try {
    ask('Debugger.enable')
    return use(scripts, id => ask<Debugger.GetScriptSourceReturnType>('Debugger.getScriptSource', { scriptId: id }).scriptSource)
  } finally {
    open.off('Debugger.scriptParsed', onParsed)
    ask('Debugger.disable')
  }
}

/** Whether a debugger may be attached: then nothing of this process may be paused, since it would wait for the person. */
export function isBeingDebugged(): boolean {
  return loadInspector().url() !== undefined
}

/**
 * Evaluates an expression where a function begins: with its `this`, `new.target` and variables. The function is called,
 * stopped before its first statement, and ended there: its body does not run. About 5 ms.
 *
 * Parameters are given values for which no default is computed, since those would run.
 *
 * @param use Called with the evaluator, while the function stands still.
 * @returns False if the function could not be stopped there.
 */
export function atEntryOf(fn: AnyFunction, use: (evaluate: (expression: string) => { value: unknown, threw: boolean }) => void): boolean {
  const open = session ?? connect()
  let stopped = false
  const onPaused = ({ params }: InspectorNotification<Debugger.PausedEventDataType>): void => {
    stopped = true
    const { callFrameId } = params.callFrames[0]!
    try {
      passed(holder, out => use(expression => {
        // The value is put into the holder there, since an object of another realm could not be passed by the inspector.
        const { exceptionDetails } = ask<Debugger.EvaluateOnCallFrameReturnType>('Debugger.evaluateOnCallFrame', {
          callFrameId, expression: `void(${out}.out=(${expression}))`, silent: true, objectGroup: GROUP,
        })
        const value = holder.out
        holder.out = undefined
        return exceptionDetails === undefined ? { value, threw: false } : { value: undefined, threw: true }
      }))
    } finally {
      ask('Runtime.terminateExecution')
      ask('Debugger.resume')
    }
  }
  holder.fn = fn
  open.on('Debugger.paused', onPaused)
  try {
    ask('Debugger.enable')
    const { objectId } = call(holderId, 'function(){return this.fn}')
    ask('Debugger.setBreakpointOnFunctionCall', { objectId })
    // `evaluate`, since of all requests it is the one that takes the end of what it runs for its own, and only that.
    passed(() => (fn as (...args: unknown[]) => unknown)(...Array<unknown>(8).fill(anything)), expression => {
      try {
        ask('Runtime.evaluate', { expression: `${expression}()`, silent: true, objectGroup: GROUP })
      } catch (error) {
        // The end of the execution is reported as a failure of the request.
        if (!stopped) throw error
      }
    })
  } finally {
    open.off('Debugger.paused', onPaused)
    ask('Debugger.disable')
    holder.fn = undefined
    ask('Runtime.releaseObjectGroup', { objectGroup: GROUP })
  }
  return stopped
}

/** An argument from which any pattern can be taken apart without meeting `undefined`, so that no default is computed. */
const anything: unknown = new Proxy(function () { /* only to be callable */ }, {
  get: (_target, key) => key === Symbol.iterator ? function* () { for (;;) yield anything } : anything,
})
