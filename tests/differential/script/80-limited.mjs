// A pair of servers with rate limits. Windows are minutes long, so nothing waits for their end.

import { badPost, get, group, post, request } from '../support/script.mjs'
import { note, rkey } from '../support/records.mjs'

export const variant = 'limited'

const server = (name) => `com.atproto.server.${name}`
const create = (n) => post(`write ${n}`, 'com.atproto.repo.createRecord', { repo: '{alice.did}', collection: 'app.bsky.feed.post', rkey: rkey(n), record: note(`post ${n}`) }, { as: 'alice' })
const signIn = (n) => badPost(`sign in wrongly ${n}`, server('createSession'), { identifier: 'nobody.test', password: 'x' })
const times = (count, make) => Array.from({ length: count }, (_, n) => make(n + 1))

export default group('limited', [
  get('describeServer', server('describeServer')),
  post('sign up', server('createAccount'), { handle: 'alice.test', email: 'alice@example.com', password: 'alice-pass' }, { keep: { 'alice.did': 'did', 'alice.access': 'accessJwt', 'alice.refresh': 'refreshJwt' } }),
  times(3, create),
  post('update', 'com.atproto.repo.putRecord', { repo: '{alice.did}', collection: 'app.bsky.feed.post', rkey: rkey(1), record: note('new') }, { as: 'alice' }),
  post('delete', 'com.atproto.repo.deleteRecord', { repo: '{alice.did}', collection: 'app.bsky.feed.post', rkey: rkey(1) }, { as: 'alice' }),
  post('several', 'com.atproto.repo.applyWrites', { repo: '{alice.did}', writes: [{ $type: 'com.atproto.repo.applyWrites#delete', collection: 'app.bsky.feed.post', rkey: rkey(2) }] }, { as: 'alice' }),
  badPost('refused before it is counted', 'com.atproto.repo.createRecord', {}, { as: 'alice' }),
  create(9),
  post('upload', 'com.atproto.repo.uploadBlob', undefined, { as: 'alice', text: 'hello', type: 'text/plain' }),
  get('getRepo', 'com.atproto.sync.getRepo', { did: '{alice.did}' }),
  get('getLatestCommit', 'com.atproto.sync.getLatestCommit', { did: '{alice.did}' }),
  get('proxied', 'app.bsky.actor.getSuggestions', {}, { as: 'alice' }),
  request('HEAD', 'HEAD', '/xrpc/com.atproto.server.describeServer'),
  times(31, signIn),
  post('another identifier', server('createSession'), { identifier: 'alice.test', password: 'alice-pass' }),
  badPost('with the bypass key', server('createSession'), { identifier: 'nobody.test', password: 'x' }, { headers: { 'x-ratelimit-bypass': 'loopback-bypass-key' } }),
  badPost('with another key', server('createSession'), { identifier: 'nobody.test', password: 'x' }, { headers: { 'x-ratelimit-bypass': 'other' } }),
  badPost('behind another address', server('createSession'), { identifier: 'nobody.test', password: 'x' }, { headers: { 'x-forwarded-for': '192.0.2.7' } }),
  times(6, (n) => ({ ...post(`ask for deletion ${n}`, server('requestAccountDelete'), undefined, { as: 'alice' }), expected: n > 5 ? 'bad' : 'good' })),
  times(6, (n) => ({ ...post(`ask for confirmation ${n}`, server('requestEmailConfirmation'), undefined, { as: 'alice' }), expected: n > 5 ? 'bad' : 'good' })),
  times(6, (n) => ({ ...post(`ask for an update ${n}`, server('requestEmailUpdate'), undefined, { as: 'alice' }), expected: n > 5 ? 'bad' : 'good' })),
  times(11, (n) => ({ ...post(`handle ${n}`, 'com.atproto.identity.updateHandle', { handle: `alice${n}.test` }, { as: 'alice' }), expected: n > 10 ? 'bad' : 'good' })),
  times(16, (n) => ({ ...post(`ask for a password ${n}`, server('requestPasswordReset'), { email: 'alice@example.com' }), expected: n > 15 ? 'bad' : 'good' })),
])
