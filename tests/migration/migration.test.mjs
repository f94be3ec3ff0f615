// An account moves from server to server through a common official PLC directory: from the reference PDS to Rookery, and
// on from Rookery to another reference PDS. Nothing is lost on either way: not a record, a blob or a preference.
//
// With SUBJECT=reference all three servers are the reference: what the script expects is what the reference does.

import { AtpAgent } from '@atproto/api'
import { Client as PlcClient, validateOperationLog } from '@did-plc/lib'
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { freshHandle, password, signUp } from '../peers/support/account.mjs'
import { startDirectory } from '../peers/support/directory.mjs'
import { Subscriber } from '../peers/support/subscriber.mjs'
import { noAppView, startServer, subject } from '../reference/support/servers.mjs'
import { startSmtpSink } from '../reference/support/smtp.mjs'
import { download, fill, picture, preferences, readRepo } from './support/content.mjs'
import { Mover } from './support/mover.mjs'

const refusal = (promise) => promise.then(
  () => assert.fail('this should have been refused'),
  ({ status, error, message }) => ({ status, error, message }),
)

describe(`moving house: reference → ${subject} → reference`, { timeout: 240_000 }, () => {
  let directory, smtp, plc
  const servers = []
  before(async () => {
    directory = await startDirectory()
    smtp = await startSmtpSink()
    plc = new PlcClient(directory.url)
    for (const kind of ['reference', subject, 'reference']) {
      servers.push(await startServer(kind, { plcUrl: directory.url, appview: noAppView, smtp, did: `did:web:pds${servers.length}.test` }))
    }
  })
  after(async () => {
    for (const server of servers) await server.close()
    await smtp?.close()
    await directory?.close()
  })

  let agent // of the account, where it lives now
  let held // what it holds: { records, blobs }
  before(async () => {
    agent = await signUp(servers[0], { handle: freshHandle('mover') })
    held = { records: await fill(agent, { records: 2000, blobs: 20 }), blobs: 20 }
    await agent.app.bsky.actor.putPreferences({ preferences })
  })

  moves('out of the reference', () => [servers[0], servers[1]])

  test('life goes on at the new place', async () => {
    held.records += await fill(agent, { records: 150, blobs: 5, first: 500_000 })
    held.blobs += 5
    const more = [...preferences, { $type: 'app.bsky.actor.defs#interestsPref', tags: ['moving'] }]
    await agent.app.bsky.actor.putPreferences({ preferences: more })
  })

  moves('and on', () => [servers[1], servers[2]])

  test('the log of the directory is whole: made once, moved twice', async () => {
    const log = await plc.getOperationLog(agent.did)
    assert.equal(log.length, 3)
    await validateOperationLog(agent.did, log)
  })

  /** One move, step by step, along the guide for account migration. */
  function moves(title, places) {
    describe(title, () => {
      let mover, oldHome, newHome, events, before_, code
      before(async () => {
        ;[oldHome, newHome] = places()
        mover = new Mover({ from: agent, to: newHome, smtp, handle: freshHandle('moved') })
        before_ = await picture(agent)
        events = await Promise.all([oldHome, newHome].map((server) => Subscriber.open(server)))
      })
      after(() => Promise.all(events?.map((subscriber) => subscriber.close()) ?? []))

      /** What `subscriber` has seen of this account. */
      const seen = (subscriber) => subscriber.frames.items.filter(({ body }) => (body.did ?? body.repo) === mover.did)

      test('the old server counts what there is', async () => {
        const status = await mover.status(agent)
        const { activated, validDid, indexedRecords, expectedBlobs, importedBlobs, privateStateValues } = status
        assert.deepEqual([activated, validDid, privateStateValues], [true, true, 0])
        assert.deepEqual([indexedRecords, expectedBlobs, importedBlobs], [held.records, held.blobs, held.blobs])
        assert.equal(Object.keys(before_.records).length, held.records)
        assert.equal(Object.keys(before_.blobs).length, held.blobs)
        assert.deepEqual(Object.keys(before_.listed), Object.keys(before_.records))
        assert.ok(before_.isLatest)
      })

      test('an account with a DID of its own needs a token of that DID for this server', async () => {
        assert.equal((await refusal(mover.createAccount())).status, 401)
        assert.equal((await refusal(mover.createAccount(await mover.accountToken(oldHome.did)))).status, 401)
        const other = await signUp(oldHome)
        const foreign = new Mover({ from: other, to: newHome, smtp })
        assert.equal((await refusal(mover.createAccount(await foreign.accountToken()))).status, 401)
      })

      test('the account is made, asleep and empty', async () => {
        const made = await mover.createAccount(await mover.accountToken())
        assert.equal(made.did, mover.did)
        assert.equal(made.handle, mover.handle)
        const status = await mover.status()
        assert.deepEqual([status.activated, status.validDid], [false, false])
        assert.deepEqual([status.indexedRecords, status.expectedBlobs, status.importedBlobs], [0, 0, 0])
        const { data } = await mover.agent.com.atproto.sync.getRepoStatus({ did: mover.did })
        assert.deepEqual([data.active, data.status], [false, 'deactivated'])
      })

      test('asleep, it can neither write nor wake up', async () => {
        const refused = await refusal(mover.agent.post({ text: 'too early' }))
        assert.ok([400, 401].includes(refused.status), JSON.stringify(refused))
        const early = await refusal(mover.agent.com.atproto.server.activateAccount())
        assert.deepEqual([early.status, early.error], [400, 'InvalidRequest'])
      })

      test('the repository is imported, and once more', async () => {
        for (const _ of ['first', 'again']) {
          await mover.importRepo()
          const status = await mover.status()
          assert.deepEqual([status.activated, status.validDid], [false, false])
          assert.deepEqual([status.indexedRecords, status.expectedBlobs], [held.records, held.blobs])
          assert.equal(status.importedBlobs, 0)
        }
      })

      test('the missing blobs are listed and brought, one of them twice', async () => {
        const missing = await mover.missingBlobs()
        assert.deepEqual(missing.map(({ cid }) => cid).sort(), Object.keys(before_.blobs).sort())
        for (const { recordUri } of missing) assert.ok(before_.records[recordUri.slice(`at://${mover.did}/`.length)])
        await mover.copyBlob(missing[0].cid)
        assert.equal((await mover.missingBlobs()).length, held.blobs - 1)
        for (const { cid } of missing) await mover.copyBlob(cid)
        assert.deepEqual(await mover.missingBlobs(), [])
        const status = await mover.status()
        assert.deepEqual([status.expectedBlobs, status.importedBlobs], [held.blobs, held.blobs])
      })

      test('preferences are brought', async () => {
        await mover.copyPreferences()
        const { data } = await mover.agent.app.bsky.actor.getPreferences()
        assert.deepEqual(data.preferences, before_.preferences)
      })

      test('a wrong code signs nothing, and a right one signs once', async () => {
        const wrong = await refusal(mover.signedOperation('AAAAA-22222'))
        assert.deepEqual([wrong.status, wrong.error], [400, 'InvalidToken'])
        code = await mover.mailedCode()
        const elsewhere = { services: { atproto_pds: { type: 'AtprotoPersonalDataServer', endpoint: 'https://else.example' } } }
        const operation = await mover.signedOperation(code, elsewhere)
        const refused = await refusal(mover.submitOperation(operation))
        assert.deepEqual([refused.status, refused.error], [400, 'InvalidRequest'])
        const used = await refusal(mover.signedOperation(code))
        assert.deepEqual([used.status, used.error], [400, 'InvalidToken'])
        const [, ...more] = (await plc.getOperationLog(mover.did)).slice(servers.indexOf(oldHome))
        assert.deepEqual(more, [], 'nothing has reached the directory')
      })

      test('the identity moves', async () => {
        const operation = await mover.signedOperation(await mover.mailedCode())
        await mover.submitOperation(operation)
        const document = await plc.getDocumentData(mover.did)
        const wanted = await mover.recommended()
        assert.equal(document.services.atproto_pds.endpoint, newHome.url)
        assert.deepEqual(document.alsoKnownAs, [`at://${mover.handle}`])
        assert.deepEqual(document.rotationKeys, wanted.rotationKeys)
        assert.equal(document.verificationMethods.atproto, wanted.verificationMethods.atproto)
        const status = await mover.status()
        assert.deepEqual([status.activated, status.validDid], [false, true])
        assert.equal((await mover.status(mover.from)).validDid, false)
      })

      test('the account wakes up at the new server, which says so, and goes to sleep at the old one', async () => {
        await mover.agent.com.atproto.server.activateAccount()
        await mover.from.com.atproto.server.deactivateAccount({})
        const [atOld, atNew] = events
        await atNew.until(() => seen(atNew).some(({ type }) => type === '#sync'), 'the #sync of the activation')
        await atOld.until(() => seen(atOld).some(({ body }) => body.active === false), 'the deactivation')
        const told = (subscriber) => seen(subscriber).map(({ type, body }) => [type, body.active, body.status])
        assert.deepEqual(told(atOld), [['#account', false, 'deactivated']])
        // One #identity for the operation; then the activation. No commit: nobody saw the repository grow.
        assert.deepEqual(told(atNew).map(([type]) => type), ['#identity', '#account', '#identity', '#sync'])
        assert.deepEqual(told(atNew)[1], ['#account', true, undefined])
        const { data: latest } = await mover.agent.com.atproto.sync.getLatestCommit({ did: mover.did })
        assert.equal(seen(atNew).at(-1).body.rev, latest.rev)

        const status = await mover.status()
        assert.deepEqual([status.activated, status.validDid], [true, true])
        assert.deepEqual(
          [status.indexedRecords, status.expectedBlobs, status.importedBlobs],
          [held.records, held.blobs, held.blobs],
        )
        assert.equal((await mover.status(mover.from)).activated, false)
      })

      test('every record, blob and preference is there as it was', async () => {
        const now = await picture(mover.agent)
        assert.deepEqual(now.records, before_.records)
        assert.deepEqual(now.listed, before_.listed)
        assert.equal(now.treeRoot, before_.treeRoot)
        assert.deepEqual(Object.keys(now.blobs), Object.keys(before_.blobs))
        for (const [cid, bytes] of Object.entries(before_.blobs)) assert.ok(now.blobs[cid] === bytes, `bytes of ${cid}`)
        assert.deepEqual(now.preferences, before_.preferences)
        assert.ok(now.isLatest)
      })

      test('writing works at the new server, with its key, and no longer at the old one', async () => {
        const moved = new AtpAgent({ service: newHome.url })
        await moved.login({ identifier: mover.handle, password })
        const { uri } = await moved.post({ text: 'unpacked' })
        const { verificationMethods } = await plc.getDocumentData(mover.did)
        const signed = async () => readRepo(await download(moved), mover.did, verificationMethods.atproto)
        assert.equal(Object.keys((await signed()).records).length, held.records + 1)
        await moved.deletePost(uri)
        assert.equal((await signed()).treeRoot, before_.treeRoot, 'deleting it again gives the tree that was')
        assert.ok((await refusal(mover.from.post({ text: 'left behind' }))).status >= 400)
        const gone = await refusal(new AtpAgent({ service: oldHome.url }).com.atproto.sync.getRepo({ did: mover.did }))
        assert.deepEqual([gone.status, gone.error], [400, 'RepoDeactivated'])
        agent = moved
      })
    })
  }
})
