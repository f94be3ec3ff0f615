// The official `tap`, which follows a relay and keeps the repositories that it was told of; and its consumer here, which
// builds the same from what tap says on its channel.

import Database from 'better-sqlite3'
import path from 'node:path'
import { setTimeout as after } from 'node:timers/promises'
import { WebSocket } from 'ws'
import { freePort } from '../../peers/support/deadline.mjs'
import { Program, eventually } from './program.mjs'

export class Tap {
  #program
  #database
  #socket
  #open = true

  url
  /** What the channel has told: DID to a map of path to `{ cid, record }`. */
  told = new Map()
  /** `{ did, status }` of accounts, in the order of the channel. */
  statuses = []

  /** `binaries`: folder of `tap`. `directory`: where it keeps its data. */
  static async start({ binaries, directory, plcUrl, relayUrl }) {
    const tap = new Tap()
    const port = await freePort()
    tap.url = `http://localhost:${port}`
    tap.#database = path.join(directory, 'tap.sqlite')
    tap.#program = new Program({
      name: 'tap',
      binary: path.join(binaries, 'tap'),
      args: [
        ...['run', '--plc-url', plcUrl, '--relay-url', relayUrl],
        ...['--db-url', `sqlite://${tap.#database}`, '--bind', `127.0.0.1:${port}`],
      ],
    })
    await tap.start()
    tap.#listen()
    return tap
  }

  get lines() {
    return this.#program.lines
  }

  async start() {
    await this.#program.start()
    await eventually(10, 'tap to answer', async () => (await fetch(`${this.url}/health`)).ok)
  }

  stop(signal) {
    return this.#program.stop(signal)
  }

  async #listen() {
    while (this.#open) {
      await new Promise((closed) => {
        this.#socket = new WebSocket(`${this.url.replace('http', 'ws')}/channel`)
        this.#socket.on('message', (data) => this.#take(JSON.parse(data)))
        this.#socket.on('error', () => {})
        this.#socket.on('close', closed)
      })
      await after(50)
    }
  }

  #take({ id, type, record, identity }) {
    if (type === 'record') {
      const { did, collection, rkey, action, cid, record: value } = record
      if (!this.told.has(did)) this.told.set(did, new Map())
      const records = this.told.get(did)
      if (action === 'delete') records.delete(`${collection}/${rkey}`)
      else records.set(`${collection}/${rkey}`, { cid, record: value })
    } else if (type === 'identity') {
      this.statuses.push({ did: identity.did, status: identity.status })
      if (identity.status === 'deleted') this.told.delete(identity.did)
    }
    this.#socket.send(JSON.stringify({ type: 'ack', id }))
  }

  async #post(route, body) {
    const headers = { 'content-type': 'application/json' }
    const response = await fetch(this.url + route, { method: 'POST', headers, body: JSON.stringify(body) })
    if (!response.ok) throw new Error(`tap answered ${response.status} to ${route}: ${await response.text()}`)
  }

  /** Has it fetch these repositories, and follow them. */
  add(dids) {
    return this.#post('/repos/add', { dids })
  }

  /** Has it forget a repository. It says nothing on the channel. */
  async remove(did) {
    await this.#post('/repos/remove', { dids: [did] })
    this.told.delete(did)
  }

  /** The DID document as it knows it. */
  async resolve(did) {
    return (await fetch(`${this.url}/resolve/${did}`)).json()
  }

  #rows(sql, ...values) {
    const database = new Database(this.#database, { readonly: true })
    try {
      return database.prepare(sql).all(...values)
    } finally {
      database.close()
    }
  }

  /** Makes it lose a record, to see whether that is noticed. */
  forget(did, rkey) {
    const database = new Database(this.#database)
    database.prepare('DELETE FROM repo_records WHERE did = ? AND rkey = ?').run(did, rkey)
    database.close()
  }

  /** Its row of a repository: `{ state, status, rev, prev_data, ... }`, or undefined. */
  repo(did) {
    return this.#rows('SELECT * FROM repos WHERE did = ?', did)[0]
  }

  /** Path to CID of all records that it holds of `did`. */
  records(did) {
    const rows = this.#rows('SELECT collection, rkey, cid FROM repo_records WHERE did = ?', did)
    return new Map(rows.map(({ collection, rkey, cid }) => [`${collection}/${rkey}`, cid]))
  }

  async close() {
    this.#open = false
    this.#socket?.terminate()
    await this.#program.stop().catch(() => this.#program.stop('SIGKILL'))
  }
}
