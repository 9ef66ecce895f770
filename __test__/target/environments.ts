// The ways in which a program comes to run: each writes the fixtures where a test can start them, as that tool would
// have made them.

import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildSync, transformSync, type BuildOptions } from 'esbuild'

/** The sources, beside this file's own; compiled tests stand in build/. */
export const fixtures = fileURLToPath(new URL('../../../__test__/target/fixtures/', import.meta.url))
export const remote = new URL('remote.js', import.meta.url).href
const project = createRequire(new URL('../../../package.json', import.meta.url))
const root = fileURLToPath(new URL('../../../', import.meta.url))
const sources = ['dep', 'rows', 'run', 'main']

/** Where a package's file is, or null if the package is not installed. */
export function installed(file: string): string | null {
  try {
    return project.resolve(file)
  } catch {
    return null
  }
}

/** The program of a tool that is installed beside the project's other packages, or in the directory that TARGET_TOOLS names. */
export function tool(name: string): string | null {
  const found = [root, process.env['TARGET_TOOLS'] ?? root].map(at => join(at, 'node_modules', '.bin', name)).find(file => existsSync(file))
  return found ?? null
}

const test = (imports: string): string => `${imports}
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
test('rows', async () => { writeFileSync(process.env['TARGET_RESULT']!, JSON.stringify(await runAll(Remote, []))) }, 90000)
`

/** A directory in which vitest finds the table as a test. */
export function vitest(directory: string): void {
  raw(directory)
  writeFileSync(join(directory, 'table.test.ts'), test(`import { test } from 'vitest'\nimport { runAll } from './run.js'\nimport { Remote } from ${JSON.stringify(fileURLToPath(remote))}`))
}

/** The same for jest, whose modules are CommonJS: of the package it gets the bundle, since jest's `require` takes no ES modules. */
export function jest(directory: string): void {
  // Nor has it `import()`.
  separate(directory, 'cjs', false)
  writeFileSync(join(directory, 'package.json'), JSON.stringify({ type: 'commonjs', jest: { transform: {}, collectCoverageFrom: ['rows.js', 'dep.js', 'run.js'], watchman: false } }))
  const bundle = join(root, 'dist/polyproc.cjs')
  const part = (name: string): string => {
    const file = join(directory, `${name}.cjs`)
    writeFileSync(file, `for (const [name, value] of Object.entries(require(${JSON.stringify(bundle)}))) if (name.startsWith('${name}_index__')) exports[name.slice(${name.length + 8})] = value\n`)
    return file
  }
  buildSync({
    entryPoints: [fileURLToPath(remote)], bundle: true, platform: 'node', format: 'cjs', outfile: join(directory, 'polyproc.js'), logLevel: 'error',
    define: { 'import.meta.url': '$url' }, banner: { js: `const $url = ${JSON.stringify(remote)};` },
    external: [bundle], alias: { '#src/codec/index.js': part('codec'), '#src/target/index.js': part('target') },
  })
  const text = test("import { runAll } from './run.js'\nimport { Remote } from './polyproc.js'")
  writeFileSync(join(directory, 'table.test.js'), transformSync(text, { loader: 'ts', format: 'cjs', supported: { 'dynamic-import': false } }).code)
}

/** Each source by itself, as TypeScript's compiler would leave it. Returns the entry. */
export function separate(directory: string, format: 'esm' | 'cjs', dynamicImport = true): string {
  mkdirSync(directory, { recursive: true })
  writeFileSync(join(directory, 'package.json'), JSON.stringify({ type: format === 'esm' ? 'module' : 'commonjs' }))
  for (const name of sources) {
    const { code } = transformSync(readFileSync(join(fixtures, `${name}.ts`), 'utf8'), { loader: 'ts', format, target: 'es2022', supported: { 'dynamic-import': dynamicImport } })
    writeFileSync(join(directory, `${name}.js`), code)
  }
  copyFileSync(join(fixtures, 'old.cjs'), join(directory, 'old.cjs'))
  return join(directory, 'main.js')
}

/** Everything in one file, the CommonJS dependency inside. */
export function bundled(directory: string, options: BuildOptions = {}): string {
  mkdirSync(directory, { recursive: true })
  const outfile = join(directory, 'main.mjs')
  buildSync({
    entryPoints: [join(fixtures, 'main.ts')], bundle: true, platform: 'node', format: 'esm', target: 'es2022', outfile, logLevel: 'error',
    banner: { js: 'import { createRequire as $require } from "node:module"; const require = $require(import.meta.url);' }, ...options,
  })
  return options.outfile ?? outfile
}

/** The sources as they are, for what reads TypeScript by itself. */
export function raw(directory: string): string {
  mkdirSync(directory, { recursive: true })
  writeFileSync(join(directory, 'package.json'), JSON.stringify({ type: 'module' }))
  for (const name of sources) copyFileSync(join(fixtures, `${name}.ts`), join(directory, `${name}.ts`))
  copyFileSync(join(fixtures, 'old.cjs'), join(directory, 'old.cjs'))
  return join(directory, 'main.ts')
}
