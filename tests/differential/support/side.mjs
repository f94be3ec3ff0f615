// One of the two servers under comparison, with what the script keeps of its answers.

import http from 'node:http'
import { Normaliser } from './normalise.mjs'

export class Side {
  /** `name`: for messages. `url`, `port`: the server. `upstream`, `smtp`: what stands behind it. */
  constructor(name, parts) {
    this.name = name
    Object.assign(this, parts)
    /** Values kept by the script, by name. */
    this.vars = new Map([['pds.url', this.url]])
    /** CIDs of commits, which differ because they are signed and timed. */
    this.commits = new Set()
    /** When each step began and ended, in milliseconds. */
    this.times = []
    this.agent = new http.Agent({ keepAlive: true, maxSockets: 16 })
    this.mailsSeen = 0
  }

  /** Keeps `value` as `name`. */
  keep(name, value) {
    this.vars.set(name, value)
  }

  /** `[value, word]` of kept values that stand for themselves, the longest first. */
  words() {
    const words = []
    for (const [name, value] of this.vars) {
      if (typeof value !== 'string' || value.length < 8) continue
      if (/^(baf|at:|http)/.test(value) || name.startsWith('given.')) continue
      words.push([value, `<${name}>`])
      const encoded = encodeURIComponent(value)
      if (encoded !== value) words.push([encoded, `<${name}, encoded>`])
    }
    return words.sort(([a], [b]) => b.length - a.length)
  }

  /** Whether a DID was written down in the script, and so is the same for both. */
  isOfScript(did) {
    return SCRIPT_DIDS.has(did)
  }

  normaliser() {
    return new Normaliser(this)
  }
}

/** DIDs that the scripts name, and that nobody has. */
export const SCRIPT_DIDS = new Set([
  'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa',
  'did:plc:bbbbbbbbbbbbbbbbbbbbbbbb',
  'did:plc:appviewappviewappviewapp',
  'did:plc:modservicemodservicemods',
  'did:plc:labelerlabelerlabelerlab',
])
