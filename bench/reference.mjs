// The reference PDS alone in a process, for compare.sh: node reference.mjs PORT PLC_URL. As its operator would run it but
// for rate limits, which are off. Its data is in $TMPDIR. Prints its URL, and runs until it is ended.

import { startReference } from '../tests/reference/support/reference.mjs'

const [port, plcUrl] = process.argv.slice(2)
const { url, close } = await startReference({ plcUrl, options: { port: Number(port) } })
process.on('SIGTERM', () => close().finally(() => process.exit(0)))
console.log(url)
