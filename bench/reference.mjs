// The reference PDS alone in a process, for compare.sh: node reference.mjs PORT PLC_URL. As its operator would run it but
// for rate limits, which are off, and the size of an import, which would be limited like any body. Its data is in $TMPDIR.
// Prints its URL, and runs until it is ended.

import { startReference } from '../tests/reference/support/reference.mjs'

const IMPORT_BYTES_MAX = 512 * 1024 * 1024

const [port, plcUrl] = process.argv.slice(2)
const options = { port: Number(port), maxImportSize: IMPORT_BYTES_MAX }
const { url, close } = await startReference({ plcUrl, options })
process.on('SIGTERM', () => close().finally(() => process.exit(0)))
console.log(url)
