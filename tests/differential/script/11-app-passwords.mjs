// App passwords and what they may not do.

import { badGet, badPost, get, group, post } from '../support/script.mjs'

const create = 'com.atproto.server.createAppPassword'
const list = 'com.atproto.server.listAppPasswords'
const revoke = 'com.atproto.server.revokeAppPassword'
const createSession = 'com.atproto.server.createSession'

/** What only the account's own password opens, or only a privileged one. */
const forApps = (who) => [
  get(`getSession as ${who}`, 'com.atproto.server.getSession', {}, { as: who }),
  badPost(`createAppPassword as ${who}`, create, { name: 'nested' }, { as: who }),
  get(`listAppPasswords as ${who}`, list, {}, { as: who }),
  badGet(`getAccountInviteCodes as ${who}`, 'com.atproto.server.getAccountInviteCodes', {}, { as: who }),
  badPost(`deactivateAccount as ${who}`, 'com.atproto.server.deactivateAccount', {}, { as: who }),
  badPost(`activateAccount as ${who}`, 'com.atproto.server.activateAccount', undefined, { as: who }),
  badPost(`requestAccountDelete as ${who}`, 'com.atproto.server.requestAccountDelete', undefined, { as: who }),
  badPost(`requestEmailUpdate as ${who}`, 'com.atproto.server.requestEmailUpdate', undefined, { as: who }),
  badPost(`updateEmail as ${who}`, 'com.atproto.server.updateEmail', { email: 'x@example.com' }, { as: who }),
  badPost(`requestPlcOperationSignature as ${who}`, 'com.atproto.identity.requestPlcOperationSignature', undefined, { as: who }),
  badPost(`signPlcOperation as ${who}`, 'com.atproto.identity.signPlcOperation', { token: 'x' }, { as: who }),
  badPost(`importRepo as ${who}`, 'com.atproto.repo.importRepo', undefined, { as: who, text: 'x', type: 'application/vnd.ipld.car' }),
  get(`checkAccountStatus as ${who}`, 'com.atproto.server.checkAccountStatus', {}, { as: who, volatile: ['repoCommit', 'repoRev'] }),
]

export default group('server.appPasswords', [
  get('list none', list, {}, { as: 'dan' }),
  badPost('create as nobody', create, { name: 'phone' }),
  badPost('create as admin', create, { name: 'phone' }, { as: 'admin' }),
  badPost('create without name', create, {}, { as: 'dan' }),
  badPost('create with a number for a name', create, { name: 7 }, { as: 'dan' }),
  badPost('create with a text for privileged', create, { name: 'phone', privileged: 'yes' }, { as: 'dan' }),
  badPost('create without a body', create, undefined, { as: 'dan' }),
  post('create', create, { name: 'phone' }, { as: 'dan', keep: { 'dan.phone': 'password' } }),
  badPost('create again with the same name', create, { name: 'phone' }, { as: 'dan' }),
  post('create privileged', create, { name: 'chat', privileged: true }, { as: 'dan', keep: { 'dan.chat': 'password' } }),
  post('create with an empty name', create, { name: '' }, { as: 'dan' }),
  post('revoke the empty name', revoke, { name: '' }, { as: 'dan' }),
  get('list two', list, {}, { as: 'dan' }),
  badGet('list as nobody', list),
  post('sign in with it', createSession, { identifier: 'dan.test', password: '{dan.phone}' }, { keep: { 'phone.access': 'accessJwt', 'phone.refresh': 'refreshJwt' } }),
  post('sign in with it by email', createSession, { identifier: 'dan@example.com', password: '{dan.phone}' }),
  post('sign in with the privileged one', createSession, { identifier: 'dan.test', password: '{dan.chat}' }, { keep: { 'chat.access': 'accessJwt', 'chat.refresh': 'refreshJwt' } }),
  badPost('sign in as another with it', createSession, { identifier: 'bob.test', password: '{dan.phone}' }),
  post('refresh keeps the scope', 'com.atproto.server.refreshSession', undefined, { as: 'phone.refresh', keep: { 'phone.refresh': 'refreshJwt' } }),
  post('refresh keeps the privileged scope', 'com.atproto.server.refreshSession', undefined, { as: 'chat.refresh', keep: { 'chat.refresh': 'refreshJwt' } }),
  forApps('phone'),
  forApps('chat'),
  post('write as phone', 'com.atproto.repo.createRecord', { repo: '{dan.did}', collection: 'com.example.note', rkey: 'by-phone', record: { text: 'from the phone' } }, { as: 'phone' }),
  badPost('revoke as nobody', revoke, { name: 'phone' }),
  badPost('revoke without name', revoke, {}, { as: 'dan' }),
  post('revoke', revoke, { name: 'phone' }, { as: 'dan' }),
  post('revoke twice', revoke, { name: 'phone' }, { as: 'dan' }),
  post('revoke what never was', revoke, { name: 'toaster' }, { as: 'dan' }),
  badPost('sign in after it', createSession, { identifier: 'dan.test', password: '{dan.phone}' }),
  badPost('refresh after it', 'com.atproto.server.refreshSession', undefined, { as: 'phone.refresh' }),
  get('the access token lives on', 'com.atproto.server.getSession', {}, { as: 'phone' }),
  get('list one', list, {}, { as: 'dan' }),
])
