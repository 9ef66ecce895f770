// The published declarations, as a strict program sees them.

import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'ava'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const sources = join(root, '__test__/types')

test('what must compile does, what must not does not', t => {
  const directory = mkdtempSync(join(tmpdir(), 'polyproc-types-'))
  t.teardown(() => { rmSync(directory, { recursive: true, force: true }) })
  // The package as it is installed: its own package.json says where the declarations are.
  mkdirSync(join(directory, 'node_modules'))
  symlinkSync(root, join(directory, 'node_modules/polyproc'))
  symlinkSync(join(root, 'node_modules/@types'), join(directory, 'node_modules/@types'))
  const files = readdirSync(sources).filter(file => file.endsWith('.ts') && !file.endsWith('.spec.ts'))
  t.true(files.length > 0)
  for (const file of files) writeFileSync(join(directory, file), readFileSync(join(sources, file)))
  writeFileSync(join(directory, 'package.json'), '{"type":"module"}')
  writeFileSync(join(directory, 'tsconfig.json'), JSON.stringify({
    compilerOptions: {
      target: 'ES2022', lib: ['ES2023', 'ESNext.Disposable'], module: 'NodeNext', moduleResolution: 'NodeNext', types: ['node'], noEmit: true,
      strict: true, exactOptionalPropertyTypes: true, skipLibCheck: false, noUncheckedIndexedAccess: true, verbatimModuleSyntax: true,
      isolatedModules: true, noImplicitOverride: true,
    },
    files,
  }))
  const { stdout, status } = spawnSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', directory], { encoding: 'utf8', timeout: 100_000 })
  t.is(stdout, '')
  t.is(status, 0)
})
