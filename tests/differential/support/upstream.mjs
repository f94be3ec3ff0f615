// A stub of every service behind a PDS: AppView, chat, moderation, push, feed generator. It notes what is forwarded to
// it and answers as the query asks:
//
//   stub=STATUS            that status; an error body when it is one
//   stub=text | garbage | empty | abort | html500
//   stub=rev:TID           an answer of an AppView that has seen the caller's repo up to there
//   stub=notfound:TID      the same, that does not have what is asked for
//
// and with canned bodies for the methods that a PDS looks into.

import http from 'node:http'
import { once } from 'node:events'
import { gzipSync } from 'node:zlib'

/** Headers that say nothing about forwarding, or that every HTTP client sets in its own way. */
const OF_TRANSPORT = new Set(['host', 'connection', 'keep-alive', 'transfer-encoding', 'date', 'sec-fetch-mode'])

const indexedAt = '2024-05-01T12:00:00.000Z'
const author = (did) => ({ did, handle: 'someone.test', displayName: 'As indexed', avatar: 'https://cdn.example.com/avatar' })
const postOf = (did, text = 'indexed') => ({
  uri: `at://${did}/app.bsky.feed.post/3krfaaaaa2223`,
  cid: 'bafyreibk5eqekgfbxnkr5cxmvydhmhxxqfsn4eq4ukgxchyhodkyusbcfm',
  author: author(did),
  record: { $type: 'app.bsky.feed.post', text, createdAt: indexedAt },
  replyCount: 1,
  repostCount: 2,
  likeCount: 3,
  indexedAt,
})
const items = (params, did) => Array.from({ length: Number(params.get('items') ?? 0) }, () => ({ post: postOf(did) }))
const stranger = 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa'

/** Answers that a PDS looks into, as an AppView gives them. */
const CANNED = {
  'app.bsky.actor.getProfile': (params) => ({ ...author(params.get('actor')), description: 'As indexed', followersCount: 1 }),
  'app.bsky.actor.getProfiles': (params) => ({ profiles: params.getAll('actors').map(author) }),
  'app.bsky.feed.getTimeline': (params) => ({ feed: items(params, stranger), cursor: 'next' }),
  'app.bsky.feed.getAuthorFeed': (params) => ({ feed: items(params, params.get('actor')) }),
  'app.bsky.feed.getActorLikes': (params) => ({ feed: items(params, params.get('actor')) }),
  'app.bsky.feed.getPostThread': () => ({
    thread: { $type: 'app.bsky.feed.defs#threadViewPost', post: postOf(stranger, 'root'), replies: [] },
  }),
  'com.atproto.moderation.createReport': (_, body) => {
    const { reasonType, reason, subject } = JSON.parse(body.toString())
    return { id: 7, reasonType, reason, subject, reportedBy: stranger, createdAt: indexedAt }
  },
}

/** Starts one: `{ url, requests, close }`. `requests` grows with what comes. */
export async function startUpstream() {
  const requests = []
  const server = http.createServer((request, response) => {
    const pieces = []
    request.on('data', (piece) => pieces.push(piece))
    request.on('end', () => answer(request, response, Buffer.concat(pieces)))
    request.on('error', () => {})
  })
  const generator = (params) =>
    params.get('rkey') === 'real'
      ? {
          uri: `at://${stranger}/app.bsky.feed.generator/real`,
          cid: 'bafyreibk5eqekgfbxnkr5cxmvydhmhxxqfsn4eq4ukgxchyhodkyusbcfm',
          value: { $type: 'app.bsky.feed.generator', did: stub.generatorDid, displayName: 'Real', createdAt: indexedAt },
        }
      : { echo: 'com.atproto.repo.getRecord' }
  const answer = (request, response, body) => {
    const url = new URL(request.url, 'http://stub')
    const headers = Object.fromEntries(Object.entries(request.headers).filter(([name]) => !OF_TRANSPORT.has(name)))
    // What fetch says of its own accord.
    if (headers['accept-language'] === '*') delete headers['accept-language']
    requests.push({ method: request.method, path: request.url, headers, body: body.toString('utf8') })
    const nsid = url.pathname.replace('/xrpc/', '')
    const wish = url.searchParams.get('stub') ?? ''
    const json = (status, value, more = {}) => {
      let bytes = Buffer.from(JSON.stringify(value))
      const head = { 'content-type': 'application/json', ...more }
      if (wish === 'gzip' && /gzip/.test(headers['accept-encoding'] ?? '')) {
        bytes = gzipSync(bytes)
        head['content-encoding'] = 'gzip'
      }
      response.writeHead(status, { ...head, 'content-length': bytes.length })
      response.end(bytes)
    }
    const extra = {
      'content-language': 'en',
      'atproto-content-labelers': 'did:plc:labelerlabelerlabelerlab;redact',
      'x-not-for-clients': 'secret',
      'set-cookie': 'a=b',
    }
    if (wish === 'abort') return request.socket.destroy()
    if (wish === 'text') {
      response.writeHead(200, { 'content-type': 'text/plain', ...extra })
      return response.end('plain text')
    }
    if (wish === 'empty') {
      response.writeHead(200, extra)
      return response.end()
    }
    if (wish === 'garbage') {
      response.writeHead(200, { 'content-type': 'application/json', 'atproto-repo-rev': '2222222222222' })
      return response.end('{"this is not')
    }
    if (wish === 'html500') {
      response.writeHead(500, { 'content-type': 'text/html' })
      return response.end('<h1>oops</h1>')
    }
    if (/^\d{3}$/.test(wish)) {
      const status = Number(wish)
      const failed = { error: 'StubError', message: `the stub says ${status}`, more: 'dropped' }
      return json(status, status < 400 ? { ok: true } : failed, { ...extra, 'retry-after': '7' })
    }
    const rev = wish.match(/^rev:(\w+)$/)?.[1]
    const lost = wish.match(/^notfound:(\w+)$/)?.[1]
    if (lost) return json(400, { error: 'NotFound', message: 'Post not found' }, { 'atproto-repo-rev': lost })
    const value =
      nsid === 'com.atproto.repo.getRecord'
        ? generator(url.searchParams)
        : (CANNED[nsid]?.(url.searchParams, body) ?? { echo: nsid })
    return json(200, value, rev ? { 'atproto-repo-rev': rev, ...extra } : extra)
  }
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  // `generatorDid`: the DID that feed generator records name.
  const stub = {
    url: `http://localhost:${port}`,
    requests,
    close: () => {
      server.closeAllConnections()
      server.close()
    },
  }
  return stub
}
