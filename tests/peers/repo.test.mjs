// @atproto/repo reads what sync hands out and believes nothing: hashes, tree, signature, proofs, diffs.

import {
  MemoryBlockstore,
  Repo,
  cborToLexRecord,
  readCar,
  readCarStream,
  readCarWithRoot,
  verifyDiffCar,
  verifyProofs,
  verifyRecords,
  verifyRepo,
  verifyRepoCar,
} from '@atproto/repo'
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { addressOf, post, signUp, signingKeyOf } from './support/account.mjs'
import { Random } from './support/random.mjs'
import { Rookery } from './support/rookery.mjs'
import { Model } from './support/writes.mjs'

const note = 'com.example.note'

describe('@atproto/repo', { timeout: 120_000 }, () => {
  let server
  before(async () => {
    server = await Rookery.dev()
  })
  after(() => server?.close())

  test('a new repo is a commit and an empty tree', async () => {
    const { agent, did, key } = await newRepo()
    const car = await exportRepo(agent)
    const { blocks } = await readCarWithRoot(car)
    assert.equal(blocks.size, 2)
    const { creates, commit } = await verifyRepoCar(car, did, key)
    assert.deepEqual(creates, [])
    const head = (await agent.com.atproto.sync.getLatestCommit({ did })).data
    assert.deepEqual({ cid: commit.cid.toString(), rev: commit.rev }, head)
  })

  test('an export verifies and lists the records that were written', async () => {
    const { agent, did, key } = await newRepo()
    const written = new Map()
    for (let n = 0; n < 12; n += 1) {
      const { uri, cid } = await agent.post({ text: `post ${n}` })
      written.set(uri.replace(`at://${did}/`, ''), cid)
    }
    const { creates } = await verifyRepoCar(await exportRepo(agent), did, key)
    assert.deepEqual(listing(creates), written)
  })

  test('an export of one repo does not pass for another, nor under another key', async () => {
    const [one, two] = [await newRepo(), await newRepo()]
    const car = await exportRepo(one.agent)
    await assert.rejects(verifyRepoCar(car, two.did, one.key), /Invalid repo did/)
    await assert.rejects(verifyRepoCar(car, one.did, two.key), /Invalid signature/)
  })

  test('an export streams the commit first, then the tree depth first', async () => {
    const { agent, did } = await newRepo()
    const model = new Model(new Random(1))
    await agent.com.atproto.repo.applyWrites({ repo: did, writes: manyNotes(150) })
    await agent.com.atproto.repo.applyWrites({ repo: did, writes: model.batch(40) })
    const { roots, blocks } = await readCarStream([await exportRepo(agent)])
    assert.equal(roots.length, 1)
    const order = []
    for await (const { cid } of blocks) order.push(cid.toString())
    assert.equal(order[0], roots[0].toString())
    // CAR-7: a record under two keys may be sent a second time.
    const { blocks: map, root } = await readCarWithRoot(await exportRepo(agent))
    assert.deepEqual([...new Set(order)], await preorder(map, root))
  })

  describe('proofs of one record', () => {
    test('existence and absence are proven', async () => {
      const { agent, did, key } = await newRepo()
      await agent.com.atproto.repo.applyWrites({ repo: did, writes: manyNotes(200) })
      const { data } = await agent.com.atproto.repo.listRecords({ repo: did, collection: note, limit: 100 })
      for (const record of [data.records[0], data.records[41], data.records.at(-1)]) {
        const { collection, rkey } = addressOf(record.uri)
        const car = await getRecordProof(agent, { did, collection, rkey })
        const { cid } = (await readCarWithRoot(car)).blocks.entries().find(({ cid }) => cid.toString() === record.cid)
        const { verified, unverified } = await verifyProofs(car, [{ collection, rkey, cid }], did, key)
        assert.deepEqual([verified.length, unverified.length], [1, 0])
        const [proven] = (await verifyRecords(car, did, key)).filter((claim) => claim.rkey === rkey)
        assert.deepEqual(proven.record, record.value)
        const wrong = await verifyProofs(car, [{ collection, rkey, cid: null }], did, key)
        assert.equal(wrong.unverified.length, 1, 'a proof of existence does not prove absence')
      }
      for (const rkey of ['0', 'k050x', 'zzzz']) {
        const car = await getRecordProof(agent, { did, collection: note, rkey })
        const { verified } = await verifyProofs(car, [{ collection: note, rkey, cid: null }], did, key)
        assert.equal(verified.length, 1, `absence of ${rkey}`)
      }
      const elsewhere = await getRecordProof(agent, { did, collection: 'a.example.first', rkey: 'x' })
      const claim = { collection: 'a.example.first', rkey: 'x', cid: null }
      assert.equal((await verifyProofs(elsewhere, [claim], did, key)).verified.length, 1)
    })

    test('a deleted record turns its proof around', async () => {
      const { agent, did, key } = await newRepo()
      const { uri } = await agent.post({ text: 'here' })
      const { collection, rkey } = addressOf(uri)
      await agent.deletePost(uri)
      const car = await getRecordProof(agent, { did, collection, rkey })
      const { verified } = await verifyProofs(car, [{ collection, rkey, cid: null }], did, key)
      assert.equal(verified.length, 1)
    })

    test('a proof is smaller than the repo', async () => {
      const { agent, did } = await newRepo()
      await agent.com.atproto.repo.applyWrites({ repo: did, writes: manyNotes(200) })
      const proof = await readCar(await getRecordProof(agent, { did, collection: note, rkey: 'k100' }))
      assert.ok(proof.blocks.size < 20, `${proof.blocks.size} blocks`)
    })
  })

  describe('diffs', () => {
    test('since gives what changed, and the old copy plus the diff is the new repo', async () => {
      const { agent, did, key } = await newRepo()
      await agent.com.atproto.repo.applyWrites({ repo: did, writes: manyNotes(60) })
      let copy = await copyOf(await exportRepo(agent), did, key)

      const write = (name, more) => ({ $type: `com.atproto.repo.applyWrites#${name}`, collection: note, ...more })
      await agent.com.atproto.repo.applyWrites({
        repo: did,
        writes: [
          write('create', { rkey: 'new', value: { fresh: true } }),
          write('update', { rkey: 'k007', value: { changed: true } }),
          write('delete', { rkey: 'k013' }),
        ],
      })
      const car = await exportRepo(agent, copy.commit.rev)
      const whole = await exportRepo(agent)
      assert.ok(car.length < whole.length / 2, `diff of ${car.length} bytes, repo of ${whole.length}`)
      const diff = await verifyDiffCar(copy, car, did, key)
      assert.deepEqual(
        diff.writes.map(({ action, rkey }) => `${action} ${rkey}`).sort(),
        ['create new', 'delete k013', 'update k007'],
      )
      copy = await advance(copy, diff)
      const { creates } = await verifyRepoCar(whole, did, key)
      assert.deepEqual(await listingOf(copy), listing(creates))
    })

    test('a diff since the head carries no record', async () => {
      const { agent, did } = await newRepo()
      await agent.post({ text: 'old' })
      const { cid, rev } = (await agent.com.atproto.sync.getLatestCommit({ did })).data
      const { root, blocks } = await readCarWithRoot(await exportRepo(agent, rev))
      assert.equal(root.toString(), cid)
      assert.ok(blocks.size <= 1)
    })
  })

  describe('blocks', () => {
    test('getBlocks gives exactly the blocks asked for, with the hashes right', async () => {
      const { agent, did } = await newRepo()
      const { cid } = await agent.post({ text: 'a block' })
      const head = (await agent.com.atproto.sync.getLatestCommit({ did })).data
      const { data } = await agent.com.atproto.sync.getBlocks({ did, cids: [cid, head.cid] })
      const { blocks } = await readCar(data)
      assert.deepEqual(new Set(blocks.entries().map(({ cid }) => cid.toString())), new Set([cid, head.cid]))
      const record = cborToLexRecord(blocks.entries().find((block) => block.cid.toString() === cid).bytes)
      assert.equal(record.text, 'a block')
    })

    test('a block that is not in the repo refuses the whole request', async () => {
      const { agent, did } = await newRepo()
      const head = (await agent.com.atproto.sync.getLatestCommit({ did })).data
      const absent = 'bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpq'
      const refusal = await agent.com.atproto.sync.getBlocks({ did, cids: [head.cid, absent] }).catch((error) => error)
      assert.equal(refusal.status, 400)
    })

    test('the deprecated getHead and getCheckout agree with their successors', async () => {
      const { agent, did, key } = await newRepo()
      await agent.post({ text: 'checked out' })
      const head = (await agent.com.atproto.sync.getLatestCommit({ did })).data
      assert.equal((await agent.com.atproto.sync.getHead({ did })).data.root, head.cid)
      const checkout = (await agent.com.atproto.sync.getCheckout({ did })).data
      const { commit } = await verifyRepoCar(checkout, did, key)
      assert.equal(commit.cid.toString(), head.cid)
    })
  })

  test('hundreds of mixed writes leave a repo that verifies after every batch', async () => {
    const random = new Random()
    const { agent, did, key } = await newRepo()
    const model = new Model(random)
    const hint = `ROOKERY_SEED=${random.seed} repeats this run`
    let copy = await copyOf(await exportRepo(agent), did, key)
    let total = 0
    for (let round = 0; total < 400; round += 1) {
      const writes = model.batch(round % 6 === 5 ? 120 : 25)
      total += writes.length
      const { data } = await agent.com.atproto.repo.applyWrites({ repo: did, writes })
      assert.equal(data.results.length, writes.length, hint)
      const diff = await verifyDiffCar(copy, await exportRepo(agent, copy.commit.rev), did, key)
      assert.equal(diff.writes.length, writes.length, hint)
      copy = await advance(copy, diff)
      assert.equal(copy.cid.toString(), data.commit.cid, hint)
      assert.deepEqual(new Set((await listingOf(copy)).keys()), new Set(model.records.keys()), hint)
    }
    const { creates } = await verifyRepoCar(await exportRepo(agent), did, key)
    assert.deepEqual(listing(creates), await listingOf(copy), hint)
    const { blocks } = await readCarWithRoot(await exportRepo(agent))
    for (const { collection, rkey, cid } of creates) {
      const value = cborToLexRecord(blocks.get(cid))
      assert.deepEqual(value, model.records.get(`${collection}/${rkey}`), hint)
    }
  })

  test('racing writers on one repo all land', async () => {
    const { agent, did, key } = await newRepo()
    const uris = (await Promise.all(Array.from({ length: 30 }, (_, n) => agent.post({ text: `racer ${n}` })))).map(
      ({ uri }) => uri.replace(`at://${did}/`, ''),
    )
    const { creates } = await verifyRepoCar(await exportRepo(agent), did, key)
    assert.deepEqual(new Set(listing(creates).keys()), new Set(uris))
  })

  test('an export taken while others write is one consistent repo', async () => {
    const { agent, did, key } = await newRepo()
    await agent.com.atproto.repo.applyWrites({ repo: did, writes: manyNotes(200) })
    let writing = true
    const writer = (async () => {
      for (let n = 0; writing && n < 500; n += 1) await agent.post({ text: `while exporting ${n}` })
    })()
    for (let n = 0; n < 10; n += 1) await verifyRepoCar(await exportRepo(agent), did, key)
    writing = false
    await writer
  })

  async function newRepo() {
    const agent = await signUp(server)
    return { agent, did: agent.did, key: await signingKeyOf(server, agent.did) }
  }
})

async function exportRepo(agent, since) {
  return (await agent.com.atproto.sync.getRepo({ did: agent.did, since })).data
}

async function getRecordProof(agent, place) {
  return (await agent.com.atproto.sync.getRecord(place)).data
}

/** `count` creates for applyWrites, with keys k000, k001, ... */
function manyNotes(count) {
  return Array.from({ length: count }, (_, n) => ({
    $type: 'com.atproto.repo.applyWrites#create',
    collection: note,
    rkey: `k${String(n).padStart(3, '0')}`,
    value: { n },
  }))
}

/** A verified copy of a repo that diffs can be applied to. */
async function copyOf(car, did, key) {
  const { root, blocks } = await readCarWithRoot(car)
  await verifyRepo(blocks, root, did, key)
  return Repo.load(new MemoryBlockstore(blocks), root)
}

/** `copy` with the diff applied. Old blocks stay: what the library calls removed may still be used by another path. */
async function advance(copy, diff) {
  await copy.storage.putMany(diff.commit.newBlocks)
  return Repo.load(copy.storage, diff.commit.cid)
}

function listing(records) {
  return new Map(records.map(({ collection, rkey, cid }) => [`${collection}/${rkey}`, cid.toString()]))
}

async function listingOf(repo) {
  return new Map((await repo.data.list()).map(({ key, value }) => [key, value.toString()]))
}

/** The order that the sync spec wants for a whole repo: commit, then each node before what it points to. */
async function preorder(blocks, root) {
  const repo = await Repo.load(new MemoryBlockstore(blocks), root)
  const order = [root.toString()]
  const seen = new Set(order)
  for await (const entry of repo.data.walk()) {
    const cid = (entry.isTree() ? await entry.getPointer() : entry.value).toString()
    if (!seen.has(cid)) order.push(cid)
    seen.add(cid)
  }
  return order
}
