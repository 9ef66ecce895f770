// Makes the JavaScript of dist/ out of src/: one file, dist/polyproc.cjs, since a child that loads one file instead of
// forty starts in three quarters of the time, and beside it an ES module for every module of src/ that hands out what is
// that module's. So there is one instance of everything, whether a program imports the package, requires it, or a test
// imports a module of it. The one file is CommonJS, and so is what a child runs: to set up the loader of ES modules takes
// a fifth of what Node takes to start, and a child whose function needs none does without. What the one file hands out is
// made when it is asked for, by name: a child needs two functions of a thousand. What reads the text of functions is a file of its own, dist/analysis.cjs, which is loaded when the first function is sent: most children send none.

import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { buildSync } from 'esbuild'

const BUNDLE = 'polyproc.cjs'
/** The program that Node is told to run in a child, which calls functions of one module of the bundle. */
const PROGRAM = { module: 'entry/child', calls: 'child' }
/** Through this one a program gets both files, from what the engine made of them before. */
const GATE = { module: 'entry/core', core: 'core()', analysis: 'analysis()' }
/** Files by themselves, which the bundle is not for. */
const isEntry = module => module.startsWith('entry/')
/** Under this name the bundle hands out everything; under its own, what {@link PROGRAM} calls. */
const ALL = 'all'
/** The program of a worker thread of a pool, which has the bundle compiled already: it calls one function of it. */
const THREAD = { file: 'entry/thread.cjs', module: 'pool/entry', starts: 'runWorkerThread' }

/** What stands in the second file: everything that only {@link LATER}.module leads to. */
const LATER = { file: 'analysis.cjs', module: 'target/analysis', import: './analysis.js', is: module => /^target\/(analysis|walker|syntax|reader\/)/.test(module) }

const common = { platform: 'node', target: 'node20', logLevel: 'warning', logOverride: { 'unsupported-dynamic-import': 'silent' }, write: false }

/** The exports of every module of src/, by the module's path without extension. */
function exportsOf(root, modules) {
  const { metafile } = buildSync({
    ...common, format: 'esm', absWorkingDir: root, entryPoints: modules.map(name => `src/${name}.ts`), outbase: 'src', outdir: 'dist', metafile: true,
  })
  return new Map(Object.values(metafile.outputs).map(({ entryPoint, exports }) => [entryPoint.slice('src/'.length, -'.ts'.length), exports]))
}

/** A class that mentions itself is bundled as `var A = class _A`: the name is what people see, and is given back. */
function withClassNames(text) {
  const names = new Set([...text.matchAll(/^var (\w+) = class _\1\b/gm)].map(([, name]) => name))
  return text.replace(/\b_(\w+)\b/g, (found, name) => names.has(name) ? name : found)
}

/** What is not ASCII stands in comments only, the bundler sees to the rest: a child reads its program as the bytes that it is. */
function inAscii(text) {
  return text.replace(/[\u0080-\uffff]/g, character => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** A file of {@link isEntry}. */
function program(root, module) {
  return buildSync({ ...common, format: 'cjs', absWorkingDir: root, entryPoints: [`src/${module}.ts`], bundle: true }).outputFiles[0].text
}

/** The bundle with its exports made when they are asked for, but for some, which stand under a name of their own. */
function handedOutLate(text, direct) {
  const [, object, list] = /^__export\((\w+), (\{\n[^}]*\n\})\);\nmodule\.exports = __toCommonJS\(\1\);\n/m.exec(text)
  const local = name => new RegExp(`^  ${name}: \\(\\) => (\\w+),?$`, 'm').exec(list)[1]
  return text
    .replace(`__export(${object}, ${list});\nmodule.exports = __toCommonJS(${object});\n`, '')
    // Names for an analysis that nobody makes.
    .replace(/^\/\/ Annotate the CommonJS export names[^]*$/m, '') + `
let handedOut
module.exports = {
  get ${ALL}() {
    if (handedOut === undefined) __export(handedOut = {}, ${list.replaceAll('\n', '\n    ')})
    return handedOut
  },
${direct.map(([name, exported]) => `  ${name}: ${local(exported)},\n`).join('')}}
`
}

/** Writes the JavaScript of dist/; the declarations beside it are the compiler's. */
export function bundle(root) {
  const dist = join(root, 'dist')
  const modules = readdirSync(join(root, 'src'), { recursive: true }).filter(file => /(?<!\.d)\.ts$/.test(file)).map(file => file.slice(0, -'.ts'.length)).filter(name => !isEntry(name)).sort()
  const exports = exportsOf(root, modules)
  // Two modules may call different things by one name.
  const alias = (name, module) => `${module.replaceAll(/\W/g, '_')}__${name}`
  /** One file out of those modules, which hands out all that they export. */
  const bundled = (of, external) => {
    const all = of.flatMap(module => exports.get(module).map(name => `export { ${name} as ${alias(name, module)} } from './${module}.js'`))
    const { outputFiles: [{ text }] } = buildSync({
      ...common, format: 'cjs', absWorkingDir: root, stdin: { contents: all.join('\n'), resolveDir: join(root, 'src'), loader: 'ts' },
      bundle: true, packages: 'external', external, define: { 'import.meta.filename': '__filename', 'import.meta.dirname': '__dirname' },
    })
    return inAscii(withClassNames(text))
  }
  const names = exports.get(LATER.module).map(name => `get ${name}() { return require("./${GATE.module}.cjs").${GATE.analysis}.${alias(name, LATER.module)} }`)
  let late = 0
  const core = bundled(modules.filter(module => !LATER.is(module)), [LATER.import])
    .replace(/^var (import_\w+) = require\("\.\/analysis\.js"\);$/gm, (_, variable) => {
      late += 1
      return `var ${variable} = { ${names.join(', ')} };`
    })
  if (late === 0) throw new Error(`nothing in the bundle imports ${LATER.import}`)
  const calls = exports.get(PROGRAM.calls)
  mkdirSync(dist, { recursive: true })
  writeFileSync(join(dist, BUNDLE), handedOutLate(core, calls.map(name => [name, alias(name, PROGRAM.calls)])))
  writeFileSync(join(dist, LATER.file), bundled(modules.filter(LATER.is), []))

  const written = new Set([BUNDLE, LATER.file])
  /** Writes a file of dist/; its text is told the way to the file that it takes from. */
  const write = (name, from, text) => {
    const file = join(dist, name)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, text(`./${relative(dirname(file), join(dist, from))}`.replace('./..', '..')))
    written.add(name)
  }
  for (const module of modules) {
    const names = exports.get(module).map(name => `  ${alias(name, module)}: ${name},\n`)
    // By require, so that it is the same instance under every loader.
    write(`${module}.js`, `${GATE.module}.cjs`, gate => names.length === 0 ? 'export {}\n'
      : `import { createRequire } from 'node:module'\n\nexport const {\n${names.join('')}} = createRequire(import.meta.url)('${gate}').${LATER.is(module) ? GATE.analysis : `${GATE.core}.${ALL}`}\n`)
  }
  for (const { module } of [PROGRAM, GATE]) write(`${module}.cjs`, BUNDLE, () => program(root, module))
  write(THREAD.file, BUNDLE, bundle => `require('${bundle}').${ALL}.${alias(THREAD.starts, THREAD.module)}()\n`)
  // Of other texts.
  rmSync(join(dist, 'compiled'), { recursive: true, force: true })
  // Of modules that are no more.
  for (const file of readdirSync(dist, { recursive: true })) if (/\.c?js(\.map)?$/.test(file) && !written.has(file)) rmSync(join(dist, file))
}
