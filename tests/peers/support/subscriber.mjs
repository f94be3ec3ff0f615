// A bare WebSocket on subscribeRepos, which sees the frames as they are: for what the official client hides.

import { BlockMap, MemoryBlockstore, MST, def, formatDataKey, parseDataKey, readCarWithRoot, verifyCommitSig } from '@atproto/repo'
import { Frame } from '@atproto/xrpc-server'
import assert from 'node:assert/strict'
import { WebSocket } from 'ws'
import { Inbox, within } from './deadline.mjs'

export class Subscriber {
  #socket
  #closed

  /** Frames in order of arrival: `{ type, body, bytes }`, `type` being `#commit`, ... or `error`. */
  frames = new Inbox()

  constructor(server, { cursor } = {}) {
    const query = cursor === undefined ? '' : `?cursor=${cursor}`
    this.#socket = new WebSocket(`${server.websocketUrl}/xrpc/com.atproto.sync.subscribeRepos${query}`)
    this.#socket.on('message', (data, isBinary) => {
      assert.ok(isBinary, 'EV-1: every message is binary')
      const frame = Frame.fromBytes(data)
      this.frames.push({
        type: frame.isError() ? 'error' : frame.type,
        header: frame.header,
        body: frame.body,
        bytes: data,
      })
    })
    this.#closed = new Promise((resolve) => {
      this.#socket.on('close', (code, reason) => resolve({ code, reason: reason.toString() }))
    })
    this.#socket.on('error', () => {})
  }

  static async open(server, options) {
    const subscriber = new Subscriber(server, options)
    await within(
      10,
      'the subscription to open',
      new Promise((resolve, reject) => {
        subscriber.#socket.once('open', resolve)
        subscriber.#socket.once('error', reject)
      }),
    )
    return subscriber
  }

  /** Waits until `enough(frames)`; resolves to the frames. */
  until(enough, what, seconds) {
    return this.frames.until(enough, what, seconds)
  }

  /** How the server ended the connection: `{ code, reason }`. */
  closed(seconds = 15) {
    return within(seconds, 'the server to close the subscription', this.#closed)
  }

  send(data) {
    this.#socket.send(data)
  }

  /** A frame limit for the wire: stops reading without closing. */
  pause() {
    this.#socket.pause()
  }

  resume() {
    this.#socket.resume()
  }

  async close() {
    this.#socket.terminate()
    await this.#closed
  }
}

/**
 * Checks one `#commit` body from its own bytes alone, as a sync v1.1 consumer does: signature, the fields against the
 * signed commit, and that undoing the operations on the blocks carried gives `prevData`. Returns the commit.
 */
export async function verifyCommitEvent(body, signingKey) {
  const { root, blocks } = await readCarWithRoot(body.blocks)
  assert.ok(root.equals(body.commit), 'the first root of the slice is the commit')
  const storage = new MemoryBlockstore(new BlockMap(blocks))
  const commit = await storage.readObj(root, def.commit)
  assert.equal(commit.did, body.repo)
  assert.equal(commit.rev, body.rev)
  assert.equal(commit.prev, null)
  assert.ok(await verifyCommitSig(commit, signingKey), 'the commit is signed with the key of the DID document')

  let tree = await MST.load(storage, commit.data)
  for (const op of [...body.ops].reverse()) {
    const { collection, rkey } = parseDataKey(op.path)
    const key = formatDataKey(collection, rkey)
    const current = await tree.get(key)
    if (op.action === 'delete') {
      assert.equal(op.cid, null)
      assert.equal(current, null, `${key} is absent after its delete`)
      tree = await tree.add(key, op.prev)
      continue
    }
    assert.ok(current?.equals(op.cid), `${key} is in the tree with the announced cid`)
    assert.ok(blocks.get(op.cid), `the slice carries the record of ${key}`)
    if (op.action === 'create') {
      assert.equal(op.prev, undefined, 'a create has no prev')
      tree = await tree.delete(key)
    } else {
      tree = await tree.update(key, op.prev)
    }
  }
  const before = await tree.getPointer()
  if (body.since === null) {
    assert.equal(body.prevData, undefined, 'the first commit of a repo has no prevData')
  } else {
    assert.ok(before.equals(body.prevData), 'undoing the operations gives prevData')
  }
  return commit
}
