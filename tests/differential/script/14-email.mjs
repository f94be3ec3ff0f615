// Everything that goes by mail: confirmation, a new address, a new password, deletion.

import { badPost, get, group, mail, post } from '../support/script.mjs'

const server = (name) => `com.atproto.server.${name}`
const token = /[A-Z2-7]{5}-[A-Z2-7]{5}/
const signIn = (id, password, make = post, options) => make(id, server('createSession'), { identifier: 'erin.test', password }, options)

const confirmation = group('server.confirmEmail', [
  badPost('request as nobody', server('requestEmailConfirmation'), undefined),
  badPost('request with a body', server('requestEmailConfirmation'), { a: 1 }, { as: 'erin' }),
  post('request', server('requestEmailConfirmation'), undefined, { as: 'erin' }),
  mail('mail of it', 'erin@example.com', { 'mail.stale': token }),
  post('request again', server('requestEmailConfirmation'), undefined, { as: 'erin' }),
  mail('mail of the second', 'erin@example.com', { 'mail.confirm': token }),
  badPost('with a token that was replaced', server('confirmEmail'), { email: 'erin@example.com', token: '{mail.stale}' }, { as: 'erin' }),
  badPost('with a token that never was', server('confirmEmail'), { email: 'erin@example.com', token: 'AAAAA-AAAAA' }, { as: 'erin' }),
  badPost('with another address', server('confirmEmail'), { email: 'dan@example.com', token: '{mail.confirm}' }, { as: 'erin' }),
  badPost('as another account', server('confirmEmail'), { email: 'dan@example.com', token: '{mail.confirm}' }, { as: 'dan' }),
  badPost('as nobody', server('confirmEmail'), { email: 'erin@example.com', token: '{mail.confirm}' }),
  badPost('without token', server('confirmEmail'), { email: 'erin@example.com' }, { as: 'erin' }),
  badPost('without address', server('confirmEmail'), { token: '{mail.confirm}' }, { as: 'erin' }),
  badPost('update token for it', server('updateEmail'), { email: 'new@example.com', token: '{mail.confirm}' }, { as: 'erin' }),
  post('in small letters and capitals', server('confirmEmail'), { email: 'ERIN@example.com', token: (vars) => vars.get('mail.confirm').toLowerCase() }, { as: 'erin' }),
  badPost('twice with one token', server('confirmEmail'), { email: 'erin@example.com', token: '{mail.confirm}' }, { as: 'erin' }),
  get('the session says so', server('getSession'), {}, { as: 'erin' }),
])

const address = group('server.updateEmail', [
  post('request, not confirmed', server('requestEmailUpdate'), undefined, { as: 'frank' }),
  post('not confirmed, without token', server('updateEmail'), { email: 'Frank2@example.com' }, { as: 'frank' }),
  badPost('not confirmed, with a wrong token', server('updateEmail'), { email: 'frank3@example.com', token: 'AAAAA-AAAAA' }, { as: 'frank' }),
  get('the session of it', server('getSession'), {}, { as: 'frank' }),
  badPost('request as nobody', server('requestEmailUpdate'), undefined),
  post('request, confirmed', server('requestEmailUpdate'), undefined, { as: 'erin' }),
  mail('mail of it', 'erin@example.com', { 'mail.update': token }),
  badPost('without token', server('updateEmail'), { email: 'erin2@example.com' }, { as: 'erin' }),
  badPost('with a wrong token', server('updateEmail'), { email: 'erin2@example.com', token: 'AAAAA-AAAAA' }, { as: 'erin' }),
  badPost('to an address of another', server('updateEmail'), { email: 'dan@example.com', token: '{mail.update}' }, { as: 'erin' }),
  badPost('to a disposable address', server('updateEmail'), { email: 'erin@mailinator.com', token: '{mail.update}' }, { as: 'erin' }),
  badPost('to no address', server('updateEmail'), { email: 'erin', token: '{mail.update}' }, { as: 'erin' }),
  badPost('address missing', server('updateEmail'), { token: '{mail.update}' }, { as: 'erin' }),
  badPost('as nobody', server('updateEmail'), { email: 'erin2@example.com', token: '{mail.update}' }),
  post('request once more', server('requestEmailUpdate'), undefined, { as: 'erin' }),
  mail('mail of that', 'erin@example.com', { 'mail.update': token }),
  post('with the token', server('updateEmail'), { email: 'Erin2@Example.com', token: '{mail.update}' }, { as: 'erin' }),
  get('the session says so', server('getSession'), {}, { as: 'erin' }),
])

const password = group('server.resetPassword', [
  badPost('request for an unknown address', server('requestPasswordReset'), { email: 'nobody@example.com' }),
  badPost('request without address', server('requestPasswordReset'), {}),
  badPost('request for a number', server('requestPasswordReset'), { email: 5 }),
  post('request', server('requestPasswordReset'), { email: 'ERIN2@example.com' }),
  mail('mail of it', 'erin2@example.com', { 'mail.reset': token }),
  signIn('sign in before', 'erin-pass', post, { keep: { 'erin.access': 'accessJwt', 'erin.old': 'refreshJwt' } }),
  badPost('wrong token', server('resetPassword'), { token: 'AAAAA-AAAAA', password: 'new-pass' }),
  badPost('token of nonsense', server('resetPassword'), { token: '', password: 'new-pass' }),
  badPost('token missing', server('resetPassword'), { password: 'new-pass' }),
  badPost('password missing', server('resetPassword'), { token: '{mail.reset}' }),
  badPost('password too long', server('resetPassword'), { token: '{mail.reset}', password: 'x'.repeat(257) }),
  post('with the token', server('resetPassword'), { token: '{mail.reset}', password: 'new-pass' }),
  badPost('twice with one token', server('resetPassword'), { token: '{mail.reset}', password: 'newer-pass' }),
  signIn('the old one is gone', 'erin-pass', badPost),
  signIn('the new one works', 'new-pass', post, { keep: { 'erin.access': 'accessJwt', 'erin.refresh': 'refreshJwt' } }),
  badPost('sessions of before are gone', server('refreshSession'), undefined, { as: 'erin.old' }),
])

const deletion = group('server.deleteAccount', [
  badPost('request as nobody', server('requestAccountDelete'), undefined),
  post('request', server('requestAccountDelete'), undefined, { as: 'erin' }),
  mail('mail of it', 'erin2@example.com', { 'mail.delete': token }),
  badPost('wrong password', server('deleteAccount'), { did: '{erin.did}', password: 'wrong', token: '{mail.delete}' }),
  badPost('wrong token', server('deleteAccount'), { did: '{erin.did}', password: 'new-pass', token: 'AAAAA-AAAAA' }),
  badPost('token of another', server('deleteAccount'), { did: '{frank.did}', password: 'frank-pass', token: '{mail.delete}' }),
  badPost('unknown account', server('deleteAccount'), { did: 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa', password: 'x', token: 'x' }),
  badPost('did malformed', server('deleteAccount'), { did: 'erin', password: 'x', token: 'x' }),
  badPost('token missing', server('deleteAccount'), { did: '{erin.did}', password: 'x' }),
  badPost('password missing', server('deleteAccount'), { did: '{erin.did}', token: 'x' }),
  badPost('password very long', server('deleteAccount'), { did: '{erin.did}', password: 'x'.repeat(513), token: '{mail.delete}' }),
  post('with both', server('deleteAccount'), { did: '{erin.did}', password: 'new-pass', token: '{mail.delete}' }),
  badPost('twice', server('deleteAccount'), { did: '{erin.did}', password: 'new-pass', token: '{mail.delete}' }),
  signIn('signing in after it', 'new-pass', badPost),
  ['com.atproto.sync.getRepo', 'com.atproto.sync.getLatestCommit', 'com.atproto.sync.getRepoStatus', 'com.atproto.sync.listBlobs'].map((nsid) => ({
    ...get(nsid, nsid, { did: '{erin.did}' }),
    expected: 'bad',
  })),
  { ...get('the access token after it', server('getSession'), {}, { as: 'erin' }), expected: 'bad' },
  { ...post('writing after it', 'com.atproto.repo.createRecord', { repo: '{erin.did}', collection: 'com.example.note', rkey: 'a', record: { a: 1 } }, { as: 'erin' }), expected: 'bad' },
  post('the handle and the address are free', server('createAccount'), { handle: 'erin.test', email: 'erin2@example.com', password: 'erin-pass' }, { keep: { 'erin.did': 'did', 'erin.access': 'accessJwt', 'erin.refresh': 'refreshJwt' } }),
])

export default [confirmation, address, password, deletion].flat()
