// createRecord: keys, validation, swaps, data model, and what is dropped for a newer one.

import { badGet, badPost, get, group, post } from '../support/script.mjs'
import { createdAt, follow, like, nested, nobody, noBlob, noCid, note, rkey } from '../support/records.mjs'

const method = 'com.atproto.repo.createRecord'
const posts = 'app.bsky.feed.post'
const notes = 'com.example.note'

const input = (fields) => ({ repo: '{alice.did}', collection: posts, record: note('hello'), ...fields })
const good = (id, fields, options) => post(id, method, input(fields), { as: 'alice', ...options })
// With a key of its own, so that one that is taken after all leaves the same tree on both sides.
let spare = 1000
const bad = (id, fields, options) => badPost(id, method, input({ rkey: rkey(spare++), ...fields }), { as: 'alice', ...options })
/** A record of a collection without a schema, as JSON text. */
const text = (id, record, make = badPost) =>
  make(id, method, undefined, { as: 'zoe', drawn: true, text: `{"repo":"{zoe.did}","collection":"${notes}","rkey":"${id.replace(/[^a-z0-9]+/g, '-')}","record":${record}}` })

/** In Zoe's repository. */
const zoe = (make, id, fields) => make(id, method, input({ repo: '{zoe.did}', rkey: rkey(spare++), ...fields }), { as: 'zoe', drawn: true })

const keys = [
  good('given key', { rkey: rkey(1) }, { keep: { 'first.uri': 'uri', 'first.cid': 'cid', 'first.commit': 'commit.cid' } }),
  // Keys that a server draws make trees that differ, so they go away again.
  good('drawn key', { repo: '{carol.did}' }, { as: 'carol', drawn: true, keep: { 'drawn.uri': 'uri', 'drawn.rkey': (body) => body.uri.split('/').pop() } }),
  post('drawn key deleted', 'com.atproto.repo.deleteRecord', { repo: '{carol.did}', collection: posts, rkey: '{drawn.rkey}' }, { as: 'carol', drawn: true }),
  good('repo by handle', { repo: 'alice.test', rkey: rkey(2), record: note('by handle') }),
  zoe(badPost, 'repo by handle in capitals', { repo: 'ZOE.test' }),
  bad('existing key', { rkey: rkey(1) }),
  bad('existing key with another record', { rkey: rkey(1), record: note('other') }),
  good('any key in a collection without schema', { collection: notes, rkey: 'a.b:c_d~e-f', record: { a: 1 } }),
  good('key of one letter', { collection: notes, rkey: 'x', record: { a: 1 } }),
  good('key of 512 letters', { collection: notes, rkey: 'k'.repeat(512), record: { a: 1 } }),
  good('key self', { collection: 'app.bsky.actor.profile', rkey: 'self', record: { displayName: 'Alice' } }),
  bad('key of 513 letters', { collection: notes, rkey: 'k'.repeat(513), record: { a: 1 } }),
  bad('key empty', { collection: notes, rkey: '', record: { a: 1 } }),
  bad('key a dot', { collection: notes, rkey: '.', record: { a: 1 } }),
  bad('key two dots', { collection: notes, rkey: '..', record: { a: 1 } }),
  bad('key with a slash', { collection: notes, rkey: 'a/b', record: { a: 1 } }),
  bad('key with a space', { collection: notes, rkey: 'a b', record: { a: 1 } }),
  bad('key with an umlaut', { collection: notes, rkey: 'ä', record: { a: 1 } }),
  bad('key a number', { collection: notes, rkey: 5, record: { a: 1 } }),
  bad('key not a tid', { rkey: 'hello' }),
  bad('key not self', { collection: 'app.bsky.actor.profile', rkey: 'me', record: { displayName: 'Alice' } }),
  bad('key drawn where it must be self', { rkey: undefined, collection: 'app.bsky.labeler.service', record: { policies: { labelValues: [] }, createdAt } }),
  good('key not a tid, unvalidated', { rkey: 'hello', validate: false }),
]

const validation = [
  good('validate true', { rkey: rkey(10), validate: true, record: note('checked') }),
  good('validate false', { rkey: rkey(11), validate: false, record: note('unchecked') }),
  good('validate false with a record that is not right', { rkey: rkey(12), validate: false, record: { $type: posts, text: 5 } }),
  good('unknown schema', { collection: notes, rkey: 'unknown', record: { a: 'b' } }),
  good('unknown schema, validate false', { collection: notes, rkey: 'unknown-off', validate: false, record: { a: 'b' } }),
  bad('unknown schema, validate true', { collection: notes, rkey: 'unknown-on', validate: true, record: { a: 'b' } }),
  bad('text missing', { record: { $type: posts, createdAt } }),
  bad('createdAt missing', { record: { $type: posts, text: 'x' } }),
  bad('text too long', { record: note('x'.repeat(3001)) }),
  bad('text of too many graphemes', { record: note('é'.repeat(301)) }),
  good('text of 300 graphemes', { rkey: rkey(13), record: note('👩‍👧'.repeat(100)) }),
  bad('text a number', { record: note(5) }),
  bad('createdAt not a time', { record: note('x', { createdAt: 'yesterday' }) }),
  bad('createdAt without zone', { record: note('x', { createdAt: '2024-05-01T12:00:00' }) }),
  bad('langs too many', { record: note('x', { langs: ['a', 'b', 'c', 'd'] }) }),
  bad('langs not languages', { record: note('x', { langs: ['?'] }) }),
  bad('reply without parent', { record: note('x', { reply: { root: { uri: `at://${nobody}/${posts}/${rkey(1)}`, cid: noCid } } }) }),
  bad('embed of the wrong form', { record: note('x', { embed: { $type: 'app.bsky.embed.images', images: 'none' } }) }),
  good('embed of an unknown type', { rkey: rkey(14), record: note('x', { embed: { $type: 'com.example.embed', a: 1 } }) }),
  bad('embed without type', { record: note('x', { embed: { images: [] } }) }),
  bad('facet that ends before it begins', { record: note('hello', { facets: [{ index: { byteStart: -1, byteEnd: 3 }, features: [] }] }) }),
  good('field that the schema lacks', { rkey: rkey(15), record: note('x', { extra: { deep: [1, 2, 3] } }) }),
  good('type filled in', { rkey: rkey(16), record: { text: 'untyped', createdAt } }),
  bad('type of another collection', { record: like(1) }),
  bad('type of another collection, unvalidated', { record: like(1), validate: false }),
  bad('type not a text', { record: { ...note('x'), $type: 5 } }),
  bad('type empty', { record: { ...note('x'), $type: '' } }),
  bad('follow of no did', { collection: 'app.bsky.graph.follow', record: follow('bob') }),
  bad('like of no uri', { collection: 'app.bsky.feed.like', record: { ...like(1), subject: { uri: 'x', cid: noCid } } }),
  bad('like with a bad cid', { collection: 'app.bsky.feed.like', record: { ...like(1), subject: { uri: `at://${nobody}`, cid: 'x' } } }),
]

const fields = [
  bad('nobody', {}, { as: undefined }),
  bad('admin', {}, { as: 'admin' }),
  bad('another account', {}, { as: 'bob' }),
  bad('refresh token', {}, { as: 'alice.refresh' }),
  bad('repo unknown', { repo: 'nobody.test' }),
  bad('repo of an unknown did', { repo: nobody }),
  bad('repo missing', { repo: undefined }),
  bad('repo not an identifier', { repo: '???' }),
  bad('collection missing', { collection: undefined }),
  bad('collection not a name', { collection: 'posts' }),
  bad('collection with a fragment', { collection: `${posts}#main` }),
  bad('record missing', { record: undefined }),
  bad('record null', { record: null }),
  bad('record a list', { record: [] }),
  bad('record a text', { record: 'hello' }),
  bad('validate a text', { validate: 'true' }),
  zoe(badPost, 'validate null', { validate: null }),
  bad('swapCommit not a cid', { swapCommit: 'x' }),
  bad('swapCommit of another state', { swapCommit: noCid }),
  zoe(badPost, 'swapCommit null', { swapCommit: null }),
  get('the commit now', 'com.atproto.sync.getLatestCommit', { did: '{alice.did}' }, { keep: { 'now.commit': 'cid' } }),
  good('swapCommit of now', { rkey: rkey(20), swapCommit: '{now.commit}' }),
  bad('swapCommit of before', { rkey: rkey(21), swapCommit: '{now.commit}' }),
  badPost('no body', method, undefined, { as: 'alice' }),
  badPost('empty object', method, {}, { as: 'alice' }),
  badPost('body without type', method, undefined, { as: 'alice', text: '{}', type: null }),
  badPost('body of another type', method, undefined, { as: 'alice', text: 'hello', type: 'text/plain' }),
  badPost('body cut off', method, undefined, { as: 'alice', text: '{"repo":"x"' }),
  badPost('body with a byte order mark', method, undefined, { as: 'alice', text: '\ufeff{}' }),
  badPost('body not UTF-8', method, undefined, { as: 'alice', bytes: Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d]) }),
  badPost('body larger than allowed', method, input({ record: note('x'.repeat(1_000_001)) }), { as: 'alice' }),
  badPost('bad body and nobody', method, undefined, { text: '{' }),
  badPost('body with an encoding that is unknown', method, input({}), { as: 'alice', headers: { 'content-encoding': 'snappy' } }),
  badGet('by GET', method, {}, { as: 'alice' }),
]

const dataModel = [
  text('float', '{"a":1.5}'),
  text('float that is whole', '{"a":1.0}', post),
  text('exponent', '{"a":1e3}', post),
  text('negative zero', '{"a":-0}', post),
  text('largest integer', '{"a":9007199254740991}', post),
  text('smallest integer', '{"a":-9007199254740991}', post),
  text('integer past the safe range', '{"a":9007199254740993}'),
  text('integer past 64 bits', '{"a":18446744073709551616}'),
  text('null value', '{"a":null}', post),
  text('empty record', '{}', post),
  text('empty member name', '{"":1}', post),
  text('proto member', '{"__proto__":{"a":1}}'),
  text('constructor member', '{"constructor":{"a":1}}', post),
  text('duplicate member', '{"a":1,"a":2}', post),
  text('link', `{"a":{"$link":"${noCid}"}}`, post),
  text('link that is no cid', '{"a":{"$link":"x"}}', post),
  text('link with another member', `{"a":{"$link":"${noCid}","b":1}}`, post),
  text('bytes', '{"a":{"$bytes":"aGVsbG8"}}', post),
  text('bytes with padding', '{"a":{"$bytes":"aGVsbG8="}}', post),
  text('bytes that are not base64', '{"a":{"$bytes":"***"}}', post),
  text('bytes that are a number', '{"a":{"$bytes":5}}', post),
  text('escaped letters', '{"a":"\\u00e9\\ud83d\\ude00\\n"}', post),
  text('lone surrogate', '{"a":"\\ud800"}', post),
  text('type inside not a text', '{"a":{"$type":5}}', post),
  text('deep', nested(40), post),
  text('very deep', nested(4000)),
  text('deep lists', nested(40, '[', ']').replace(/^/, '{"a":') + '}', post),
  text('very deep lists', `{"a":${nested(4000, '[', ']')}}`),
]

const blobs = [
  zoe(badPost, 'blob that is not there', { collection: notes, record: { a: { $type: 'blob', ref: { $link: noBlob }, mimeType: 'image/png', size: 10 } } }),
  zoe(badPost, 'legacy blob', { collection: notes, record: { a: { cid: noBlob, mimeType: 'image/png' } } }),
  zoe(badPost, 'legacy blob, unvalidated', { collection: notes, validate: false, record: { a: [{ b: { cid: noBlob, mimeType: 'image/png' } }] } }),
  zoe(post, 'almost a legacy blob', { collection: notes, rkey: 'almost', record: { a: { cid: noBlob, mimeType: 'image/png', size: 1 } } }),
  zoe(post, 'legacy blob whose cid is none', { collection: notes, rkey: 'almost-cid', record: { a: { cid: 'x', mimeType: 'image/png' } } }),
  zoe(post, 'blob without size, unvalidated', { collection: notes, rkey: 'sizeless', validate: false, record: { a: { $type: 'blob', ref: { $link: noBlob }, mimeType: 'image/png' } } }),
  zoe(post, 'blob with an extra member, unvalidated', { collection: notes, rkey: 'extra', validate: false, record: { a: { $type: 'blob', ref: { $link: noBlob }, mimeType: 'image/png', size: 1, more: 1 } } }),
  zoe(post, 'blob with a number for a type', { rkey: 'untyped-blob', collection: notes, record: { a: { $type: 'blob', ref: { $link: noBlob }, mimeType: 5, size: 1 } } }),
  zoe(badPost, 'blob of a raw cid in dag-cbor', { collection: notes, record: { a: { $type: 'blob', ref: { $link: noCid }, mimeType: 'image/png', size: 1 } } }),
]

const newest = [
  good('like', { collection: 'app.bsky.feed.like', rkey: rkey(30), record: like(1) }),
  good('like again drops the older', { collection: 'app.bsky.feed.like', rkey: rkey(31), record: like(1, { createdAt: '2024-05-02T12:00:00.000Z' }) }),
  good('like again, unvalidated, keeps it', { collection: 'app.bsky.feed.like', rkey: rkey(32), validate: false, record: like(1) }),
  good('repost', { collection: 'app.bsky.feed.repost', rkey: rkey(33), record: { ...like(1), $type: 'app.bsky.feed.repost' } }),
  good('repost again drops the older', { collection: 'app.bsky.feed.repost', rkey: rkey(34), record: { ...like(1), $type: 'app.bsky.feed.repost' } }),
  good('follow', { collection: 'app.bsky.graph.follow', rkey: rkey(35), record: follow() }),
  good('follow again drops the older', { collection: 'app.bsky.graph.follow', rkey: rkey(36), record: follow() }),
  good('block', { collection: 'app.bsky.graph.block', rkey: rkey(37), record: { ...follow(), $type: 'app.bsky.graph.block' } }),
  good('block again drops the older', { collection: 'app.bsky.graph.block', rkey: rkey(38), record: { ...follow(), $type: 'app.bsky.graph.block' } }),
  ['app.bsky.feed.like', 'app.bsky.feed.repost', 'app.bsky.graph.follow', 'app.bsky.graph.block'].map((collection) =>
    get(`what is left of ${collection}`, 'com.atproto.repo.listRecords', { repo: '{alice.did}', collection }),
  ),
]

export default group('repo.createRecord', [keys, validation, fields, dataModel, blobs, newest])
