// getRecord, listRecords and describeRepo.

import { badGet, badPost, get, group, request } from '../support/script.mjs'
import { nobody, noCid, rkey } from '../support/records.mjs'

const getRecord = 'com.atproto.repo.getRecord'
const listRecords = 'com.atproto.repo.listRecords'
const describeRepo = 'com.atproto.repo.describeRepo'
const posts = 'app.bsky.feed.post'
const one = { repo: '{alice.did}', collection: posts, rkey: rkey(1) }
const list = (id, query, make = get) => make(id, listRecords, { repo: '{carol.did}', collection: posts, ...query })

export default [
  group('repo.getRecord', [
    get('by did', getRecord, one),
    get('by handle', getRecord, { ...one, repo: 'alice.test' }),
    get('by handle in capitals', getRecord, { ...one, repo: 'Alice.TEST' }),
    get('with its cid', getRecord, { ...one, cid: '{first.cid}' }),
    get('cid empty', getRecord, { ...one, cid: '' }),
    get('with a token that is nonsense', getRecord, one, { headers: { authorization: 'nonsense' } }),
    get('with bytes, links and unknown members', getRecord, { repo: '{zoe.did}', collection: 'com.example.note', rkey: 'bytes' }),
    badGet('with another cid', getRecord, { ...one, cid: noCid }),
    badGet('with a cid that is none', getRecord, { ...one, cid: 'x' }),
    badGet('key unknown', getRecord, { ...one, rkey: rkey(900) }),
    badGet('collection unknown', getRecord, { ...one, collection: 'com.example.nothing' }),
    badGet('repo missing', getRecord, { ...one, repo: '' }),
    badGet('collection missing', getRecord, { ...one, collection: '' }),
    badGet('key missing', getRecord, { ...one, rkey: '' }),
    badGet('repo not an identifier', getRecord, { ...one, repo: '?' }),
    badGet('collection not a name', getRecord, { ...one, collection: 'x' }),
    badGet('key not right', getRecord, { ...one, rkey: 'a/b' }),
    badGet('repo given twice', getRecord, { ...one, repo: ['alice.test', 'bob.test'] }),
    get('repo elsewhere goes to the AppView', getRecord, { ...one, repo: nobody }),
    get('handle elsewhere goes to the AppView', getRecord, { ...one, repo: 'elsewhere.example.com' }),
    badGet('repo elsewhere, refused there', getRecord, { ...one, repo: nobody, stub: '400' }),
    badPost('by POST', getRecord, {}),
    request('HEAD', 'HEAD', `/xrpc/${getRecord}?repo=alice.test&collection=${posts}&rkey=${rkey(1)}`),
  ]),
  group('repo.listRecords', [
    list('all', {}),
    list('limit', { limit: 2 }),
    list('limit and cursor', { limit: 2, cursor: rkey(7) }),
    list('reverse', { reverse: true, limit: 3 }),
    list('reverse false', { reverse: false, limit: 3 }),
    list('reverse and cursor', { reverse: true, limit: 2, cursor: rkey(3) }),
    list('cursor before all', { cursor: '2222222222222' }),
    list('cursor that is no key', { cursor: 'zzz' }),
    list('cursor empty', { cursor: '' }),
    list('limit of 100', { limit: 100 }),
    list('by handle', { repo: 'carol.test' }),
    list('unknown parameter', { color: 'red' }),
    list('collection without records', { collection: 'com.example.nothing' }),
    list('limit 0', { limit: 0 }, badGet),
    list('limit 101', { limit: 101 }, badGet),
    list('limit negative', { limit: -1 }, badGet),
    list('limit not a number', { limit: 'ten' }, badGet),
    list('limit with a fraction', { limit: '1.5' }, badGet),
    list('limit in hex', { limit: '0x10' }, badGet),
    list('limit with a plus', { limit: '+10' }, badGet),
    list('reverse not a truth', { reverse: 'yes' }, badGet),
    list('reverse 1', { reverse: '1' }, badGet),
    list('repo unknown', { repo: nobody }, badGet),
    list('handle unknown', { repo: 'nobody.test' }, badGet),
    list('repo not an identifier', { repo: '?' }, badGet),
    list('collection not a name', { collection: 'x' }, badGet),
    badGet('nothing given', listRecords),
    badGet('proto parameter', listRecords, {}, { path: `/xrpc/${listRecords}?repo=alice.test&collection=${posts}&__proto__=x` }),
  ]),
  group('repo.describeRepo', [
    get('by did', describeRepo, { repo: '{alice.did}' }),
    get('by handle', describeRepo, { repo: 'bob.test' }),
    badGet('unknown', describeRepo, { repo: 'nobody.test' }),
    badGet('unknown did', describeRepo, { repo: nobody }),
    badGet('not an identifier', describeRepo, { repo: '?' }),
    badGet('nothing given', describeRepo),
  ]),
].flat()
