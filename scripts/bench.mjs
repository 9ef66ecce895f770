// Runs benchmarks: those named, or all. A benchmark is a file of bench/ that prints a table; each runs in a process
// of its own, beside its peers, since only figures of one run on one machine can be compared.
//
//   npm run bench [-- NAME… [ARGUMENT…]]     words that name no benchmark go to those that are named

import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { buildNative, buildTests, buildTs } from './build.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
buildNative({})
buildTs({})
buildTests({})
const folder = `${root}build/bench`
const all = existsSync(folder) ? readdirSync(folder).filter(file => file.endsWith('.js')).map(file => file.slice(0, -3)) : []
const words = process.argv.slice(2)
const rest = words.filter(word => !all.includes(word))
const names = words.length === 0 ? all : words.filter(word => all.includes(word))
if (names.length === 0) {
  console.error(`there is no benchmark ${rest.join(' ')}; there are ${all.join(', ')}`)
  process.exit(1)
}
for (const name of names) {
  console.log(`\n── ${name}`)
  const { status } = spawnSync(process.execPath, ['--expose-gc', `${folder}/${name}.js`, ...rest], { cwd: root, stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}
