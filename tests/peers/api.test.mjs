// The official TypeScript client signs up, posts, likes, edits, pages and deletes. It validates every answer against
// its own copy of the lexicons and throws on a wrong shape, so each call here is also a check of the shape.

import { AtpAgent } from '@atproto/api'
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { addressOf, freshHandle, listAll, password, png, post, signUp } from './support/account.mjs'
import { Rookery } from './support/rookery.mjs'

describe('@atproto/api', { timeout: 120_000 }, () => {
  let server
  before(async () => {
    server = await Rookery.dev()
  })
  after(() => server?.close())

  test('the server describes itself', async () => {
    const { data } = await new AtpAgent({ service: server.url }).com.atproto.server.describeServer()
    assert.match(data.did, /^did:web:/)
    assert.deepEqual(data.availableUserDomains, ['.test'])
    assert.ok(!data.inviteCodeRequired, 'dev needs no invite')
  })

  describe('sessions', () => {
    test('an account signs up and is signed in', async () => {
      const agent = new AtpAgent({ service: server.url })
      const handle = freshHandle('signup')
      const { data } = await agent.createAccount({ handle, email: `${handle}@example.com`, password })
      assert.match(data.did, /^did:plc:[a-z2-7]{24}$/)
      assert.equal(data.handle, handle)
      assert.equal(data.didDoc.id, data.did)
      assert.deepEqual(data.didDoc.alsoKnownAs, [`at://${handle}`])
      assert.equal(agent.pdsUrl?.origin, new URL(data.didDoc.service[0].serviceEndpoint).origin)

      const session = (await agent.com.atproto.server.getSession()).data
      assert.equal(session.did, data.did)
      assert.equal(session.handle, handle)
      assert.equal(session.email, `${handle}@example.com`)
      assert.equal(session.emailConfirmed, false)
      assert.equal(session.active, true)

      const resolved = await agent.com.atproto.identity.resolveHandle({ handle })
      assert.equal(resolved.data.did, data.did)
    })

    test('signing in works with the handle, the DID and the email, in any case', async () => {
      const { session } = await signUp(server)
      for (const identifier of [session.handle, session.did, session.email, session.handle.toUpperCase()]) {
        const agent = new AtpAgent({ service: server.url })
        const { data } = await agent.login({ identifier, password })
        assert.equal(data.did, session.did)
      }
    })

    test('a wrong password and an unknown name get the same answer', async () => {
      const { session } = await signUp(server)
      const refusals = []
      for (const identifier of [session.handle, 'nobody-here.test']) {
        const agent = new AtpAgent({ service: server.url })
        const refusal = await agent.login({ identifier, password: 'not it' }).catch((error) => error)
        assert.equal(refusal.status, 401)
        assert.equal(refusal.error, 'AuthenticationRequired')
        refusals.push(refusal.message)
      }
      assert.equal(refusals[0], refusals[1])
    })

    test('a session is resumed from its stored form', async () => {
      const { session } = await signUp(server)
      const stored = JSON.parse(JSON.stringify(session))
      const agent = new AtpAgent({ service: server.url })
      await agent.resumeSession(stored)
      assert.equal(agent.session.did, session.did)
      assert.notEqual(agent.session.refreshJwt, session.refreshJwt)
      await agent.post({ text: 'back again' })
    })

    test('refreshing rotates both tokens, and the old refresh token keeps a grace period', async () => {
      const agent = await signUp(server)
      const old = agent.session.refreshJwt
      const refresh = () =>
        agent.com.atproto.server.refreshSession(undefined, { headers: { authorization: `Bearer ${old}` } })
      const first = (await refresh()).data
      const again = (await refresh()).data
      assert.equal(first.did, agent.session.did)
      assert.notEqual(first.refreshJwt, old)
      assert.equal(claims(first.refreshJwt).jti, claims(again.refreshJwt).jti, 'a retry gets the same token id')
      assert.equal(claims(first.refreshJwt).scope, 'com.atproto.refresh')
      assert.equal(claims(first.accessJwt).scope, 'com.atproto.access')
    })

    test('ten racing refreshes agree on one successor', async () => {
      const agent = await signUp(server)
      const headers = { authorization: `Bearer ${agent.session.refreshJwt}` }
      const answers = await Promise.all(
        Array.from({ length: 10 }, () => agent.com.atproto.server.refreshSession(undefined, { headers })),
      )
      assert.equal(new Set(answers.map(({ data }) => claims(data.refreshJwt).jti)).size, 1)
    })

    test('after deleteSession the refresh token is dead', async () => {
      const agent = await signUp(server)
      const headers = { authorization: `Bearer ${agent.session.refreshJwt}` }
      await agent.logout()
      const anonymous = new AtpAgent({ service: server.url })
      const refusal = await anonymous.com.atproto.server.refreshSession(undefined, { headers }).catch((error) => error)
      assert.equal(refusal.status, 400)
      assert.equal(refusal.error, 'ExpiredToken')
    })

    test('an access token does not refresh and a refresh token does not write', async () => {
      const agent = await signUp(server)
      const { accessJwt, refreshJwt, did } = agent.session
      const anonymous = new AtpAgent({ service: server.url })
      const refresh = await anonymous.com.atproto.server
        .refreshSession(undefined, { headers: { authorization: `Bearer ${accessJwt}` } })
        .catch((error) => error)
      assert.deepEqual([refresh.status, refresh.error], [400, 'InvalidToken'])
      const write = await anonymous.com.atproto.repo
        .createRecord(
          { repo: did, collection: 'app.bsky.feed.post', record: post('no') },
          { headers: { authorization: `Bearer ${refreshJwt}` }, encoding: 'application/json' },
        )
        .catch((error) => error)
      assert.deepEqual([write.status, write.error], [400, 'InvalidToken'])
    })

    test('of ten racing sign-ups for one handle exactly one wins', async () => {
      const handle = freshHandle('race')
      const attempts = await Promise.allSettled(
        Array.from({ length: 10 }, (_, n) => signUp(server, { handle, email: `${n}-${handle}@example.com` })),
      )
      assert.equal(attempts.filter(({ status }) => status === 'fulfilled').length, 1)
      for (const { reason } of attempts.filter(({ status }) => status === 'rejected')) {
        assert.deepEqual([reason.status, reason.error], [400, 'InvalidRequest'])
        assert.match(reason.message, /taken/i)
      }
    })

    test('a taken handle and a taken email are refused', async () => {
      const { session } = await signUp(server)
      for (const again of [{ handle: session.handle, email: 'other@example.com' }, { email: session.email.toUpperCase() }]) {
        const refusal = await signUp(server, again).catch((error) => error)
        assert.equal(refusal.status, 400)
        assert.match(refusal.message, /taken/i)
      }
    })
  })

  describe('a person using the app', () => {
    let agent
    before(async () => {
      agent = await signUp(server)
    })

    test('posts with an image that anyone can fetch', async () => {
      const image = png(32, 0x42)
      const { data } = await agent.uploadBlob(image, { encoding: 'image/png' })
      assert.equal(data.blob.mimeType, 'image/png')
      assert.equal(data.blob.size, image.length)
      const cid = data.blob.ref.toString()

      const anonymous = new AtpAgent({ service: server.url })
      const tooEarly = await anonymous.com.atproto.sync.getBlob({ did: agent.did, cid }).catch((error) => error)
      assert.equal(tooEarly.status, 400, 'a blob that no record refers to is not served')

      const embed = { $type: 'app.bsky.embed.images', images: [{ image: data.blob, alt: 'a grey square' }] }
      const created = await agent.post({ text: 'look', embed })
      const { data: record } = await agent.com.atproto.repo.getRecord(addressOf(created.uri))
      assert.equal(record.cid, created.cid)
      assert.equal(record.value.embed.images[0].image.ref.toString(), cid)

      const fetched = await anonymous.com.atproto.sync.getBlob({ did: agent.did, cid })
      assert.deepEqual(Buffer.from(fetched.data), image)
      assert.equal(fetched.headers['content-type'], 'image/png')
      assert.equal(fetched.headers['x-content-type-options'], 'nosniff')
      assert.match(fetched.headers['content-security-policy'], /default-src 'none'; sandbox/)
      const blobs = await anonymous.com.atproto.sync.listBlobs({ did: agent.did })
      assert.deepEqual(blobs.data.cids, [cid])
    })

    test('deleting the post takes the image away', async () => {
      const { data } = await agent.uploadBlob(png(16, 0x99), { encoding: 'image/png' })
      const cid = data.blob.ref.toString()
      const embed = { $type: 'app.bsky.embed.images', images: [{ image: data.blob, alt: '' }] }
      const created = await agent.post({ text: 'for a moment', embed })
      await agent.com.atproto.sync.getBlob({ did: agent.did, cid })
      await agent.deletePost(created.uri)
      const gone = await agent.com.atproto.sync.getBlob({ did: agent.did, cid }).catch((error) => error)
      assert.equal(gone.status, 400)
    })

    test('a post that names a blob nobody uploaded is refused', async () => {
      const { data } = await agent.uploadBlob(png(16, 0x10), { encoding: 'image/png' })
      const other = await signUp(server)
      const embed = { $type: 'app.bsky.embed.images', images: [{ image: data.blob, alt: '' }] }
      const refusal = await other.post({ text: 'not mine', embed }).catch((error) => error)
      assert.deepEqual([refusal.status, refusal.error], [400, 'BlobNotFound'])
    })

    test('likes a post, and liking again leaves one like', async () => {
      const target = await agent.post({ text: 'like me' })
      const first = await agent.like(target.uri, target.cid)
      const second = await agent.like(target.uri, target.cid)
      assert.notEqual(first.uri, second.uri)
      const likes = await listAll(agent, agent.did, 'app.bsky.feed.like')
      assert.deepEqual(likes.map(({ uri }) => uri), [second.uri])
      await agent.deleteLike(second.uri)
      assert.deepEqual(await listAll(agent, agent.did, 'app.bsky.feed.like'), [])
    })

    test('edits the profile twice, avatar included', async () => {
      const { data } = await agent.uploadBlob(png(24, 0x33), { encoding: 'image/png' })
      await agent.upsertProfile((existing) => ({ ...existing, displayName: 'Peer', avatar: data.blob }))
      await agent.upsertProfile((existing) => ({ ...existing, description: 'tests things' }))
      const self = { repo: agent.did, collection: 'app.bsky.actor.profile', rkey: 'self' }
      const { value } = (await agent.com.atproto.repo.getRecord(self)).data
      assert.equal(value.displayName, 'Peer')
      assert.equal(value.description, 'tests things')
      assert.equal(value.avatar.ref.toString(), data.blob.ref.toString())
    })

    test('follows and blocks someone', async () => {
      const other = await signUp(server)
      const follow = await agent.follow(other.did)
      const { data } = await agent.com.atproto.repo.getRecord(addressOf(follow.uri))
      assert.equal(data.value.subject, other.did)
      await agent.deleteFollow(follow.uri)
      await agent.app.bsky.graph.block.create(
        { repo: agent.did },
        { subject: other.did, createdAt: new Date().toISOString() },
      )
      assert.equal((await listAll(agent, agent.did, 'app.bsky.graph.block')).length, 1)
    })

    test('describeRepo lists the collections in use', async () => {
      const { data } = await agent.com.atproto.repo.describeRepo({ repo: agent.session.handle })
      assert.equal(data.did, agent.did)
      assert.equal(data.handle, agent.session.handle)
      assert.equal(data.handleIsCorrect, true)
      assert.ok(data.collections.includes('app.bsky.feed.post'))
      assert.equal(data.didDoc.id, agent.did)
    })
  })

  describe('records', () => {
    let agent
    const collection = 'app.bsky.feed.post'
    before(async () => {
      agent = await signUp(server)
    })

    test('pages give every record once, newest first, and reversed oldest first', async () => {
      const uris = []
      for (let n = 0; n < 23; n += 1) uris.push((await agent.post({ text: `post ${n}` })).uri)
      for (const limit of [1, 5, 23, 100]) {
        const newestFirst = await listAll(agent, agent.did, collection, { limit })
        assert.deepEqual(newestFirst.map(({ uri }) => uri), uris.toReversed())
        const oldestFirst = await listAll(agent, agent.did, collection, { limit, reverse: true })
        assert.deepEqual(oldestFirst.map(({ uri }) => uri), uris)
      }
    })

    test('a page boundary does not move when records come and go', async () => {
      const { data: first } = await agent.com.atproto.repo.listRecords({ repo: agent.did, collection, limit: 5 })
      await agent.post({ text: 'newer than the cursor' })
      await agent.deletePost(first.records.at(-1).uri)
      const { data: second } = await agent.com.atproto.repo.listRecords({
        repo: agent.did,
        collection,
        limit: 5,
        cursor: first.cursor,
      })
      const seen = new Set(first.records.map(({ uri }) => uri))
      assert.equal(second.records.length, 5)
      assert.ok(second.records.every(({ uri }) => !seen.has(uri)))
      assert.ok(second.records[0].uri < first.records.at(-1).uri)
    })

    test('a collection whose name continues another is not mixed in', async () => {
      for (const name of ['com.example.foo', 'com.example.foo-x.bar', 'com.example.fooBar', 'com.example.foo.bar']) {
        await agent.com.atproto.repo.createRecord({ repo: agent.did, collection: name, rkey: 'x', record: { name } })
      }
      const records = await listAll(agent, agent.did, 'com.example.foo')
      assert.deepEqual(records.map(({ value }) => value.name), ['com.example.foo'])
    })

    test('put creates, updates, and does nothing when the value is the same', async () => {
      const place = { repo: agent.did, collection: 'com.example.note', rkey: 'one' }
      const created = (await agent.com.atproto.repo.putRecord({ ...place, record: { n: 1 } })).data
      assert.equal(created.validationStatus, 'unknown')
      const updated = (await agent.com.atproto.repo.putRecord({ ...place, record: { n: 2 } })).data
      assert.ok(updated.commit.rev > created.commit.rev)
      const same = (await agent.com.atproto.repo.putRecord({ ...place, record: { n: 2 } })).data
      assert.equal(same.cid, updated.cid)
      assert.equal(same.commit, undefined)
      const head = (await agent.com.atproto.sync.getLatestCommit({ did: agent.did })).data
      assert.deepEqual(head, updated.commit)
    })

    test('swaps guard a record and a commit', async () => {
      const place = { repo: agent.did, collection: 'com.example.note', rkey: 'guarded' }
      const first = (await agent.com.atproto.repo.putRecord({ ...place, record: { n: 1 }, swapRecord: null })).data
      const stale = (await agent.com.atproto.repo.putRecord({ ...place, record: { n: 2 } })).data
      const attempts = [
        agent.com.atproto.repo.putRecord({ ...place, record: { n: 3 }, swapRecord: null }),
        agent.com.atproto.repo.putRecord({ ...place, record: { n: 3 }, swapRecord: first.cid }),
        agent.com.atproto.repo.putRecord({ ...place, record: { n: 3 }, swapCommit: first.commit.cid }),
        agent.com.atproto.repo.deleteRecord({ ...place, swapRecord: first.cid }),
      ]
      for (const attempt of await Promise.allSettled(attempts)) {
        assert.deepEqual([attempt.reason?.status, attempt.reason?.error], [400, 'InvalidSwap'])
      }
      const right = { swapRecord: stale.cid, swapCommit: stale.commit.cid }
      await agent.com.atproto.repo.putRecord({ ...place, record: { n: 3 }, ...right })
    })

    test('a deleted record is gone, and deleting it again succeeds without a commit', async () => {
      const { uri } = await agent.post({ text: 'short-lived' })
      const place = addressOf(uri)
      const first = (await agent.com.atproto.repo.deleteRecord(place)).data
      assert.match(first.commit.rev, /^[2-7a-z]{13}$/)
      assert.deepEqual((await agent.com.atproto.repo.deleteRecord(place)).data, {})
      const gone = await agent.com.atproto.repo.getRecord(place).catch((error) => error)
      assert.deepEqual([gone.status, gone.error], [400, 'RecordNotFound'])
    })

    test('applyWrites answers in the order of its input', async () => {
      const { data } = await agent.com.atproto.repo.applyWrites({
        repo: agent.did,
        writes: [
          { $type: 'com.atproto.repo.applyWrites#create', collection, value: post('one') },
          { $type: 'com.atproto.repo.applyWrites#create', collection: 'com.example.note', rkey: 'w', value: { n: 1 } },
          { $type: 'com.atproto.repo.applyWrites#update', collection: 'com.example.note', rkey: 'one', value: { n: 9 } },
          { $type: 'com.atproto.repo.applyWrites#delete', collection: 'com.example.note', rkey: 'guarded' },
        ],
      })
      assert.deepEqual(
        data.results.map(({ $type }) => $type.split('#')[1]),
        ['createResult', 'createResult', 'updateResult', 'deleteResult'],
      )
      assert.deepEqual(data.results.map((result) => result.validationStatus), ['valid', 'unknown', 'unknown', undefined])
      assert.ok(data.results[1].uri.endsWith('/com.example.note/w'))
    })

    test('validation follows the validate flag', async () => {
      const write = (record, validate, name = collection) =>
        agent.com.atproto.repo.createRecord({ repo: agent.did, collection: name, record, validate }).then(
          ({ data }) => data.validationStatus ?? 'unsaid',
          (error) => `${error.status} ${error.error}`,
        )
      const wrong = { text: 17, createdAt: 'yesterday' }
      assert.equal(await write(post('fine')), 'valid')
      assert.equal(await write(post('fine'), true), 'valid')
      assert.equal(await write(post('fine'), false), 'unsaid')
      assert.equal(await write(wrong), '400 InvalidRequest')
      assert.equal(await write(wrong, true), '400 InvalidRequest')
      assert.equal(await write(wrong, false), 'unsaid')
      assert.equal(await write({ a: 1 }, undefined, 'com.example.note'), 'unknown')
      assert.equal(await write({ a: 1 }, true, 'com.example.note'), '400 InvalidRequest')
      assert.equal(await write({ $type: 'com.example.other' }, false, 'com.example.note'), '400 InvalidRequest')
    })

    test('one account cannot write into the repo of another', async () => {
      const other = await signUp(server)
      const refusal = await other.com.atproto.repo
        .createRecord({ repo: agent.did, collection, record: post('intruder') })
        .catch((error) => error)
      assert.deepEqual([refusal.status, refusal.error], [401, 'AuthenticationRequired'])
    })

    test('listRepos has every account, oldest first', async () => {
      const anonymous = new AtpAgent({ service: server.url })
      const all = (await anonymous.com.atproto.sync.listRepos({ limit: 1000 })).data.repos
      const paged = []
      let cursor
      do {
        const { data } = await anonymous.com.atproto.sync.listRepos({ limit: 3, cursor })
        paged.push(...data.repos)
        cursor = data.repos.length > 0 ? data.cursor : undefined
      } while (cursor)
      assert.deepEqual(paged, all)
      const mine = all.find(({ did }) => did === agent.did)
      const { cid, rev } = (await anonymous.com.atproto.sync.getLatestCommit({ did: agent.did })).data
      assert.deepEqual({ head: mine.head, rev: mine.rev, active: mine.active }, { head: cid, rev, active: true })
      const status = (await anonymous.com.atproto.sync.getRepoStatus({ did: agent.did })).data
      assert.deepEqual(status, { did: agent.did, active: true, rev })
    })
  })

  test('accounts, records and sessions survive kill -9 and a restart', async () => {
    const agent = await signUp(server)
    const { uri } = await agent.post({ text: 'still here' })
    await server.restart('SIGKILL')
    const { data } = await agent.com.atproto.repo.getRecord(addressOf(uri))
    assert.equal(data.value.text, 'still here')
    await agent.sessionManager.refreshSession()
    await agent.post({ text: 'and still writing' })
  })
})

/** The claims of a JWT, unverified. */
function claims(token) {
  return JSON.parse(Buffer.from(token.split('.')[1], 'base64url').toString())
}
