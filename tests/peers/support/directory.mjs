// The official did:plc directory, in this process and in memory.

import { Database, PlcServer } from '@did-plc/server'
import { freePort } from './deadline.mjs'

/** Starts one: `{ url, close }`. */
export async function startDirectory() {
  const port = await freePort()
  const directory = PlcServer.create({ db: Database.mock(), port })
  await directory.start()
  return { url: `http://127.0.0.1:${port}`, close: () => directory.destroy() }
}
