// Accounts and records for the suites, through the official client.

import { AtpAgent } from '@atproto/api'
import { IdResolver } from '@atproto/identity'
import assert from 'node:assert/strict'
import { deflateSync } from 'node:zlib'
import { runRookery } from './rookery.mjs'

export const password = 'correct horse battery staple'

let counter = 0

/** A handle that no other call in this process returns. */
export function freshHandle(stem = 'peer') {
  counter += 1
  return `${stem}${counter}-${process.pid % 10000}.test`
}

/** Signs up on `server`: the official agent, signed in. */
export async function signUp(server, { handle = freshHandle(), email = `${handle}@example.com` } = {}) {
  const agent = new AtpAgent({ service: server.url })
  await agent.createAccount({ handle, email, password })
  return agent
}

/**
 * Has the operator make a deactivated account for a DID that lives elsewhere, as `rookery account create` does on the
 * server's own machine; the agent is signed in to it.
 */
export async function createForDid(server, did, handle = freshHandle('moved')) {
  const where = server.config ? ['--config', server.config] : ['--data-dir', server.dataDir]
  const identity = ['--did', did, '--handle', handle, '--email', `${handle}@example.com`, '--password', password]
  const made = await runRookery(['account', 'create', ...identity, ...where])
  assert.equal(made.status, 0, made.stderr)
  const agent = new AtpAgent({ service: server.url })
  await agent.login({ identifier: did, password })
  return agent
}

/** A resolver that knows only the directory of `server`. It keeps nothing, so every key is the current one. */
export async function resolverOf(server) {
  return new IdResolver({ plcUrl: await server.plcUrl(), timeout: 5000 })
}

/** The `did:key` that must have signed the commits of `did`, from its DID document. */
export async function signingKeyOf(server, did) {
  return (await resolverOf(server)).did.resolveAtprotoKey(did, true)
}

export const post = (text, more = {}) => ({
  $type: 'app.bsky.feed.post',
  text,
  createdAt: new Date().toISOString(),
  ...more,
})

/** `{ repo, collection, rkey }` of an AT-URI. */
export function addressOf(uri) {
  const [repo, collection, rkey] = uri.replace('at://', '').split('/')
  return { repo, collection, rkey }
}

/** Every record of `collection`, following cursors. */
export async function listAll(agent, repo, collection, { limit = 100, reverse } = {}) {
  const records = []
  let cursor
  do {
    const { data } = await agent.com.atproto.repo.listRecords({ repo, collection, limit, cursor, reverse })
    records.push(...data.records)
    cursor = data.records.length > 0 ? data.cursor : undefined
  } while (cursor)
  return records
}

/** The bytes of a PNG of `size` by `size` pixels in one grey. */
export function png(size = 8, grey = 0x80) {
  const chunk = (type, data) => {
    const body = Buffer.concat([Buffer.from(type, 'latin1'), data])
    const out = Buffer.alloc(body.length + 8)
    out.writeUInt32BE(data.length, 0)
    body.copy(out, 4)
    out.writeUInt32BE(checksum(body), body.length + 4)
    return out
  }
  const header = Buffer.alloc(13)
  header.writeUInt32BE(size, 0)
  header.writeUInt32BE(size, 4)
  header[8] = 8
  const row = Buffer.concat([Buffer.from([0]), Buffer.alloc(size, grey)])
  const pixels = Buffer.concat(Array.from({ length: size }, () => row))
  return Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(pixels)),
    chunk('IEND', Buffer.alloc(0)),
  ])
}

/** CRC-32 as PNG wants it; `zlib.crc32` is not in every Node 20. */
function checksum(bytes) {
  let crc = ~0
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0)
  }
  return ~crc >>> 0
}
