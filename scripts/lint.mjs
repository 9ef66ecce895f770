// Every check that looks at the sources without running them. All of them run, so that one look
// shows everything; exits 1 if any complains.
//
//   npm run lint [-- --fix]

import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const fix = process.argv.includes('--fix')
const checks = [
  ['cargo', 'fmt', '--all', ...(fix ? [] : ['--check'])],
  ['cargo', 'clippy', '--workspace', '--exclude', 'polyproc-binding', '--all-targets', '--quiet', '--', '-D', 'warnings'],
  // The binding has no tests of its own, and napi's macros make nothing in a test build.
  ['cargo', 'clippy', '-p', 'polyproc-binding', '--quiet', '--', '-D', 'warnings'],
  ['node_modules/.bin/tsc', '-p', 'tsconfig.json'],
  ['node_modules/.bin/eslint', '--max-warnings', '0', ...(fix ? ['--fix'] : []), '.'],
]
let bad = 0
for (const [program, ...args] of checks) {
  console.log(`── ${program} ${args.join(' ')}`)
  if (spawnSync(program, args, { cwd: root, stdio: 'inherit' }).status !== 0) bad += 1
}
process.exitCode = bad > 0 ? 1 : 0
