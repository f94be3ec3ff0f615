// The official relay, on loopback and with SQLite. It validates strictly; nothing here makes it lenient.

import Database from 'better-sqlite3'
import path from 'node:path'
import { freePort } from '../../peers/support/deadline.mjs'
import { Program } from './program.mjs'

/** Accounts per host, from which the relay also derives how many events it takes: the default would slow it to 50/s. */
const accountLimit = 1_000_000

export class Relay {
  #program
  #database
  #metricsUrl

  url

  /** `binaries`: folder of `relay`. `directory`: where it keeps its data. */
  static async start({ binaries, directory, plcUrl }) {
    const relay = new Relay()
    const [port, metricsPort] = [await freePort(), await freePort()]
    relay.url = `http://localhost:${port}`
    relay.#metricsUrl = `http://localhost:${metricsPort}/metrics`
    relay.#database = path.join(directory, 'relay.sqlite')
    relay.#program = new Program({
      name: 'relay',
      binary: path.join(binaries, 'relay'),
      args: [
        ...['--plc-host', plcUrl, 'serve', '--allow-insecure-hosts'],
        ...['--db-url', `sqlite://${relay.#database}`],
        ...['--persist-dir', path.join(directory, 'events')],
        ...['--bind', `127.0.0.1:${port}`, '--metrics-listen', `127.0.0.1:${metricsPort}`],
      ],
    })
    await relay.start()
    return relay
  }

  get lines() {
    return this.#program.lines
  }

  start() {
    return this.#program.start('starting web server')
  }

  stop(signal) {
    return this.#program.stop(signal)
  }

  /**
   * Makes it crawl `hosts`, `localhost:PORT` each, from their current end on. Its own requestCrawl takes no server on
   * loopback, not even from its admin, so they are written to its database, and it is started again.
   */
  async admit(hosts) {
    await this.stop()
    const database = new Database(this.#database)
    const add = database.prepare(
      `INSERT INTO host (created_at, updated_at, hostname, no_ssl, account_limit, trusted, status, last_seq, account_count)
       VALUES (datetime('now'), datetime('now'), ?, 1, ${accountLimit}, 0, 'active', -1, 0)`,
    )
    for (const host of hosts) add.run(host)
    database.close()
    await this.start()
  }

  /** Rows of its database. */
  rows(sql, ...values) {
    const database = new Database(this.#database, { readonly: true })
    try {
      return database.prepare(sql).all(...values)
    } finally {
      database.close()
    }
  }

  /** What it knows of `did`: its local and upstream status, the host, and the last commit. */
  account(did) {
    return this.rows(
      `SELECT account.status, upstream_status, hostname, rev, commit_cid, commit_data_cid
       FROM account JOIN host ON host.id = host_id LEFT JOIN account_repo USING (uid) WHERE did = ?`,
      did,
    )[0]
  }

  async call(method, parameters) {
    const response = await fetch(`${this.url}/xrpc/${method}?${new URLSearchParams(parameters)}`)
    return { status: response.status, body: await response.json() }
  }

  /** A sum over all labels of a counter or gauge since it was started; 0 when it has never counted. */
  async metric(name) {
    const text = await (await fetch(this.#metricsUrl)).text()
    const values = text.split('\n').filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`))
    return values.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0)
  }

  async close() {
    await this.#program.stop().catch(() => this.#program.stop('SIGKILL'))
  }
}
