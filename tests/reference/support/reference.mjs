// The reference PDS, `@atproto/pds`, in this process on a free port. It needs Node 22 or later.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { freePort } from './port.mjs'

export const adminPassword = 'loopback-admin'

/** Rotation keys are shared by all servers of a run: nothing that is compared depends on them. */
const rotationKey = '7a1d8f3a5f0c4b6e9d2c8b7a6f5e4d3c2b1a09182736455463728190aabbccdd'

/**
 * Starts one. `options` go over the settings here, by the names of `PDS.fromEnv` (`PDS_INVITE_REQUIRED` is
 * `inviteRequired`). Gives `{ url, port, adminPassword, pds, restart, close }`; `close` removes the data.
 */
export async function startReference({ plcUrl, options = {} }) {
  process.env.LOG_ENABLED ??= '0'
  const { PDS } = await import('@atproto/pds')
  const directory = await mkdtemp(path.join(tmpdir(), 'reference-pds-'))
  const port = options.port ?? (await freePort())
  const settings = {
    devMode: true,
    port,
    hostname: 'localhost',
    serviceHandleDomains: ['.test'],
    dataDirectory: directory,
    blobstoreDiskLocation: path.join(directory, 'blobs'),
    // It fetches DID documents from no address, only from a name.
    didPlcUrl: plcUrl.replace('127.0.0.1', 'localhost'),
    adminPassword,
    jwtSecret: 'loopback-secret-of-the-reference',
    plcRotationKeyK256PrivateKeyHex: rotationKey,
    inviteRequired: false,
    disableSsrfProtection: true,
    rateLimitsEnabled: false,
    ...options,
  }
  const server = { url: `http://localhost:${port}`, port, adminPassword }
  const start = async () => {
    server.pds = await PDS.fromEnv(settings)
    await server.pds.start()
  }
  server.restart = async () => {
    await server.pds.destroy()
    await start()
  }
  server.close = async () => {
    await server.pds.destroy()
    await rm(directory, { recursive: true, force: true })
  }
  await start()
  return server
}
