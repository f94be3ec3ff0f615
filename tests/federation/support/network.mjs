// The whole network on loopback: the official directory, servers of accounts, the official relay that crawls them, `tap`
// behind the relay, and somebody who writes down what each firehose says.

import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import { post, signUp } from '../../peers/support/account.mjs'
import { startDirectory } from '../../peers/support/directory.mjs'
import { temporaryDirectory } from '../../peers/support/rookery.mjs'
import { startServer } from '../../reference/support/servers.mjs'
import { startSmtpSink } from '../../reference/support/smtp.mjs'
import { Recorder } from './recorder.mjs'
import { Relay } from './relay.mjs'
import { Tap } from './tap.mjs'
import { eventually } from './program.mjs'

/** Folder of the programs `relay` and `tap`; run.sh sets it. */
export const binaries = process.env.FEDERATION_BINARIES

export class Network {
  directory
  smtp
  relay
  tap
  /** What the relay says. */
  relayed
  /**
   * `{ name, server, host: 'localhost:PORT', recorder, probe, firstSeq }`: `probe` is a DID that talked until the relay
   * listened, which it does from the event `firstSeq` on.
   */
  hosts = []
  /** Exports that were compared before, by DID: see agreement.mjs. */
  compared = new Map()
  #scratch
  #away = []
  #excused = []

  /** Starts the directory and the servers: `kinds` is name to kind, as for `startServer`. Nobody crawls them yet. */
  static async start(kinds) {
    const network = new Network()
    network.#scratch = await temporaryDirectory()
    network.directory = await startDirectory()
    network.smtp = await startSmtpSink()
    for (const [name, kind] of Object.entries(kinds)) {
      const did = `did:web:${name}.test`
      const server = await startServer(kind, { plcUrl: network.directory.url, smtp: network.smtp, did })
      await network.join(name, server)
    }
    return network
  }

  /** Takes in a server. `host`: where the relay finds it, when that is not where we do. */
  async join(name, server, host = new URL(server.url).host) {
    const recorder = await Recorder.open(server.url)
    this.hosts.push({ name, server, host, recorder })
  }

  host(name) {
    return this.hosts.find((host) => host.name === name)
  }

  /** Starts the relay, has it crawl every server, and tap behind it. */
  async crawl() {
    const place = async (name) => {
      const directory = path.join(this.#scratch.directory, name)
      await mkdir(directory)
      return directory
    }
    const plcUrl = this.directory.url
    this.relay = await Relay.start({ binaries, plcUrl, directory: await place('relay') })
    await this.relay.admit(this.hosts.map(({ host }) => host))
    this.relayed = await Recorder.open(this.relay.url)
    for (const host of this.hosts) await this.#connected(host)
    this.tap = await Tap.start({ binaries, plcUrl, relayUrl: this.relay.url, directory: await place('tap') })
  }

  /** A new host is crawled from its end on, so somebody has to say something until the relay hears it. */
  async #connected(host) {
    const agent = await signUp(host.server)
    const record = post('can you hear me?')
    await eventually(30, `the relay to hear ${host.name}`, async () => {
      await agent.com.atproto.repo.createRecord({ repo: agent.did, collection: record.$type, record })
      return this.relayed.of(agent.did, '#commit')[0]
    })
    host.probe = agent.did
    host.firstSeq = host.recorder.seq
  }

  /** From now on, what `host` says about `did` is not for the relay to pass on: the account lives elsewhere. */
  leaves(did, host) {
    this.#away.push({ did, recorder: host.recorder, from: host.recorder.seq, until: Infinity })
  }

  /** From now on, what `host` says about `did` counts: the account lives there, again or for the first time. */
  returns(did, host) {
    const away = this.#away.find((one) => one.did === did && one.recorder === host.recorder && one.until === Infinity)
    if (away) away.until = host.recorder.seq
  }

  isAway(did, recorder, seq) {
    return this.#away.some((one) => one.did === did && one.recorder === recorder && one.from < seq && seq <= one.until)
  }

  /** From now on, a `#sync` of `host` about `did` may be refused for its signature: it has that of another server. */
  excuseSync(did, host) {
    this.#excused.push({ did, recorder: host.recorder, from: host.recorder.seq })
  }

  isExcused({ type, did, seq }, recorder) {
    return type === '#sync' && this.#excused.some((one) => one.did === did && one.recorder === recorder && one.from < seq)
  }

  async close() {
    await this.tap?.close()
    await this.relayed?.close()
    await this.relay?.close()
    for (const { recorder, server } of this.hosts) {
      await recorder.close()
      await server.close()
    }
    await this.smtp?.close()
    await this.directory?.close()
    await this.#scratch?.remove()
  }
}
