// The checks of this suite can fail: a server whose firehose loses or forges something does not get past them.

import { MemoryBlockstore, blocksToCarFile, def, readCarWithRoot } from '@atproto/repo'
import { Frame, MessageFrame } from '@atproto/xrpc-server'
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { freePort } from '../peers/support/deadline.mjs'
import { post, signUp } from '../peers/support/account.mjs'
import { Random } from '../peers/support/random.mjs'
import { Rookery } from '../peers/support/rookery.mjs'
import {
  allHold, exported, lostEvents, nothingLost, relayComplaints, tapComplaints, tapHolds,
} from './support/agreement.mjs'
import { Writer } from './support/load.mjs'
import { startMeddler } from './support/meddler.mjs'
import { Network } from './support/network.mjs'
import { eventually } from './support/program.mjs'

describe('what the checks notice', { timeout: 120_000 }, () => {
  let network, rookery, meddler
  before(async () => {
    network = await Network.start({})
    const port = await freePort()
    // What it says of itself leads to the meddler.
    const args = ['--set', `server.public_url=http://localhost:${port}`]
    rookery = await Rookery.dev({ plcUrl: network.directory.url, args })
    meddler = await startMeddler({ port, url: rookery.url })
    // Our own ears are at the server itself.
    await network.join('meddled', { url: rookery.url, close: () => rookery.close() }, `localhost:${port}`)
    await network.crawl()
  })
  after(async () => {
    await meddler?.close()
    await network?.close()
  })

  /** An account that everybody knows: `{ did, host, homes, say }`. */
  async function known() {
    const [host] = network.hosts
    const agent = await signUp(host.server)
    const { did } = agent
    const collection = 'app.bsky.feed.post'
    const say = (text) => agent.com.atproto.repo.createRecord({ repo: did, collection, record: post(text) })
    await network.tap.add([did])
    await allHold(network, host, [did])
    const homes = new Map([[did, host]])
    return { did, host, homes, say }
  }

  /** What of the log is about `did`. */
  const about = (did, lines) => lines.filter((line) => line.did === did).map(({ msg }) => msg)

  /** The relay gets a post in a frame that went through `change`, and one as it is: what is noticed? */
  async function noticed(change) {
    const { did, say } = await known()
    const [before, errors] = [lostEvents(network).length, relayComplaints(network).length]
    let met = 0
    meddler.meddle(async (bytes) => {
      const frame = Frame.fromBytes(bytes)
      if (frame.type !== '#commit' || met > 0) return [bytes]
      met += 1
      return (await change(frame.body)).map((body) => new MessageFrame(body, { type: '#commit' }).toBytes())
    })
    await say('this one is met')
    const { data } = await say('this one is left alone')
    for (const recorder of [network.relayed, network.hosts[0].recorder]) {
      const heard = () => recorder.of(did, '#commit').at(-1)?.rev === data.commit.rev
      await recorder.events.until(heard, 'the last post', 30)
    }
    assert.equal(met, 1)
    return {
      lost: lostEvents(network).slice(before),
      relay: relayComplaints(network).slice(errors).map(({ msg }) => msg),
      tap: () => about(did, tapComplaints(network)),
    }
  }

  /** The event with a commit that differs in its signature, and is else in order. */
  async function forged(body) {
    const { root, blocks } = await readCarWithRoot(body.blocks)
    const commit = await new MemoryBlockstore(blocks).readObj(root, def.commit)
    const cid = await blocks.add({ ...commit, sig: commit.sig.map((byte, n) => (n === 40 ? byte ^ 1 : byte)) })
    blocks.delete(root)
    return { ...body, commit: cid, blocks: await blocksToCarFile(cid, blocks) }
  }

  test('nothing is wrong as long as nobody meddles', async () => {
    const { homes } = await known()
    await nothingLost(network, homes)
  })

  test('a frame that does not arrive', async () => {
    const { lost, relay, tap } = await noticed(() => [])
    assert.equal(lost.length, 1, `${lost}`)
    assert.ok(relay.includes('commit with miss-matching prevData'), `${relay}`)
    await eventually(20, 'tap to notice', () => tap().includes('repo state desynchronized'))
  })

  test('a frame with an earlier number', async () => {
    const { lost, relay } = await noticed((body) => [{ ...body, seq: body.seq - 1 }])
    assert.equal(lost.length, 1, `${lost}`)
    assert.ok(relay.includes('got events out of order from stream'), `${relay}`)
  })

  test('a frame that names another tree as the one before', async () => {
    const { relay } = await noticed((body) => [{ ...body, prevData: body.commit }])
    assert.ok(relay.includes('commit with miss-matching prevData'), `${relay}`)
    assert.ok(relay.includes('failed to invert commit MST'), `${relay}`)
  })

  test('a frame that leaves out an operation', async () => {
    const { lost, relay } = await noticed((body) => [{ ...body, ops: [] }])
    assert.equal(lost.length, 1, `${lost}`)
    assert.ok(relay.includes('failed to invert commit MST'), `${relay}`)
  })

  test('a frame whose commit has another signature', async () => {
    const { lost, relay } = await noticed(async (body) => [await forged(body)])
    assert.equal(lost.length, 1, `${lost}`)
    assert.ok(relay.includes('commit message failed verification'), `${relay}`)
  })

  test('a record that tap lacks', async () => {
    const { did, host, say } = await known()
    const { data } = await say('to be forgotten')
    await allHold(network, host, [did])
    network.tap.forget(did, data.uri.split('/').at(-1))
    await assert.rejects(tapHolds(network, did, await exported(network, host, did)), /what tap holds/)
  })

  test('a write that was acknowledged and is not there, and one that is there and was not asked for', async () => {
    const { did } = await known()
    const writer = new Writer({ did }, new Random(1), {})
    writer.check(new Map())
    assert.throws(() => writer.check(new Map([['com.example.note/a', 'cid']])), /never written/)
    writer.records.set('com.example.note/a', 'cid')
    assert.throws(() => writer.check(new Map()), /note\/a/)
    writer.records.clear()
    writer.gone.add('com.example.note/a')
    assert.throws(() => writer.check(new Map([['com.example.note/a', 'cid']])), /deleted/)
  })
})
