// putRecord and deleteRecord: the swap matrix, and writes that change nothing.

import { badPost, get, group, post } from '../support/script.mjs'
import { noCid, note, rkey } from '../support/records.mjs'

const put = 'com.atproto.repo.putRecord'
const remove = 'com.atproto.repo.deleteRecord'
const posts = 'app.bsky.feed.post'
const profile = 'app.bsky.actor.profile'
const input = (fields) => ({ repo: '{bob.did}', collection: posts, rkey: rkey(1), record: note('one'), ...fields })
const good = (id, fields, options) => post(id, put, input(fields), { as: 'bob', ...options })
const bad = (id, fields, options) => badPost(id, put, input(fields), { as: 'bob', ...options })
const commitNow = (id, name) => get(id, 'com.atproto.sync.getLatestCommit', { did: '{bob.did}' }, { keep: { [name]: 'cid' } })

const puts = group('repo.putRecord', [
  good('makes it', {}, { keep: { 'put.one': 'cid' } }),
  good('the same again changes nothing', {}),
  good('the same with a wrong swap changes nothing either', { swapRecord: noCid, swapCommit: noCid }),
  good('changes it', { record: note('two') }, { keep: { 'put.two': 'cid' } }),
  bad('swapRecord of before', { record: note('three'), swapRecord: '{put.one}' }),
  good('swapRecord of now', { record: note('three'), swapRecord: '{put.two}' }, { keep: { 'put.three': 'cid' } }),
  bad('swapRecord null where there is one', { record: note('four'), swapRecord: null }),
  good('swapRecord null where there is none', { rkey: rkey(2), swapRecord: null }),
  bad('swapRecord where there is none', { rkey: rkey(3), swapRecord: '{put.one}' }),
  bad('swapRecord not a cid', { swapRecord: 'x' }),
  commitNow('the commit now', 'bob.commit'),
  good('swapCommit of now', { record: note('five'), swapCommit: '{bob.commit}' }),
  bad('swapCommit of before', { record: note('six'), swapCommit: '{bob.commit}' }),
  bad('swapCommit not a cid', { record: note('six'), swapCommit: 'x' }),
  bad('both swaps wrong', { record: note('six'), swapCommit: noCid, swapRecord: noCid }),
  good('validate false', { record: { text: 5 }, validate: false }),
  good('validate true', { record: note('seven'), validate: true }),
  bad('validate true, schema unknown', { collection: 'com.example.note', rkey: 'a', record: { a: 1 }, validate: true }),
  good('schema unknown', { collection: 'com.example.note', rkey: 'a', record: { a: 1 } }),
  good('type filled in', { rkey: rkey(4), record: { text: 'x', createdAt: '2024-05-01T12:00:00.000Z' } }),
  bad('type of another collection', { record: { ...note('x'), $type: profile } }),
  bad('record not right', { record: { $type: posts, createdAt: '2024-05-01T12:00:00.000Z' } }),
  bad('key missing', { rkey: undefined }),
  bad('key not right', { rkey: 'a/b' }),
  bad('key not a tid', { rkey: 'self' }),
  bad('repo missing', { repo: undefined }),
  bad('repo of another', { repo: '{alice.did}' }),
  bad('repo unknown', { repo: 'nobody.test' }),
  bad('collection not a name', { collection: 'x' }),
  bad('record missing', { record: undefined }),
  bad('nobody', {}, { as: undefined }),
  bad('another account', {}, { as: 'alice' }),
  badPost('empty object', put, {}, { as: 'bob' }),
  badPost('body larger than allowed', put, input({ record: note('x'.repeat(1_000_001)) }), { as: 'bob' }),
  good('profile', { collection: profile, rkey: 'self', record: { displayName: 'Bob' } }),
  good('profile again', { collection: profile, rkey: 'self', record: { displayName: 'Bob', description: 'new' } }),
  bad('profile under another key', { collection: profile, rkey: 'me', record: { displayName: 'Bob' } }),
  bad('profile name too long', { collection: profile, rkey: 'self', record: { displayName: 'x'.repeat(641) } }),
  get('what there is', 'com.atproto.repo.listRecords', { repo: '{bob.did}', collection: posts }),
])

const gone = (fields) => ({ repo: '{bob.did}', collection: posts, rkey: rkey(2), ...fields })
const goodRemove = (id, fields, options) => post(id, remove, gone(fields), { as: 'bob', ...options })
const badRemove = (id, fields, options) => badPost(id, remove, gone(fields), { as: 'bob', ...options })

const removes = group('repo.deleteRecord', [
  badRemove('swapRecord of another', { swapRecord: noCid }),
  badRemove('swapCommit of another', { swapCommit: noCid }),
  badRemove('swapRecord not a cid', { swapRecord: 'x' }),
  badRemove('another account', {}, { as: 'alice' }),
  badRemove('nobody', {}, { as: undefined }),
  badRemove('repo unknown', { repo: 'nobody.test' }),
  badRemove('key missing', { rkey: undefined }),
  badRemove('collection missing', { collection: undefined }),
  badRemove('collection not a name', { collection: '..' }),
  badRemove('key not right', { rkey: '..' }),
  commitNow('the commit now', 'bob.commit'),
  goodRemove('swapRecord and swapCommit of now', { swapRecord: '{put.one}', swapCommit: '{bob.commit}' }),
  goodRemove('again', {}),
  goodRemove('again with wrong swaps', { swapRecord: noCid, swapCommit: noCid }),
  goodRemove('in a collection that is not there', { collection: 'com.example.none', rkey: 'x' }),
  goodRemove('by handle', { repo: 'bob.test', rkey: rkey(4) }),
  badPost('body larger than allowed', remove, gone({ rkey: 'x'.repeat(160_000) }), { as: 'bob' }),
  badPost('no body', remove, undefined, { as: 'bob' }),
])

export default [puts, removes].flat()
