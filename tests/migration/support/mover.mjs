// A person who moves: the old and the new server, the mailbox, and each step of the way as one call.

import { AtpAgent } from '@atproto/api'
import assert from 'node:assert/strict'
import { password } from '../../peers/support/account.mjs'
import { blobCids, download, downloadBlob } from './content.mjs'

/** Code in a mail: two groups of five letters and digits. */
const codePattern = /\b[A-Z2-7]{5}-[A-Z2-7]{5}\b/i

export class Mover {
  /** `from`: an agent signed in at the old server. `to`: the new server. `smtp`: where both servers mail to. */
  constructor({ from, to, smtp, handle }) {
    this.from = from
    this.to = to
    this.smtp = smtp
    this.handle = handle
    this.agent = new AtpAgent({ service: to.url })
  }

  get did() {
    return this.from.did
  }

  /** A token of the old server that lets the new one make the account. */
  async accountToken(aud = this.to.did) {
    const lxm = 'com.atproto.server.createAccount'
    return (await this.from.com.atproto.server.getServiceAuth({ aud, lxm })).data.token
  }

  /** createAccount at the new server, with the DID that there is. */
  async createAccount(token, more = {}) {
    const input = { did: this.did, handle: this.handle, email: `${this.handle}@example.com`, password, ...more }
    const headers = token && { authorization: `Bearer ${token}` }
    const { data } = await this.agent.com.atproto.server.createAccount(input, { headers, encoding: 'application/json' })
    await this.agent.resumeSession({ ...data, active: false })
    return data
  }

  async importRepo() {
    const car = await download(this.from)
    await this.agent.com.atproto.repo.importRepo(car, { encoding: 'application/vnd.ipld.car' })
  }

  /** Blobs that the new server misses, by pages of `limit`: `[{ cid, recordUri }]`. */
  async missingBlobs(limit = 7) {
    const missing = []
    let cursor
    do {
      const { data } = await this.agent.com.atproto.repo.listMissingBlobs({ limit, cursor })
      assert.ok(data.blobs.length <= limit)
      missing.push(...data.blobs)
      cursor = data.blobs.length > 0 ? data.cursor : undefined
    } while (cursor)
    return missing
  }

  async copyBlob(cid, encoding) {
    const { bytes, type } = await downloadBlob(this.from, cid)
    const { data } = await this.agent.uploadBlob(bytes, { encoding: encoding ?? type })
    assert.equal(data.blob.ref.toString(), cid)
    return data.blob
  }

  /** All that the old server lists, as a client without listMissingBlobs does it. */
  async copyAllBlobs(encoding) {
    for await (const cid of blobCids(this.from)) await this.copyBlob(cid, encoding)
  }

  async copyPreferences() {
    const { data } = await this.from.app.bsky.actor.getPreferences()
    await this.agent.app.bsky.actor.putPreferences({ preferences: data.preferences })
  }

  /** Asks the old server for a mailed code and gives it. */
  async mailedCode() {
    const before = this.smtp.mails.items.length
    await this.from.com.atproto.identity.requestPlcOperationSignature()
    return this.codeAfter(before)
  }

  /** The code in the first mail after the first `before` ones. */
  async codeAfter(before) {
    const mails = await this.smtp.mails.until((all) => all.length > before, 'a mail with a code')
    const code = mails[before].text.match(codePattern)?.[0]
    assert.ok(code, `a code in: ${mails[before].text}`)
    return code
  }

  async recommended() {
    return (await this.agent.com.atproto.identity.getRecommendedDidCredentials()).data
  }

  /** Has the old server sign an operation with what the new one recommends, over `changes`. */
  async signedOperation(token, changes = {}) {
    const wanted = { ...(await this.recommended()), ...changes }
    return (await this.from.com.atproto.identity.signPlcOperation({ token, ...wanted })).data.operation
  }

  async submitOperation(operation) {
    await this.agent.com.atproto.identity.submitPlcOperation({ operation })
  }

  async status(agent = this.agent) {
    return (await agent.com.atproto.server.checkAccountStatus()).data
  }
}
