// Judges records with the npm package @atproto/lexicon, for tests/lexicon_peer.rs.
//
// Arguments: folder of schemas, folder whose node_modules holds the package.
// Standard input: one `{"nsid": …, "record": …}` a line. Standard output: `valid` or the problem.

import { createRequire } from 'node:module'
import { readFileSync, readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'

const [schemas, peers] = process.argv.slice(2)
const { Lexicons, jsonToLex } = createRequire(resolve(peers, 'x.js'))('@atproto/lexicon')

const lexicons = new Lexicons()
for (const file of readdirSync(schemas, { recursive: true })) {
  if (file.endsWith('.json')) lexicons.add(JSON.parse(readFileSync(join(schemas, file))))
}

const judge = ({ nsid, record }) => {
  try {
    lexicons.assertValidRecord(nsid, jsonToLex(record))
    return 'valid'
  } catch (error) {
    return String(error.message).replaceAll('\n', ' ')
  }
}

const lines = readFileSync(0, 'utf8').split('\n').filter(Boolean)
process.stdout.write(lines.map((line) => judge(JSON.parse(line)) + '\n').join(''))
