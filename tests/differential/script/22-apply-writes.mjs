// applyWrites: several writes in one commit, all or none.

import { badPost, get, group, post } from '../support/script.mjs'
import { noCid, note, rkey } from '../support/records.mjs'

const method = 'com.atproto.repo.applyWrites'
const posts = 'app.bsky.feed.post'
const create = (key, value = note(`post ${key}`), more) => ({ $type: `${method}#create`, collection: posts, rkey: rkey(key), value, ...more })
const update = (key, value = note(`new ${key}`), more) => ({ $type: `${method}#update`, collection: posts, rkey: rkey(key), value, ...more })
const remove = (key, more) => ({ $type: `${method}#delete`, collection: posts, rkey: rkey(key), ...more })

const good = (id, writes, more, options) => post(id, method, { repo: '{carol.did}', writes, ...more }, { as: 'carol', ...options })
const bad = (id, writes, more, options) => badPost(id, method, { repo: '{carol.did}', writes, ...more }, { as: 'carol', ...options })

export default group('repo.applyWrites', [
  good('three creates', [create(1), create(2), create(3)]),
  good('one of each', [create(4), update(1), remove(2)]),
  good('empty list', []),
  good('key drawn', [create(5, { a: 1 }, { rkey: undefined, collection: 'com.example.drawn' })], {}, { drawn: true, keep: { 'writes.drawn': (body) => body.results[0].uri.split('/').pop() } }),
  post('key drawn deleted', method, { repo: '{carol.did}', writes: [{ $type: `${method}#delete`, collection: 'com.example.drawn', rkey: '{writes.drawn}' }] }, { as: 'carol', drawn: true }),
  good('unvalidated', [create(6, { text: 5 })], { validate: false }),
  good('validate true', [create(7)], { validate: true }),
  good('schema unknown', [{ ...create(8, { a: 1 }), collection: 'com.example.note' }]),
  bad('schema unknown, validate true', [{ ...create(9, { a: 1 }), collection: 'com.example.note' }], { validate: true }),
  bad('create over what is there', [create(1)]),
  bad('update what is not there', [update(50)]),
  bad('delete what is not there', [remove(50)]),
  bad('one bad among good', [create(51), create(52, { $type: posts, createdAt: '2024-05-01T12:00:00.000Z' })]),
  get('nothing of it was written', 'com.atproto.repo.listRecords', { repo: '{carol.did}', collection: posts }),
  good('create and update the same', [create(60), update(60)]),
  good('create and delete the same', [create(61), remove(61)]),
  good('delete and create the same', [remove(60), create(60)]),
  good('update twice', [update(60, note('first')), update(60, note('second'))]),
  bad('create the same twice', [create(62), create(62)]),
  bad('delete the same twice', [remove(60), remove(60)]),
  good('two hundred', Array.from({ length: 200 }, (_, n) => create(100 + n))),
  good('delete two hundred', Array.from({ length: 200 }, (_, n) => remove(100 + n))),
  bad('two hundred and one', Array.from({ length: 201 }, (_, n) => create(400 + n))),
  bad('swapCommit of another state', [create(70)], { swapCommit: noCid }),
  get('the commit now', 'com.atproto.sync.getLatestCommit', { did: '{carol.did}' }, { keep: { 'carol.commit': 'cid' } }),
  good('swapCommit of now', [create(70)], { swapCommit: '{carol.commit}' }),
  bad('swapCommit of before', [create(71)], { swapCommit: '{carol.commit}' }),
  bad('type missing', [{ collection: posts, rkey: rkey(72), value: note('x') }]),
  bad('type unknown', [{ ...create(72), $type: `${method}#move` }]),
  bad('type without method', [{ ...create(72), $type: '#create' }]),
  bad('value missing', [create(72, null, { value: undefined })]),
  bad('key missing in an update', [update(72, note('x'), { rkey: undefined })]),
  bad('key missing in a delete', [remove(72, { rkey: undefined })]),
  bad('key not right', [create(72, note('x'), { rkey: 'a b' })]),
  bad('collection not a name', [create(72, note('x'), { collection: 'posts' })]),
  bad('value of another type', [create(72, { ...note('x'), $type: 'app.bsky.feed.like' })]),
  bad('writes missing', undefined),
  bad('writes not a list', create(72)),
  bad('a write that is a text', ['create']),
  bad('repo of another', [create(73)], { repo: '{alice.did}' }),
  bad('nobody', [create(73)], {}, { as: undefined }),
  good('repo by handle', [create(74)], { repo: 'carol.test' }),
  bad('commit too large', Array.from({ length: 3 }, (_, n) => create(80 + n, { text: 'x'.repeat(400_000) }, { collection: 'com.example.note' }))),
  get('the repo after all', 'com.atproto.sync.getRepo', { did: '{carol.did}' }),
])
