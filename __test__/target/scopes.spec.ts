// What is read from a text: which names a function takes from outside, and what assigns them.

import test from 'ava'
import { Analysis } from '#src/target/analysis.js'
import type { ScriptKind } from '../../src/target/syntax.js'

/** All that can be read from a text. */
function analyse(text: string, kind: ScriptKind): Analysis {
  const analysis = new Analysis(text, kind)
  analysis.readWhole(analysis.program)
  return analysis
}

/** Names that resolve to nothing in the text, and names with the number of places that assign them. */
function read(text: string): { free: string[], writes: Record<string, number> } {
  const { references } = analyse(text, 'module')
  const free = new Set<string>()
  const writes: Record<string, number> = {}
  for (const { binding, node } of references) {
    if (binding === null) free.add(node.name)
    else writes[node.name] = binding.writes.length
  }
  return { free: [...free].sort(), writes }
}

const table: [name: string, text: string, free: string[]][] = [
  ['parameters and defaults', 'export const f = (a, { b, c: [d] } = e, ...g) => a + b + d + g + h', ['e', 'h']],
  ['keys are no names', '({ a: b, c() {}, get d() { return e }, [f]: 1 }).g', ['b', 'e', 'f']],
  ['members are no names', 'a.b.c; a?.b[c]', ['a', 'c']],
  ['labels are no names', 'x: for (;;) { continue x }', []],
  ['catch', 'try { a } catch ({ b }) { b; c }', ['a', 'c']],
  ['blocks', '{ let a; { a } } a', ['a']],
  ['var leaves blocks', '{ var a = 1 } a', []],
  ['functions are there before they are written', 'f(); function f() { return g }', ['g']],
  ['classes', 'class A extends B { [c] = d; static { e } #f = this.#f; m() { return A } }', ['B', 'c', 'd', 'e']],
  ['class expressions have a name inside', 'const X = class Y { m() { return Y } }; Y', ['Y']],
  ['function expressions too', '(function y() { return y }); y', ['y']],
  ['for loops', 'for (const a of b) a; for (c in d) c; for (let i = 0; i < n; i++) i', ['b', 'c', 'd', 'n']],
  ['switch', 'switch (a) { case b: let c; c } c', ['a', 'b', 'c']],
  ['imports', 'import a, { b as c } from "x"; import * as d from "y"; a; b; c; d', ['b']],
  ['exports', 'const a = 1; export { a as b }; export { c } from "x"; export * from "y"', []],
  ['assignment patterns', '({ a, b: c = d, ...e } = f); [g, h.i] = j', ['a', 'c', 'd', 'e', 'f', 'g', 'h', 'j']],
  ['templates', '`${a}`; b`${c}`', ['a', 'b', 'c']],
]
for (const [name, text, free] of table) {
  test(name, t => {
    t.deepEqual(read(text).free, free)
  })
}

test('what assigns a variable', t => {
  const { writes } = read(`let a = 1, b = 1, c = 1, d = 1, e = 1, f, g = 1
    a = 2; b++; ({ c } = x); [d] = y; for (e of z); f ??= 1; g; a; f`)
  t.deepEqual([writes['a'], writes['b'], writes['c'], writes['d'], writes['e'], writes['f'], writes['g']], [1, 1, 1, 1, 1, 1, 0])
})

test('whose this it is', t => {
  const { lexicals } = analyse('const f = () => this; class A { x = this; m() { return () => this } static { this } }', 'module')
  t.deepEqual(lexicals.map(({ owner }) => owner?.type ?? null), [null, 'PropertyDefinition', 'FunctionExpression', 'StaticBlock'])
})

test('eval taints what is around it, and nothing else', t => {
  const { functions } = analyse('function a() { eval(""); return () => 1 } function b() { return () => 2 }', 'script')
  t.deepEqual([...functions].filter(([node]) => node.type === 'ArrowFunctionExpression').map(([, scope]) => scope.tainted), [true, false])
})
