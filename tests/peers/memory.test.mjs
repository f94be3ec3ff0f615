// What the server keeps resident, from the kernel's own figures. Linux only.

import { cborToLex, readCar, readCarStream, verifyRepoCar } from '@atproto/repo'
import assert from 'node:assert/strict'
import { createReadStream } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import http from 'node:http'
import path from 'node:path'
import { Readable } from 'node:stream'
import { after, before, describe, test } from 'node:test'
import { createForDid, signUp } from './support/account.mjs'
import { within } from './support/deadline.mjs'
import { writeLargeRepo } from './support/large-repo.mjs'
import { Rookery, rookeryBinary } from './support/rookery.mjs'
import { serveWithDirectory } from './support/serve.mjs'

const notLinux = process.platform !== 'linux' && 'resident memory is read from /proc'
const debugBuild = /\/debug\//.test(rookeryBinary()) && 'measured on a release build only'
const quick = process.env.ROOKERY_LONG !== '1' && 'takes minutes: set ROOKERY_LONG=1'

const idleLimitMib = 20
const largeRepoLimitMib = 100
const uploadMib = 300
const largeRepoRecords = 1_000_000

describe('memory', { skip: notLinux, timeout: 1_800_000 }, () => {
  test(`idle, dev stays under ${idleLimitMib} MiB`, { skip: debugBuild }, async (t) => {
    const server = await Rookery.dev()
    try {
      const { now } = await server.residentMib()
      t.diagnostic(`${now.toFixed(1)} MiB resident after the start`)
      assert.ok(now < idleLimitMib, `${now.toFixed(1)} MiB`)
    } finally {
      await server.close()
    }
  })

  describe('under rookery serve', () => {
    let running, server
    before(async () => {
      running = await serveWithDirectory({ uploadLimitBytes: (uploadMib + 1) * 1024 * 1024 })
      server = running.server
    })
    after(() => running?.close())

    test(`an upload of ${uploadMib} MiB is not held in memory`, async (t) => {
      const agent = await signUp(server)
      const before = await server.residentMib()
      const block = Buffer.alloc(1024 * 1024)
      let sent = 0
      function* blocks() {
        for (; sent < uploadMib; sent += 1) {
          block.writeUInt32BE(sent)
          yield Buffer.from(block)
        }
      }
      const answer = await send(server, '/xrpc/com.atproto.repo.uploadBlob', {
        token: agent.session.accessJwt,
        type: 'application/octet-stream',
        length: uploadMib * block.length,
        body: blocks(),
      })
      const { blob } = JSON.parse(answer)
      assert.equal(blob.size, uploadMib * block.length)
      const record = { $type: 'com.example.file', file: blob }
      await agent.com.atproto.repo.createRecord({ repo: agent.did, collection: 'com.example.file', record })

      const url = `${server.url}/xrpc/com.atproto.sync.getBlob?did=${agent.did}&cid=${blob.ref.$link}`
      let received = 0
      for await (const piece of (await fetch(url)).body) received += piece.length
      assert.equal(received, uploadMib * block.length)
      const { peak } = await server.residentMib()
      t.diagnostic(`${before.now.toFixed(1)} MiB before, at most ${peak.toFixed(1)} MiB until after`)
      assert.ok(peak - before.now < 64, `grew from ${before.now.toFixed(1)} to ${peak.toFixed(1)} MiB`)
    })

    test('the generator of large repos makes repos that the official checker accepts', async () => {
      const did = 'did:plc:bbbbbbbbbbbbbbbbbbbbbbbb'
      const file = path.join(running.directory, 'small.car')
      const { data } = await writeLargeRepo(file, did, 3_000)
      const bytes = await readFile(file)
      const { creates } = await verifyRepoCar(bytes, did)
      assert.equal(creates.length, 3_000)
      const agent = await createForDid(server, did)
      await agent.com.atproto.repo.importRepo(bytes, { encoding: 'application/vnd.ipld.car' })
      const out = await readCar((await agent.com.atproto.sync.getRepo({ did })).data)
      assert.equal(Buffer.from(cborToLex(out.blocks.get(out.roots[0])).data.bytes).toString('hex'), data)
    })

    test(
      `a repo of ${largeRepoRecords} records comes in and goes out under ${largeRepoLimitMib} MiB`,
      { skip: quick || debugBuild },
      async (t) => {
        const did = 'did:plc:cccccccccccccccccccccccc'
        const file = path.join(running.directory, 'large.car')
        const { data } = await writeLargeRepo(file, did, largeRepoRecords)
        const { size } = await stat(file)
        // A fresh process, so that the peak is this test's own.
        await server.restart('SIGTERM')
        const agent = await createForDid(server, did)
        const clock = (start) => ((performance.now() - start) / 1000).toFixed(1)
        let start = performance.now()
        await send(server, '/xrpc/com.atproto.repo.importRepo', {
          token: agent.session.accessJwt,
          type: 'application/vnd.ipld.car',
          length: size,
          body: createReadStream(file),
        })
        t.diagnostic(`imported ${(size / 2 ** 20).toFixed(0)} MiB in ${clock(start)} s, peak ${(await server.residentMib()).peak.toFixed(1)} MiB`)
        start = performance.now()
        const answer = await fetch(`${server.url}/xrpc/com.atproto.sync.getRepo?did=${did}`, {
          headers: { authorization: `Bearer ${agent.session.accessJwt}` },
        })
        const { blocks } = await readCarStream(answer.body, { skipCidVerification: true })
        let count = 0
        let commit
        for await (const { bytes } of blocks) {
          commit ??= cborToLex(bytes)
          count += 1
        }
        const { peak } = await server.residentMib()
        t.diagnostic(`exported ${count} blocks in ${clock(start)} s, peak ${peak.toFixed(1)} MiB`)
        assert.equal(Buffer.from(commit.data.bytes).toString('hex'), data, 'the same tree')
        assert.ok(count > largeRepoRecords)
        assert.ok(peak < largeRepoLimitMib, `${peak.toFixed(1)} MiB at the peak`)
      },
    )
  })
})

/** POSTs `body`, an iterable of buffers, without collecting it; resolves to the text of a 200. */
async function send(server, route, { token, type, length, body }) {
  const headers = { authorization: `Bearer ${token}`, 'content-type': type, 'content-length': length }
  const answer = new Promise((resolve, reject) => {
    const request = http.request(server.url + route, { method: 'POST', headers }, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (piece) => (text += piece))
      response.on('end', () => (response.statusCode === 200 ? resolve(text) : reject(new Error(`${response.statusCode} ${text}`))))
    })
    request.on('error', reject)
    Readable.from(body).pipe(request)
  })
  return within(900, `an answer to ${route}`, answer)
}
