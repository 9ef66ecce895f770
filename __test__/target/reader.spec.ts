// The quick reader must say of every text what the full parser says, or leave it to that: over a table of what is hard
// to tell apart, and over files that others wrote.

import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import { Analysis } from '#src/target/analysis.js'
import { Reader, UnreadableError } from '#src/target/reader/index.js'
import { parse } from '#src/target/syntax.js'
import { Walker } from '#src/target/walker.js'

/** Of no use to whoever reads the tree, or not the same object in both. */
const IGNORED = new Set(['raw', 'value', 'regex', 'bigint', 'optional'])

/** The first difference between two trees, as a path; null for none. */
function differ(a: any, b: any, path = ''): string | null {
  if (a === null || b === null || typeof a !== 'object' || typeof b !== 'object') return a === b ? null : `${path}: ${String(a)}, ${String(b)}`
  if (Array.isArray(a)) {
    if (!Array.isArray(b) || a.length !== b.length) return `${path}: another length`
    return a.map((item, i) => differ(item, b[i], `${path}[${i}]`)).find(found => found !== null) ?? null
  }
  if (a.type === 'Literal' && typeof a.value === 'string' && a.value !== b.value) return `${path}: ${a.value}, ${b.value}`
  for (const key of new Set([...Object.keys(a), ...Object.keys(b)])) {
    if ((IGNORED.has(key) && typeof a[key]?.type !== 'string') || (a[key] === undefined && b[key] === undefined)) continue
    // The full parser's program begins at its first word.
    if (a.type === 'Program' && (key === 'start' || key === 'end')) continue
    const found = differ(a[key], b[key], `${path}.${key}`)
    if (found !== null) return found
  }
  return null
}

type Kind = 'module' | 'commonjs'

/** What a text is to the quick reader, one function at a time; null if it leaves it. */
function quick(text: string, kind: Kind): unknown {
  const reader = new Reader(text, kind === 'module')
  try {
    const program = reader.read()
    for (const passed of [...reader.constants, ...reader.runs.flatMap(run => run.statements())]) {
      program.body.push((passed.isConstant ? reader.readPassed(passed).statement : reader.declare(passed)) as never)
    }
    program.body.sort((a, b) => a.start - b.start)
    while (reader.unread.size > 0) for (const { node } of [...reader.unread.values()]) reader.fill(node, false)
    return program
  } catch (error) {
    if (error instanceof UnreadableError) return null
    throw error
  }
}

/** Names with their declarations and assignments, and what a function has from where it stands. */
function summary({ references, lexicals, functions }: Pick<Analysis, 'references' | 'lexicals' | 'functions'>): string[] {
  const names = [...references].sort((a, b) => a.node.start - b.node.start || Number(a.write) - Number(b.write))
    .map(({ node, write, binding }) => `${node.name}@${node.start}${write ? '=' : ''} ${binding === null ? '' : `${binding.kind}@${binding.at} ${binding.writes.length}`}`)
  const rest = [...lexicals].sort((a, b) => a.node.start - b.node.start).map(({ kind, node, owner }) => `${kind}@${node.start} ${owner?.start ?? ''}`)
  return [...names, ...rest, ...[...functions].map(([node, scope]) => `${node.start} ${scope.tainted}`).sort()]
}

function parseAny(text: string): { tree: ReturnType<typeof parse>, kind: Kind } {
  try {
    return { tree: parse(text, 'module'), kind: 'module' }
  } catch {
    return { tree: parse(text, 'commonjs'), kind: 'commonjs' }
  }
}

/** Both readers' opinion of a text; true if the quick one had one. */
function compare(text: string, name: string): boolean {
  const { tree, kind } = parseAny(text)
  const found = quick(text, kind)
  if (found !== null) {
    const difference = differ(tree, found)
    if (difference !== null) throw new Error(`${name}: ${difference}`)
  }
  const walker = new Walker(tree)
  walker.run()
  const analysis = new Analysis(text, kind)
  // Opened here and there first, as functions are asked for in any order.
  for (let i = 1; i < 8; i += 1) analysis.reach(Math.floor(text.length * i / 8))
  analysis.readWhole(analysis.program)
  const [expected, actual] = [summary(walker), summary(analysis)]
  const at = expected.findIndex((line, i) => line !== actual[i])
  if (at >= 0 || actual.length !== expected.length) throw new Error(`${name}: ${expected[at]}, ${actual[at]}`)
  return found !== null
}

const table: readonly string[] = [
  'a / b / c', 'a\n/ b / c', 'f(a) / 2 / 3', 'a[0] / 2', '"a" / 2', '`a` / 2', 'x = /[/}{]/.test(y) ? /"/ : /\'/g', 'function f() { return /}/.test("{") }',
  'function f() { if (x) /}/.test(y); return (a) / 2 }', 'function f() { a = b\n/c/d; }', 'function f() { x = a++ / 2 }', 'function f() { {} /}/.test(a) }',
  'function f() { // }\n return "}" /* } */ + \'}\' + `}${`}${{}}`}}` }', 'function f(a = ")", b = /[)]/, c = `)`, { d } = {}) {}', 'f(function () { return {} }, () => ({}), async () => {})',
  'const f = a => b => ({ c }) => a + b + c', 'const f = async a => await a, g = async (a, { b } = {}) => { await a }, h = async(a, b)', 'async\nfunction f() {}',
  'const { a, b: { c = 1 }, ...d } = e, [g, , h = i, ...[j]] = k', '[a, b.c, ...d] = e; ({ a, b: c.d, e = 1, ...f } = g)', '(a, b) ? c : d => e', 'a ?? b; a || b && c; a ** b ** c; -(a ** b)',
  'a?.b?.[c]?.(d).e; a.b`f`; a?.5:1', 'new a.b(c).d; new a; new (b())(); new new a()(); function f() { new.target }', 'import.meta.url; import("a"); import("a", { with: {} })',
  'class A extends (b, c) { static #p = 1; #q; get; set; static; async; get a() {} set a(b) {} static async *c() {} [d]() {} "e"() {} 5() {} static { this.f } #g() { return #q in this } constructor() { super() } static get = 1; async\nx() {} }',
  'x = class { a = b => this; static b = function () {} }', 'for (const a of b) c; for (a in b) {} for (let i = 0, n = (a in b) ? 1 : 2; i < n; i++);', 'for (var a in b);', 'for (;;) { break } x: while (1) { continue x } do a; while (b) c',
  'for (const a = (b in c); a;);', 'async function f() { for await (const a of b); await a; return async () => await b }', 'function* f() { yield; yield* a; const b = yield c; [yield, yield d] }', 'switch (a) { case 1: case b: { c } break; default: d; let e }',
  'try { a } catch { b } finally { c } try {} catch ({ d }) { d }', 'if (a) b; else if (c) d\nelse { e }', 'throw a', 'label: { break label }', '"use strict"; "b"; a; "c"', '("a"); "b"', '\'a\\n\\x41\\u{42}\\\n\'',
  'import a, { b as c, default as d, "e f" as g } from "x"; import * as h from "y" with { type: "json" }; import "z"', 'const a = 1, b = 2; export { a, b as "c d" }; export * from "x"; export * as e from "y"; export { f } from "z"',
  'export default function () {}', 'export default class {}', 'export default async () => {}', 'export default a + b', 'export default async function f() {}', 'export const a = 1, { b } = c', 'export async function f() {} export function* g() {} export class H {}',
  'export function f(a, b) { return `${a}${b.c}` } export function g() {}', 'function /* ( */ f /* { */ (a) { }', 'let = 1; let\na', 'var yield_ = 1, of, get, set, async, static_; async = of; get(set)', 'a = async ? 1 : 2; async(1); async\n(b)',
  'a\n++b\nc--\nd', 'return_ / 2; x.return / 2', '0x1F + 0b1_0 + 1_000.5e-3 + .5 + 10n + 1..a', 'a<!--b', 'ä = ö => "ü"', '#!/usr/bin/env node\na', 'a = { get b() {}, set b(c) {}, async d() {}, *e() {}, async *f() {}, get: 1, set, async, "g": 1, 7: 1, [h]: i, j() {}, get [k]() {}, __proto__: null }',
  'function f() { with (a) b }', 'void function () {}(); !function () {}(); (function () {})(); (() => {})(); +(a => b)', 'a = b ? (c, d) : (e) => f', 'a = b ? (c) => d : e', 'x = a => {}\n/b/g', '(async function () { await a })()', '(a = 1, { b } = {}, [c] = []) => a', 'a = function b() { b }; b',
  // What ends a constant's statement, and what does not.
  'const a = b.\nconst\nconst c = 1', 'const a = b\ninstanceof c\nconst d = "e"\nf()', 'const A = class A1\nextends B { }\nconst c = 1; d()', 'const a = typeof\nfunction () {}\nconst b = 1\nfunction c() {}',
  'const a = (b)\n(c)\nconst d = [e]\n[f]\nconst g = 1\n.h', 'const a = b => {}\nlet c\nc = a', 'const a = 1 // b\n/* c\n */ const d = `e${`f\nconst g = 1\n`}` // h', 'const a = b ? `c` : `d`, e = 1\nconst f = {\n  g: /}/,\n  h: 1 / 2,\n}\nvar i',
  'const a = eval("b"); const c = () => eval("d"); export const e = this, f = 1', 'const a = f => {}\nasync function b() {}\nconst c = async (x1) => 5\nd\n=e', 'const a = b\nc\nconst d = 5\n++e\nconst g = "h"\n`i`',
  'function a() { return b }\nfunction a() { return a }\nvar a = 1; const b = a', 'var a\nfunction a() {} // { function\n/* function b() {} */ function c() { function d() {} }', 'const a = function () { a = b }\nconst b = () => { c = a }\nlet c = b\nc()',
  'const a = import.meta\nimport b from "c"\nconst d = await b\nexport { d, a as e }', 'const a = 1\rconst b = 2\u2028const c = 3', 'const a = 1\nreturn', 'const a = { b: 1 }\n\n\n', 'const a = b1',
  'delete a.b, typeof c === void 0', 'a => b ? c : d', 'a => { }, b', '`a${b}c${`d${e}`}f`', 'x.class.function.if; ({ if: 1, class: 2 }).if', 'var a; { function a() {} } a = 1',
]
for (const [i, text] of table.entries()) {
  test(`as the full parser, ${i}: ${text.slice(0, 60)}`, t => {
    t.notThrows(() => compare(text, text))
  })
}

test('hundreds of files of others', t => {
  const modules = fileURLToPath(new URL('../../../node_modules/', import.meta.url))
  const files = ['acorn', 'ava', 'eslint', 'esbuild', 'espree', 'estraverse', 'chalk', 'msgpackr', 'tsx', '@eslint'].flatMap(name => {
    try {
      return readdirSync(join(modules, name), { recursive: true }).map(file => join(modules, name, String(file)))
    } catch {
      return []
    }
  }).filter(file => /\.[mc]?js$/.test(file) && statSync(file).isFile() && statSync(file).size < 60_000).slice(0, 400)
  let read = 0
  for (const file of files) if (compare(readFileSync(file, 'utf8'), file)) read += 1
  t.true(files.length > 100, `${files.length} files`)
  t.true(read >= files.length * 0.98, `${read} of ${files.length} read without the full parser`)
})

test('what a sibling that was not asked for assigns is known', t => {
  const text = `let a = 1, b = 1, c = 1, d = 1; const e = 1
    const f = () => [a, b, c, d, e]
    function g() { a = 2 }
    const h = { i() { return () => { ({ b } = {}) } } }
    function j() { return c + c.x + c(1) + \`\${c}\` }
    function k() { for (d of []); }`
  const analysis = new Analysis(text, 'module')
  const writes = ['a', 'b', 'c', 'd', 'e'].map(name => {
    const binding = analysis.top.bindings.get(name)!
    analysis.settle(binding)
    return binding.writes.length
  })
  t.deepEqual(writes, [1, 1, 0, 1, 0])
})

test('a function is read by the full parser where the quick reader is not sure, and by nobody where nobody asks', t => {
  const text = 'function f(x = 1) { return [x, () => { with (g) { h; this } }, async function* () { with (g) yield await x }, this] } const b = () => { with (f) b }, g = 1'
  const analysis = new Analysis(text, 'commonjs')
  t.is(summary(analysis).length, 1, 'the arrow, and no name in it')
  analysis.readWhole(analysis.program)
  const walker = new Walker(parse(text, 'commonjs'))
  walker.run()
  t.deepEqual(summary(analysis), summary(walker))
})
