// Builds what is missing or older than its sources, and nothing else, so that `npm start` and
// `npm test` can call it every time.
//
//   node scripts/build.mjs [native] [ts] [test] [--force] [--debug] [--loose]
//
// Without a part named: all of them. `native` is the addon with its generated index.js and
// index.d.ts (`--debug` without optimisation), `ts` is src/ -> dist/: declarations by the compiler, one file of
// JavaScript by bundle.mjs (`--loose` goes on in spite of type errors), `test` is __test__/, bench/ and examples/ -> build/.

import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildSync } from 'esbuild'
import { bundle } from './bundle.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const stamp = part => join(root, 'build', `.${part}.stamp`)

/** Files below the given paths, in a fixed order; a path that does not exist has none. */
function filesBelow(paths) {
  const found = []
  for (const path of paths) {
    const full = join(root, path)
    if (!existsSync(full)) continue
    if (statSync(full).isFile()) found.push(full)
    else {
      for (const entry of readdirSync(full, { recursive: true, withFileTypes: true })) {
        if (entry.isFile()) found.push(join(entry.parentPath ?? entry.path, entry.name))
      }
    }
  }
  return found.sort()
}

/** Whether every output exists and nothing among the inputs is newer than the last build of the part. */
function isFresh(part, inputs, outputs) {
  if (!existsSync(stamp(part)) || outputs.some(file => !existsSync(join(root, file)))) return false
  const built = statSync(stamp(part)).mtimeMs
  // A directory's own time tells of files that were removed or renamed.
  const directories = inputs.map(path => join(root, path)).filter(existsSync)
  return [...filesBelow(inputs), ...directories].every(file => statSync(file).mtimeMs <= built)
}

function run(command, args, options = {}) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit', ...options })
  if (error) throw error
  if (status !== 0) {
    console.error(`polyproc: \`${command} ${args.join(' ')}\` ended with ${status}`)
    process.exit(1)
  }
}

/** Runs `build` unless the part is fresh. The stamp is dated by the start, so an edit made meanwhile counts as newer. */
function part(name, inputs, outputs, { force }, build) {
  if (!force && isFresh(name, inputs, outputs)) return
  const started = new Date()
  build()
  mkdirSync(join(root, 'build'), { recursive: true })
  writeFileSync(stamp(name), started.toISOString())
}

const bin = name => join(root, 'node_modules', '.bin', name)

export function buildNative(options) {
  const inputs = ['crates', 'Cargo.toml', 'Cargo.lock', 'build.rs']
  const outputs = ['polyproc.linux-x64-gnu.node', 'index.js', 'index.d.ts']
  part(options.debug ? 'native-debug' : 'native', inputs, outputs, options, () => {
    const cargo = spawnSync('cargo', ['--version'])
    if (cargo.error) {
      console.error('polyproc: building from a clone needs Rust 1.88 or newer (https://rustup.rs)')
      process.exit(1)
    }
    run(bin('napi'), [
      'build', '--platform', '--esm', ...(options.debug ? [] : ['--release']),
      '--manifest-path', 'crates/binding/Cargo.toml', '--output-dir', '.',
      '--js', 'index.js', '--dts', 'index.d.ts',
    ])
    // The last one built is the one on disk: the other flavour is stale from now on.
    rmSync(stamp(options.debug ? 'native' : 'native-debug'), { force: true })
  })
}

export function buildTs(options) {
  part('ts', ['src', 'tsconfig.json', 'tsconfig.types.json', 'index.d.ts', 'scripts/bundle.mjs'], ['dist/polyproc.cjs'], options, () => {
    if (options.force) rmSync(join(root, 'dist'), { recursive: true, force: true })
    if (options.force || !existsSync(join(root, 'dist'))) {
      rmSync(join(root, 'build', 'dist.tsbuildinfo'), { force: true })
    }
    if (options.loose) spawnSync(bin('tsc'), ['-p', 'tsconfig.types.json'], { cwd: root, stdio: 'inherit' })
    else run(bin('tsc'), ['-p', 'tsconfig.types.json'])
    bundle(root)
  })
}

export function buildTests(options) {
  const folders = ['__test__', 'bench', 'examples']
  part('test', folders, [], options, () => {
    for (const folder of folders) rmSync(join(root, 'build', folder), { recursive: true, force: true })
    const files = filesBelow(folders).map(file => relative(root, file))
    // A fixture is handed to whoever runs it as it was written.
    const isSource = file => /\.[cm]?ts$/.test(file) && !/\.d\.[cm]?ts$/.test(file) && !file.includes('/fixtures/')
    const sources = files.filter(isSource)
    for (const file of files) if (!isSource(file)) cpSync(join(root, file), join(root, 'build', file))
    if (sources.length === 0) return
    // One file in, one file out, types dropped: `npm run lint` is what checks them.
    buildSync({
      absWorkingDir: root, entryPoints: sources, outbase: '.', outdir: 'build',
      format: 'esm', platform: 'node', target: 'node20', sourcemap: 'linked', logLevel: 'warning',
    })
  })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const args = process.argv.slice(2)
  const options = { force: args.includes('--force'), debug: args.includes('--debug'), loose: args.includes('--loose') }
  const parts = args.filter(arg => !arg.startsWith('--'))
  const wants = name => parts.length === 0 || parts.includes(name)
  if (wants('native')) buildNative(options)
  if (wants('ts')) buildTs(options)
  if (wants('test')) buildTests(options)
}
