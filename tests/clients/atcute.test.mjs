// `@atcute/client`: another family of packages, with schemas, a CAR reader and a session of its own. `call` checks input
// and output against their schemas and throws on a wrong shape.

import * as atproto from '@atcute/atproto'
import { Client, ok, simpleFetchHandler } from '@atcute/client'
import { PasswordSession } from '@atcute/password-session'
import { fromUint8Array } from '@atcute/repo'
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { addressOf, freshHandle, password, png, post } from '../peers/support/account.mjs'
import { startDirectory } from '../peers/support/directory.mjs'
import { startServer, subject } from '../reference/support/servers.mjs'

const {
  ComAtprotoIdentityResolveHandle: resolveHandle,
  ComAtprotoIdentityUpdateHandle: updateHandle,
  ComAtprotoRepoCreateRecord: createRecord,
  ComAtprotoRepoDeleteRecord: deleteRecord,
  ComAtprotoRepoGetRecord: getRecord,
  ComAtprotoRepoListRecords: listRecords,
  ComAtprotoRepoUploadBlob: uploadBlob,
  ComAtprotoServerCreateAccount: createAccount,
  ComAtprotoServerCreateAppPassword: createAppPassword,
  ComAtprotoServerGetSession: getSession,
  ComAtprotoServerListAppPasswords: listAppPasswords,
  ComAtprotoServerRevokeAppPassword: revokeAppPassword,
  ComAtprotoSyncGetBlob: getBlob,
  ComAtprotoSyncGetRepo: getRepo,
} = atproto

describe('@atcute/client', { timeout: 60_000 }, () => {
  let directory, server
  const handle = freshHandle('cute')
  const collection = 'app.bsky.feed.post'
  let session, rpc, did
  before(async () => {
    directory = await startDirectory()
    server = await startServer(subject, { plcUrl: directory.url })
  })
  after(async () => {
    await server?.close()
    await directory?.close()
  })

  const login = (identifier, secret) =>
    PasswordSession.login({ service: server.url, identifier, password: secret })
  const create = (record) => ok(rpc.call(createRecord, { input: { repo: did, collection, record } }))

  test('an account signs up, and in', async () => {
    const anonymous = new Client({ handler: simpleFetchHandler({ service: server.url }) })
    const input = { handle, email: `${handle}@example.com`, password }
    did = (await ok(anonymous.call(createAccount, { input }))).did
    session = await login(handle, password)
    assert.equal(session.did, did)
    rpc = new Client({ handler: session })
    assert.equal((await ok(rpc.call(getSession))).handle, handle)
    await session.refresh()
    assert.equal((await ok(rpc.call(getSession))).did, did)
  })

  test('a wrong password is an error with a name', async () => {
    const refused = await login(handle, 'wrong').catch((error) => error)
    assert.deepEqual([refused.status, refused.error], [401, 'AuthenticationRequired'])
  })

  test('a post with an image, and a reply, are made, read, listed and deleted', async () => {
    const picture = png(12, 0x77)
    const { blob } = await ok(rpc.call(uploadBlob, { input: new Blob([picture], { type: 'image/png' }) }))
    assert.deepEqual([blob.mimeType, blob.size], ['image/png', picture.length])
    const embed = { $type: 'app.bsky.embed.images', images: [{ image: blob, alt: 'grey' }] }
    const first = await create(post('with image', { embed }))
    const root = { uri: first.uri, cid: first.cid }
    const reply = await create(post('reply', { reply: { root, parent: root } }))

    const { value } = await ok(rpc.call(getRecord, { params: addressOf(first.uri) }))
    assert.deepEqual(value.embed.images[0].image, blob)
    const params = { did, cid: blob.ref.$link }
    const bytes = await ok(rpc.call(getBlob, { params, as: 'bytes' }))
    assert.ok(Buffer.from(bytes).equals(picture))

    const listed = await ok(rpc.call(listRecords, { params: { repo: did, collection, limit: 10 } }))
    assert.deepEqual(listed.records.map(({ uri }) => uri), [reply.uri, first.uri])
    await ok(rpc.call(deleteRecord, { input: addressOf(reply.uri) }))
    const left = await ok(rpc.call(listRecords, { params: { repo: did, collection } }))
    assert.deepEqual(left.records.map(({ uri }) => uri), [first.uri])
  })

  test('its CAR reader finds the same records in the export', async () => {
    const car = await ok(rpc.call(getRepo, { params: { did }, as: 'bytes' }))
    const entries = [...fromUint8Array(car)]
    assert.deepEqual(entries.map((entry) => [entry.collection, entry.record.text]), [[collection, 'with image']])
  })

  test('an app password signs in until it is revoked', async () => {
    const made = await ok(rpc.call(createAppPassword, { input: { name: 'tablet' } }))
    const tablet = await login(did, made.password)
    await ok(new Client({ handler: tablet }).call(getSession))
    const { passwords } = await ok(rpc.call(listAppPasswords))
    assert.deepEqual(passwords.map(({ name }) => name), ['tablet'])
    await ok(rpc.call(revokeAppPassword, { input: { name: 'tablet' }, as: null }))
    const refused = await login(did, made.password).catch((error) => error)
    assert.equal(refused.status, 401)
  })

  test('the handle changes', async () => {
    const next = freshHandle('cuter')
    await ok(rpc.call(updateHandle, { input: { handle: next }, as: null }))
    assert.equal((await ok(rpc.call(resolveHandle, { params: { handle: next } }))).did, did)
    assert.equal((await ok(rpc.call(getSession))).handle, next)
  })

  test('after signing out the session is over', async () => {
    const { refreshJwt } = session.session
    await session.logout()
    assert.ok(session.destroyed)
    const url = `${server.url}/xrpc/com.atproto.server.refreshSession`
    const answer = await fetch(url, { method: 'POST', headers: { authorization: `Bearer ${refreshJwt}` } })
    assert.deepEqual([answer.status, (await answer.json()).error], [400, 'ExpiredToken'])
  })
})
