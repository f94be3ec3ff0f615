// The reference PDS and Rookery get the same requests and must answer alike, except where better.md says so.

import assert from 'node:assert/strict'
import { readdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { isListed, readBetter, unused } from './support/better.mjs'
import { show } from './support/compare.mjs'
import { runScript } from './support/run.mjs'
import { startPair } from './support/servers.mjs'

const REQUESTS_MIN = 600
const here = import.meta.dirname

/** `--self`: two references against each other, which must not differ at all. */
const self = process.env.DIFFERENTIAL_SELF === '1'
/** Names of script files, to run only some. */
const only = (process.env.DIFFERENTIAL_ONLY ?? '').split(',').filter(Boolean)

/** Every file of script/, in the order of their names: `{ name, variant, steps }`. */
async function scripts() {
  const files = (await readdir(path.join(here, 'script'))).filter((file) => file.endsWith('.mjs')).sort()
  const all = await Promise.all(
    files.map(async (file) => ({ name: file.replace('.mjs', ''), ...(await import(`./script/${file}`)) })),
  )
  return all.map(({ name, variant = 'plain', default: steps }) => ({ name, variant, steps }))
}

describe('differential', { timeout: 400_000 }, () => {
  const closing = []
  /** What Rookery logged, for `--out`. */
  const logs = []
  const found = []
  const broken = []
  let requests = 0
  let partial = false
  let rows

  before(async () => {
    rows = await readBetter(path.join(here, 'better.md'))
    const all = await scripts()
    // The first file makes the accounts that the others use.
    const chosen = all.filter(({ name }, index) => only.length === 0 || index === 0 || only.some((each) => name.includes(each)))
    partial = chosen.length < all.length
    for (const variant of new Set(chosen.map((script) => script.variant))) {
      const pair = await startPair({ variant, self })
      closing.push(pair.close)
      logs.push(() => pair.sides[1].process?.log ?? '')
      const steps = chosen.filter((script) => script.variant === variant).flatMap((script) => script.steps)
      const result = await runScript(steps, pair.sides)
      requests += result.requests
      found.push(...result.found)
      broken.push(...result.broken)
      console.log(`${variant}: ${result.requests} requests; statuses of the reference: ${counts(result.statuses)}`)
      if (result.slow.length > 0) console.log(`slow: ${result.slow.join('; ')}`)
    }
    console.log(`${requests} requests to each of two servers`)
  })
  after(async () => {
    if (process.env.DIFFERENTIAL_OUT) await writeFile(`${process.env.DIFFERENTIAL_OUT}.log`, logs.map((log) => log()).join('\n'))
    for (const close of closing) await close()
  })

  test('the script holds at the reference', () => {
    assert.equal(broken.length, 0, `\n${broken.join('\n')}`)
  })

  test(`the script has at least ${REQUESTS_MIN} requests`, { skip: partial }, () => {
    assert.ok(requests >= REQUESTS_MIN, `${requests}`)
  })

  test('what differs is listed in better.md', async () => {
    const unlisted = found.filter((difference) => self || !isListed(rows, difference))
    if (process.env.DIFFERENTIAL_OUT) {
      await writeFile(process.env.DIFFERENTIAL_OUT, unlisted.map(show).concat(broken).join('\n') + '\n')
    }
    assert.equal(unlisted.length, 0, `\n${unlisted.map(show).join('\n')}\n${unlisted.length} differences are not listed`)
  })

  test('what better.md lists does differ', { skip: self || partial }, () => {
    assert.deepEqual(unused(rows), [])
  })
})

function counts(statuses) {
  return [...statuses].sort().map(([status, count]) => `${status}: ${count}`).join(', ')
}
