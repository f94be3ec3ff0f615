// Requests that are wrong. Each gets the right refusal; none gets a 500, stops the server, or stores anything.

import { AtpAgent } from '@atproto/api'
import { blocksToCarFile, cborToLex, readCarWithRoot } from '@atproto/repo'
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { after, afterEach, before, describe, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { freshHandle, password, png, post, signUp } from './support/account.mjs'
import { exchange, nested, request } from './support/raw.mjs'
import { Rookery } from './support/rookery.mjs'
import { serveWithDirectory } from './support/serve.mjs'

const json = 'application/json'
const collection = 'app.bsky.feed.post'
const unknownDid = 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa'
const emptyTree = 'bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm'

describe('bad input', { timeout: 240_000 }, () => {
  let server, agent, did, pid, bearer, existing, snapshot

  before(async () => {
    server = await Rookery.dev()
    pid = server.pid
    agent = await signUp(server)
    did = agent.did
    bearer = { authorization: `Bearer ${agent.session.accessJwt}` }
    await agent.com.atproto.repo.createRecord({ repo: did, collection, rkey: '3kabcdefghijk', record: post('kept') })
    existing = { repo: did, collection, rkey: '3kabcdefghijk' }
    snapshot = await state()
  })
  after(() => server?.close())

  afterEach(async () => {
    assert.ok(server.alive && server.pid === pid, 'the same process is still there')
    assert.equal((await request(server, '/xrpc/_health')).status, 200)
    // A test that did store something is blamed once; the next is compared with what it left.
    const before = snapshot
    snapshot = await state()
    assert.deepEqual(snapshot, before, 'nothing was stored')
  })

  /** What must not change. */
  async function state() {
    const [head, blobs, missing, records, repos] = await Promise.all([
      xrpc('com.atproto.sync.getLatestCommit', { query: { did } }),
      xrpc('com.atproto.sync.listBlobs', { query: { did } }),
      xrpc('com.atproto.repo.listMissingBlobs', { headers: bearer }),
      xrpc('com.atproto.repo.listRecords', { query: { repo: did, collection } }),
      xrpc('com.atproto.sync.listRepos', {}),
    ])
    return [head, blobs, missing, records, repos].map(({ status, body }) => ({ status, body }))
  }

  function xrpc(nsid, { query, ...options }) {
    const search = query ? `?${new URLSearchParams(query)}` : ''
    return request(server, `/xrpc/${nsid}${search}`, options)
  }

  /** POST of a JSON text, or of a value made into one. */
  function procedure(nsid, input, headers = bearer) {
    const body = typeof input === 'string' || input instanceof Uint8Array ? input : JSON.stringify(input)
    return xrpc(nsid, { method: 'POST', headers: { 'content-type': json, ...headers }, body })
  }

  const create = (fields) => procedure('com.atproto.repo.createRecord', { repo: did, collection, ...fields })
  /** createRecord of a record given as JSON text, in a collection without a schema unless told otherwise. */
  const createText = (record, name = 'com.example.note') =>
    procedure('com.atproto.repo.createRecord', `{"repo":"${did}","collection":"${name}","record":${record}}`)

  /** Declares one test per row of `cases`: name, expected status (or list), expected error (or list, or null), request. */
  function refuses(cases) {
    for (const [name, statuses, errors, send] of cases) {
      test(name, async () => {
        const answer = await send()
        const what = `${answer.status} ${answer.text ?? JSON.stringify(answer.body)}`.slice(0, 400)
        assert.ok([statuses].flat().includes(answer.status), `expected ${statuses}: ${what}`)
        if (errors === null) return
        assert.ok([errors].flat().includes(answer.body?.error), `expected ${errors}: ${what}`)
        assert.deepEqual(Object.keys(answer.body).sort(), ['error', 'message'], what)
        assert.ok(answer.body.message.length > 0, 'the message says something')
        assert.match(answer.headers?.get('content-type') ?? json, /^application\/json/)
      })
    }
  }

  describe('methods and paths', () => {
    refuses([
      ['GET of a procedure', [400, 405], 'InvalidRequest', () => xrpc('com.atproto.repo.createRecord', { headers: bearer })],
      ['POST of a query', [400, 405], 'InvalidRequest', () => xrpc('com.atproto.repo.getRecord', { method: 'POST' })],
      ['PUT', [400, 405], 'InvalidRequest', () => xrpc('com.atproto.repo.getRecord', { method: 'PUT', body: 'x' })],
      ['DELETE', [400, 405], 'InvalidRequest', () => xrpc('com.atproto.repo.deleteRecord', { method: 'DELETE' })],
      ['a method of nobody', 400, 'InvalidRequest', () => xrpc('com.example.unknown', {})],
      ['a com.atproto method of others', 400, 'InvalidRequest', () => xrpc('com.atproto.label.queryLabels', {})],
      ['a method in the wrong case', 400, null, () => procedure('com.atproto.server.createaccount', {}, {})],
      ['no method', [400, 404], null, () => request(server, '/xrpc/')],
      ['a method that is no NSID', [400, 404, 501], null, () => request(server, '/xrpc/nope')],
      ['more path after the method', [400, 404], null, () => request(server, '/xrpc/com.atproto.server.describeServer/x')],
      ['a broken percent escape', [400, 404, 501], null, () => request(server, '/xrpc/com.atproto.%ff%zz')],
      ['a path outside xrpc', 404, null, () => request(server, '/nothing/here')],
      ['a dotted path', [400, 404], null, () => request(server, '/..%2f..%2fetc/passwd')],
    ])
  })

  describe('parameters', () => {
    const query = (nsid, fields, headers) => () => xrpc(nsid, { query: fields, headers })
    const place = { collection, rkey: 'x' }
    refuses([
      ['getRecord without parameters', 400, 'InvalidRequest', query('com.atproto.repo.getRecord', {})],
      ['getRecord with an empty repo', 400, 'InvalidRequest', query('com.atproto.repo.getRecord', { ...place, repo: '' })],
      ['getRecord with a repo that is neither handle nor DID', 400, 'InvalidRequest', query('com.atproto.repo.getRecord', { ...place, repo: 'not a repo' })],
      ['getRecord of an unknown repo', 400, ['InvalidRequest', 'RepoNotFound', 'RecordNotFound'], query('com.atproto.repo.getRecord', { ...place, repo: unknownDid })],
      ['getRecord with a bad collection', 400, 'InvalidRequest', () => xrpc('com.atproto.repo.getRecord', { query: { repo: did, collection: 'posts', rkey: 'x' } })],
      ['getRecord with a bad rkey', 400, 'InvalidRequest', () => xrpc('com.atproto.repo.getRecord', { query: { repo: did, collection, rkey: 'a/b' } })],
      ['getRecord with a bad cid', 400, 'InvalidRequest', () => xrpc('com.atproto.repo.getRecord', { query: { ...existing, cid: 'bafynope' } })],
      ['getRecord of a record that is not there', 400, 'RecordNotFound', () => xrpc('com.atproto.repo.getRecord', { query: { repo: did, collection, rkey: 'x' } })],
      ['getRecord with another cid', 400, 'RecordNotFound', () => xrpc('com.atproto.repo.getRecord', { query: { ...existing, cid: emptyTree } })],
      ['the same name twice', 400, 'InvalidRequest', () => request(server, `/xrpc/com.atproto.sync.getLatestCommit?did=${did}&did=${did}`)],
      ...['0', '101', '-1', 'many', '1.5', '99999999999999999999', '1e1', ' 5'].map((limit) => [
        `listRecords with limit=${limit}`,
        400,
        'InvalidRequest',
        () => xrpc('com.atproto.repo.listRecords', { query: { repo: did, collection, limit } }),
      ]),
      ['listRecords with reverse=yes', 400, 'InvalidRequest', () => xrpc('com.atproto.repo.listRecords', { query: { repo: did, collection, reverse: 'yes' } })],
      ['listRecords of an unknown repo', 400, ['InvalidRequest', 'RepoNotFound'], query('com.atproto.repo.listRecords', { repo: unknownDid, collection })],
      ['listRecords with a cursor that is no key', [200, 400], null, () => xrpc('com.atproto.repo.listRecords', { query: { repo: did, collection, cursor: '\u0000/é%' } })],
      ['describeRepo of an unknown repo', 400, ['RepoNotFound', 'InvalidRequest'], query('com.atproto.repo.describeRepo', { repo: 'nobody.test' })],
      ['listRepos with a malformed cursor', 400, 'InvalidRequest', query('com.atproto.sync.listRepos', { cursor: 'not a cursor' })],
      ['listRepos with limit=1001', 400, 'InvalidRequest', query('com.atproto.sync.listRepos', { limit: '1001' })],
      ['listBlobs with a malformed cursor', [200, 400], null, () => xrpc('com.atproto.sync.listBlobs', { query: { did, cursor: 'nope' } })],
      ['listBlobs since something that is no TID', 400, 'InvalidRequest', () => xrpc('com.atproto.sync.listBlobs', { query: { did, since: 'yesterday' } })],
      ['listMissingBlobs with limit=0', 400, 'InvalidRequest', () => xrpc('com.atproto.repo.listMissingBlobs', { query: { limit: '0' }, headers: bearer })],
      ['getRepo without a DID', 400, 'InvalidRequest', query('com.atproto.sync.getRepo', {})],
      ['getRepo of something that is no DID', 400, 'InvalidRequest', query('com.atproto.sync.getRepo', { did: 'alice.test' })],
      ...['getRepo', 'getLatestCommit', 'getRepoStatus', 'getHead', 'getCheckout', 'listBlobs'].map((name) => [
        `${name} of an unknown DID`,
        400,
        ['RepoNotFound', 'HeadNotFound'],
        query(`com.atproto.sync.${name}`, { did: unknownDid }),
      ]),
      ['getRepo since something that is no TID', 400, 'InvalidRequest', () => xrpc('com.atproto.sync.getRepo', { query: { did, since: '!' } })],
      ['sync.getRecord of an unknown DID', 400, 'RepoNotFound', query('com.atproto.sync.getRecord', { did: unknownDid, collection, rkey: 'x' })],
      ['sync.getRecord with a bad rkey', 400, 'InvalidRequest', () => xrpc('com.atproto.sync.getRecord', { query: { did, collection, rkey: '..' } })],
      ['getBlocks without cids', 400, 'InvalidRequest', () => xrpc('com.atproto.sync.getBlocks', { query: { did } })],
      ['getBlocks with a bad cid', 400, 'InvalidRequest', () => xrpc('com.atproto.sync.getBlocks', { query: { did, cids: 'bafynope' } })],
      ['getBlocks with a cid of version 0', 400, null, () => xrpc('com.atproto.sync.getBlocks', { query: { did, cids: 'QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnmSTV' } })],
      ['getBlocks with a cid it does not hold', 400, ['InvalidRequest', 'BlockNotFound'], () => xrpc('com.atproto.sync.getBlocks', { query: { did, cids: emptyTree } })],
      ['getBlob with a bad cid', 400, 'InvalidRequest', () => xrpc('com.atproto.sync.getBlob', { query: { did, cid: '../../etc/passwd' } })],
      ['getBlob of a blob it does not hold', 400, ['InvalidRequest', 'BlobNotFound'], () => xrpc('com.atproto.sync.getBlob', { query: { did, cid: rawCid(Buffer.from('not here')) } })],
      ['resolveHandle without a handle', 400, 'InvalidRequest', query('com.atproto.identity.resolveHandle', {})],
      ['resolveHandle of something that is no handle', 400, 'InvalidRequest', query('com.atproto.identity.resolveHandle', { handle: 'no spaces.test' })],
      ['resolveHandle of an unknown handle here', 400, 'HandleNotFound', query('com.atproto.identity.resolveHandle', { handle: 'nobody.test' })],
    ])
  })

  describe('authorization', () => {
    const session = (authorization) => () =>
      xrpc('com.atproto.server.getSession', { headers: authorization === undefined ? {} : { authorization } })
    const forge = (change) => {
      const [header, payload, signature] = agent.session.accessJwt.split('.')
      return change({ header, payload, signature })
    }
    const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const decode = (part) => JSON.parse(Buffer.from(part, 'base64url').toString())
    refuses([
      ['none at all', 401, 'AuthMissing', session()],
      ['a scheme alone', 400, 'InvalidToken', session('Bearer')],
      ['three parts', 400, 'InvalidToken', session('Bearer one two')],
      ['an unknown scheme', 400, 'InvalidToken', session('Token abc')],
      ['Basic where a session is wanted', 400, 'InvalidToken', session(`Basic ${Buffer.from('admin:x').toString('base64')}`)],
      ['garbage for a token', 400, 'InvalidToken', session('Bearer garbage')],
      ['a token of three empty parts', 400, 'InvalidToken', session('Bearer ..')],
      ['a token of 100 kB', [400, 401, 431], null, session(`Bearer ${'a'.repeat(100_000)}`)],
      ['a refresh token', 400, 'InvalidToken', () => session(`Bearer ${agent.session.refreshJwt}`)()],
      ['a token with its signature changed', 400, 'InvalidToken', () =>
        session(`Bearer ${forge(({ header, payload, signature }) => `${header}.${payload}.${signature[0] === 'A' ? 'B' : 'A'}${signature.slice(1)}`)}`)()],
      ['a token with another subject', 400, 'InvalidToken', () =>
        session(`Bearer ${forge(({ header, payload, signature }) => `${header}.${encode({ ...decode(payload), sub: unknownDid })}.${signature}`)}`)()],
      ['a token with alg none', 400, 'InvalidToken', () =>
        session(`Bearer ${forge(({ payload }) => `${encode({ typ: 'at+jwt', alg: 'none' })}.${payload}.`)}`)()],
      ['a token signed with a guessed secret', 400, 'InvalidToken', () =>
        session(`Bearer ${forge(({ header, payload }) => `${header}.${payload}.${createHash('sha256').update('secret').digest('base64url')}`)}`)()],
      ['no token on a write', 401, 'AuthMissing', () => procedure('com.atproto.repo.createRecord', { repo: did, collection, record: post('x') }, {})],
      ['bad token before bad body', 400, 'InvalidToken', () => procedure('com.atproto.repo.createRecord', '{', { authorization: 'Bearer x' })],
      ['bad token on a method that works without one', [400, 401], null, () => xrpc('com.atproto.sync.getRepo', { query: { did }, headers: { authorization: 'Bearer x' } })],
      ['an access token to refresh with', 400, 'InvalidToken', () => procedure('com.atproto.server.refreshSession', '', { 'content-type': '', ...bearer })],
      ['a wrong password', 401, 'AuthenticationRequired', () => procedure('com.atproto.server.createSession', { identifier: did, password: 'x' }, {})],
      ['an unknown name', 401, 'AuthenticationRequired', () => procedure('com.atproto.server.createSession', { identifier: 'nobody.test', password }, {})],
      ['a password of 10 kB', [400, 401], ['AuthenticationRequired', 'InvalidRequest'], () => procedure('com.atproto.server.createSession', { identifier: did, password: 'x'.repeat(10_000) }, {})],
      ['no password', 400, 'InvalidRequest', () => procedure('com.atproto.server.createSession', { identifier: did }, {})],
    ])

    test('a stray token does not disturb a method that takes none', async () => {
      const answer = await xrpc('com.atproto.repo.getRecord', { query: existing, headers: { authorization: 'Bearer x' } })
      assert.equal(answer.status, 200)
    })
  })

  describe('JSON bodies', () => {
    const raw = (body, headers) => () =>
      xrpc('com.atproto.repo.createRecord', { method: 'POST', headers: { ...bearer, ...headers }, body })
    const asJson = (body) => () => procedure('com.atproto.repo.createRecord', body)
    refuses([
      ['no body', 400, 'InvalidRequest', raw(undefined, { 'content-type': json })],
      ['no body and no type', 400, 'InvalidRequest', raw(undefined, {})],
      ['an empty body', 400, null, asJson(new Uint8Array(0))],
      ['half a document', 400, ['InvalidRequest', 'SyntaxError'], asJson('{"repo":')],
      ['two documents', 400, ['InvalidRequest', 'SyntaxError'], asJson('{}{}')],
      ['text that is not UTF-8', 400, ['InvalidRequest', 'SyntaxError'], asJson(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]))],
      ['a lone surrogate', 400, 'InvalidRequest', () => createText('{"a":"\\ud800"}')],
      ['a NUL byte', 400, ['InvalidRequest', 'SyntaxError'], asJson('\u0000')],
      ...['[]', '"text"', '17', 'null', 'true'].map((body) => [`the document ${body}`, 400, ['InvalidRequest', 'SyntaxError'], asJson(body)]),
      ['an empty object', 400, 'InvalidRequest', asJson('{}')],
      ['text/plain', [400, 415], ['InvalidRequest', 'UnsupportedMediaType'], raw('{}', { 'content-type': 'text/plain' })],
      ['a form', [400, 415], ['InvalidRequest', 'UnsupportedMediaType'], raw('a=b', { 'content-type': 'application/x-www-form-urlencoded' })],
      ['CBOR', [400, 415], ['InvalidRequest', 'UnsupportedMediaType'], raw(Buffer.from([0xa0]), { 'content-type': 'application/cbor' })],
      ['a type that is no type', [400, 415], ['InvalidRequest', 'UnsupportedMediaType'], raw('{}', { 'content-type': 'json' })],
      ['an unknown content encoding', [400, 415], null, raw('{}', { 'content-type': json, 'content-encoding': 'smoke' })],
      ['a body of 2 MB', 413, ['PayloadTooLarge', 'PayloadTooLargeError'], asJson(`{"repo":"${'a'.repeat(2_000_000)}"}`)],
      ['a deleteRecord of 200 kB', 413, ['PayloadTooLarge', 'PayloadTooLargeError'], () => procedure('com.atproto.repo.deleteRecord', `{"repo":"${'a'.repeat(200_000)}"}`)],
      ...[33, 4_000, 100_000].flatMap((depth) => [
        [`objects ${depth} deep`, 400, 'InvalidRequest', () => createText(nested(depth))],
        [`arrays ${depth} deep`, 400, 'InvalidRequest', () => createText(`{"a":${nested(depth, '[', ']')}}`)],
      ]),
      ['500,000 open brackets', [400, 413], null, asJson('['.repeat(500_000))],
      ['a float', 400, 'InvalidRequest', () => createText('{"n":1.5}')],
      ['a float in an array', 400, 'InvalidRequest', () => createText('{"n":[1,2,3.25]}')],
      ['a number too small', 400, 'InvalidRequest', () => createText('{"n":1e-7}')],
      ['a number without end', 400, ['InvalidRequest', 'SyntaxError'], () => createText('{"n":1e400}')],
      ['an integer beyond 64 bits', 400, 'InvalidRequest', () => createText('{"n":18446744073709551616}')],
      ['an integer beyond the safe range', 400, 'InvalidRequest', () => createText('{"n":9007199254740993}')],
      ['duplicate keys in the record', 400, 'InvalidRequest', () => createText('{"n":1,"n":2}')],
      ['duplicate keys in the input', 400, 'InvalidRequest', asJson(`{"repo":"${unknownDid}","collection":"com.example.note","record":{},"repo":"placeholder"}`)],
      ['__proto__ in the record', 400, 'InvalidRequest', () => createText('{"__proto__":{"a":1}}')],
      ['a link that is no CID', 400, 'InvalidRequest', () => createText('{"a":{"$link":"nope"}}')],
      ['a link with company', 400, 'InvalidRequest', () => createText(`{"a":{"$link":"${emptyTree}","b":1}}`)],
      ['bytes that are no base64', 400, 'InvalidRequest', () => createText('{"a":{"$bytes":"!!"}}')],
      ['a blob without a size', 400, 'InvalidRequest', () => createText(`{"a":{"$type":"blob","ref":{"$link":"${rawCid(Buffer.from('x'))}"},"mimeType":"a/b"}}`)],
      ['a legacy blob', 400, 'InvalidRequest', () => createText(`{"a":{"cid":"${rawCid(Buffer.from('x'))}","mimeType":"image/png"}}`)],
      ['a record that is an array', 400, 'InvalidRequest', () => createText('[]')],
      ['a record that is a string', 400, 'InvalidRequest', () => createText('"record"')],
      ['an empty $type', 400, 'InvalidRequest', () => createText('{"$type":""}')],
    ])
  })

  describe('records', () => {
    const write = (list) => () =>
      procedure('com.atproto.repo.applyWrites', {
        repo: did,
        writes: list.map(({ kind, ...fields }) => ({ $type: `com.atproto.repo.applyWrites#${kind}`, collection: 'com.example.note', ...fields })),
      })
    const blob = (bytes) => ({ $type: 'blob', ref: { $link: rawCid(bytes) }, mimeType: 'image/png', size: 8 })
    const image = (ref) => post('x', { embed: { $type: 'app.bsky.embed.images', images: [{ alt: '', image: ref }] } })
    refuses([
      ...['', '.', '..', 'a/b', 'a b', 'ü', 'x'.repeat(513), '#', '@'].map((rkey) => [
        `the rkey "${rkey.slice(0, 20)}"`,
        400,
        'InvalidRequest',
        () => procedure('com.atproto.repo.putRecord', { repo: did, collection: 'com.example.note', rkey, record: {} }),
      ]),
      ...['', 'posts', 'app.bsky', 'app..bsky.feed', 'app.bsky.feed.9post', `a.${'b'.repeat(400)}.c`].map((name) => [
        `the collection "${name.slice(0, 20)}"`,
        400,
        'InvalidRequest',
        () => create({ collection: name, record: {} }),
      ]),
      ['a repo that is not the caller', [400, 401, 403], null, () => create({ repo: unknownDid, record: post('x') })],
      ['a repo that is no name', 400, 'InvalidRequest', () => create({ repo: 'no name', record: post('x') })],
      ['a missing record', 400, 'InvalidRequest', () => create({})],
      ['a $type of another collection', 400, 'InvalidRequest', () => create({ record: { ...post('x'), $type: 'app.bsky.feed.like' } })],
      ['the same with validate off', 400, 'InvalidRequest', () => create({ validate: false, record: { ...post('x'), $type: 'app.bsky.feed.like' } })],
      ['validate that is no boolean', 400, 'InvalidRequest', () => create({ validate: 'yes', record: post('x') })],
      ['a swapCommit that is no CID', 400, 'InvalidRequest', () => create({ swapCommit: 'nope', record: post('x') })],
      ['a swapCommit of another commit', 400, 'InvalidSwap', () => create({ swapCommit: emptyTree, record: post('x') })],
      ['a post without text', 400, 'InvalidRequest', () => create({ record: { createdAt: new Date().toISOString() } })],
      ['a post with a long text', 400, 'InvalidRequest', () => create({ record: post('x'.repeat(301)) })],
      ['a post of three hundred thousand characters', 400, 'InvalidRequest', () => create({ record: post('x'.repeat(300_000)) })],
      ['a post of yesterday', 400, 'InvalidRequest', () => create({ record: post('x', { createdAt: 'yesterday' }) })],
      ['a post under a key that is no TID', 400, 'InvalidRequest', () => create({ rkey: 'self', record: post('x') })],
      ['a profile without a key', 400, 'InvalidRequest', () => create({ collection: 'app.bsky.actor.profile', record: { displayName: 'x' } })],
      ['a record over an existing one', 400, 'InvalidRequest', () => create({ rkey: existing.rkey, record: post('x') })],
      ['a blob that was never uploaded', 400, 'BlobNotFound', () => create({ record: image(blob(Buffer.from('never'))) })],
      ['a blob named by a CID of another codec', 400, ['InvalidRequest', 'BlobNotFound'], () => create({ record: image({ ...blob(Buffer.from('x')), ref: { $link: emptyTree } }) })],
      ['applyWrites with 201 writes', 400, 'InvalidRequest', write(Array.from({ length: 201 }, (_, n) => ({ kind: 'create', rkey: `k${n}`, value: {} })))],
      ['applyWrites of an unknown kind', 400, 'InvalidRequest', write([{ kind: 'replace', rkey: 'k', value: {} }])],
      ['applyWrites updating a record that is not there', 400, null, write([{ kind: 'update', rkey: 'k', value: {} }])],
      ['applyWrites deleting a record that is not there', 400, null, write([{ kind: 'delete', rkey: 'k' }])],
      ['applyWrites creating over an existing record', 400, null, write([{ kind: 'create', collection, rkey: '3kabcdefghijk', value: post('x') }])],
      ['applyWrites creating a record twice', 400, null, write([{ kind: 'create', rkey: 'k', value: {} }, { kind: 'create', rkey: 'k', value: {} }])],
      ['applyWrites whose last write is wrong', 400, null, write([{ kind: 'create', rkey: 'k', value: {} }, { kind: 'create', rkey: '..', value: {} }])],
    ])

    test('a request just above its limit is refused whole', async () => {
      const many = Array.from({ length: 101 }, (_, n) => ({ kind: 'create', rkey: `k${n}`, value: { text: 'x'.repeat(9_900) } }))
      const answer = await write(many)()
      assert.equal(answer.status, 413)
    })
  })

  describe('accounts', () => {
    const account = (fields) => () =>
      procedure('com.atproto.server.createAccount', { handle: freshHandle('bad'), email: 'bad@example.com', password, ...fields }, {})
    refuses([
      ['no handle', 400, 'InvalidRequest', account({ handle: undefined })],
      ['a handle that is none', 400, ['InvalidRequest', 'InvalidHandle'], account({ handle: 'no spaces.test' })],
      ['a handle of 300 characters', 400, ['InvalidRequest', 'InvalidHandle'], account({ handle: `${'a'.repeat(295)}.test` })],
      ['a handle of two characters', 400, 'InvalidHandle', account({ handle: 'ab.test' })],
      ['a handle of nineteen characters', 400, 'InvalidHandle', account({ handle: `${'a'.repeat(19)}.test` })],
      ['a handle with a dot in front', 400, 'InvalidHandle', account({ handle: 'a.bcd.test' })],
      ['a reserved handle', 400, 'HandleNotAvailable', account({ handle: 'admin.test' })],
      ['a handle of another domain', 400, ['UnsupportedDomain', 'InvalidHandle'], account({ handle: 'alice.example.com' })],
      ['a handle under a forbidden domain', 400, ['InvalidHandle', 'UnsupportedDomain'], account({ handle: 'alice.local' })],
      ['no email', 400, 'InvalidRequest', account({ email: undefined })],
      ['an email that is none', 400, 'InvalidRequest', account({ email: 'not an email' })],
      ['a password of 257 characters', 400, ['InvalidRequest', 'InvalidPassword'], account({ password: 'x'.repeat(257) })],
      ['a did that is none', 400, 'InvalidRequest', account({ did: 'plc:short' })],
      ['a did without proof', [400, 401], null, account({ did: unknownDid })],
      ['a plcOp', 400, null, account({ plcOp: {} })],
      ['a recovery key that is none', 400, null, account({ recoveryKey: 'did:key:nope' })],
      ['a number for a handle', 400, 'InvalidRequest', account({ handle: 17 })],
    ])
  })

  describe('uploads', () => {
    const upload = (body, headers) => () =>
      xrpc('com.atproto.repo.uploadBlob', { method: 'POST', headers: { ...bearer, ...headers }, body })
    refuses([
      // Neither a length nor chunks; a length of 0 is an empty blob, which may be uploaded (C-7).
      ['no body', 400, 'InvalidRequest', () => head(['content-type: image/png'], [])],
      ['no content type', [400, 415], 'InvalidRequest', () => head(['content-length: 3'], ['abc'])],
      ['no token', 401, 'AuthMissing', () => xrpc('com.atproto.repo.uploadBlob', { method: 'POST', headers: { 'content-type': 'image/png' }, body: 'x' })],
      ['an unknown content encoding', [400, 415], null, upload('x', { 'content-type': 'image/png', 'content-encoding': 'smoke' })],
      ['gzip that is none', [400, 415], null, upload('not gzip', { 'content-type': 'image/png', 'content-encoding': 'gzip' })],
      ['gzip cut short', [400, 415], null, upload(gzipSync(png(64)).subarray(0, 30), { 'content-type': 'image/png', 'content-encoding': 'gzip' })],
      ['a length that is no number', 400, null, () => head(['content-type: image/png', 'content-length: ten'], ['x'])],
      ['two lengths', 400, null, () => head(['content-type: image/png', 'content-length: 1', 'content-length: 2'], ['xx'])],
      ['a broken chunk size', [400, null], null, () => head(['content-type: image/png', 'transfer-encoding: chunked'], ['zz\r\nabc\r\n0\r\n\r\n'])],
    ])

    /** uploadBlob by hand, so that the head may say what it likes. */
    function head(lines, pieces, ending) {
      const start = [
        'POST /xrpc/com.atproto.repo.uploadBlob HTTP/1.1',
        'host: localhost',
        `authorization: ${bearer.authorization}`,
        ...lines,
      ]
      return exchange(server, [`${start.join('\r\n')}\r\n\r\n`, ...pieces], ending)
    }

    /** True when the server would let a record refer to `bytes`: it holds the blob, though no record does yet. */
    async function holds(bytes) {
      const ref = { $type: 'blob', ref: { $link: rawCid(bytes) }, mimeType: 'image/png', size: bytes.length }
      const record = post('x', { embed: { $type: 'app.bsky.embed.images', images: [{ alt: '', image: ref }] } })
      const answer = await create({ record })
      if (answer.status === 200) return true
      assert.equal(answer.body.error, 'BlobNotFound')
      return false
    }

    for (const ending of ['half', 'reset']) {
      test(`an upload cut short, the connection ended by ${ending}`, async () => {
        const bytes = png(40, ending === 'half' ? 1 : 2)
        const part = bytes.subarray(0, bytes.length - 10)
        const answer = await head(['content-type: image/png', `content-length: ${bytes.length}`], [part], ending)
        assert.ok([null, 400, 408].includes(answer.status), `status ${answer.status}`)
        assert.equal(await holds(part), false)
        assert.equal(await holds(bytes), false)
      })

      test(`a chunked upload without its end, the connection ended by ${ending}`, async () => {
        const bytes = png(41, ending === 'half' ? 1 : 2)
        const chunk = [`${bytes.length.toString(16)}\r\n`, bytes, '\r\n']
        const answer = await head(['content-type: image/png', 'transfer-encoding: chunked'], chunk, ending)
        assert.ok([null, 400, 408].includes(answer.status), `status ${answer.status}`)
        assert.equal(await holds(bytes), false)
      })
    }

    test('a hundred clients that hang up', async () => {
      const bytes = png(42)
      const hangUp = () => head(['content-type: image/png', `content-length: ${bytes.length}`], [bytes.subarray(0, 9)], 'reset')
      for (let round = 0; round < 10; round += 1) await Promise.all(Array.from({ length: 10 }, hangUp))
      assert.equal(await holds(bytes), false)
    })
  })

  describe('uploads beyond the limit', () => {
    const limit = 1_000_000
    let running, small
    before(async () => {
      running = await serveWithDirectory({ uploadLimitBytes: limit })
      small = await signUp(running.server)
    })
    after(() => running?.close())

    const upload = (body, headers) =>
      request(running.server, '/xrpc/com.atproto.repo.uploadBlob', {
        method: 'POST',
        headers: { authorization: `Bearer ${small.session.accessJwt}`, 'content-type': 'text/plain', ...headers },
        body,
      })
    const head = (lines, pieces) => {
      const start = [
        'POST /xrpc/com.atproto.repo.uploadBlob HTTP/1.1',
        'host: localhost',
        'content-type: text/plain',
        `authorization: Bearer ${small.session.accessJwt}`,
        ...lines,
      ]
      return exchange(running.server, [`${start.join('\r\n')}\r\n\r\n`, ...pieces])
    }

    test('the limit is published and exact', async () => {
      const { body } = await request(running.server, '/xrpc/com.atproto.server.describeServer')
      assert.equal(body.blobUploadLimit, limit)
      assert.equal((await upload(Buffer.alloc(limit, 0x61))).status, 200)
    })

    refuses([
      ['one byte more', 413, 'PayloadTooLarge', () => upload(Buffer.alloc(limit + 1, 0x61))],
      ['a length that says too much', 413, 'PayloadTooLarge', () => head([`content-length: ${limit + 1}`], [])],
      ['a length that says a terabyte', 413, 'PayloadTooLarge', () => head(['content-length: 1099511627776'], [])],
      ['a small gzip of a large nothing', [413, 415], ['PayloadTooLarge', 'UnsupportedMediaType'], () => upload(gzipSync(Buffer.alloc(100 * limit)), { 'content-encoding': 'gzip' })],
    ])

    test('chunks without end', async () => {
      const chunk = Buffer.concat([Buffer.from('10000\r\n'), Buffer.alloc(65_536, 0x61), Buffer.from('\r\n')])
      const answer = await head(['transfer-encoding: chunked'], Array.from({ length: 200 }, () => chunk))
      // The server may hang up on who goes on sending; the answer can be lost with the connection then.
      assert.ok([413, null].includes(answer.status), `status ${answer.status}`)
    })

    test('the server is as it was', async () => {
      assert.ok(running.server.alive)
      const { body } = await request(running.server, `/xrpc/com.atproto.sync.listBlobs?did=${small.did}`)
      assert.deepEqual(body.cids, [])
    })
  })

  describe('imports', () => {
    let good
    before(async () => {
      good = Buffer.from((await agent.com.atproto.sync.getRepo({ did })).data)
    })
    const importCar = (body, headers = {}) =>
      xrpc('com.atproto.repo.importRepo', {
        method: 'POST',
        headers: { ...bearer, 'content-type': 'application/vnd.ipld.car', ...headers },
        body,
      })

    refuses([
      ['JSON', [400, 415], null, () => importCar('{}', { 'content-type': json })],
      ['no token', 401, 'AuthMissing', () =>
        xrpc('com.atproto.repo.importRepo', { method: 'POST', headers: { 'content-type': 'application/vnd.ipld.car' }, body: good })],
      ['nothing', 400, 'InvalidRequest', () => importCar(new Uint8Array(0))],
      ['garbage', 400, 'InvalidRequest', () => importCar(Buffer.alloc(1000, 0xff))],
      ['a length without end', 400, 'InvalidRequest', () => importCar(Buffer.concat([good, Buffer.alloc(12, 0xff)]))],
      ['a block of four gigabytes', 400, 'InvalidRequest', () => importCar(Buffer.concat([good, Buffer.from([0xff, 0xff, 0xff, 0xff, 0x0f, 1])]))],
      ['an empty section', 400, 'InvalidRequest', () => importCar(Buffer.concat([good, Buffer.from([0])]))],
      ['a header of version 2', 400, 'InvalidRequest', () => importCar(Buffer.from('0aa16776657273696f6e02', 'hex'))],
      ['a header without roots', 400, 'InvalidRequest', () => importCar(Buffer.from('11a265726f6f7473806776657273696f6e01', 'hex'))],
      ['a record with one bit changed', 400, 'InvalidRequest', () => {
        const broken = Buffer.from(good)
        broken[broken.indexOf('kept')] ^= 1
        return importCar(broken)
      }],
      ['a repo without its commit', 400, 'InvalidRequest', async () => {
        const { root, blocks } = await readCarWithRoot(good)
        blocks.delete(root)
        return importCar(Buffer.from(await blocksToCarFile(root, blocks)))
      }],
      ['a signature with a high S', 400, 'InvalidRequest', () => resigned((sig) => Buffer.concat([sig.subarray(0, 32), negated(sig.subarray(32))]))],
      ['a signature of 63 bytes', 400, 'InvalidRequest', () => resigned((sig) => sig.subarray(1))],
      ['the repo of somebody else', 400, 'InvalidRequest', async () => {
        const elsewhere = await Rookery.dev()
        try {
          const other = await signUp(elsewhere)
          return await importCar(Buffer.from((await other.com.atproto.sync.getRepo({ did: other.did })).data))
        } finally {
          await elsewhere.close()
        }
      }],
    ])

    /** Imports the good repo with the signature of its commit changed. */
    async function resigned(change) {
      const { root, blocks } = await readCarWithRoot(good)
      const { sig, ...unsigned } = cborToLex(blocks.get(root))
      const changed = await blocks.add({ ...unsigned, sig: new Uint8Array(change(Buffer.from(sig))) })
      blocks.delete(root)
      return importCar(Buffer.from(await blocksToCarFile(changed, blocks)))
    }

    test('cut at any byte', async () => {
      for (let length = 1; length < good.length; length += Math.max(1, Math.floor(good.length / 60))) {
        const answer = await importCar(good.subarray(0, length))
        assert.equal(answer.status, 400, `cut after ${length} of ${good.length} bytes: ${answer.text}`)
      }
    })

    test('a client that hangs up in the middle', async () => {
      const start = [
        'POST /xrpc/com.atproto.repo.importRepo HTTP/1.1',
        'host: localhost',
        `authorization: ${bearer.authorization}`,
        'content-type: application/vnd.ipld.car',
        `content-length: ${good.length}`,
      ].join('\r\n')
      await exchange(server, [`${start}\r\n\r\n`, good.subarray(0, good.length / 2)], 'reset')
    })
  })

  describe('below XRPC', () => {
    const lines = (...all) => `${all.join('\r\n')}\r\n\r\n`
    const cases = [
      ['no HTTP at all', ['\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n']],
      ['a request line without end', ['GET /', 'a'.repeat(2_000_000), ' HTTP/1.1\r\n\r\n']],
      ['a header of a megabyte', ['GET / HTTP/1.1\r\nhost: x\r\nx: ', 'a'.repeat(1_000_000), '\r\n\r\n']],
      ['ten thousand headers', [lines('GET / HTTP/1.1', 'host: x', ...Array.from({ length: 10_000 }, (_, n) => `x${n}: y`))]],
      ['length and chunks together', [lines('POST /xrpc/com.atproto.server.createSession HTTP/1.1', 'host: x', 'content-type: application/json', 'content-length: 5', 'transfer-encoding: chunked', 'connection: close'), '0\r\n\r\n']],
      ['an unknown transfer encoding', [lines('POST /xrpc/com.atproto.server.createSession HTTP/1.1', 'host: x', 'transfer-encoding: smoke')]],
      ['a header with a NUL', [lines('GET / HTTP/1.1', 'host: x', 'x: a\u0000b')]],
      ['a websocket that is none', [lines('GET /xrpc/com.atproto.sync.subscribeRepos HTTP/1.1', 'host: x', 'upgrade: websocket', 'connection: upgrade')]],
      ['a websocket on another method', [lines('GET /xrpc/com.atproto.server.describeServer2 HTTP/1.1', 'host: x', 'upgrade: websocket', 'connection: upgrade', 'sec-websocket-version: 13', 'sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==')]],
    ]
    for (const [name, pieces] of cases) {
      test(name, async () => {
        const { status } = await exchange(server, pieces)
        assert.ok(status === null || (status >= 400 && status < 500) || status === 501, `status ${status}`)
      })
    }
  })

  test('and after all that a client is served as before', async () => {
    const fresh = new AtpAgent({ service: server.url })
    await fresh.login({ identifier: did, password })
    const { data } = await fresh.com.atproto.repo.getRecord(existing)
    assert.equal(data.value.text, 'kept')
    assert.ok(!/panicked/.test(server.log), 'nothing panicked')
  })
})

/** `n - s` for the order `n` of secp256k1: the other, high half of a pair of signatures. */
function negated(s) {
  const order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n
  return Buffer.from((order - BigInt(`0x${s.toString('hex')}`)).toString(16).padStart(64, '0'), 'hex')
}

/** The CID text of a blob: version 1, raw codec, sha-256, base32 (BL-1). */
function rawCid(bytes) {
  const binary = Buffer.concat([Buffer.from([0x01, 0x55, 0x12, 0x20]), createHash('sha256').update(bytes).digest()])
  const alphabet = 'abcdefghijklmnopqrstuvwxyz234567'
  let bits = ''
  for (const byte of binary) bits += byte.toString(2).padStart(8, '0')
  const letters = bits.match(/.{1,5}/g).map((five) => alphabet[parseInt(five.padEnd(5, '0'), 2)])
  return `b${letters.join('')}`
}
