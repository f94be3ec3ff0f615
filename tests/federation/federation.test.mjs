// Two Rookeries and a reference PDS are crawled by the official relay, and the official `tap` follows the relay. After
// each chapter of what servers and people do, nothing may be lost: what the relay has passed on is what the servers have
// said, and what `tap` holds is what the repositories hold, record by record. checks.test.mjs shows that this would be
// noticed.
//
// ROOKERY_LONG=1 writes ten times as much, with ten times as many restarts. A failure prints the seed; ROOKERY_SEED repeats
// its writes.

import { AtpAgent } from '@atproto/api'
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { freshHandle, password, signUp } from '../peers/support/account.mjs'
import { writeLargeRepo } from '../peers/support/large-repo.mjs'
import { Random } from '../peers/support/random.mjs'
import { temporaryDirectory } from '../peers/support/rookery.mjs'
import { download, fill } from '../migration/support/content.mjs'
import { Mover } from '../migration/support/mover.mjs'
import { allHold, exported, nothingLost, relayHolds, tapHolds } from './support/agreement.mjs'
import { Writer } from './support/load.mjs'
import { Network } from './support/network.mjs'
import { eventually } from './support/program.mjs'

/** Rounds of writes under restarts. */
const rounds = process.env.ROOKERY_LONG ? 10 : 1
/**
 * What people write. Large records are almost as large as is accepted: the reference takes no body over 150 kB. It also
 * loses the block of a record when another record that is alike is deleted, so there all differ.
 */
const habits = {
  rookery: { largeBytes: 900_000, alikePercent: 10 },
  reference: { largeBytes: 100_000, alikePercent: 0 },
}
/** Accounts per server. */
const accounts = { one: 5, two: 4, reference: 3 }
/** Requests of each account in a round: the reference is slow. */
const requests = { rookery: 150, reference: 50 }

const seed = new Random().seed

describe(`a network with the official relay (seed ${seed})`, { timeout: 600_000 * rounds }, () => {
  let network
  /** Where each account lives that is active: DID to the host. */
  const homes = new Map()
  /** Those who write, and the host of each. */
  const writers = []
  const at = (name) => writers.filter(({ host }) => host.name === name).map(({ writer }) => writer)

  before(async () => {
    network = await Network.start({ one: 'rookery', two: 'rookery', reference: 'reference' })
    for (const host of network.hosts) {
      for (let n = 0; n < accounts[host.name]; n += 1) {
        const agent = await signUp(host.server)
        writers.push({ writer: writerFor(agent, host), host, agent })
        homes.set(agent.did, host)
      }
    }
  })
  after(() => network?.close())

  let written = 0
  /** No two of them write the same. */
  function writerFor(agent, host) {
    written += 1
    return new Writer(agent, new Random(seed + written), habits[host.server.kind])
  }

  /** `some` of the writers write at the same time, `share` of what they write in a round. */
  function write(some, share) {
    return Promise.all(some.map(({ writer, host }) => writer.write(Math.ceil(requests[host.server.kind] * share))))
  }

  /** The end of a chapter. */
  async function nothingIsLost() {
    for (const host of network.hosts) {
      const dids = [...homes].filter(([, home]) => home === host).map(([did]) => did)
      const held = await allHold(network, host, dids)
      for (const writer of at(host.name)) {
        if (held.has(writer.did)) writer.check(held.get(writer.did).records)
      }
    }
    await nothingLost(network, homes)
  }

  /** Waits until relay and tap know `did` by this status. */
  async function knownAs(did, status) {
    const expected = { active: [true, undefined] }[status] ?? [false, status]
    await eventually(20, `the relay to know ${did} as ${status}`, async () => {
      const { body } = await network.relay.call('com.atproto.sync.getRepoStatus', { did })
      return body.active === expected[0] && body.status === expected[1]
    })
    await eventually(20, `tap to know ${did} as ${status}`, () => network.tap.repo(did)?.status === status)
  }

  test('tap backfills what was there before the relay came', async () => {
    await write(writers, 0.1)
    await network.crawl()
    await network.tap.add([...homes.keys()])
    // The relay learns of a repository by its next commit.
    for (const [did, host] of homes) await tapHolds(network, did, await exported(network, host, did))
    await write(writers, 0.02)
    await nothingIsLost()
  })

  test('nothing is lost of thousands of writes while the Rookeries are restarted and killed', async (t) => {
    const answered = (name) => at(name).reduce((sum, { counts }) => sum + counts.requests, 0)
    const from = { one: answered('one'), two: answered('two') }
    /** Restarts a server when it has done this part of a round, after all of the rounds before. */
    const restarted = async (name, part, signal) => {
      const enough = from[name] + part * accounts[name] * requests.rookery
      await eventually(120, `${name} to get on with its writes`, () => answered(name) >= enough)
      await network.host(name).server.restart(signal)
    }
    const restarts = async () => {
      for (let round = 0; round < rounds; round += 1) {
        await restarted('one', round + 0.1, 'SIGKILL')
        await restarted('two', round + 0.3, 'SIGTERM')
        await restarted('one', round + 0.4, 'SIGTERM')
        await restarted('two', round + 0.5, 'SIGKILL')
        await restarted('one', round + 0.7, 'SIGKILL')
      }
    }
    await Promise.all([write(writers, rounds), restarts()])
    await Promise.all(writers.map(({ writer }) => writer.writeMany()))
    await nothingIsLost()
    const total = (field) => writers.reduce((sum, { writer }) => sum + writer.counts[field], 0)
    t.diagnostic(`${total('writes')} writes in ${total('requests')} requests; ${total('unanswered')} requests got no answer`)
    assert.ok(total('writes') > 3000 * rounds)
    assert.equal(await network.relay.metric('relay_connected_inbound'), network.hosts.length)
  })

  test('what happens while the relay is away reaches it when it is back', async () => {
    await network.relay.stop()
    await write(writers, 0.05)
    await network.relay.start()
    await nothingIsLost()
  })

  test('what happens while tap is away reaches it when it is back', async () => {
    await network.tap.stop()
    await write(onePerHost(0), 0.1)
    await network.tap.start()
    await nothingIsLost()
  })

  test('the reference comes back too', async () => {
    await network.host('reference').server.restart()
    await write(onePerHost(1), 0.1)
    await nothingIsLost()
  })

  test('a new handle is known to all', async () => {
    for (const { agent } of onePerHost(2)) {
      const handle = freshHandle('renamed')
      await agent.com.atproto.identity.updateHandle({ handle })
      await eventually(20, `tap to know ${handle}`, async () => {
        const { alsoKnownAs } = await network.tap.resolve(agent.did)
        return alsoKnownAs.includes(`at://${handle}`)
      })
    }
    await write(onePerHost(2), 0.1)
    await nothingIsLost()
  })

  test('an account sleeps, and is awake again', async () => {
    for (const { writer, agent } of onePerHost(0)) {
      await agent.com.atproto.server.deactivateAccount({})
      await knownAs(agent.did, 'deactivated')
      await agent.com.atproto.server.activateAccount()
      await knownAs(agent.did, 'active')
      await writer.write(5)
    }
    await nothingIsLost()
  })

  test('an account is taken down, and is back', async () => {
    for (const { writer, host, agent } of onePerHost(1)) {
      const takedown = (applied) => admin(host, 'com.atproto.admin.updateSubjectStatus', {
        subject: { $type: 'com.atproto.admin.defs#repoRef', did: agent.did },
        takedown: { applied, ref: applied ? 'report-1' : undefined },
      })
      await takedown(true)
      await knownAs(agent.did, 'takendown')
      await takedown(false)
      await knownAs(agent.did, 'active')
      await agent.login({ identifier: agent.did, password })
      await writer.write(5)
    }
    await nothingIsLost()
  })

  test('a repository is imported into an account that is awake', async () => {
    const host = network.host('one')
    const agent = await newcomer(host)
    const all = () => allHold(network, host, [agent.did])

    const scratch = await temporaryDirectory()
    const file = path.join(scratch.directory, 'large.car')
    await writeLargeRepo(file, agent.did, 3000)
    const bring = (car) => agent.com.atproto.repo.importRepo(car, { encoding: 'application/vnd.ipld.car' })
    await bring(await readFile(file))
    await scratch.remove()
    assert.equal((await all()).get(agent.did).records.size, 3000)

    const backup = await download(agent)
    const note = { repo: agent.did, collection: 'com.example.note', record: { text: 'after the backup' } }
    for (let n = 0; n < 10; n += 1) await agent.com.atproto.repo.createRecord(note)
    assert.equal((await all()).get(agent.did).records.size, 3010)

    // The backup does not have the last records. Tap never forgets a record that a #sync takes away, so it is asked anew.
    await bring(backup)
    const restored = await exported(network, host, agent.did)
    assert.equal(restored.records.size, 3000)
    await relayHolds(network, host, agent.did, restored)
    await eventually(20, 'tap to fetch the backup', () => network.tap.repo(agent.did).prev_data === restored.treeRoot)
    await network.tap.remove(agent.did)
    await network.tap.add([agent.did])
    await all()
    await agent.com.atproto.repo.createRecord(note)
    await nothingIsLost()
  })

  /** A new account that tap follows. It may not write before tap has fetched it: tap can miss what comes meanwhile. */
  async function newcomer(host) {
    const agent = await signUp(host.server)
    homes.set(agent.did, host)
    await network.tap.add([agent.did])
    await allHold(network, host, [agent.did])
    return agent
  }

  test('an account moves from the reference to Rookery, lives there, and moves back', async () => {
    const [reference, rookery] = [network.host('reference'), network.host('two')]
    const there = await newcomer(reference)
    for (let n = 0; n < 3; n += 1) await publish(there, randomBytes(50_000))
    await writerFor(there, reference).write(30)
    await allHold(network, reference, [there.did])

    const out = new Mover({ from: there, to: rookery.server, smtp: network.smtp, handle: freshHandle('moved') })
    await out.createAccount(await out.accountToken())
    await moveIn(out, reference, rookery)
    const here = new AtpAgent({ service: rookery.server.url })
    await here.login({ identifier: there.did, password })
    // Among its batches are some that create and change, or create and delete, the same record.
    await fill(here, { records: 100, blobs: 2 })
    await writerFor(here, rookery).write(30)
    await nothingIsLost()

    // The account is still there, asleep: it takes the repository in and wakes up.
    const back = new Mover({ from: here, to: reference.server, smtp: network.smtp, handle: freshHandle('home') })
    await back.agent.login({ identifier: there.did, password })
    // The reference announces the imported repository under the commit of Rookery, whose key is no longer the account's.
    network.excuseSync(there.did, reference)
    await moveIn(back, rookery, reference)
    await writerFor(back.agent, reference).write(10)
    await nothingIsLost()
  })

  /** Uploads a blob, and makes a record of it. */
  async function publish(agent, bytes) {
    const { data } = await agent.uploadBlob(bytes, { encoding: 'application/octet-stream' })
    const record = { $type: 'com.example.file', file: data.blob }
    await agent.com.atproto.repo.createRecord({ repo: agent.did, collection: record.$type, record })
  }

  /** The steps of a move from when the account exists at its new server until it is awake there. */
  async function moveIn(mover, from, to) {
    await mover.importRepo()
    for (const { cid } of await mover.missingBlobs()) await mover.copyBlob(cid)
    const operation = await mover.signedOperation(await mover.mailedCode())
    network.leaves(mover.did, from)
    network.returns(mover.did, to)
    await mover.submitOperation(operation)
    await mover.agent.com.atproto.server.activateAccount()
    // A farewell of the old server that comes before the news of the new one would count.
    await eventually(20, 'the relay to know the new home', () => network.relay.account(mover.did).hostname === to.host)
    await mover.from.com.atproto.server.deactivateAccount({})
    homes.set(mover.did, to)
    await knownAs(mover.did, 'active')
  }

  test('an account that is deleted is gone everywhere', async () => {
    for (const { host, agent } of onePerHost(2)) {
      const { did } = agent
      if (host.server.kind === 'rookery') {
        const before = network.smtp.mails.items.length
        await agent.com.atproto.server.requestAccountDelete()
        const token = await new Mover({ from: agent, to: host.server, smtp: network.smtp }).codeAfter(before)
        await agent.com.atproto.server.deleteAccount({ did, password, token })
      } else {
        await admin(host, 'com.atproto.admin.deleteAccount', { did })
      }
      homes.delete(did)
      const isGone = () => network.relay.account(did).upstream_status === 'deleted'
      await eventually(20, `the relay to know that ${did} is gone`, isGone)
      await eventually(20, `tap to forget ${did}`, () => network.tap.repo(did) === undefined)
      await eventually(20, `the channel to tell of the end of ${did}`, () => !network.tap.told.has(did))
      assert.equal(network.tap.records(did).size, 0)
      const { body } = await network.relay.call('com.atproto.sync.getRepoStatus', { did })
      assert.deepEqual([body.active, body.status], [false, 'deleted'])
      writers.splice(writers.findIndex((one) => one.agent === agent), 1)
    }
    await write(writers, 0.02)
    await nothingIsLost()
  })

  test('the relay thinks well of every server and of every account', async () => {
    const bad = network.relay.rows(`SELECT did, status, upstream_status FROM account
      WHERE status <> 'active' OR upstream_status NOT IN ('active', 'deleted')`)
    assert.deepEqual(bad, [])
    // It notes a number when nothing older is under way, so the last event of each server has to be alone.
    for (const { writer } of onePerHost(0)) await writer.write(1)
    await nothingIsLost()
    for (const { name, host, recorder } of network.hosts) {
      await eventually(20, `the relay to note how far it is with ${name}`, async () => {
        const { body } = await network.relay.call('com.atproto.sync.getHostStatus', { hostname: host })
        assert.equal(body.status, 'active')
        assert.equal(body.seq, recorder.seq)
        return true
      })
    }
  })

  /** The `n`th writer of each server. */
  const onePerHost = (n) => network.hosts.map(({ name }) => writers.filter(({ host }) => host.name === name)[n])

  async function admin({ server }, method, input) {
    const authorization = `Basic ${btoa(`admin:${server.adminPassword}`)}`
    const headers = { authorization, 'content-type': 'application/json' }
    const response = await fetch(`${server.url}/xrpc/${method}`, { method: 'POST', headers, body: JSON.stringify(input) })
    assert.ok(response.ok, `${method}: ${response.status} ${await response.text()}`)
  }
})
