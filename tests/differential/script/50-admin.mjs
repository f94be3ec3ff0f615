// What administrators and moderators do.

import { badGet, badPost, get, group, mail, post } from '../support/script.mjs'
import { nobody, noBlob, noCid, note, png, rkey } from '../support/records.mjs'

const admin = (name) => `com.atproto.admin.${name}`
const as = { as: 'admin' }
const defs = 'com.atproto.admin.defs'
const account = (name = 'carol') => ({ $type: `${defs}#repoRef`, did: `{${name}.did}` })
const record = { $type: 'com.atproto.repo.strongRef', uri: '{mod.uri}', cid: '{mod.cid}' }
const blob = { $type: `${defs}#repoBlobRef`, did: '{carol.did}', cid: '{mod.blob}' }
const posts = 'app.bsky.feed.post'
const set = (id, body, make = post, options = as) => make(id, admin('updateSubjectStatus'), body, options)
const statusOf = (id, query, make = get, options = as) => make(id, admin('getSubjectStatus'), query, options)

const infos = group('admin.getAccountInfo', [
  get('one', admin('getAccountInfo'), { did: '{alice.did}' }, as),
  get('of a fresh one', admin('getAccountInfo'), { did: '{dan.did}' }, as),
  badGet('unknown', admin('getAccountInfo'), { did: nobody }, as),
  badGet('no did', admin('getAccountInfo'), { did: 'alice.test' }, as),
  badGet('nothing', admin('getAccountInfo'), {}, as),
  badGet('as nobody', admin('getAccountInfo'), { did: '{alice.did}' }),
  badGet('as an account', admin('getAccountInfo'), { did: '{alice.did}' }, { as: 'alice' }),
  badGet('as a service that is not trusted', admin('getAccountInfo'), { did: '{alice.did}' }, { as: 'mover.upload' }),
  get('several', admin('getAccountInfos'), { dids: ['{alice.did}', '{bob.did}', nobody] }, { ...as, order: { infos: 'handle' } }),
  get('none of several', admin('getAccountInfos'), { dids: [nobody] }, as),
  badGet('several, none named', admin('getAccountInfos'), {}, as),
  badGet('several as nobody', admin('getAccountInfos'), { dids: ['{alice.did}'] }),
  badGet('several, one no did', admin('getAccountInfos'), { dids: ['{alice.did}', 'x'] }, as),
])

const accounts = group('admin.updateSubjectStatus of an account', [
  statusOf('before', { did: '{carol.did}' }),
  set('take down', { subject: account(), takedown: { applied: true, ref: 'case-1' } }),
  statusOf('after', { did: '{carol.did}' }),
  get('getRepoStatus', 'com.atproto.sync.getRepoStatus', { did: '{carol.did}' }),
  badGet('getRepo', 'com.atproto.sync.getRepo', { did: '{carol.did}' }),
  get('getRepo as the administrator', 'com.atproto.sync.getRepo', { did: '{carol.did}' }, as),
  get('getRepo as the owner', 'com.atproto.sync.getRepo', { did: '{carol.did}' }, { as: 'carol' }),
  badGet('getLatestCommit', 'com.atproto.sync.getLatestCommit', { did: '{carol.did}' }),
  badGet('describeRepo', 'com.atproto.repo.describeRepo', { repo: '{carol.did}' }),
  badGet('listRecords', 'com.atproto.repo.listRecords', { repo: '{carol.did}', collection: posts }),
  badGet('resolveHandle', 'com.atproto.identity.resolveHandle', { handle: 'carol.test' }),
  badGet('getSession', 'com.atproto.server.getSession', {}, { as: 'carol' }),
  badPost('createRecord', 'com.atproto.repo.createRecord', { repo: '{carol.did}', collection: posts, rkey: rkey(99), record: note('x') }, { as: 'carol' }),
  badPost('uploadBlob', 'com.atproto.repo.uploadBlob', undefined, { as: 'carol', bytes: png(30), type: 'image/png' }),
  badPost('updateHandle', 'com.atproto.identity.updateHandle', { handle: 'carol2.test' }, { as: 'carol' }),
  badPost('refresh', 'com.atproto.server.refreshSession', undefined, { as: 'carol.refresh' }),
  badPost('sign in', 'com.atproto.server.createSession', { identifier: 'carol.test', password: 'carol-pass' }),
  post('sign in as taken down', 'com.atproto.server.createSession', { identifier: 'carol.test', password: 'carol-pass', allowTakendown: true }, { keep: { 'down.access': 'accessJwt', 'down.refresh': 'refreshJwt' } }),
  badGet('getSession as taken down', 'com.atproto.server.getSession', {}, { as: 'down' }),
  badPost('refresh as taken down', 'com.atproto.server.refreshSession', undefined, { as: 'down.refresh' }),
  get('getRepo as taken down', 'com.atproto.sync.getRepo', { did: '{carol.did}' }, { as: 'down' }),
  badGet('getLatestCommit as taken down', 'com.atproto.sync.getLatestCommit', { did: '{carol.did}' }, { as: 'down' }),
  badGet('getServiceAuth as taken down', 'com.atproto.server.getServiceAuth', { aud: 'did:web:example.com' }, { as: 'down' }),
  badGet('getServiceAuth for moving as taken down', 'com.atproto.server.getServiceAuth', { aud: 'did:web:example.com', lxm: 'com.atproto.server.createAccount' }, { as: 'down' }),
  get('getPreferences as taken down', 'app.bsky.actor.getPreferences', {}, { as: 'down' }),
  badPost('createRecord as taken down', 'com.atproto.repo.createRecord', { repo: '{carol.did}', collection: posts, rkey: rkey(99), record: note('x') }, { as: 'down' }),
  post('report as taken down', 'com.atproto.moderation.createReport', { reasonType: 'com.atproto.moderation.defs#reasonAppeal', subject: account() }, { as: 'down' }),
  badPost('activate as taken down', 'com.atproto.server.activateAccount', undefined, { as: 'carol' }),
  set('take down and activate', { subject: account(), takedown: { applied: true }, deactivated: { applied: false } }, badPost),
  set('activate what is taken down', { subject: account(), deactivated: { applied: false } }, badPost),
  set('back', { subject: account(), takedown: { applied: false } }),
  statusOf('after it is back', { did: '{carol.did}' }),
  post('sign in after it is back', 'com.atproto.server.createSession', { identifier: 'carol.test', password: 'carol-pass' }, { keep: { 'carol.access': 'accessJwt', 'carol.refresh': 'refreshJwt' } }),
  set('deactivate', { subject: account(), deactivated: { applied: true } }),
  statusOf('after deactivation', { did: '{carol.did}' }),
  set('activate', { subject: account(), deactivated: { applied: false } }),
  set('neither', { subject: account() }),
  set('unknown account', { subject: { $type: `${defs}#repoRef`, did: nobody }, takedown: { applied: true } }),
  set('subject without type', { subject: { did: '{carol.did}' }, takedown: { applied: true } }, badPost),
  set('subject of another type', { subject: { $type: `${defs}#other`, did: '{carol.did}' }, takedown: { applied: true } }, badPost),
  set('no subject', { takedown: { applied: true } }, badPost),
  set('takedown a truth', { subject: account(), takedown: true }, badPost),
  set('as nobody', { subject: account(), takedown: { applied: true } }, badPost, {}),
  set('as an account', { subject: account(), takedown: { applied: true } }, badPost, { as: 'alice' }),
])

const contents = group('admin.updateSubjectStatus of a record and a blob', [
  post('upload', 'com.atproto.repo.uploadBlob', undefined, { as: 'carol', bytes: png(31), type: 'image/png', keep: { 'mod.ref': 'blob', 'mod.blob': 'blob.ref.$link' } }),
  post('record', 'com.atproto.repo.createRecord', { repo: '{carol.did}', collection: 'com.example.note', rkey: 'bad', record: { image: '{mod.ref}' } }, { as: 'carol', keep: { 'mod.uri': 'uri', 'mod.cid': 'cid' } }),
  statusOf('record before', { uri: '{mod.uri}' }),
  set('record down', { subject: record, takedown: { applied: true, ref: 'case-2' } }),
  statusOf('record after', { uri: '{mod.uri}' }),
  badGet('getRecord', 'com.atproto.repo.getRecord', { repo: '{carol.did}', collection: 'com.example.note', rkey: 'bad' }),
  get('listRecords', 'com.atproto.repo.listRecords', { repo: '{carol.did}', collection: 'com.example.note' }),
  get('sync.getRecord still has it', 'com.atproto.sync.getRecord', { did: '{carol.did}', collection: 'com.example.note', rkey: 'bad' }),
  set('record back', { subject: record, takedown: { applied: false } }),
  get('getRecord after it is back', 'com.atproto.repo.getRecord', { repo: '{carol.did}', collection: 'com.example.note', rkey: 'bad' }),
  statusOf('blob before', { did: '{carol.did}', blob: '{mod.blob}' }),
  set('blob down', { subject: blob, takedown: { applied: true, ref: 'case-3' } }),
  statusOf('blob after', { did: '{carol.did}', blob: '{mod.blob}' }),
  badGet('getBlob', 'com.atproto.sync.getBlob', { did: '{carol.did}', cid: '{mod.blob}' }),
  badPost('upload again', 'com.atproto.repo.uploadBlob', undefined, { as: 'carol', bytes: png(31), type: 'image/png' }),
  badPost('another record with it', 'com.atproto.repo.createRecord', { repo: '{carol.did}', collection: 'com.example.note', rkey: 'worse', record: { image: '{mod.ref}' } }, { as: 'carol' }),
  set('blob back', { subject: blob, takedown: { applied: false } }),
  get('getBlob after it is back', 'com.atproto.sync.getBlob', { did: '{carol.did}', cid: '{mod.blob}' }),
  set('record that is not there', { subject: { ...record, uri: 'at://{carol.did}/com.example.note/none' }, takedown: { applied: true } }),
  set('blob that is not there', { subject: { ...blob, cid: noBlob }, takedown: { applied: true } }),
  set('record without cid', { subject: { $type: record.$type, uri: '{mod.uri}' }, takedown: { applied: true } }, badPost),
  set('record with a bad uri', { subject: { ...record, uri: 'x' }, takedown: { applied: true } }, badPost),
  statusOf('record that is not there, status', { uri: 'at://{carol.did}/com.example.note/never' }, badGet),
  statusOf('blob that is not there, status', { did: '{carol.did}', blob: noCid }, badGet),
  statusOf('blob without did', { blob: '{mod.blob}' }, badGet),
  statusOf('unknown account', { did: nobody }, badGet),
  statusOf('nothing', {}, badGet),
  statusOf('as nobody', { did: '{carol.did}' }, badGet, {}),
])

const others = group('admin', [
  post('updateAccountEmail', admin('updateAccountEmail'), { account: '{carol.did}', email: 'Carol2@Example.com' }, as),
  post('updateAccountEmail by handle', admin('updateAccountEmail'), { account: 'carol.test', email: 'carol3@example.com' }, as),
  badPost('updateAccountEmail of nobody', admin('updateAccountEmail'), { account: nobody, email: 'x@example.com' }, as),
  badPost('updateAccountEmail to one that is taken', admin('updateAccountEmail'), { account: '{carol.did}', email: 'alice@example.com' }, as),
  badPost('updateAccountEmail without email', admin('updateAccountEmail'), { account: '{carol.did}' }, as),
  badPost('updateAccountEmail as an account', admin('updateAccountEmail'), { account: '{carol.did}', email: 'x@example.com' }, { as: 'carol' }),
  get('the session says so', 'com.atproto.server.getSession', {}, { as: 'carol' }),
  post('updateAccountPassword', admin('updateAccountPassword'), { did: '{carol.did}', password: 'carol-pass-2' }, as),
  badPost('updateAccountPassword too long', admin('updateAccountPassword'), { did: '{carol.did}', password: 'x'.repeat(257) }, as),
  badPost('updateAccountPassword without password', admin('updateAccountPassword'), { did: '{carol.did}' }, as),
  badPost('updateAccountPassword as nobody', admin('updateAccountPassword'), { did: '{carol.did}', password: 'x' }),
  badPost('the old password', 'com.atproto.server.createSession', { identifier: 'carol.test', password: 'carol-pass' }),
  badPost('sessions of before', 'com.atproto.server.refreshSession', undefined, { as: 'carol.refresh' }),
  post('the new password', 'com.atproto.server.createSession', { identifier: 'carol.test', password: 'carol-pass-2' }, { keep: { 'carol.access': 'accessJwt', 'carol.refresh': 'refreshJwt' } }),
  post('sendEmail', admin('sendEmail'), { recipientDid: '{carol.did}', senderDid: nobody, content: '<p>Hello <b>Carol</b></p>', subject: 'A word' }, as),
  mail('mail of it', 'carol3@example.com'),
  post('sendEmail without subject', admin('sendEmail'), { recipientDid: '{carol.did}', senderDid: nobody, content: 'Hello' }, as),
  mail('mail of that', 'carol3@example.com'),
  badPost('sendEmail to nobody', admin('sendEmail'), { recipientDid: nobody, senderDid: nobody, content: 'Hello' }, as),
  badPost('sendEmail without content', admin('sendEmail'), { recipientDid: '{carol.did}', senderDid: nobody }, as),
  badPost('sendEmail as nobody', admin('sendEmail'), { recipientDid: '{carol.did}', senderDid: nobody, content: 'Hello' }),
  post('deleteAccount', admin('deleteAccount'), { did: '{frank.did}' }, as),
  badGet('after it', 'com.atproto.sync.getRepoStatus', { did: '{frank.did}' }),
  badPost('deleteAccount as an account', admin('deleteAccount'), { did: '{carol.did}' }, { as: 'carol' }),
  badPost('deleteAccount without did', admin('deleteAccount'), {}, as),
  badPost('deleteAccount of no did', admin('deleteAccount'), { did: 'carol' }, as),
])

export default [infos, accounts, contents, others].flat()
