// Makes the JavaScript of dist/ out of src/: one file, dist/polyproc.cjs, since a child that loads one file instead of
// forty starts in three quarters of the time, and beside it an ES module for every module of src/ that hands out what is
// that module's. So there is one instance of everything, whether a program imports the package, requires it, or a test
// imports a module of it. The one file is CommonJS, and so is what a child runs: to set up the loader of ES modules takes
// a fifth of what Node takes to start, and a child whose function needs none does without.

import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { buildSync } from 'esbuild'

const BUNDLE = 'polyproc.cjs'
/** The program that Node is told to run in a child calls one function of the bundle. */
const PROGRAM = { file: 'entry/child.cjs', module: 'child', starts: 'runChild' }

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

/** Writes the JavaScript of dist/; the declarations beside it are the compiler's. */
export function bundle(root) {
  const dist = join(root, 'dist')
  const modules = readdirSync(join(root, 'src'), { recursive: true }).filter(file => /(?<!\.d)\.ts$/.test(file)).map(file => file.slice(0, -'.ts'.length)).sort()
  const exports = exportsOf(root, modules)
  // Two modules may call different things by one name.
  const alias = (name, module) => `${module.replaceAll(/\W/g, '_')}__${name}`
  const all = modules.flatMap(module => exports.get(module).map(name => `export { ${name} as ${alias(name, module)} } from './${module}.js'`))
  const { outputFiles: [{ text }] } = buildSync({
    ...common, format: 'cjs', absWorkingDir: root, stdin: { contents: all.join('\n'), resolveDir: join(root, 'src'), loader: 'ts' },
    bundle: true, packages: 'external', define: { 'import.meta.url': 'bundleUrl' },
    banner: { js: "const bundleUrl = require('node:url').pathToFileURL(__filename).href" },
  })
  mkdirSync(dist, { recursive: true })
  writeFileSync(join(dist, BUNDLE), withClassNames(text))

  const written = new Set([BUNDLE])
  /** Writes a file beside the bundle; its text is told the way there. */
  const write = (name, text) => {
    const file = join(dist, name)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, text(`./${relative(dirname(file), join(dist, BUNDLE))}`.replace('./..', '..')))
    written.add(name)
  }
  for (const module of modules) {
    const names = exports.get(module).map(name => `  ${alias(name, module)}: ${name},\n`)
    // By require, so that it is the same instance under every loader.
    write(`${module}.js`, bundle => names.length === 0 ? 'export {}\n'
      : `import { createRequire } from 'node:module'\n\nexport const {\n${names.join('')}} = createRequire(import.meta.url)('${bundle}')\n`)
  }
  write(PROGRAM.file, bundle => `require('${bundle}').${alias(PROGRAM.starts, PROGRAM.module)}()\n`)
  // Of modules that are no more.
  for (const file of readdirSync(dist, { recursive: true })) if (/\.c?js(\.map)?$/.test(file) && !written.has(file)) rmSync(join(dist, file))
}
