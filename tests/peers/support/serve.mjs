// `rookery serve` as an operator runs it, with a configuration file and the official directory beside it.

import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { freePort } from './deadline.mjs'
import { startDirectory } from './directory.mjs'
import { Rookery, adminPassword, temporaryDirectory } from './rookery.mjs'

/** Starts one whose blobs may have `uploadLimitBytes`: `{ server, directory: path of a scratch folder, close }`. */
export async function serveWithDirectory({ uploadLimitBytes }) {
  const scratch = await temporaryDirectory()
  const directory = await startDirectory()
  const port = await freePort()
  const config = path.join(scratch.directory, 'config.toml')
  const dataDir = path.join(scratch.directory, 'data')
  await writeFile(
    config,
    `[server]
hostname = "localhost"
listen = "127.0.0.1:${port}"
public_url = "http://localhost:${port}"
data_dir = "${dataDir}"
admin_password = "${adminPassword}"

[identity]
plc_url = "${directory.url}"
handle_domains = [".test"]

[accounts]
invite_required = false

[blobs]
upload_limit_bytes = ${uploadLimitBytes}
`,
  )
  const close = async (server) => {
    await server?.close()
    await directory.close()
    await scratch.remove()
  }
  try {
    const server = await Rookery.serve({ config, port, dataDir })
    return { server, directory: scratch.directory, close: () => close(server) }
  } catch (error) {
    await close()
    throw error
  }
}
