// The official TypeScript client, in the version for Node 22, where tests/peers stops: replies, threads of records, app
// passwords and the change of a handle. Signing up, posting, images, likes and deleting are in ../peers/api.test.mjs.

import { AtpAgent, RichText } from '@atproto/api'
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { addressOf, freshHandle, listAll, password, png, signUp } from '../peers/support/account.mjs'
import { startServer, subject } from '../reference/support/servers.mjs'
import { startDirectory } from '../peers/support/directory.mjs'

describe('@atproto/api', { timeout: 120_000 }, () => {
  let directory, server, agent
  before(async () => {
    directory = await startDirectory()
    server = await startServer(subject, { plcUrl: directory.url })
    agent = await signUp(server)
  })
  after(async () => {
    await server?.close()
    await directory?.close()
  })

  test('a reply with an image, a mention and a quoted post is kept as it was sent', async () => {
    const other = await signUp(server)
    const root = await other.post({ text: 'question' })
    const { data } = await agent.uploadBlob(png(32, 0x55), { encoding: 'image/png' })
    const text = new RichText({ text: `answer for @${other.session.handle} at https://example.com` })
    await text.detectFacets(agent)
    assert.deepEqual(text.facets.map(({ features }) => features[0].$type.split('#')[1]), ['mention', 'link'])
    assert.equal(text.facets[0].features[0].did, other.did, 'the handle resolves through the server')
    const record = {
      text: text.text,
      facets: text.facets,
      reply: { root, parent: root },
      embed: {
        $type: 'app.bsky.embed.recordWithMedia',
        media: { $type: 'app.bsky.embed.images', images: [{ image: data.blob, alt: '', aspectRatio: { width: 1, height: 1 } }] },
        record: { $type: 'app.bsky.embed.record', record: { uri: root.uri, cid: root.cid } },
      },
    }
    const { uri } = await agent.post(record)
    const { value } = (await agent.com.atproto.repo.getRecord(addressOf(uri))).data
    assert.deepEqual(JSON.parse(JSON.stringify(value.facets)), JSON.parse(JSON.stringify(text.facets)))
    assert.equal(value.reply.parent.uri, root.uri)
    assert.equal(value.embed.media.images[0].image.ref.toString(), data.blob.ref.toString())
    await agent.deletePost(uri)
    assert.deepEqual(await listAll(agent, agent.did, 'app.bsky.feed.post'), [])
  })

  describe('app passwords', () => {
    test('one signs in, writes, and is gone when it is revoked', async () => {
      const { data: made } = await agent.com.atproto.server.createAppPassword({ name: 'phone' })
      assert.match(made.password, /^[a-z2-7]{4}(-[a-z2-7]{4}){3}$/)
      const phone = new AtpAgent({ service: server.url })
      await phone.login({ identifier: agent.session.handle, password: made.password })
      const { uri } = await phone.post({ text: 'from the phone' })
      await phone.deletePost(uri)
      const { passwords } = (await agent.com.atproto.server.listAppPasswords()).data
      assert.deepEqual(passwords.map(({ name, privileged }) => [name, privileged]), [['phone', false]])

      await agent.com.atproto.server.revokeAppPassword({ name: 'phone' })
      const again = await new AtpAgent({ service: server.url })
        .login({ identifier: agent.did, password: made.password })
        .catch((error) => error)
      assert.deepEqual([again.status, again.error], [401, 'AuthenticationRequired'])
      const refreshed = await phone.sessionManager.refreshSession().catch((error) => error)
      assert.ok(refreshed === undefined || refreshed instanceof Error)
      assert.equal(phone.session, undefined, 'the session of a revoked password does not go on')
    })

    test('one may not act as the owner', async () => {
      const { data: made } = await agent.com.atproto.server.createAppPassword({ name: 'guest', privileged: true })
      assert.equal(made.privileged, true)
      const guest = new AtpAgent({ service: server.url })
      await guest.login({ identifier: agent.did, password: made.password })
      const attempts = [
        guest.com.atproto.server.createAppPassword({ name: 'more' }),
        guest.com.atproto.server.deactivateAccount({}),
        guest.com.atproto.identity.requestPlcOperationSignature(),
      ]
      for (const attempt of await Promise.allSettled(attempts)) {
        assert.equal(attempt.status, 'rejected')
        assert.deepEqual([attempt.reason.status, attempt.reason.error], [400, 'InvalidToken'])
      }
    })
  })

  test('a handle is changed, found, and the old one is free', async () => {
    const mover = await signUp(server, { handle: freshHandle('before') })
    const old = mover.session.handle
    const handle = freshHandle('after')
    await mover.com.atproto.identity.updateHandle({ handle })
    assert.equal((await mover.com.atproto.identity.resolveHandle({ handle })).data.did, mover.did)
    assert.equal((await mover.com.atproto.server.getSession()).data.handle, handle)
    const document = await (await fetch(`${directory.url}/${mover.did}`)).json()
    assert.deepEqual(document.alsoKnownAs, [`at://${handle}`])
    const again = new AtpAgent({ service: server.url })
    await again.login({ identifier: handle, password })
    assert.equal(again.did, mover.did)
    const next = await signUp(server, { handle: old, email: `next-${old}@example.com` })
    assert.notEqual(next.did, mover.did)
    const taken = await mover.com.atproto.identity.updateHandle({ handle: old }).catch((error) => error)
    assert.equal(taken.status, 400)
    assert.match(taken.message, /already taken/i)
  })
})
