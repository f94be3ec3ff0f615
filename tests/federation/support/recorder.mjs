// Writes down what a firehose says, without a gap over restarts of its server: it comes back with its cursor.

import { Frame } from '@atproto/xrpc-server'
import { setTimeout as after } from 'node:timers/promises'
import { WebSocket } from 'ws'
import { Inbox } from '../../peers/support/deadline.mjs'

/** How long it waits before it tries a server that is away once more, in milliseconds. */
const again = 50

export class Recorder {
  #url
  #socket
  #closing = false
  #ended

  /**
   * What came, in order: `{ at, seq, type, did, rev, commit, ops, active, status }`, each as far as its type
   * has it; `at` is when, in milliseconds.
   */
  events = new Inbox()
  /** Frames that are no events: there are none as long as everything is well. */
  faults = []
  /** Numbers that came although they, or later ones, had been there. The relay repeats some when a client comes back. */
  repeated = []
  /** The last number; the cursor to come back with. */
  seq

  /** `url`: of the server, `http://host:port`. Resolves when the first connection stands. */
  static async open(url) {
    const recorder = new Recorder()
    recorder.#url = `${url.replace(/^http/, 'ws')}/xrpc/com.atproto.sync.subscribeRepos`
    await new Promise((resolve) => {
      recorder.#ended = recorder.#run(resolve)
    })
    return recorder
  }

  async #run(opened) {
    while (!this.#closing) {
      await new Promise((closed) => {
        const socket = new WebSocket(this.#seqUrl())
        this.#socket = socket
        socket.on('open', opened)
        socket.on('message', (data) => this.#take(data))
        socket.on('error', () => {})
        socket.on('close', closed)
      })
      if (!this.#closing) await after(again)
    }
  }

  #seqUrl() {
    return this.seq === undefined ? this.#url : `${this.#url}?cursor=${this.seq}`
  }

  #take(data) {
    const frame = Frame.fromBytes(data)
    if (frame.isError()) {
      this.faults.push(`error frame: ${JSON.stringify(frame.body)}`)
      return
    }
    const { body } = frame
    if (frame.type === '#info') {
      this.faults.push(`info frame: ${JSON.stringify(body)}`)
      return
    }
    if (body.seq <= this.seq) {
      this.repeated.push(body.seq)
      return
    }
    this.seq = body.seq
    this.events.push({
      at: performance.now(),
      seq: body.seq,
      type: frame.type,
      did: body.did ?? body.repo,
      rev: body.rev,
      commit: body.commit?.toString(),
      ops: body.ops?.length,
      active: body.active,
      status: body.status,
    })
  }

  /** The events of `did`, of these types. */
  of(did, ...types) {
    return this.events.items.filter((event) => event.did === did && types.includes(event.type))
  }

  async close() {
    this.#closing = true
    this.#socket?.terminate()
    await this.#ended
  }
}
