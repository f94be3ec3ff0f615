// A real AppView follows the server's firehose and answers its proxied calls. What a person sees through their server,
// at once after a write and after indexing.
//
// SUBJECT=reference runs the same script against the reference PDS: what holds there has to hold here.
//
// The indexer can be stopped and let go on, so that "not yet indexed" is a fact and not a race. Not shown here, because
// on loopback it fails with the reference too: clearing unread notifications (it goes through a service that is not
// published).

import { AtpAgent } from '@atproto/api'
import { TestFeedGen } from '@atproto/dev-env'
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { addressOf, freshHandle, password, png, signUp } from '../peers/support/account.mjs'
import { freePort } from '../peers/support/deadline.mjs'
import { startDirectory } from '../peers/support/directory.mjs'
import { Subscriber } from '../peers/support/subscriber.mjs'
import { startAppView, until } from '../reference/support/appview.mjs'
import { startServer, subject } from '../reference/support/servers.mjs'

const lag = 'atproto-upstream-lag'

describe(`an AppView behind ${subject}`, { timeout: 240_000 }, () => {
  let directory, appview, server, firehose
  let alice, bob

  before(async () => {
    directory = await startDirectory()
    const port = await freePort()
    appview = await startAppView({ plcUrl: directory.url, pdsPort: port })
    server = await startServer(subject, { plcUrl: directory.url, port, appview })
    firehose = await Subscriber.open(server, { cursor: 0 })
    alice = await signUp(server, { handle: freshHandle('alice') })
    bob = await signUp(server, { handle: freshHandle('bob') })
    await indexed(alice, bob)
  })
  after(async () => {
    await firehose?.close()
    await server?.close()
    await appview?.close()
    await directory?.close()
  })

  /** Waits until the AppView has taken over all that these accounts have written. */
  async function indexed(...agents) {
    const commits = agents.map((agent) => agent.com.atproto.sync.getLatestCommit({ did: agent.did }))
    for (const { data } of await Promise.all(commits)) await announced(({ body }) => body.rev === data.rev)
    await appview.caughtUp(Math.max(...firehose.frames.items.map(({ body }) => body.seq)))
  }

  /** Waits for an event on the firehose. */
  const announced = (wanted) => firehose.until((frames) => frames.some(wanted), 'the event on the firehose')

  /** What the AppView answers to `agent` itself, past the server: `nsid` with a service token. */
  async function directly(agent, nsid, params) {
    const { data } = await agent.com.atproto.server.getServiceAuth({ aud: appview.did, lxm: nsid })
    const url = `${appview.url}/xrpc/${nsid}?${new URLSearchParams(params)}`
    return (await fetch(url, { headers: { authorization: `Bearer ${data.token}` } })).json()
  }

  const texts = (feed) => feed.map(({ post }) => post.record.text)

  describe('after a sign-up', () => {
    test('the AppView knows the account by its handle', async () => {
      const { data } = await alice.getProfile({ actor: alice.did })
      assert.equal(data.handle, alice.session.handle)
      const byHandle = await bob.getProfile({ actor: alice.session.handle })
      assert.equal(byHandle.data.did, alice.did)
    })

    test('a call without a session is refused before anything is forwarded', async () => {
      const anonymous = new AtpAgent({ service: server.url })
      const refusal = await anonymous.app.bsky.feed.getTimeline().catch((error) => error)
      assert.deepEqual([refusal.status, refusal.error], [401, 'AuthMissing'])
    })

    test('the atproto-proxy header names the AppView too', async () => {
      const proxied = alice.withProxy('bsky_appview', appview.did)
      const { data } = await proxied.app.bsky.actor.getProfile({ actor: bob.did })
      assert.equal(data.did, bob.did)
    })

    test("an error of the AppView comes through with its status and name", async () => {
      const refusal = await alice.getProfile({ actor: 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa' }).catch((error) => error)
      assert.deepEqual([refusal.status, refusal.error], [400, 'InvalidRequest'])
      assert.match(refusal.message, /not found/i)
    })
  })

  describe('at once after a write, the indexer standing still', () => {
    let first
    before(async () => {
      first = await alice.post({ text: 'indexed' })
      await alice.upsertProfile(() => ({ displayName: 'Alice', description: 'before' }))
      await indexed(alice)
      await appview.pause()
    })
    after(() => appview.resume())

    test('a post stands in the timeline and in the author feed, and the answer says how far the AppView lags', async () => {
      const made = await alice.post({ text: 'just now' })
      assert.deepEqual(texts((await directly(alice, 'app.bsky.feed.getTimeline')).feed), ['indexed'])

      const timeline = await alice.getTimeline()
      assert.deepEqual(texts(timeline.data.feed), ['just now', 'indexed'])
      assert.equal(timeline.data.feed[0].post.uri, made.uri)
      assert.equal(timeline.data.feed[0].post.cid, made.cid)
      assert.equal(timeline.data.feed[0].post.author.handle, alice.session.handle)
      assert.ok(Number(timeline.headers[lag]) >= 0, `${lag}: ${timeline.headers[lag]}`)

      const feed = await alice.getAuthorFeed({ actor: alice.did })
      assert.deepEqual(texts(feed.data.feed), ['just now', 'indexed'])
    })

    test('others are shown what the AppView has', async () => {
      const feed = await bob.getAuthorFeed({ actor: alice.did })
      assert.deepEqual(texts(feed.data.feed), ['indexed'])
      assert.equal(feed.headers[lag], undefined)
    })

    test('a changed profile is there, alone and among others', async () => {
      const { data: blob } = await alice.uploadBlob(png(16, 0x40), { encoding: 'image/png' })
      await alice.upsertProfile(() => ({ displayName: 'Alice anew', avatar: blob.blob }))
      assert.equal((await directly(alice, 'app.bsky.actor.getProfile', { actor: alice.did })).displayName, 'Alice')
      const { data, headers } = await alice.getProfile({ actor: alice.session.handle })
      assert.deepEqual([data.displayName, data.description ?? ''], ['Alice anew', ''])
      assert.match(data.avatar, new RegExp(blob.blob.ref.toString()))
      assert.ok(headers[lag])
      const both = await alice.getProfiles({ actors: [bob.did, alice.did] })
      const mine = both.data.profiles.find(({ did }) => did === alice.did)
      assert.equal(mine.displayName, 'Alice anew')
      const [own] = (await alice.getAuthorFeed({ actor: alice.did })).data.feed.filter(({ post }) => post.uri === first.uri)
      assert.equal(own.post.author.displayName, 'Alice anew')
    })

    test('a reply stands in its thread', async () => {
      const root = { uri: first.uri, cid: first.cid }
      const reply = await alice.post({ text: 'answering myself', reply: { root, parent: root } })
      const { data, headers } = await alice.getPostThread({ uri: first.uri })
      assert.deepEqual(data.thread.replies.map(({ post }) => post.uri), [reply.uri])
      assert.ok(headers[lag])
    })

    test('a thread that the AppView has not seen is built from the own post', async () => {
      const { uri } = await alice.post({ text: 'a thread of its own' })
      assert.equal((await directly(alice, 'app.bsky.feed.getPostThread', { uri })).error, 'NotFound')
      const { data } = await alice.getPostThread({ uri })
      assert.equal(data.thread.post.uri, uri)
      assert.equal(data.thread.post.record.text, 'a thread of its own')
    })

    test('an image and a quoted post are shown in a post that is not indexed', async () => {
      const { data } = await alice.uploadBlob(png(8, 0x21), { encoding: 'image/png' })
      const images = { $type: 'app.bsky.embed.images', images: [{ image: data.blob, alt: 'grey' }] }
      const record = { $type: 'app.bsky.embed.record', record: { uri: first.uri, cid: first.cid } }
      const withImage = await alice.post({ text: 'look', embed: images })
      const quoting = await alice.post({ text: 'quote', embed: record })
      const { feed } = (await alice.getTimeline()).data
      const embedOf = ({ uri }) => feed.find(({ post }) => post.uri === uri).post.embed
      assert.equal(embedOf(withImage).$type, 'app.bsky.embed.images#view')
      assert.equal(embedOf(withImage).images[0].alt, 'grey')
      assert.match(embedOf(withImage).images[0].fullsize, /^http/)
      assert.equal(embedOf(quoting).$type, 'app.bsky.embed.record#view')
      assert.equal(embedOf(quoting).record.uri, first.uri)
      assert.equal(embedOf(quoting).record.author.did, alice.did)
    })
  })

  describe('after indexing', () => {
    test('the timeline is the one of the AppView, without a lag', async () => {
      await indexed(alice)
      const { data, headers } = await alice.getTimeline()
      const own = await directly(alice, 'app.bsky.feed.getTimeline')
      assert.deepEqual(texts(data.feed), texts(own.feed))
      assert.ok(texts(data.feed).includes('just now'))
      assert.equal(headers[lag], undefined)
      const { rev } = (await alice.com.atproto.sync.getLatestCommit({ did: alice.did })).data
      assert.equal(headers['atproto-repo-rev'], rev)
    })

    test('a follower sees the posts, and a like is counted', async () => {
      await bob.follow(alice.did)
      const liked = await alice.post({ text: 'likeable' })
      await indexed(alice, bob)
      const { data } = await bob.getTimeline()
      assert.equal(data.feed[0].post.uri, liked.uri)
      await bob.like(liked.uri, liked.cid)
      await bob.repost(liked.uri, liked.cid)
      await indexed(bob)
      const [seen] = (await alice.getPosts({ uris: [liked.uri] })).data.posts
      assert.deepEqual([seen.likeCount, seen.repostCount], [1, 1])
      const { likes } = (await alice.getLikes({ uri: liked.uri })).data
      assert.deepEqual(likes.map(({ actor }) => actor.did), [bob.did])
      const { feed } = (await bob.getActorLikes({ actor: bob.did })).data
      assert.deepEqual(feed.map(({ post }) => post.uri), [liked.uri])
      const profile = await alice.getProfile({ actor: bob.did })
      assert.equal(profile.data.followsCount, 1)
      assert.equal((await bob.getFollows({ actor: bob.did })).data.follows[0].did, alice.did)
      assert.equal((await bob.getFollowers({ actor: alice.did })).data.followers[0].did, bob.did)
    })

    test('a thread of two people holds both', async () => {
      // Each is indexed before it is answered: the AppView takes repositories side by side, and a reply that comes before
      // its parent notifies nobody.
      const root = await alice.post({ text: 'question' })
      await indexed(alice)
      const answer = await bob.post({ text: 'answer', reply: { root, parent: root } })
      await indexed(bob)
      await alice.post({ text: 'thanks', reply: { root, parent: answer } })
      await indexed(alice)
      const { thread } = (await bob.getPostThread({ uri: root.uri })).data
      assert.equal(thread.replies[0].post.record.text, 'answer')
      assert.equal(thread.replies[0].replies[0].post.record.text, 'thanks')
    })

    test('notifications arrive', async () => {
      const { notifications } = (await alice.listNotifications()).data
      const reasons = new Set(notifications.filter(({ author }) => author.did === bob.did).map(({ reason }) => reason))
      assert.deepEqual([...reasons].sort(), ['follow', 'like', 'reply', 'repost'])
      const { count } = (await alice.countUnreadNotifications()).data
      assert.equal(count, notifications.length)
      await alice.updateSeenNotifications()
    })

    test('a deleted post goes, and an unfollowed one leaves the timeline', async () => {
      const { uri } = await bob.post({ text: 'not for long' })
      await indexed(bob)
      assert.equal((await alice.getPosts({ uris: [uri] })).data.posts.length, 1)
      await bob.deletePost(uri)
      await indexed(bob)
      assert.deepEqual((await alice.getPosts({ uris: [uri] })).data.posts, [])
    })

    test('a list and its members are shown, and so is a block', async () => {
      const carla = await signUp(server, { handle: freshHandle('carla') })
      const createdAt = new Date().toISOString()
      const purpose = 'app.bsky.graph.defs#curatelist'
      const list = await alice.app.bsky.graph.list.create({ repo: alice.did }, { purpose, name: 'friends', createdAt })
      await alice.app.bsky.graph.listitem.create({ repo: alice.did }, { list: list.uri, subject: bob.did, createdAt })
      await alice.app.bsky.graph.block.create({ repo: alice.did }, { subject: carla.did, createdAt })
      await indexed(alice, carla)
      const { data } = await alice.app.bsky.graph.getList({ list: list.uri })
      assert.deepEqual(data.items.map(({ subject }) => subject.did), [bob.did])
      const { blocks } = (await alice.app.bsky.graph.getBlocks()).data
      assert.deepEqual(blocks.map(({ did }) => did), [carla.did])
      assert.equal((await carla.getProfile({ actor: alice.did })).data.viewer.blockedBy, true)
    })
  })

  describe('what stays private', () => {
    test('preferences are kept by the server and come back as they were', async () => {
      const preferences = [
        { $type: 'app.bsky.actor.defs#adultContentPref', enabled: true },
        { $type: 'app.bsky.actor.defs#savedFeedsPrefV2', items: [] },
        { $type: 'app.bsky.actor.defs#personalDetailsPref', birthDate: '1990-01-02T00:00:00.000Z' },
      ]
      await alice.app.bsky.actor.putPreferences({ preferences })
      const { data } = await alice.app.bsky.actor.getPreferences()
      const stored = data.preferences.filter(({ $type }) => !$type.endsWith('#declaredAgePref'))
      assert.deepEqual(stored, preferences)
      const age = data.preferences.find(({ $type }) => $type.endsWith('#declaredAgePref'))
      assert.deepEqual([age.isOverAge13, age.isOverAge16, age.isOverAge18], [true, true, true])
      assert.deepEqual((await bob.app.bsky.actor.getPreferences()).data.preferences, [])
    })

    test('an app password sees and keeps all preferences but the personal details', async () => {
      const { data: made } = await alice.com.atproto.server.createAppPassword({ name: 'reader' })
      const reader = new AtpAgent({ service: server.url })
      await reader.login({ identifier: alice.did, password: made.password })
      const types = ({ data }) => data.preferences.map(({ $type }) => $type.split('#')[1])
      const seen = types(await reader.app.bsky.actor.getPreferences())
      assert.ok(!seen.includes('personalDetailsPref'), seen.join())
      const preferences = [{ $type: 'app.bsky.actor.defs#adultContentPref', enabled: false }]
      await reader.app.bsky.actor.putPreferences({ preferences })
      assert.deepEqual(
        types(await alice.app.bsky.actor.getPreferences()).sort(),
        ['adultContentPref', 'declaredAgePref', 'personalDetailsPref'],
      )
    })

    test('a mute is known to the one who muted, and can be lifted', async () => {
      await alice.mute(bob.did)
      const muted = async () => (await alice.app.bsky.graph.getMutes()).data.mutes.map(({ did }) => did)
      await until('the mute to be taken over', async () => (await muted()).includes(bob.did))
      assert.equal((await alice.getProfile({ actor: bob.did })).data.viewer.muted, true)
      assert.equal((await bob.getProfile({ actor: alice.did })).data.viewer.muted, false)
      await alice.unmute(bob.did)
      await until('the mute to be lifted', async () => !(await muted()).includes(bob.did))
    })
  })

  describe('feeds of others', () => {
    test('a feed generator is asked on behalf of the person', async () => {
      const { uri } = await bob.post({ text: 'picked' })
      await indexed(bob)
      const place = `at://${alice.did}/app.bsky.feed.generator/picks`
      const feeds = {
        [place]: async () => ({ encoding: 'application/json', body: { feed: [{ post: uri }], cursor: 'end' } }),
      }
      const generator = await TestFeedGen.create(directory.url, feeds)
      try {
        await alice.app.bsky.feed.generator.create(
          { repo: alice.did, rkey: addressOf(place).rkey },
          { did: generator.did, displayName: 'Picks', createdAt: new Date().toISOString() },
        )
        await indexed(alice)
        const { data } = await alice.app.bsky.feed.getFeed({ feed: place })
        assert.deepEqual(texts(data.feed), ['picked'])
      } finally {
        await generator.close()
      }
      const gone = await alice.app.bsky.feed.getFeed({ feed: place }).catch((error) => error)
      assert.ok(gone.status >= 400, 'a generator that is away is an error')
      const unknown = await alice.app.bsky.feed.getFeed({ feed: `${place}-none` }).catch((error) => error)
      assert.equal(unknown.status, 400)
    })
  })

  describe('moderation', () => {
    test('reports of accounts and posts reach the moderation service, with who reported', async () => {
      const { uri, cid } = await bob.post({ text: 'reportable' })
      const subjects = [
        { $type: 'com.atproto.admin.defs#repoRef', did: bob.did },
        { $type: 'com.atproto.repo.strongRef', uri, cid },
      ]
      for (const subject of subjects) {
        const { data } = await alice.createModerationReport({
          reasonType: 'com.atproto.moderation.defs#reasonSpam',
          reason: 'too loud',
          subject,
        })
        assert.equal(data.reportedBy, alice.did)
        assert.equal(data.subject.$type, subject.$type)
        const { events } = await appview.mod.client.queryEvents({ subject: subject.uri ?? subject.did })
        const report = events.find(({ event }) => event.$type.endsWith('#modEventReport'))
        assert.equal(report.createdBy, alice.did)
        assert.equal(report.event.comment, 'too loud')
      }
    })

    test('the moderation service takes an account down and back, and the AppView follows', async () => {
      const carol = await signUp(server, { handle: freshHandle('carol') })
      await carol.post({ text: 'out of line' })
      await indexed(carol)
      const subject = { $type: 'com.atproto.admin.defs#repoRef', did: carol.did }
      const account = (active) => (frame) =>
        frame.type === '#account' && frame.body.did === carol.did && frame.body.active === active
      const shown = () => alice.getProfile({ actor: carol.did }).then(() => true, () => false)

      await appview.mod.client.performTakedown({ subject })
      await appview.mod.pushed()
      await announced(account(false))
      const status = await carol.com.atproto.sync.getRepoStatus({ did: carol.did })
      assert.deepEqual([status.data.active, status.data.status], [false, 'takendown'])
      await until('the AppView to hide the account', async () => !(await shown()))

      const before = firehose.frames.items.length
      await appview.mod.client.reverseAction({ subject })
      await appview.mod.pushed()
      await firehose.until((frames) => frames.slice(before).some(account(true)), 'the account to be back')
      await until('the AppView to show the account', shown)
    })
  })

  describe('account events', () => {
    test('a changed handle is shown', async () => {
      const handle = freshHandle('renamed')
      await bob.com.atproto.identity.updateHandle({ handle })
      await announced(({ type, body }) => type === '#identity' && body.handle === handle)
      const shown = async () => (await alice.getProfile({ actor: bob.did })).data.handle === handle
      await until('the new handle to be shown', shown)
    })

    test('a deactivated account disappears and comes back', async () => {
      const dave = await signUp(server, { handle: freshHandle('dave') })
      await dave.post({ text: 'on and off' })
      await indexed(dave)
      const shown = () => alice.getProfile({ actor: dave.did }).then(() => true, () => false)
      assert.ok(await shown())
      await dave.com.atproto.server.deactivateAccount({})
      await until('the AppView to hide the account', async () => !(await shown()))
      await dave.com.atproto.server.activateAccount()
      await until('the AppView to show the account', shown)
      await dave.post({ text: 'back' })
      await indexed(dave)
    })

    test('a deleted account is forgotten', async () => {
      const erin = await signUp(server, { handle: freshHandle('erin') })
      const { uri } = await erin.post({ text: 'last words' })
      await indexed(erin)
      const credentials = Buffer.from(`admin:${server.adminPassword}`).toString('base64')
      const operator = new AtpAgent({ service: server.url })
      operator.setHeader('authorization', `Basic ${credentials}`)
      await operator.com.atproto.admin.deleteAccount({ did: erin.did })
      const shown = async () => (await alice.getPosts({ uris: [uri] })).data.posts.length > 0
      await until('the posts to go', async () => !(await shown()))
    })
  })

  test('a session of an app password may use the AppView', async () => {
    const { data } = await bob.com.atproto.server.createAppPassword({ name: 'phone' })
    const phone = new AtpAgent({ service: server.url })
    await phone.login({ identifier: bob.did, password: data.password })
    assert.ok((await phone.getTimeline()).data.feed.length > 0)
    const chat = await phone.chat.bsky.convo.listConvos().catch((error) => error)
    assert.deepEqual([chat.status, chat.error], [400, 'InvalidToken'], 'chat needs a privileged one')
  })

  test('the account password still signs in after all this', async () => {
    const agent = new AtpAgent({ service: server.url })
    await agent.login({ identifier: alice.session.handle, password })
  })
})
