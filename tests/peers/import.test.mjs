// Real repositories go in through importRepo and come out of getRepo unchanged; damaged and outdated ones are refused.
//
// The CARs are not part of the project: they are read from $ROOKERY_VECTORS/car, and the suite says so when that folder
// is missing. Each expectation comes from the file's own commit and from the facts in the .expected.json beside it.

import { AtpAgent } from '@atproto/api'
import {
  BlockMap,
  MST,
  MemoryBlockstore,
  blocksToCarFile,
  cborToLex,
  readCar,
  readCarWithRoot,
  verifyRepoCar,
} from '@atproto/repo'
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { createForDid, post, resolverOf, signUp } from './support/account.mjs'
import { Rookery } from './support/rookery.mjs'

const folder = path.join(process.env.ROOKERY_VECTORS ?? '../shared/testdata', 'car')
const files = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.car')).sort() : []
const noFiles = files.length === 0 && `no CAR files in ${folder}: set ROOKERY_VECTORS to a folder of vectors`

describe('importRepo', { timeout: 180_000 }, () => {
  let server
  before(async () => {
    server = await Rookery.dev()
  })
  after(() => server?.close())

  test('every CAR in the vectors', { skip: noFiles }, async (t) => {
    const counts = { imported: 0, refused: 0 }
    for (const name of files) {
      await t.test(name, async () => {
        const bytes = readFileSync(path.join(folder, name))
        const facts = await readFacts(bytes)
        const expected = JSON.parse(readFileSync(path.join(folder, `${name}.expected.json`), 'utf8'))
        assert.equal(facts.commit.did, expected.commit.did, 'the facts are about this file')
        const agent = await createForDid(server, facts.commit.did)
        if (facts.importable) {
          counts.imported += 1
          await goesInAndComesOut(agent, bytes, facts, expected)
        } else {
          counts.refused += 1
          await isRefused(agent, bytes, facts)
        }
      })
    }
    t.diagnostic(`${counts.imported} CARs imported, ${counts.refused} refused, from ${folder}`)
  })

  test('a repo exported here is imported again over newer writes, and the newer writes are gone', async () => {
    const agent = await signUp(server)
    const { uri } = await agent.post({ text: 'in the backup' })
    const backup = (await agent.com.atproto.sync.getRepo({ did: agent.did })).data
    await agent.post({ text: 'after the backup' })
    await agent.deletePost(uri)
    const { rev } = (await agent.com.atproto.sync.getLatestCommit({ did: agent.did })).data

    await importCar(agent, backup)
    const { data } = await agent.com.atproto.repo.listRecords({ repo: agent.did, collection: 'app.bsky.feed.post' })
    assert.deepEqual(data.records.map(({ value }) => value.text), ['in the backup'])
    const key = await (await resolverOf(server)).did.resolveAtprotoKey(agent.did)
    const restored = await verifyRepoCar((await agent.com.atproto.sync.getRepo({ did: agent.did })).data, agent.did, key)
    assert.equal(restored.creates.length, 1)
    assert.ok(restored.commit.rev > rev, 'the rev keeps growing')
    const { repos } = (await agent.com.atproto.sync.listRepos({ limit: 1000 })).data
    assert.equal(repos.find(({ did }) => did === agent.did).rev, restored.commit.rev)
    await agent.post({ text: 'and on it goes' })
  })

  test('a repo that lacks any one of its blocks is refused where the block is not known', async () => {
    const agent = await signUp(server)
    for (const text of ['one', 'two', 'three']) await agent.post({ text })
    const { root, blocks } = await readCarWithRoot((await agent.com.atproto.sync.getRepo({ did: agent.did })).data)
    const elsewhere = await Rookery.dev()
    try {
      const moved = await createForDid(elsewhere, agent.did)
      const before = await exportOf(moved)
      for (const missing of blocks.cids()) {
        const kept = new BlockMap([...blocks].filter(([cid]) => !cid.equals(missing)))
        const refusal = await importCar(moved, await blocksToCarFile(root, kept)).catch((error) => error)
        assert.deepEqual([refusal.status, refusal.error], [400, 'InvalidRequest'])
        assert.match(refusal.message, new RegExp(`missing|${missing}`))
        assert.deepEqual(await exportOf(moved), before, 'nothing was stored')
      }
      await importCar(moved, await blocksToCarFile(root, blocks))
    } finally {
      await elsewhere.close()
    }
  })

  test('an import brings its missing blobs to light', async () => {
    const image = Buffer.from('not really an image, but bytes all the same')
    const agent = await signUp(server)
    const { data } = await agent.uploadBlob(image, { encoding: 'application/octet-stream' })
    const record = { $type: 'com.example.file', file: data.blob }
    await agent.com.atproto.repo.createRecord({ repo: agent.did, collection: 'com.example.file', record })
    const backup = (await agent.com.atproto.sync.getRepo({ did: agent.did })).data

    const elsewhere = await Rookery.dev()
    try {
      const moved = await createForDid(elsewhere, agent.did)
      await importCar(moved, backup)
      const missing = (await moved.com.atproto.repo.listMissingBlobs()).data.blobs
      assert.deepEqual(missing.map(({ cid }) => cid), [data.blob.ref.toString()])
      assert.ok(missing[0].recordUri.startsWith(`at://${agent.did}/com.example.file/`))
      await moved.uploadBlob(image, { encoding: 'application/octet-stream' })
      assert.deepEqual((await moved.com.atproto.repo.listMissingBlobs()).data.blobs, [])
    } finally {
      await elsewhere.close()
    }
  })

  test('an account made for a DID is deactivated: it cannot write, and strangers cannot read it', async () => {
    const did = 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa'
    const agent = await createForDid(server, did)
    assert.equal(agent.session.did, did)
    const { data: session } = await agent.com.atproto.server.getSession()
    assert.deepEqual([session.active, session.status], [false, 'deactivated'])
    const refusal = await agent.com.atproto.repo
      .createRecord({ repo: did, collection: 'app.bsky.feed.post', record: post('not yet') })
      .catch((error) => error)
    assert.deepEqual([refusal.status, refusal.error], [401, 'AccountDeactivated'])
    const anonymous = new AtpAgent({ service: server.url })
    const unread = await anonymous.com.atproto.sync.getRepo({ did }).catch((error) => error)
    assert.deepEqual([unread.status, unread.error], [400, 'RepoDeactivated'])
    const status = (await anonymous.com.atproto.sync.getRepoStatus({ did })).data
    assert.deepEqual(status, { did, active: false, status: 'deactivated' })
  })

  async function goesInAndComesOut(agent, bytes, facts, expected) {
    await importCar(agent, bytes)
    const exported = (await agent.com.atproto.sync.getRepo({ did: facts.commit.did })).data
    const { creates, commit } = await verifyRepoCar(exported, facts.commit.did)
    const out = await readFacts(Buffer.from(exported))
    assert.equal(out.commit.data.toString(), expected.commit.data, 'the same MST root')
    assert.equal(creates.length, expected.mst.keys, 'the same number of records')
    assert.deepEqual(out.listing, facts.listing, 'the same paths and CIDs')
    assert.equal(listingHash(out.listing), expected.key_listing_sha256)
    const head = (await agent.com.atproto.sync.getLatestCommit({ did: facts.commit.did })).data
    assert.deepEqual(head, { cid: commit.cid.toString(), rev: commit.rev })
  }

  async function isRefused(agent, bytes, facts) {
    const before = await exportOf(agent)
    const refusal = await importCar(agent, bytes).catch((error) => error)
    assert.equal(refusal.status, 400)
    assert.match(refusal.message, facts.whyNot)
    assert.deepEqual(await exportOf(agent), before, 'nothing was stored')
    assert.deepEqual((await agent.com.atproto.repo.listMissingBlobs()).data.blobs, [])
  }
})

function importCar(agent, bytes) {
  return agent.com.atproto.repo.importRepo(bytes, { encoding: 'application/vnd.ipld.car' })
}

/** The bytes that getRepo gives, or the name of its refusal: an account may have no repo yet. */
async function exportOf(agent) {
  return agent.com.atproto.sync.getRepo({ did: agent.did }).then(
    ({ data }) => data,
    ({ error }) => error,
  )
}

/** What a CAR itself says: its commit, its listing when the tree is whole, and whether an import must take it. */
async function readFacts(bytes) {
  const { roots, blocks } = await readCar(bytes)
  const commit = cborToLex(blocks.get(roots[0]))
  let listing = null
  try {
    const tree = MST.load(new MemoryBlockstore(blocks), commit.data)
    listing = (await tree.list()).map(({ key, value }) => `${key}\t${value}`)
  } catch {
    // A partial slice: some node is not in the file.
  }
  const importable = commit.version === 3 && listing !== null
  const whyNot = commit.version !== 3 ? /version/i : /missing|incomplete/i
  return { commit, listing, importable, whyNot }
}

/** sha-256 of `path TAB cid LF` lines in key order, as the .expected.json files have it. */
function listingHash(listing) {
  return createHash('sha256').update(listing.map((line) => `${line}\n`).join('')).digest('hex')
}
