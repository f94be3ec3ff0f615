// What relays and mirrors read.

import { badGet, badPost, get, group, local, request } from '../support/script.mjs'
import { subscribe } from '../support/firehose.mjs'
import { noBlob, nobody, noCid, rkey } from '../support/records.mjs'

const sync = (name) => `com.atproto.sync.${name}`
const posts = 'app.bsky.feed.post'
const alice = { did: '{alice.did}' }

/** Methods of one repo, refused alike. */
const refusals = ['getRepo', 'getLatestCommit', 'getHead', 'getCheckout', 'listBlobs', 'getRepoStatus'].map((name) => [
  badGet(`${name} of nobody`, sync(name), { did: nobody }),
  badGet(`${name} of no did`, sync(name), { did: 'alice' }),
  badGet(`${name} of a handle`, sync(name), { did: 'alice.test' }),
  badGet(`${name} without did`, sync(name)),
  badPost(`${name} by POST`, sync(name), {}),
])

const withTokens = ['getRepo', 'getLatestCommit', 'getHead', 'listBlobs'].map((name) => [
  get(`${name} as an account`, sync(name), alice, { as: 'bob' }),
  get(`${name} as the administrator`, sync(name), alice, { as: 'admin' }),
  badGet(`${name} with a token that is nonsense`, sync(name), alice, { headers: { authorization: 'Bearer x.y.z' } }),
  badGet(`${name} with a wrong password`, sync(name), alice, { headers: { authorization: `Basic ${btoa('admin:wrong')}` } }),
])

/** Opens a subscription, and compares its first `count` messages or, with none asked for, its end. */
const subscription = (id, query, count) =>
  local(id, async (side) => {
    const { frames, closed, close } = await subscribe(side, query)
    const ended = count === 0 ? await closed : await frames.until((all) => all.length >= count, id, 5)
    close()
    const seen = frames.items.slice(0, Math.max(count, 1)).map(({ type, body }) => ({ type, error: body.error ?? body.name }))
    return { seen, ended: count === 0 ? ended : 'open' }
  })

export default [
  group('sync', [
    refusals,
    withTokens,
    get('getRepo', sync('getRepo'), alice),
    get('getRepo, gzip', sync('getRepo'), alice, { headers: { 'accept-encoding': 'gzip' } }),
    get('getRepo since now', sync('getRepo'), { ...alice, since: '7zzzzzzzzzzzz' }),
    get('getRepo since ever', sync('getRepo'), { ...alice, since: '2222222222222' }),
    badGet('getRepo since no rev', sync('getRepo'), { ...alice, since: 'x' }),
    request('getRepo HEAD', 'HEAD', `/xrpc/${sync('getRepo')}`, { query: alice }),
    get('getCheckout', sync('getCheckout'), alice),
    get('getHead', sync('getHead'), alice, { keep: { 'alice.head': 'root' } }),
    get('getLatestCommit', sync('getLatestCommit'), alice),
    get('getRepoStatus', sync('getRepoStatus'), alice),
    get('getRecord', sync('getRecord'), { ...alice, collection: posts, rkey: rkey(1) }),
    get('getRecord that is not there', sync('getRecord'), { ...alice, collection: posts, rkey: rkey(901) }),
    get('getRecord in a collection that is not there', sync('getRecord'), { ...alice, collection: 'com.example.nothing', rkey: 'x' }),
    badGet('getRecord of nobody', sync('getRecord'), { did: nobody, collection: posts, rkey: rkey(1) }),
    badGet('getRecord without key', sync('getRecord'), { ...alice, collection: posts }),
    badGet('getRecord with a bad collection', sync('getRecord'), { ...alice, collection: 'x', rkey: rkey(1) }),
    badGet('getRecord with a bad key', sync('getRecord'), { ...alice, collection: posts, rkey: 'a/b' }),
    get('getBlocks of a record', sync('getBlocks'), { ...alice, cids: '{first.cid}' }),
    get('getBlocks of the head and a record', sync('getBlocks'), { ...alice, cids: ['{alice.head}', '{first.cid}'] }),
    get('getBlocks of one twice', sync('getBlocks'), { ...alice, cids: ['{first.cid}', '{first.cid}'] }),
    badGet('getBlocks that are not there', sync('getBlocks'), { ...alice, cids: noCid }),
    badGet('getBlocks, one is not there', sync('getBlocks'), { ...alice, cids: ['{first.cid}', noBlob] }),
    badGet('getBlocks that are no cids', sync('getBlocks'), { ...alice, cids: 'x' }),
    badGet('getBlocks without cids', sync('getBlocks'), alice),
    badGet('getBlocks of nobody', sync('getBlocks'), { did: nobody, cids: noCid }),
    get('listRepos', sync('listRepos'), { limit: 3 }, { volatile: ['cursor'], keep: { 'repos.cursor': 'cursor' } }),
    get('listRepos, next', sync('listRepos'), { limit: 2, cursor: '{repos.cursor}' }, { volatile: ['cursor'] }),
    get('listRepos, all', sync('listRepos'), {}, { volatile: ['cursor', 'repos.*.rev', 'repos.*.head'] }),
    badGet('listRepos, limit 0', sync('listRepos'), { limit: 0 }),
    badGet('listRepos, limit 1001', sync('listRepos'), { limit: 1001 }),
    badGet('listRepos, cursor malformed', sync('listRepos'), { cursor: 'x' }),
    get('listBlobs since now', sync('listBlobs'), { ...alice, since: '7zzzzzzzzzzzz' }),
    badGet('listBlobs, limit 0', sync('listBlobs'), { ...alice, limit: 0 }),
    badGet('listBlobs, limit 1001', sync('listBlobs'), { ...alice, limit: 1001 }),
    badGet('listBlobs, cursor no cid', sync('listBlobs'), { ...alice, cursor: '' , limit: 'x' }),
  ]),
  group('sync.subscribeRepos', [
    subscription('from the start', '?cursor=0', 3),
    subscription('from before the start', '?cursor=-5', 3),
    subscription('from the future', '?cursor=999999999', 0),
    subscription('from nowhere', '?cursor=x', 0),
  ]),
].flat()
