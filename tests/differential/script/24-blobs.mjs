// Uploads, and records that hold them.

import { gzipSync } from 'node:zlib'
import { badGet, badPost, get, group, post, request } from '../support/script.mjs'
import { noBlob, nobody, note, png, rkey } from '../support/records.mjs'
import { UPLOAD_BYTES_MAX } from '../support/limits.mjs'

const upload = 'com.atproto.repo.uploadBlob'
const create = 'com.atproto.repo.createRecord'
const up = (id, bytes, type, options) => post(id, upload, undefined, { as: 'dan', bytes, type, ...options })
const badUp = (id, bytes, type, options) => badPost(id, upload, undefined, { as: 'dan', bytes, type, ...options })
const write = (make, id, key, record, options) =>
  make(id, create, { repo: '{dan.did}', collection: 'app.bsky.feed.post', rkey: rkey(key), record }, { as: 'dan', ...options })
const withImage = (blob) => note('look', { embed: { $type: 'app.bsky.embed.images', images: [{ image: blob, alt: 'grey' }] } })

const uploads = group('repo.uploadBlob', [
  up('png', png(8), 'image/png', { keep: { 'blob.png': 'blob', 'blob.cid': 'blob.ref.$link' } }),
  up('png again', png(8), 'image/png'),
  up('png that says it is jpeg', png(9), 'image/jpeg'),
  up('text', Buffer.from('hello'), 'text/plain', { keep: { 'blob.text': 'blob', 'blob.textCid': 'blob.ref.$link' } }),
  up('text with charset', Buffer.from('hello there'), 'text/plain; charset=utf-8'),
  up('json', Buffer.from('{"a":1}'), 'application/json'),
  up('bytes of no known type', Buffer.from([1, 2, 3, 4]), 'application/octet-stream'),
  badUp('type that is not one', Buffer.from([1, 2, 3, 5]), 'nonsense'),
  up('type any', Buffer.from([1, 2, 3, 6]), '*/*'),
  up('html', Buffer.from('<!doctype html><html></html>'), 'text/html'),
  up('svg', Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"></svg>'), 'image/svg+xml'),
  up('empty', Buffer.alloc(0), 'text/plain'),
  up('chunked', png(10), 'image/png', { framing: 'chunked' }),
  up('gzipped on the way', gzipSync(png(11)), 'image/png', { headers: { 'content-encoding': 'gzip' } }),
  up('just as large as allowed', Buffer.alloc(UPLOAD_BYTES_MAX, 7), 'application/octet-stream'),
  badUp('larger than allowed', Buffer.alloc(UPLOAD_BYTES_MAX + 1, 7), 'application/octet-stream'),
  badUp('larger than allowed, chunked', Buffer.alloc(UPLOAD_BYTES_MAX + 1, 7), 'application/octet-stream', { framing: 'chunked' }),
  badUp('larger than allowed when unpacked', gzipSync(Buffer.alloc(UPLOAD_BYTES_MAX + 1, 7)), 'application/octet-stream', { headers: { 'content-encoding': 'gzip' } }),
  badUp('encoding unknown', png(8), 'image/png', { headers: { 'content-encoding': 'snappy' } }),
  badUp('no type', png(8), null),
  badUp('nobody', png(8), 'image/png', { as: undefined }),
  badUp('admin', png(8), 'image/png', { as: 'admin' }),
  badUp('token that is nonsense', png(8), 'image/png', { as: undefined, headers: { authorization: 'Bearer x.y.z' } }),
  badPost('neither length nor encoding', upload, undefined, { as: 'dan', framing: 'none', headers: { 'content-type': 'image/png' } }),
  badGet('by GET', upload, {}, { as: 'dan' }),
])

const getBlob = 'com.atproto.sync.getBlob'

const uses = group('blobs', [
  badGet('not served before a record holds it', getBlob, { did: '{dan.did}', cid: '{blob.cid}' }),
  get('not listed before a record holds it', 'com.atproto.sync.listBlobs', { did: '{dan.did}' }),
  write(post, 'record with it', 1, withImage('{blob.png}')),
  get('served', getBlob, { did: '{dan.did}', cid: '{blob.cid}' }),
  request('served to HEAD', 'HEAD', `/xrpc/${getBlob}`, { query: { did: '{dan.did}', cid: '{blob.cid}' } }),
  get('listed', 'com.atproto.sync.listBlobs', { did: '{dan.did}' }),
  write(post, 'second record with it', 2, withImage('{blob.png}')),
  write(badPost, 'text where an image must be', 3, withImage('{blob.text}')),
  up('another png', png(40), 'image/png', { keep: { 'blob.fresh': 'blob' } }),
  write(badPost, 'size that is not its own', 4, withImage((vars) => ({ ...vars.get('blob.fresh'), size: 1 }))),
  write(badPost, 'type that is not its own', 5, note('x', { embed: { $type: 'app.bsky.embed.images', images: [{ alt: '', image: { $type: 'blob', ref: { $link: '{blob.textCid}' }, mimeType: 'image/png', size: 5 } }] } })),
  write(badPost, 'blob that was not uploaded', 6, withImage({ $type: 'blob', ref: { $link: noBlob }, mimeType: 'image/png', size: 5 })),
  write(badPost, 'blob of another account', 7, withImage('{blob.png}'), { as: 'bob' }),
  post('text in a record without schema', create, { repo: '{dan.did}', collection: 'com.example.note', rkey: 'blob', record: { file: '{blob.text}' } }, { as: 'dan' }),
  get('text served', getBlob, { did: '{dan.did}', cid: '{blob.textCid}' }),
  get('two listed', 'com.atproto.sync.listBlobs', { did: '{dan.did}' }),
  get('one listed', 'com.atproto.sync.listBlobs', { did: '{dan.did}', limit: 1 }),
  get('the other listed', 'com.atproto.sync.listBlobs', { did: '{dan.did}', limit: 1, cursor: '{blob.cid}' }),
  post('first record goes', 'com.atproto.repo.deleteRecord', { repo: '{dan.did}', collection: 'app.bsky.feed.post', rkey: rkey(1) }, { as: 'dan' }),
  get('still served', getBlob, { did: '{dan.did}', cid: '{blob.cid}' }),
  post('second record goes', 'com.atproto.repo.deleteRecord', { repo: '{dan.did}', collection: 'app.bsky.feed.post', rkey: rkey(2) }, { as: 'dan' }),
  badGet('no longer served', getBlob, { did: '{dan.did}', cid: '{blob.cid}' }),
  badGet('unknown cid', getBlob, { did: '{dan.did}', cid: noBlob }),
  badGet('cid that is none', getBlob, { did: '{dan.did}', cid: 'x' }),
  badGet('unknown did', getBlob, { did: nobody, cid: noBlob }),
  badGet('did missing', getBlob, { cid: noBlob }),
  badGet('cid missing', getBlob, { did: '{dan.did}' }),
  post('profile with an avatar of a legacy shape', 'com.atproto.repo.putRecord', { repo: '{dan.did}', collection: 'app.bsky.actor.profile', rkey: 'self', record: { displayName: 'Dan' } }, { as: 'dan' }),
  get('missing blobs: none', 'com.atproto.repo.listMissingBlobs', {}, { as: 'dan' }),
  get('missing blobs with limit and cursor', 'com.atproto.repo.listMissingBlobs', { limit: 10, cursor: noBlob }, { as: 'dan' }),
  badGet('missing blobs: nobody', 'com.atproto.repo.listMissingBlobs'),
  badGet('missing blobs: limit 0', 'com.atproto.repo.listMissingBlobs', { limit: 0 }, { as: 'dan' }),
  badGet('missing blobs: limit 1001', 'com.atproto.repo.listMissingBlobs', { limit: 1001 }, { as: 'dan' }),
])

export default [uploads, uses].flat()
