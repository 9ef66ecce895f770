// Makes the JavaScript of dist/ out of src/: one file, dist/polyproc.js, since a child that loads one file instead of
// forty starts in three quarters of the time, and beside it a file for every module of src/ that hands out what is
// that module's. So there is one instance of everything, whether a program imports the package or a test imports a
// module of it.

import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { buildSync } from 'esbuild'

const BUNDLE = 'polyproc.js'
/** What Node is told to run in a child: all that it does is call this export of its neighbour. */
const PROGRAM = { module: 'entry/child', from: 'child', start: 'runChild' }
/** The loader of the native part, as src/native.ts calls it: it stands at the root of the package, beside dist/. */
const NATIVE = '../index.js'

const common = { format: 'esm', platform: 'node', target: 'node20', logLevel: 'warning', logOverride: { 'unsupported-dynamic-import': 'silent' }, write: false }

/** The exports of every module of src/, by the module's path without extension. */
function exportsOf(root, modules) {
  const { metafile } = buildSync({
    ...common, absWorkingDir: root, entryPoints: modules.map(name => `src/${name}.ts`), outbase: 'src', outdir: 'dist', metafile: true,
  })
  return new Map(Object.values(metafile.outputs).map(({ entryPoint, exports }) => [entryPoint.slice('src/'.length, -'.ts'.length), exports]))
}

/** A class that mentions itself is bundled as `var A = class _A`: the name is what people see, and is given back. */
function withClassNames(text) {
  const names = new Set([...text.matchAll(/^var (\w+) = class _\1\b/gm)].map(([, name]) => name))
  return text.replace(/\b_(\w+)\b/g, (found, name) => names.has(name) ? name : found)
}

/**
 * Node's own modules are asked for instead of imported: an import goes through the module loader and reads every
 * export of the module, some of which load a library. All stand at the top, as imports do in effect.
 */
function withBuiltins(text) {
  const found = []
  const rest = text.replace(/^import (?:\{ (.*) \}|(\w+)) from "(node:[\w/]+)";\n/gm, (_, names, name, module) => {
    found.push(`const ${name ?? `{ ${names.replaceAll(' as ', ': ')} }`} = process.getBuiltinModule("${module}");\n`)
    return ''
  })
  return found.join('') + rest
}

/** Writes the JavaScript of dist/; the declarations beside it are the compiler's. */
export function bundle(root) {
  const dist = join(root, 'dist')
  const modules = readdirSync(join(root, 'src'), { recursive: true }).filter(file => /(?<!\.d)\.ts$/.test(file)).map(file => file.slice(0, -'.ts'.length)).sort()
  const exports = exportsOf(root, modules)
  // Two modules may call different things by one name.
  const alias = (name, module) => `${module.replaceAll(/\W/g, '_')}__${name}`
  const all = modules.filter(module => module !== PROGRAM.module)
    .flatMap(module => exports.get(module).map(name => `export { ${name} as ${alias(name, module)} } from './${module}.js'`))
  const { outputFiles: [{ text }] } = buildSync({
    ...common, absWorkingDir: root, stdin: { contents: all.join('\n'), resolveDir: join(root, 'src'), loader: 'ts' },
    bundle: true, packages: 'external', external: [NATIVE],
  })
  mkdirSync(dist, { recursive: true })
  writeFileSync(join(dist, BUNDLE), withBuiltins(withClassNames(text)))

  for (const module of modules) {
    const file = join(dist, `${module}.js`)
    const neighbour = `./${relative(dirname(file), join(dist, BUNDLE))}`.replace('./..', '..')
    const lines = exports.get(module).map(name => `export { ${alias(name, module)} as ${name} } from '${neighbour}'\n`)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, module === PROGRAM.module
      ? `import { ${alias(PROGRAM.start, PROGRAM.from)} as ${PROGRAM.start} } from '${neighbour}'\n\n${PROGRAM.start}()\n`
      : lines.length > 0 ? lines.join('') : 'export {}\n')
  }
  // Of modules that are no more.
  const wanted = new Set([BUNDLE, ...modules.map(module => `${module}.js`)])
  for (const file of readdirSync(dist, { recursive: true })) if (/\.js(\.map)?$/.test(file) && !wanted.has(file)) rmSync(join(dist, file))
}
