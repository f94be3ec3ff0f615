// A real AppView (`@atproto/bsky`) and moderation service (`@atproto/ozone`) on loopback, as their own tests start them.
//
// What differs from a public one: handles are resolved at the server under test, by its `/.well-known/atproto-did` and
// a Host header, because nothing here is in DNS.

import http from 'node:http'
import { freePort, within } from '../../peers/support/deadline.mjs'
import { startPostgres } from './postgres.mjs'

process.env.LOG_ENABLED ??= '0'

/** The text of `https://HANDLE/.well-known/atproto-did` if its host were the server at `origin`, or undefined. */
export function didOfHandle(origin, handle) {
  return new Promise((resolve) => {
    const { hostname, port } = new URL(origin)
    const request = http.get({ hostname, port, path: '/.well-known/atproto-did', headers: { host: handle }, timeout: 3000 })
    request.once('error', () => resolve(undefined))
    request.once('timeout', () => request.destroy())
    request.once('response', async (response) => {
      let text = ''
      for await (const chunk of response) text += chunk
      resolve(response.statusCode === 200 && text.startsWith('did:') ? text.trim() : undefined)
    })
  })
}

/**
 * Starts them for a PDS that will listen on `pdsPort`; it may come later. Gives
 * `{ url, did, mod: { url, did, client, pushed }, pause, resume, caughtUp(seq), close }`.
 */
export async function startAppView({ plcUrl, pdsPort, pdsDid = 'did:web:localhost' }) {
  // Imported here: it is large, and its packages read LOG_ENABLED when they are loaded.
  const { TestBsky, TestBsync, TestOzone } = await import('@atproto/dev-env')
  const parts = []
  const close = async () => {
    for (const part of parts.reverse()) await within(20, 'a part of the AppView to end', part.close()).catch(() => {})
  }
  const keep = (part) => {
    parts.push(part)
    return part
  }
  try {
    const postgres = keep(await startPostgres())
    const database = { dbPostgresUrl: postgres.url }
    const pdsUrl = `http://localhost:${pdsPort}`
    const bsync = keep(
      await TestBsync.create({ port: await freePort(), dbUrl: postgres.url, dbSchema: 'bsync', apiKeys: ['bsync-api-key'] }),
    )
    const bsky = keep(
      await TestBsky.create({
        ...database,
        port: await freePort(),
        plcUrl,
        repoProvider: `ws://localhost:${pdsPort}`,
        dbPostgresSchema: 'bsky',
        bsyncUrl: bsync.url,
        bsyncApiKey: 'bsync-api-key',
      }),
    )
    for (const { handle } of [bsky.ctx.idResolver, bsky.dataplane.idResolver]) {
      handle.resolve = (name) => didOfHandle(pdsUrl, name)
    }
    const ozone = keep(
      await TestOzone.create({
        ...database,
        port: await freePort(),
        plcUrl,
        dbPostgresSchema: 'ozone',
        appviewUrl: bsky.url,
        appviewDid: bsky.serverDid,
        appviewPushEvents: false,
        pdsUrl,
        pdsDid,
      }),
    )
    return {
      url: bsky.url,
      did: bsky.serverDid,
      mod: {
        url: ozone.url,
        did: ozone.ctx.cfg.service.did,
        /** Acts as a moderator. */
        client: ozone.getModClient(),
        /** Waits until what moderators decided has been sent to the servers. */
        pushed: () => ozone.processAll(),
      },
      /** Stops the indexer, after what it has already begun. */
      pause: () => bsky.sub.stop(),
      /** Lets it go on. It has no memory of where it was and reads the firehose from its beginning, which changes nothing. */
      resume: () => bsky.sub.start(),
      /** Waits until the firehose is indexed up to `seq`, and what mutes and such left behind is taken over. */
      async caughtUp(seq) {
        await until(`the AppView to index event ${seq}`, async () => {
          await bsky.sub.processAll()
          return (bsky.sub.getCursor() ?? 0) >= seq
        })
        await bsky.bsyncSub.processAll?.(await bsync.getStreamHeads())
      },
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

/** Looks every 20 ms until `look()` gives something true; gives that. For what has no event to wait for. */
export async function until(what, look, seconds = 20) {
  const end = Date.now() + seconds * 1000
  for (;;) {
    const found = await look()
    if (found) return found
    if (Date.now() > end) throw new Error(`${what}: not within ${seconds} s`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
