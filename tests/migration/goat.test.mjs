// `goat account migrate`, the official command for moving, out of the reference PDS into Rookery and from Rookery into the
// reference. Skipped when goat is not on the PATH. What each step has to do: migration.test.mjs.
//
// The same order of requests without goat is here too: it differs from the guide's. It signs in anew instead of using
// the session of createAccount, and uploads each blob of listBlobs without saying its type.

import { AtpAgent } from '@atproto/api'
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { freshHandle, password, signUp } from '../peers/support/account.mjs'
import { startDirectory } from '../peers/support/directory.mjs'
import { Goat, noGoat } from '../reference/support/goat.mjs'
import { noAppView, startServer, subject } from '../reference/support/servers.mjs'
import { startSmtpSink } from '../reference/support/smtp.mjs'
import { fill, picture, preferences } from './support/content.mjs'
import { Mover } from './support/mover.mjs'

for (const [from, to] of [['reference', subject], [subject, 'reference']]) {
  describe(`moving as goat does: ${from} → ${to}`, { timeout: 180_000 }, () => {
    let directory, smtp, oldHome, newHome
    before(async () => {
      directory = await startDirectory()
      smtp = await startSmtpSink()
      const common = { plcUrl: directory.url, appview: noAppView, smtp }
      oldHome = await startServer(from, { ...common, did: 'did:web:old.test' })
      newHome = await startServer(to, { ...common, did: 'did:web:new.test' })
    })
    after(async () => {
      await newHome?.close()
      await oldHome?.close()
      await smtp?.close()
      await directory?.close()
    })

    /** A furnished account, somebody who moves it, and what it held. */
    async function resident() {
      const agent = await signUp(oldHome)
      await fill(agent, { records: 300, blobs: 12 })
      await agent.app.bsky.actor.putPreferences({ preferences })
      const mover = new Mover({ from: agent, to: newHome, smtp, handle: freshHandle('herd') })
      return { mover, held: await picture(agent) }
    }

    async function assertMoved(mover, held) {
      const agent = new AtpAgent({ service: newHome.url })
      await agent.login({ identifier: mover.handle, password })
      assert.deepEqual(await picture(agent), held)
      const { activated, validDid, indexedRecords, expectedBlobs, importedBlobs } = await mover.status(agent)
      assert.deepEqual([activated, validDid, indexedRecords], [true, true, Object.keys(held.records).length])
      assert.deepEqual([expectedBlobs, importedBlobs], [12, 12])
      assert.equal((await mover.status(mover.from)).activated, false)
    }

    test('goat account migrate', { skip: noGoat }, async () => {
      const { mover, held } = await resident()
      const goat = await Goat.start(directory.url)
      try {
        await goat.run('account', 'login', '--pds-host', oldHome.url, '-u', mover.did, '-p', password)
        const before = smtp.mails.items.length
        await goat.run('account', 'plc', 'request-token')
        const code = await mover.codeAfter(before)
        const wanted = ['--new-handle', mover.handle, '--new-password', password, '--new-email', `${mover.handle}@example.com`]
        await goat.run('account', 'migrate', '--pds-host', newHome.url, ...wanted, '--plc-token', code)
        await assertMoved(mover, held)
      } finally {
        await goat.close()
      }
    })

    test('its requests, in its order', async () => {
      const { mover, held } = await resident()
      const code = await mover.mailedCode()
      await mover.createAccount(await mover.accountToken())
      await mover.agent.login({ identifier: mover.did, password })
      await mover.importRepo()
      await mover.copyPreferences()
      await mover.copyAllBlobs('*/*')
      assert.equal((await mover.status()).importedBlobs, 12)
      await mover.submitOperation(await mover.signedOperation(code))
      await mover.agent.com.atproto.server.activateAccount()
      await mover.from.com.atproto.server.deactivateAccount({})
      await assertMoved(mover, held)
    })
  })
}
