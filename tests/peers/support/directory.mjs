// The official did:plc directory, in this process and in memory.

import { Database, PlcServer } from '@did-plc/server'
import { freePort } from './deadline.mjs'

/** Starts one: `{ url, close }`. Its address is a name: the resolver of the reference PDS refuses bare IP addresses. */
export async function startDirectory() {
  const port = await freePort()
  const directory = PlcServer.create({ db: Database.mock(), port })
  await directory.start()
  return { url: `http://localhost:${port}`, close: () => directory.destroy() }
}
