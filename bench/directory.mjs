// The official did:plc directory, in memory, for the servers that compare.sh measures. Prints its URL, and runs until it is
// ended.

import { startDirectory } from '../tests/peers/support/directory.mjs'

const { url } = await startDirectory()
console.log(url)
