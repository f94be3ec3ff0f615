// The official directory takes our operations, and the official client and checker take our inner directory.

import { AtpAgent } from '@atproto/api'
import { P256Keypair, Secp256k1Keypair } from '@atproto/crypto'
import { Client, assureValidCreationOp, assureValidOp, createUpdateOp, validateOperationLog } from '@did-plc/lib'
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { freshHandle, signUp, signingKeyOf } from './support/account.mjs'
import { freePort } from './support/deadline.mjs'
import { startDirectory } from './support/directory.mjs'
import { Rookery } from './support/rookery.mjs'

describe('did:plc', { timeout: 60_000 }, () => {
  describe('with --plc-url at the official directory', () => {
    let directory, client, server
    before(async () => {
      directory = await startDirectory()
      client = new Client(directory.url)
      server = await Rookery.dev({ plcUrl: client.url })
    })
    after(async () => {
      await server?.close()
      await directory?.close()
    })

    test('a sign-up registers a DID whose document leads back here', async () => {
      const agent = await signUp(server)
      const document = await client.getDocument(agent.did)
      assert.equal(document.id, agent.did)
      assert.deepEqual(document.alsoKnownAs, [`at://${agent.session.handle}`])
      const [service, ...more] = document.service
      assert.deepEqual(more, [])
      assert.match(service.id, /#atproto_pds$/)
      assert.equal(service.type, 'AtprotoPersonalDataServer')
      assert.equal(agent.pdsUrl.origin, new URL(service.serviceEndpoint).origin)
      const described = await fetch(`${service.serviceEndpoint}/xrpc/com.atproto.server.describeServer`)
      assert.equal(described.status, 200)
    })

    test('the log is one genesis operation, correctly signed and hashed', async () => {
      const agent = await signUp(server)
      const log = await client.getOperationLog(agent.did)
      assert.equal(log.length, 1)
      await checkLog(agent.did, log)
    })

    test('the recovery key of the person outranks the key of the server', async () => {
      const mine = await Secp256k1Keypair.create()
      const handle = freshHandle('recover')
      const anonymous = new AtpAgent({ service: server.url })
      const { data } = await anonymous.com.atproto.server.createAccount({
        handle,
        email: `${handle}@example.com`,
        password: 'long enough',
        recoveryKey: mine.did(),
      })
      const state = await client.getDocumentData(data.did)
      assert.equal(state.rotationKeys[0], mine.did())
      assert.ok(state.rotationKeys.length >= 2, 'the server can still act')
      await client.updatePds(data.did, mine, 'https://elsewhere.example')
      assert.equal((await client.getDocumentData(data.did)).services.atproto_pds.endpoint, 'https://elsewhere.example')
    })

    test('a change of handle is an operation that the official directory takes and the checker accepts', async () => {
      const agent = await signUp(server)
      const handle = agent.session.handle.replace('.test', 'n.test')
      await agent.com.atproto.identity.updateHandle({ handle })
      assert.deepEqual((await client.getDocument(agent.did)).alsoKnownAs, [`at://${handle}`])
      const log = await client.getOperationLog(agent.did)
      assert.equal(log.length, 2)
      const state = await checkLog(agent.did, log)
      assert.equal(state.verificationMethods.atproto, await signingKeyOf(server, agent.did))
      const { data } = await agent.com.atproto.repo.describeRepo({ repo: handle })
      assert.deepEqual([data.handle, data.handleIsCorrect], [handle, true])
      // Once more is an event and no operation.
      await agent.com.atproto.identity.updateHandle({ handle })
      assert.equal((await client.getOperationLog(agent.did)).length, 2)
    })

    test('an operation that the person signs goes to the directory when it keeps the account here', async () => {
      const mine = await Secp256k1Keypair.create()
      const handle = freshHandle('signing')
      const agent = new AtpAgent({ service: server.url })
      const { data: account } = await agent.createAccount({
        handle,
        email: `${handle}@example.com`,
        password: 'long enough',
        recoveryKey: mine.did(),
      })
      const { data: recommended } = await agent.com.atproto.identity.getRecommendedDidCredentials()
      const state = await client.getDocumentData(account.did)
      assert.deepEqual(recommended.verificationMethods, state.verificationMethods)
      assert.deepEqual(recommended.services, state.services)
      assert.deepEqual(recommended.rotationKeys, state.rotationKeys.slice(1))

      const next = await Secp256k1Keypair.create()
      const last = await client.getLastOp(account.did)
      const update = (change) => createUpdateOp(last, mine, (op) => ({ ...op, ...change }))
      const submit = (operation) => agent.com.atproto.identity.submitPlcOperation({ operation })
      const away = await update({ rotationKeys: [mine.did()] })
      const refusal = await submit(away).catch((error) => error)
      assert.deepEqual([refusal.status, refusal.error], [400, 'InvalidRequest'])
      await submit(await update({ rotationKeys: [next.did(), ...state.rotationKeys] }))
      const log = await client.getOperationLog(account.did)
      assert.equal(log.length, 2)
      assert.equal((await checkLog(account.did, log)).rotationKeys[0], next.did())
      // What the directory refuses is its own message.
      const stale = await submit(await update({ alsoKnownAs: [`at://${handle}`, 'at://other.example'] })).catch((error) => error)
      assert.equal(stale.status, 400)
    })

    test('a failed sign-up leaves no account behind', async () => {
      const lone = await Rookery.dev({ plcUrl: `http://127.0.0.1:${await freePort()}` })
      try {
        const refusal = await signUp(lone, { handle: 'nowhere.test' }).catch((error) => error)
        assert.ok([502, 503, 504].includes(refusal.status), `${refusal.status}: a failure upstream, not ours`)
        const unknown = await fetch(`${lone.url}/xrpc/com.atproto.identity.resolveHandle?handle=nowhere.test`)
        assert.equal(unknown.status, 400)
        const { repos } = await (await fetch(`${lone.url}/xrpc/com.atproto.sync.listRepos`)).json()
        assert.deepEqual(repos, [])
      } finally {
        await lone.close()
      }
    })
  })

  describe('the directory inside dev', () => {
    let server, client
    before(async () => {
      server = await Rookery.dev()
      client = new Client(await server.plcUrl())
    })
    after(() => server?.close())

    test('the official checker accepts the log of a sign-up', async () => {
      const agent = await signUp(server)
      const log = await client.getOperationLog(agent.did)
      assert.equal(log.length, 1)
      const state = await checkLog(agent.did, log)
      assert.deepEqual(await client.getDocumentData(agent.did), state)
      assert.equal(state.verificationMethods.atproto, await signingKeyOf(server, agent.did))
      const [entry] = await client.getAuditableLog(agent.did)
      assert.deepEqual([entry.did, entry.nullified, entry.operation], [agent.did, false, log[0]])
      assert.ok(!Number.isNaN(Date.parse(entry.createdAt)))
    })

    test('two accounts have different signing keys', async () => {
      const keys = []
      for (const agent of [await signUp(server), await signUp(server)]) {
        keys.push((await client.getDocumentData(agent.did)).verificationMethods.atproto)
      }
      assert.notEqual(keys[0], keys[1])
    })

    for (const [name, Keypair] of [['k256', Secp256k1Keypair], ['p256', P256Keypair]]) {
      test(`the official client creates, updates and tombstones with a ${name} key`, async () => {
        const [key, next] = [await Keypair.create(), await Keypair.create()]
        const did = await client.createDid({
          signingKey: key.did(),
          handle: 'someone.example',
          pds: 'https://pds.example',
          rotationKeys: [key.did()],
          signer: key,
        })
        await client.updateHandle(did, key, 'someone-else.example')
        await client.updateAtprotoKey(did, key, next.did())
        await client.updateRotationKeys(did, key, [next.did(), key.did()])
        const log = await client.getOperationLog(did)
        assert.equal(log.length, 4)
        const state = await checkLog(did, log)
        assert.deepEqual(state.alsoKnownAs, ['at://someone-else.example'])
        assert.equal(state.verificationMethods.atproto, next.did())
        assert.deepEqual(state.rotationKeys, [next.did(), key.did()])
        assert.deepEqual((await client.getDocument(did)).alsoKnownAs, ['at://someone-else.example'])

        await client.tombstone(did, next)
        const gone = await client.getDocument(did).catch((error) => error)
        assert.ok([404, 410].includes(gone.status), `status ${gone.status}`)
      })
    }

    test('a higher key takes the DID back from a lower one', async () => {
      const [high, low] = [await Secp256k1Keypair.create(), await Secp256k1Keypair.create()]
      const did = await client.createDid({
        signingKey: low.did(),
        handle: 'owner.example',
        pds: 'https://pds.example',
        rotationKeys: [high.did(), low.did()],
        signer: low,
      })
      const [genesis] = await client.getOperationLog(did)
      await client.updateHandle(did, low, 'thief.example')
      const rescue = await createUpdateOp(genesis, high, (op) => ({ ...op, alsoKnownAs: ['at://rescued.example'] }))
      await client.sendOperation(did, rescue)
      assert.deepEqual((await client.getDocumentData(did)).alsoKnownAs, ['at://rescued.example'])
      const audit = await client.getAuditableLog(did)
      assert.deepEqual(audit.map(({ nullified }) => nullified), [false, true, false])
    })

    test('operations that the official directory refuses are refused here', async () => {
      const [key, stranger] = [await Secp256k1Keypair.create(), await Secp256k1Keypair.create()]
      const fields = {
        signingKey: key.did(),
        handle: 'strict.example',
        pds: 'https://pds.example',
        rotationKeys: [key.did()],
        signer: key,
      }
      const did = await client.createDid(fields)
      const genesis = await client.getLastOp(did)
      const update = (signer, change = {}) => createUpdateOp(genesis, signer, (op) => ({ ...op, ...change }))
      const good = await update(key)
      const refused = {
        'signed by a stranger': await update(stranger),
        'no such predecessor': { ...good, prev: 'bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm' },
        'a broken signature': { ...good, sig: `${good.sig.slice(0, -2)}AA` },
        'a padded signature': { ...good, sig: `${good.sig}==` },
        'a second genesis': genesis,
        'an unknown type': { ...good, type: 'plc_other' },
        'missing fields': { type: 'plc_operation', prev: null, sig: good.sig },
        'rotation keys that are not keys': await update(key, { rotationKeys: ['did:web:example.com'] }),
        'too long by far': await update(key, { alsoKnownAs: [`at://${'a'.repeat(20_000)}.example`] }),
      }
      for (const [why, operation] of Object.entries(refused)) {
        const answer = await client.sendOperation(did, operation).then(() => 'taken', (error) => error)
        assert.ok([400, 413].includes(answer.status), `${why}: ${answer}`)
      }
      assert.deepEqual(await client.getOperationLog(did), [genesis])
    })

    test('an unknown DID is not found', async () => {
      const did = 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa'
      for (const ask of ['getDocument', 'getDocumentData', 'getOperationLog', 'getLastOp']) {
        assert.equal((await client[ask](did).catch((error) => error)).status, 404, ask)
      }
    })

    test('the directory keeps its logs over kill -9', async () => {
      const agent = await signUp(server)
      const log = await client.getOperationLog(agent.did)
      await server.restart('SIGKILL')
      const again = new Client(await server.plcUrl())
      assert.deepEqual(await again.getOperationLog(agent.did), log)
    })
  })
})

/** Runs the official checks over a log; returns the data it ends in. */
async function checkLog(did, log) {
  for (const operation of log) await assureValidOp(operation)
  const genesis = await assureValidCreationOp(did, log[0])
  assert.equal(genesis.did, did)
  const state = await validateOperationLog(did, log)
  assert.ok(state, 'the log ends in data')
  return state
}
