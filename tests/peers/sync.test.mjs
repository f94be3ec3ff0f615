// @atproto/sync follows the firehose, checking every commit against the DID's key, through writes and restarts.

import { Firehose, FirehoseSubscriptionError } from '@atproto/sync'
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { listAll, post, resolverOf, signUp, signingKeyOf } from './support/account.mjs'
import { Inbox, within } from './support/deadline.mjs'
import { startDirectory } from './support/directory.mjs'
import { Random } from './support/random.mjs'
import { Rookery } from './support/rookery.mjs'
import { Subscriber, verifyCommitEvent } from './support/subscriber.mjs'
import { Model } from './support/writes.mjs'

describe('@atproto/sync', { timeout: 180_000 }, () => {
  describe('following', () => {
    let server, follower
    before(async () => {
      server = await Rookery.dev()
      follower = await Follower.start(server)
    })
    after(async () => {
      await follower?.stop()
      await server?.close()
    })

    test('a sign-up is announced as identity, account, commit, sync', async () => {
      const agent = await signUp(server)
      const events = await follower.until(
        (all) => of(all, agent.did).some(({ event }) => event === 'sync'),
        'the sync event of the sign-up',
      )
      // The official client turns a commit without operations into nothing, so the wire is asked for that one.
      assert.deepEqual(of(events, agent.did).map(({ event }) => event), ['identity', 'account', 'sync'])
      const [identity, account, sync] = of(events, agent.did)
      assert.deepEqual(identity.didDocument.alsoKnownAs, [`at://${agent.session.handle}`])
      assert.equal(account.active, true)
      assert.equal(account.status, undefined)
      const head = (await agent.com.atproto.sync.getLatestCommit({ did: agent.did })).data
      assert.deepEqual({ cid: sync.cid.toString(), rev: sync.rev }, head)
      assert.equal(sync.blocks.size, 1)
    })

    test('creates, updates and deletes arrive verified, in order', async () => {
      const agent = await signUp(server)
      const place = { repo: agent.did, collection: 'com.example.note', rkey: 'followed' }
      const created = await agent.post({ text: 'first' })
      await agent.com.atproto.repo.putRecord({ ...place, record: { n: 1 } })
      const updated = (await agent.com.atproto.repo.putRecord({ ...place, record: { n: 2 } })).data
      await agent.com.atproto.repo.putRecord({ ...place, record: { n: 2 } })
      await agent.com.atproto.repo.deleteRecord(place)
      await agent.com.atproto.repo.deleteRecord(place)
      await agent.deletePost(created.uri)
      const last = await agent.post({ text: 'last' })

      const commits = (await follower.until((all) => all.some(({ uri }) => uri?.toString() === last.uri), 'the last post'))
        .filter(({ did, uri }) => did === agent.did && uri)
      assert.deepEqual(
        commits.map(({ event, collection }) => `${event} ${collection}`),
        [
          'create app.bsky.feed.post',
          'create com.example.note',
          'update com.example.note',
          'delete com.example.note',
          'delete app.bsky.feed.post',
          'create app.bsky.feed.post',
        ],
      )
      assert.equal(commits[2].cid.toString(), updated.cid)
      assert.equal(commits[2].record.n, 2)
      assert.equal(commits[0].record.text, 'first')
    })

    test('an applyWrites is one commit with all its operations', async () => {
      const agent = await signUp(server)
      const model = new Model(new Random(7))
      const { commit } = (await agent.com.atproto.repo.applyWrites({ repo: agent.did, writes: model.batch(60) })).data
      const mine = (all) => all.filter(({ rev, uri }) => uri && rev === commit.rev)
      const events = mine(await follower.until((all) => mine(all).length >= model.records.size, 'all operations'))
      assert.deepEqual(new Set(events.map(({ collection, rkey }) => `${collection}/${rkey}`)), new Set(model.records.keys()))
      assert.equal(new Set(events.map(({ seq }) => seq)).size, 1)
    })

    test('no event failed to verify', () => {
      assert.deepEqual(follower.errors, [])
    })
  })

  for (const signal of ['SIGTERM', 'SIGKILL']) {
    test(`a follower resumes after ${signal} under load, missing nothing and seeing nothing twice`, async () => {
      // A directory that stays up: the consumer drops events whose key it cannot look up.
      const directory = await startDirectory()
      const server = await Rookery.dev({ plcUrl: directory.url })
      const follower = await Follower.start(server)
      try {
        const agents = [await signUp(server), await signUp(server)]
        const acknowledged = new Set()
        for (let round = 0; round < 3; round += 1) {
          const load = { over: false }
          const writers = agents.map((agent) => writeUntilItBreaks(agent, acknowledged, load))
          const before = follower.created.size
          await follower.until(() => follower.created.size > before + 20, 'some load')
          const ended = await server.restart(signal)
          load.over = true
          if (signal === 'SIGTERM') assert.deepEqual(ended, { code: 0, signal: null }, 'a graceful end')
          await Promise.all(writers)
        }
        const last = await agents[0].post({ text: 'the end' })
        acknowledged.add(last.uri)
        await agents[1].post({ text: 'the end' }).then(({ uri }) => acknowledged.add(uri))
        const events = await follower.until(() => includesAll(follower.created, acknowledged), 'every acknowledged write', 30)

        const seqs = events.map(({ seq }) => seq)
        assert.deepEqual(seqs, seqs.toSorted((a, b) => a - b), 'seq ascends across restarts')
        const creates = events.filter(({ event }) => event === 'create').map(({ uri }) => uri.toString())
        assert.equal(new Set(creates).size, creates.length, 'no create is announced twice')
        for (const agent of agents) {
          const stored = (await listAll(agent, agent.did, 'app.bsky.feed.post')).map(({ uri }) => uri)
          const announced = creates.filter((uri) => uri.includes(agent.did))
          assert.deepEqual(new Set(announced), new Set(stored), 'announced and stored are the same')
        }
        assert.deepEqual(follower.errors, [])
      } finally {
        await follower.stop()
        await server.close()
        await directory.close()
      }
    })
  }

  describe('on the wire', () => {
    let server
    before(async () => {
      server = await Rookery.dev()
    })
    after(() => server?.close())

    test('the first four frames of an account', async () => {
      const agent = await signUp(server)
      const subscriber = await Subscriber.open(server, { cursor: 0 })
      const frames = bodiesOf(
        await subscriber.until((all) => bodiesOf(all, agent.did).length >= 4, 'the sign-up'),
        agent.did,
      )
      await subscriber.close()
      assert.deepEqual(frames.map(({ type }) => type), ['#identity', '#account', '#commit', '#sync'])
      const [identity, account, commit, sync] = frames.map(({ body }) => body)
      assert.equal(identity.handle, agent.session.handle)
      assert.deepEqual([account.active, 'status' in account], [true, false])
      assert.deepEqual([commit.since, 'prevData' in commit, commit.ops], [null, false, []])
      assert.equal(sync.rev, commit.rev)
      for (const { body } of frames) {
        assert.match(body.time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3,6}Z$/)
        assert.ok(!('$type' in body), 'EV-3')
      }
    })

    test('every commit of a random writer inverts from its own blocks and joins on to the one before', async () => {
      const random = new Random()
      const hint = `ROOKERY_SEED=${random.seed} repeats this run`
      const agent = await signUp(server)
      const key = await signingKeyOf(server, agent.did)
      const model = new Model(random)
      let rev
      for (let round = 0; round < 20; round += 1) {
        const { data } = await agent.com.atproto.repo.applyWrites({ repo: agent.did, writes: model.batch(20) })
        rev = data.commit.rev
      }
      const subscriber = await Subscriber.open(server, { cursor: 0 })
      const frames = await subscriber.until((all) => all.some(({ body }) => body.rev === rev), 'the last commit')
      await subscriber.close()
      const commits = bodiesOf(frames, agent.did).filter(({ type }) => type === '#commit')
      assert.equal(commits.length, 21, hint)
      let previous
      for (const { body } of commits) {
        assert.deepEqual([body.rebase, body.tooBig, body.blobs], [false, false, []])
        const commit = await verifyCommitEvent(body, key).catch((error) => {
          error.message = `${error.message} (seq ${body.seq}, ${hint})`
          throw error
        })
        if (previous) {
          assert.equal(body.since, previous.rev, hint)
          assert.ok(body.prevData.equals(previous.data), hint)
          assert.ok(body.rev > previous.rev, hint)
        }
        previous = commit
      }
    })

    test('several writes to one record in one request are announced as what they amount to', async () => {
      const agent = await signUp(server)
      const key = await signingKeyOf(server, agent.did)
      const collection = 'com.example.note'
      const write = (kind, rkey, n) => ({
        $type: `com.atproto.repo.applyWrites#${kind}`,
        collection,
        rkey,
        ...(n === undefined ? {} : { value: { n } }),
      })
      const apply = (writes) => agent.com.atproto.repo.applyWrites({ repo: agent.did, writes })
      await apply([write('create', 'old', 1)])
      const { data } = await apply([
        write('create', 'brief', 1),
        write('delete', 'brief'),
        write('create', 'new', 1),
        write('update', 'new', 2),
        write('update', 'old', 2),
        write('delete', 'old'),
        write('create', 'old', 3),
      ])
      const subscriber = await Subscriber.open(server, { cursor: 0 })
      const wanted = ({ body }) => body.rev === data.commit.rev
      const { body } = (await subscriber.until((all) => all.some(wanted), 'the commit')).find(wanted)
      await subscriber.close()
      assert.deepEqual(body.ops.map(({ action, path }) => `${action} ${path}`).sort(), [
        `create ${collection}/new`,
        `update ${collection}/old`,
      ])
      await verifyCommitEvent(body, key)
    })

    test('replay and live are one stream: no gap and no overlap where they meet', async () => {
      const agent = await signUp(server)
      let writing = true
      const revs = []
      const writer = (async () => {
        for (let n = 0; writing && n < 2000; n += 1) {
          const { data } = await agent.com.atproto.repo.createRecord({
            repo: agent.did,
            collection: 'app.bsky.feed.post',
            record: post(`steady ${n}`),
          })
          revs.push(data.commit.rev)
        }
      })()
      const subscribers = []
      for (let n = 0; n < 8; n += 1) subscribers.push(await Subscriber.open(server, { cursor: 0 }))
      await subscribers[0].until((all) => bodiesOf(all, agent.did).length > 60, 'enough commits')
      writing = false
      await writer
      const wanted = revs.at(-1)
      for (const subscriber of subscribers) {
        const frames = await subscriber.until((all) => all.some(({ body }) => body.rev === wanted), 'the last commit')
        const seqs = frames.map(({ body }) => body.seq)
        assert.deepEqual(seqs, [...new Set(seqs)].sort((a, b) => a - b))
        const seen = bodiesOf(frames, agent.did).filter(({ type, body }) => type === '#commit' && body.ops.length > 0)
        assert.deepEqual(seen.map(({ body }) => body.rev), revs)
        await subscriber.close()
      }
      const [first, second] = subscribers.map(({ frames }) => frames.items)
      for (const [n, frame] of second.entries()) assert.ok(frame.bytes.equals(first[n].bytes), 'the same bytes for all')
    })

    test('a cursor is exclusive', async () => {
      const agent = await signUp(server)
      for (const text of ['one', 'two', 'three']) await agent.post({ text })
      const all = await Subscriber.open(server, { cursor: 0 })
      const frames = await all.until((seen) => bodiesOf(seen, agent.did).length >= 7, 'the three posts')
      await all.close()
      const middle = frames.at(-2).body.seq
      const rest = await Subscriber.open(server, { cursor: middle })
      const [next] = await rest.until((seen) => seen.length >= 1, 'the event after the cursor')
      await rest.close()
      assert.equal(next.body.seq, frames.at(-1).body.seq)
    })

    test('without a cursor only what happens from now on arrives', async () => {
      const agent = await signUp(server)
      await agent.post({ text: 'before' })
      const subscriber = await Subscriber.open(server)
      // The connection is open, but the server may subscribe a moment later: post until something arrives.
      let posts = 0
      while (subscriber.frames.items.length === 0 && posts < 200) {
        posts += 1
        await agent.post({ text: `after ${posts}` })
      }
      const [first] = await subscriber.until((all) => all.length > 0, 'a live event')
      await subscriber.close()
      const { data } = await agent.com.atproto.repo.listRecords({
        repo: agent.did,
        collection: 'app.bsky.feed.post',
        reverse: true,
        limit: 1,
      })
      assert.equal(data.records[0].value.text, 'before')
      assert.notEqual(first.body.ops[0].path.split('/')[1], data.records[0].uri.split('/').at(-1))
    })

    test('a cursor from the future is an error frame and a close', async () => {
      const subscriber = await Subscriber.open(server, { cursor: Number.MAX_SAFE_INTEGER })
      const { code, reason } = await subscriber.closed()
      const [frame, ...more] = subscriber.frames.items
      assert.deepEqual(more, [])
      assert.deepEqual({ ...frame.header }, { op: -1 })
      assert.equal(frame.body.error, 'FutureCursor')
      assert.equal(code, 1008)
      assert.equal(reason, 'FutureCursor')
    })

    test('a negative cursor replays everything, and a cursor that is no number is refused', async () => {
      const [zero, negative] = [
        await Subscriber.open(server, { cursor: 0 }),
        await Subscriber.open(server, { cursor: -1 }),
      ]
      const [expected] = await zero.until((all) => all.length > 0, 'an event')
      const [got] = await negative.until((all) => all.length > 0, 'an event')
      assert.equal(got.body.seq, expected.body.seq)
      await zero.close()
      await negative.close()
      for (const cursor of ['abc', '1.5', '99999999999999999999999']) {
        const refused = await Subscriber.open(server, { cursor }).catch((error) => error)
        if (refused instanceof Error) {
          assert.match(refused.message, /400/, `cursor=${cursor}`)
        } else {
          await refused.closed()
          assert.equal(refused.frames.items[0]?.type, 'error', `cursor=${cursor}`)
        }
      }
    })

    test('frames from a client are ignored', async () => {
      const agent = await signUp(server)
      const subscriber = await Subscriber.open(server, { cursor: 0 })
      subscriber.send('hello')
      subscriber.send(Buffer.alloc(1000, 0xff))
      const { uri } = await agent.post({ text: 'still talking' })
      await subscriber.until((all) => all.some(({ body }) => body.ops?.some(({ path }) => uri.endsWith(path))), 'the post')
      await subscriber.close()
    })

    test('fifty subscribers all get everything', async () => {
      const agent = await signUp(server)
      const subscribers = await Promise.all(Array.from({ length: 50 }, () => Subscriber.open(server, { cursor: 0 })))
      const { data } = await agent.com.atproto.repo.applyWrites({
        repo: agent.did,
        writes: new Model(new Random(3)).batch(30),
      })
      const counts = await Promise.all(
        subscribers.map((subscriber) =>
          subscriber.until((all) => all.some(({ body }) => body.rev === data.commit.rev), 'the commit', 30),
        ),
      )
      assert.equal(new Set(counts.map((frames) => frames.length)).size, 1)
      await Promise.all(subscribers.map((subscriber) => subscriber.close()))
    })

    test('sequence numbers and frames stay as they were across a restart', async () => {
      const agent = await signUp(server)
      await agent.post({ text: 'remembered' })
      const rev = (await agent.com.atproto.sync.getLatestCommit({ did: agent.did })).data.rev
      const upToNow = async () => {
        const subscriber = await Subscriber.open(server, { cursor: 0 })
        const commit = (frame) => frame.type === '#commit' && frame.body.rev === rev
        const frames = [...(await subscriber.until((all) => all.some(commit), 'the post'))]
        await subscriber.close()
        return frames.slice(0, frames.findIndex(commit) + 1)
      }
      const before = await upToNow()
      await server.restart('SIGKILL')
      const now = await upToNow()
      assert.equal(now.length, before.length)
      for (const [n, frame] of now.entries()) assert.ok(frame.bytes.equals(before[n].bytes), `frame ${n}`)
      await agent.post({ text: 'after' })
      const subscriber = await Subscriber.open(server, { cursor: before.at(-1).body.seq })
      const [next] = await subscriber.until((all) => all.length > 0, 'the next event')
      await subscriber.close()
      assert.ok(next.body.seq > before.at(-1).body.seq)
    })

    test('a plain GET without an upgrade is told so', async () => {
      const answer = await fetch(`${server.url}/xrpc/com.atproto.sync.subscribeRepos`)
      assert.equal(answer.status, 426)
      assert.equal(typeof (await answer.json()).error, 'string')
    })
  })
})

/** The official consumer, started from the beginning of the log and started again whenever the server goes away. */
class Follower {
  #firehose
  #stopped = false
  #running

  events = new Inbox()
  /** The URIs of all creates so far. */
  created = new Set()
  /** Everything the library complained about, but for lost connections. */
  errors = []

  static async start(server) {
    const follower = new Follower()
    const runner = new OneByOne()
    const idResolver = await resolverOf(server)
    follower.#running = follower.#run(() => ({
      service: server.websocketUrl,
      idResolver,
      runner,
      unauthenticatedCommits: false,
      // Handles would be looked up in the DNS, and there is none on loopback.
      unauthenticatedHandles: true,
      maxReconnectSeconds: 0.2,
      subscriptionReconnectDelay: 100,
      handleEvent: (event) => {
        if (event.event === 'create') follower.created.add(event.uri.toString())
        follower.events.push(event)
      },
      onError: (error) => {
        if (error instanceof FirehoseSubscriptionError && isLostConnection(error.cause)) return
        follower.errors.push(`${error.message}: ${error.cause}`)
      },
    }))
    return follower
  }

  until(enough, what, seconds) {
    return this.events.until(enough, what, seconds)
  }

  async #run(options) {
    while (!this.#stopped) {
      this.#firehose = new Firehose(options())
      // Returns when the server closes the connection in order.
      await this.#firehose.start()
    }
  }

  async stop() {
    this.#stopped = true
    this.#firehose.destroy()
    await within(10, 'the official consumer to stop', this.#running)
  }
}

/** Handles events strictly in order, and gives no cursor while one is being handled: exactly once, across reconnects. */
class OneByOne {
  #cursor = 0
  #last = Promise.resolve()

  async getCursor() {
    await this.#last
    return this.#cursor
  }

  trackEvent(_did, seq, handle) {
    this.#last = this.#last.then(handle).then(() => {
      this.#cursor = seq
    })
    return this.#last
  }
}

function isLostConnection(error) {
  return ['ECONNREFUSED', 'ECONNRESET', 'EPIPE'].includes(error?.code) || /socket hang up|Unexpected server response: 503/.test(error?.message)
}

/** Posts one after the other until the server is gone or the load is over, noting each acknowledged post. */
async function writeUntilItBreaks(agent, acknowledged, load) {
  for (let n = 0; n < 5000 && !load.over; n += 1) {
    try {
      const { uri } = await agent.post({ text: `load ${n}` })
      acknowledged.add(uri)
    } catch (error) {
      // 1 is the client's status for "no answer"; 503 is what a server on its way down may say.
      assert.ok([1, 503].includes(error.status), `a write failed with ${error.status} ${error.message}`)
      return
    }
  }
}

function includesAll(set, wanted) {
  for (const item of wanted) if (!set.has(item)) return false
  return true
}

const of = (events, did) => events.filter((event) => event.did === did)

const bodiesOf = (frames, did) => frames.filter(({ body }) => (body.did ?? body.repo) === did)
