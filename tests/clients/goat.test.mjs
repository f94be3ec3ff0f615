// `goat`, the official command line, in Go on indigo: signs up, posts with an image, replies, lists, deletes, renames, and
// verifies the firehose on its own. Skipped when it is not on the PATH. Moving with it: ../migration/goat.test.mjs.

import { AtpAgent } from '@atproto/api'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import readline from 'node:readline'
import { after, before, describe, test } from 'node:test'
import { addressOf, freshHandle, password, png, post } from '../peers/support/account.mjs'
import { Inbox } from '../peers/support/deadline.mjs'
import { startDirectory } from '../peers/support/directory.mjs'
import { Goat, noGoat } from '../reference/support/goat.mjs'
import { startServer, subject } from '../reference/support/servers.mjs'

describe('goat', { timeout: 120_000, skip: noGoat }, () => {
  const handle = freshHandle('goat')
  const collection = 'app.bsky.feed.post'
  let directory, server, goat, agent
  before(async () => {
    directory = await startDirectory()
    server = await startServer(subject, { plcUrl: directory.url })
    goat = await Goat.start(directory.url)
  })
  after(async () => {
    await goat?.close()
    await server?.close()
    await directory?.close()
  })

  const host = () => ['--pds-host', server.url]
  const records = async () => (await goat.run('record', 'ls', agent.did)).trim().split('\n').filter(Boolean)

  /** Has goat create a record, through a file as it wants it. Gives `{ uri, cid }`. */
  async function create(record) {
    const file = path.join(goat.directory, 'record.json')
    await writeFile(file, JSON.stringify(record))
    const [uri, cid] = (await goat.run('record', 'create', file)).trim().split(/\s+/)
    return { uri, cid }
  }

  test('signs up and in', async () => {
    const account = ['--handle', handle, '--password', password, '--email', `${handle}@example.com`]
    await goat.run('account', 'create', ...host(), ...account)
    agent = new AtpAgent({ service: server.url })
    await agent.login({ identifier: handle, password })
    await goat.run('account', 'login', ...host(), '-u', agent.did, '-p', password)
    assert.match(await goat.run('account', 'check-auth'), new RegExp(agent.did))
    assert.match(await goat.run('account', 'status', agent.did), /active: true/i)
  })

  test('posts with an image, replies, lists and deletes', async () => {
    const file = path.join(goat.directory, 'grey.png')
    const picture = png(20, 0x66)
    await writeFile(file, picture)
    const image = await goat.json('blob', 'upload', file)
    assert.deepEqual([image.mimeType, image.size], ['image/png', picture.length])
    const root = await create(post('with image', { embed: { $type: 'app.bsky.embed.images', images: [{ image, alt: '' }] } }))
    const reply = await create(post('reply', { reply: { root, parent: root } }))
    await goat.run('bsky', 'post', 'by the short way')
    const listed = await records()
    assert.equal(listed.length, 3)
    for (const { uri } of [root, reply]) assert.ok(listed.some((line) => line.includes(addressOf(uri).rkey)), uri)
    assert.equal((await goat.json('get', root.uri)).text, 'with image')

    await goat.run('blob', 'export', '--output', path.join(goat.directory, 'blobs'), agent.did)
    const blob = path.join(goat.directory, 'blobs', image.ref.$link)
    assert.ok((await readFile(blob)).equals(picture))

    await goat.run('record', 'delete', '-c', collection, '-r', addressOf(reply.uri).rkey)
    assert.equal((await records()).length, 2)
  })

  test('exports the repository, and finds it sound', async () => {
    const car = path.join(goat.directory, 'repo.car')
    await goat.run('repo', 'export', '-o', car, agent.did)
    assert.match(await goat.run('repo', 'inspect', car), new RegExp(agent.did))
    assert.equal((await goat.run('repo', 'ls', car)).trim().split('\n').length, 2)
  })

  test('works with an app password', async () => {
    const { data } = await agent.com.atproto.server.createAppPassword({ name: 'goat' })
    const guest = await Goat.start(directory.url)
    try {
      await guest.run('account', 'login', ...host(), '-u', handle, '-p', data.password)
      await guest.run('bsky', 'post', 'as a guest')
    } finally {
      await guest.close()
    }
    assert.equal((await records()).length, 3)
  })

  test('changes the handle', async () => {
    const next = freshHandle('nanny')
    await goat.run('account', 'update-handle', next)
    const { data } = await agent.com.atproto.identity.resolveHandle({ handle: next })
    assert.equal(data.did, agent.did)
  })

  test('gets a service token', async () => {
    const lxm = 'app.bsky.feed.getTimeline'
    const token = (await goat.run('account', 'service-auth', '--aud', 'did:web:feeds.test', '--lxm', lxm)).trim()
    const claims = JSON.parse(Buffer.from(token.split('.')[1], 'base64url').toString())
    assert.deepEqual([claims.iss, claims.aud, claims.lxm], [agent.did, 'did:web:feeds.test', lxm])
  })

  test('verifies every event of the firehose: form, signature and tree', async () => {
    const verify = ['--verify-basic', '--verify-sig', '--verify-mst', '--relay-host', server.websocketUrl, '--cursor', '0']
    const watching = goat.watch('firehose', ...verify)
    const lines = new Inbox()
    const complaints = new Inbox()
    readline.createInterface({ input: watching.stdout }).on('line', (line) => lines.push(line))
    readline.createInterface({ input: watching.stderr }).on('line', (line) => complaints.push(line))
    const { uri } = await agent.post({ text: 'the last one' })
    await agent.deletePost(uri)
    const { data } = await agent.com.atproto.sync.getLatestCommit({ did: agent.did })
    await lines.until((all) => all.some((line) => line.includes(data.rev)), 'goat to print the last commit', 30)
    watching.kill()
    await once(watching, 'close')
    // The first commit of a repository comes after nothing, which goat mentions.
    const bad = complaints.items.filter((line) => /warn|error|fail|invalid/i.test(line) && !/prevData is nil/.test(line))
    assert.deepEqual(bad, [])
    assert.equal(complaints.items.filter((line) => /prevData is nil/.test(line)).length, 1)
  })
})
