/**
 * `npm start [-- DIRECTORY]`: runs the recipes one after the other, then the real job on a directory of files, by
 * default this project's own node_modules.
 */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { indexDirectory } from './index-directory/job.js'

const heading = (text: string): void => { console.log(`\n── ${text}`) }

/** Runs a recipe as a user would: a program of its own. */
async function runRecipe(file: string): Promise<number> {
  heading(file.replace('.js', ''))
  const recipe = spawn(process.execPath, [fileURLToPath(new URL(file, import.meta.url))], { stdio: 'inherit' })
  const [code, signal] = await once(recipe, 'exit') as [number | null, NodeJS.Signals | null]
  if (code !== 0) console.log(`${file} ended with ${code ?? signal}`)
  return code ?? 1
}

// Ctrl-C reaches the recipe too.
const onInterrupt = (): void => { process.exit(130) }
process.once('SIGINT', onInterrupt)
let failed = 0
const recipes = readdirSync(new URL('.', import.meta.url)).filter(file => /^\d\d-.*\.js$/.test(file)).sort()
for (const file of recipes) if (await runRecipe(file) !== 0) failed += 1
process.off('SIGINT', onInterrupt)

heading('the real job')
const directory = process.argv[2]
const code = await indexDirectory(directory === undefined ? fileURLToPath(new URL('../../node_modules', import.meta.url)) : resolve(directory))
process.exitCode = failed > 0 ? 1 : code
