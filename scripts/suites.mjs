// The suites that `npm test` runs, in order. To add one, add an entry:
//
//   name     what `npm test -- <name>` selects it by
//   command  program and arguments, run at the root of the repository
//   env      added to the environment (optional)
//   needs    what must be built before: any of 'native', 'ts', 'test' (optional)
//   when     'always' (default), or 'chaos': only by `npm run chaos`
//   counts   reads { passed, failed } from the suite's output, or null where it cannot tell;
//            then the exit status counts as one case
//   names    reads the names of the tests that failed from the output (optional)
//   timeout  seconds after which it is killed and counts as failed (default 600)

/** Sums the `test result:` lines of every test binary that cargo ran. */
export function cargoCounts(output) {
  let passed = 0
  let failed = 0
  let seen = false
  for (const [, ok, bad] of output.matchAll(/^test result: \w+\. (\d+) passed; (\d+) failed/gm)) {
    seen = true
    passed += Number(ok)
    failed += Number(bad)
  }
  return seen ? { passed, failed } : null
}

/** The tests that cargo's test binaries name as failed. */
export function cargoNames(output) {
  return [...output.matchAll(/^test (.+) \.\.\. FAILED$/gm)].map(([, name]) => name)
}

/** The tests that the Test Anything Protocol names as failed. */
export function tapNames(output) {
  return [...output.matchAll(/^not ok \d+ - (.*)$/gm)].map(([, name]) => name)
}

/** Reads the Test Anything Protocol: its closing counts, which know of tests that never ran, or else its lines. */
export function tapCounts(output) {
  const total = name => /^# (?:pass|fail) \d+$/m.test(output) ? Number(new RegExp(`^# ${name} (\\d+)$`, 'm').exec(output)?.[1] ?? 0) : null
  if (total('pass') !== null) return { passed: total('pass'), failed: total('fail') }
  let passed = 0
  let failed = 0
  for (const [, not, rest] of output.matchAll(/^(not )?ok \d+(.*)$/gm)) {
    if (/# (SKIP|TODO)\b/i.test(rest)) continue
    if (not) failed += 1
    else passed += 1
  }
  return passed + failed > 0 ? { passed, failed } : null
}

/** `npm run chaos`: storms take ten times as long, every point is hit 20 times. */
const long = process.argv.includes('--chaos')

export const suites = [
  {
    name: 'cargo',
    command: ['cargo', 'test', '--workspace', '--exclude', 'polyproc-binding', '--no-fail-fast'],
    counts: cargoCounts,
    names: cargoNames,
    timeout: long ? 7200 : 900,
  },
  {
    // The shipping sources under loom's model checker, in a target directory of their own.
    name: 'loom',
    command: ['cargo', 'test', '-p', 'polyproc-arena', '-p', 'polyproc-channel', '-p', 'polyproc-sync', '-p', 'polyproc-pool', '--no-fail-fast', '--test', 'loom_*'],
    env: { RUSTFLAGS: '--cfg loom', CARGO_TARGET_DIR: 'target/loom' },
    counts: cargoCounts,
    names: cargoNames,
    timeout: 600,
  },
  {
    // Every order of the protocols' steps, with kill as a move.
    name: 'explorer',
    // Some tests are about faults that it must find: their panics are no news, a real one tells the steps that led to it.
    env: { RUST_BACKTRACE: '0' },
    command: ['cargo', 'test', '-p', 'polyproc-testkit', '--features', 'explore', '--test', 'explore', '--', '--nocapture'],
    counts: cargoCounts,
    names: cargoNames,
    timeout: 900,
  },
  {
    name: 'ava',
    command: ['node_modules/.bin/ava', '--tap'],
    needs: ['native', 'ts', 'test'],
    counts: tapCounts,
    names: tapNames,
    timeout: 900,
  },
]
