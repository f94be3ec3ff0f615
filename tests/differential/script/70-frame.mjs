// HTTP around the methods: well-known pages, CORS, compression, methods, order of checks.

import { gzipSync } from 'node:zlib'
import { badGet, badPost, get, group, post, request } from '../support/script.mjs'
import { note, rkey } from '../support/records.mjs'

const describe = '/xrpc/com.atproto.server.describeServer'
const list = 'com.atproto.repo.listRecords'
const create = 'com.atproto.repo.createRecord'
const page = (id, path, options) => request(id, 'GET', path, options)
const preflight = (id, path, headers) => request(id, 'OPTIONS', path, { headers: { origin: 'https://app.example.com', ...headers } })

export default group('frame', [
  page('robots.txt', '/robots.txt'),
  page('health', '/xrpc/_health', { volatile: ['version'] }),
  page('front page', '/', { anyBody: true }),
  page('atproto-did of an account', '/.well-known/atproto-did', { headers: { host: 'alice.test' } }),
  page('atproto-did of nobody', '/.well-known/atproto-did', { headers: { host: 'nobody.test' } }),
  page('atproto-did of another domain', '/.well-known/atproto-did', { headers: { host: 'alice.example.com' } }),
  page('atproto-did of the server', '/.well-known/atproto-did'),
  page('atproto-did of an account, in capitals', '/.well-known/atproto-did', { headers: { host: 'ALICE.test' } }),
  page('did.json', '/.well-known/did.json', { anyBody: true }),
  page('unknown page', '/nowhere', { anyBody: true }),
  page('unknown well-known', '/.well-known/nowhere', { anyBody: true }),
  preflight('preflight', describe, { 'access-control-request-method': 'GET' }),
  preflight('preflight with headers', `/xrpc/${create}`, { 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization, content-type, x-custom' }),
  preflight('preflight of an unknown method', '/xrpc/com.example.unknown', { 'access-control-request-method': 'POST' }),
  page('with an origin', describe, { headers: { origin: 'https://app.example.com' } }),
  page('error with an origin', `/xrpc/${list}`, { headers: { origin: 'https://app.example.com' } }),
  request('HEAD', 'HEAD', describe),
  request('HEAD of a procedure', 'HEAD', `/xrpc/${create}`, { as: 'alice' }),
  request('PUT of a query', 'PUT', describe),
  request('DELETE of a procedure', 'DELETE', `/xrpc/${create}`, { as: 'alice' }),
  request('PATCH of a procedure', 'PATCH', `/xrpc/${create}`, { as: 'alice' }),
  request('query with a body', 'GET', describe, { text: '{}' }),
  request('query with an empty body', 'GET', describe, { headers: { 'content-length': '0' } }),
  page('slash at the end', `${describe}/`),
  page('slash twice', '/xrpc//com.atproto.server.describeServer'),
  page('other letters', '/xrpc/com.atproto.server.DescribeServer'),
  page('other domain letters', '/xrpc/COM.atproto.server.describeServer'),
  page('percent in the method', '/xrpc/com.atproto.server.describe%53erver'),
  page('two question marks', `${describe}?a=1?b=2`),
  page('bad percent in the query', `/xrpc/${list}?repo=alice.test&collection=%`),
  page('gzip', `/xrpc/${list}?repo=alice.test&collection=app.bsky.feed.post&limit=100`, { headers: { 'accept-encoding': 'gzip' } }),
  page('deflate', `/xrpc/${list}?repo=alice.test&collection=app.bsky.feed.post&limit=100`, { headers: { 'accept-encoding': 'deflate' } }),
  page('gzip of something small', describe, { headers: { 'accept-encoding': 'gzip' } }),
  page('unknown encoding asked for', `/xrpc/${list}?repo=alice.test&collection=app.bsky.feed.post`, { headers: { 'accept-encoding': 'zzz' } }),
  post('gzipped JSON', create, undefined, { as: 'alice', bytes: (vars) => gzipSync(JSON.stringify({ repo: vars.get('alice.did'), collection: 'app.bsky.feed.post', rkey: rkey(700), record: note('packed') })), type: 'application/json', headers: { 'content-encoding': 'gzip' } }),
  badPost('gzipped JSON that is none', create, undefined, { as: 'alice', text: 'not gzip', type: 'application/json', headers: { 'content-encoding': 'gzip' } }),
  badPost('gzipped JSON, larger than allowed', create, undefined, { as: 'alice', bytes: gzipSync(Buffer.alloc(2_000_000, 32)), type: 'application/json', headers: { 'content-encoding': 'gzip' } }),
  badGet('bad parameter and bad token', list, { repo: 'alice.test', collection: 'app.bsky.feed.post', limit: 0 }, { headers: { authorization: 'Bearer x' } }),
  badGet('bad parameter and no token', 'com.atproto.repo.listMissingBlobs', { limit: 0 }),
  badPost('bad body and no token', create, { a: 1 }),
  badPost('bad type and no token', create, undefined, { text: 'x', type: 'text/plain' }),
  badPost('large body and no token', create, { a: 'x'.repeat(1_100_000) }),
  get('checkSignupQueue', 'com.atproto.temp.checkSignupQueue', {}, { as: 'alice' }),
  badGet('checkSignupQueue as nobody', 'com.atproto.temp.checkSignupQueue'),
  get('checkSignupQueue as an app', 'com.atproto.temp.checkSignupQueue', {}, { as: 'chat' }),
])
