// One person who writes all sorts of things, and remembers what the server has acknowledged.

import assert from 'node:assert/strict'
import { post } from '../../peers/support/account.mjs'
import { tid } from '../../migration/support/content.mjs'
import { eventually } from './program.mjs'

const collections = ['com.example.note', 'com.example.note-x.page', 'com.example.noted']
const prefix = 'com.atproto.repo.applyWrites'
/** Writes that applyWrites takes at once, which is also what an event may carry. */
const writesMax = 200
/** What a client sees of a server that goes down: no answer at all, or that it is on its way out. */
const goingDown = new Set([1, 502, 503])

export class Writer {
  /** Path to CID, of what was acknowledged. */
  records = new Map()
  /** Paths of records whose deletion was acknowledged. */
  gone = new Set()
  /** Paths whose last write was not answered: whether it counts, only the server knows. */
  doubtful = new Set()
  /** Requests and single writes that were acknowledged, and requests that were not answered. */
  counts = { requests: 0, writes: 0, unanswered: 0 }
  #agent
  #random
  #next = 0
  #largeBytes
  #alikePercent

  /**
   * `agent`: signed in. `largeBytes`: how large the large records are. `alikePercent`: how many of the new values are
   * alike, so that several paths share one block.
   */
  constructor(agent, random, { largeBytes, alikePercent }) {
    this.#agent = agent
    this.#random = random
    this.#largeBytes = largeBytes
    this.#alikePercent = alikePercent
  }

  get did() {
    return this.#agent.did
  }

  /** Sends `requests` requests, one after the other. */
  async write(requests) {
    for (let n = 0; n < requests; n += 1) await this.#request(this.#anyKind())
  }

  /** Fails unless `held`, path to CID, is what was acknowledged: nothing less, and nothing more than what is in doubt. */
  check(held) {
    for (const [path, cid] of this.records) assert.equal(held.get(path), cid, `${this.did}/${path}`)
    for (const path of this.gone) assert.ok(!held.has(path), `${this.did}/${path} was deleted`)
    for (const path of held.keys()) {
      assert.ok(this.records.has(path) || this.doubtful.has(path), `${this.did}/${path} was never written`)
    }
  }

  /** As many writes in one request as a server takes. */
  writeMany() {
    return this.#request('many')
  }

  #anyKind() {
    const dice = this.#random.below(100)
    if (dice < 38) return 'create'
    if (dice < 48) return 'put'
    if (dice < 64) return 'update'
    if (dice < 76) return 'delete'
    if (dice < 95) return 'several'
    return dice < 98 ? 'large' : 'many'
  }

  async #request(kind) {
    const paths = []
    try {
      await this.#send(kind, paths)
    } catch (error) {
      if (!goingDown.has(error.status)) throw error
      this.counts.unanswered += 1
      for (const path of paths) this.#doubt(path)
      const alive = async () => (await fetch(`${this.#agent.serviceUrl}xrpc/com.atproto.server.describeServer`)).ok
      await eventually(30, 'a server to come back', alive)
      return
    }
    this.counts.requests += 1
    this.counts.writes += paths.length
  }

  #doubt(path) {
    this.doubtful.add(path)
    this.records.delete(path)
  }

  /** Sends one request; notes in `paths` what it is about before it does. */
  async #send(kind, paths) {
    const repo = this.#agent.did
    const api = this.#agent.com.atproto.repo
    const existing = this.#existing(1)[0]
    if (kind === 'several' || kind === 'many') {
      const writes = this.#writes(kind === 'many' ? writesMax : 1 + this.#random.below(20))
      paths.push(...writes.map(({ collection, rkey }) => `${collection}/${rkey}`))
      const { data } = await api.applyWrites({ repo, writes })
      for (const [n, path] of paths.entries()) this.#acknowledge(path, data.results[n].cid)
      return
    }
    if (kind === 'delete' && existing) {
      paths.push(existing)
      await api.deleteRecord({ repo, ...split(existing) })
      this.#acknowledge(existing)
      return
    }
    if (kind === 'update' && existing) {
      paths.push(existing)
      const { data } = await api.putRecord({ repo, ...split(existing), record: this.#value(split(existing).collection) })
      this.#acknowledge(existing, data.cid)
      return
    }
    const path = kind === 'create' ? this.#freshPost() : this.#freshPath()
    paths.push(path)
    const { collection } = split(path)
    const record = kind === 'create' ? post(`number ${this.#next}`) : this.#value(collection, kind === 'large')
    const input = { repo, ...split(path), record }
    const { data } = await (kind === 'put' ? api.putRecord(input) : api.createRecord(input))
    this.#acknowledge(path, data.cid)
  }

  #acknowledge(path, cid) {
    if (cid) {
      this.records.set(path, cid)
    } else {
      this.records.delete(path)
      this.gone.add(path)
    }
  }

  /** A list for applyWrites that is valid now and touches each path once. */
  #writes(count) {
    const changed = this.#existing(Math.floor(count / 3))
    const type = (action) => `${prefix}#${action}`
    const writes = changed.map((path) => {
      const { collection, rkey } = split(path)
      if (this.#random.chance(50)) return { $type: type('delete'), collection, rkey }
      return { $type: type('update'), collection, rkey, value: this.#value(collection) }
    })
    while (writes.length < count) {
      const { collection, rkey } = split(this.#freshPath())
      const value = this.#random.chance(this.#alikePercent) ? { $type: collection, n: 0 } : this.#value(collection)
      writes.push({ $type: type('create'), collection, rkey, value })
    }
    return writes
  }

  /** Up to `count` different paths of records that are there and have no schema of their own. */
  #existing(count) {
    const paths = [...this.records.keys()].filter((path) => path.startsWith('com.example.'))
    const chosen = new Set()
    for (let n = 0; n < count && paths.length > 0; n += 1) chosen.add(this.#random.pick(paths))
    return [...chosen]
  }

  #value(collection, large) {
    this.#next += 1
    const text = large ? 'x'.repeat(this.#largeBytes) : 'ä€😀'.repeat(this.#random.below(20))
    return { $type: collection, n: this.#next, text, deep: { list: [null, true, -this.#next, {}] } }
  }

  #rkey() {
    this.#next += 1
    return `${this.#random.below(1_000_000).toString(36)}${this.#random.pick(['.', '-', '_', '~', ':', ''])}${this.#next}`
  }

  /** Anywhere among the posts that there are, not only at their end. */
  #freshPost() {
    this.#next += 1
    return `app.bsky.feed.post/${tid(this.#random.below(100_000) * 10_000 + this.#next)}`
  }

  #freshPath() {
    return `${this.#random.pick(collections)}/${this.#rkey()}`
  }
}

function split(path) {
  const [collection, rkey] = path.split('/')
  return { collection, rkey }
}
