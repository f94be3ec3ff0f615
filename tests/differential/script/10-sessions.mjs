// Signing in, staying in, and signing out.

import { badGet, badPost, get, group, post } from '../support/script.mjs'
import { mac } from '../support/tokens.mjs'

const createSession = 'com.atproto.server.createSession'
const refreshSession = 'com.atproto.server.refreshSession'
const deleteSession = 'com.atproto.server.deleteSession'
const getSession = 'com.atproto.server.getSession'
const alice = (fields = {}) => ({ identifier: 'alice.test', password: 'alice-pass', ...fields })

/** Tokens that must not pass, by what is wrong with them. Each is made from the account's own. */
const wrongTokens = {
  'not a token': 'nonsense',
  'two parts': 'eyJhbGciOiJIUzI1NiJ9.e30',
  'three empty parts': '..',
  'another signature': (vars) => vars.get('alice.access').slice(0, -6) + 'AAAAAA',
  'algorithm none': mac('alice', { header: { alg: 'none' } }),
  'the secret of another server': mac('alice', {}),
  'expired, and of another server': mac('alice', { claims: { iat: 1_600_000_000, exp: 1_600_007_200 } }),
}

export const sessions = group('server.createSession', [
  post('by handle', createSession, alice(), { keep: { 'alice.access': 'accessJwt', 'alice.refresh': 'refreshJwt' } }),
  post('by email', createSession, alice({ identifier: 'alice@example.com' })),
  post('by did', createSession, alice({ identifier: '{alice.did}' })),
  post('by handle in capitals', createSession, alice({ identifier: 'ALICE.Test' })),
  post('by email in capitals', createSession, alice({ identifier: 'Alice@Example.com' })),
  post('with a factor token that nobody asked for', createSession, alice({ authFactorToken: 'ABCDE-FGHIJ' })),
  post('with allowTakendown', createSession, alice({ allowTakendown: true })),
  post('with charset in the type', createSession, alice(), { type: 'application/json; charset=utf-8' }),
  post('with a field that is unknown', createSession, alice({ color: 'red' })),
  post('chunked', createSession, alice(), { framing: 'chunked' }),
  badPost('wrong password', createSession, alice({ password: 'alice-word' })),
  badPost('empty password', createSession, alice({ password: '' })),
  badPost('unknown handle', createSession, alice({ identifier: 'nobody.test' })),
  badPost('unknown email', createSession, alice({ identifier: 'nobody@example.com' })),
  badPost('unknown did', createSession, alice({ identifier: 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa' })),
  badPost('identifier that is nothing', createSession, alice({ identifier: '???' })),
  badPost('identifier empty', createSession, alice({ identifier: '' })),
  badPost('password very long', createSession, alice({ password: 'x'.repeat(513) })),
  badPost('identifier missing', createSession, alice({ identifier: undefined })),
  badPost('password missing', createSession, alice({ password: undefined })),
  badPost('password null', createSession, alice({ password: null })),
  badPost('identifier is a list', createSession, alice({ identifier: ['alice.test'] })),
  badPost('body larger than allowed', createSession, alice({ color: 'x'.repeat(160_000) })),
  badPost('body a string', createSession, 'alice'),
  badPost('body null', createSession, null),
  badPost('body empty', createSession, undefined, { text: '' }),
  badPost('neither length nor encoding', createSession, undefined, { framing: 'none' }),
  badPost('body of a form', createSession, undefined, {
    text: 'identifier=alice.test&password=alice-pass',
    type: 'application/x-www-form-urlencoded',
  }),
  badGet('by GET', createSession),
])

export const current = group('server.getSession', [
  get('own', getSession, {}, { as: 'alice' }),
  get('scheme in small letters', getSession, {}, { headers: { authorization: 'bearer {alice.access}' } }),
  badGet('nobody', getSession),
  badGet('refresh token', getSession, {}, { as: 'alice.refresh' }),
  badGet('admin', getSession, {}, { as: 'admin' }),
  badGet('scheme unknown', getSession, {}, { headers: { authorization: 'Token {alice.access}' } }),
  badGet('scheme alone', getSession, {}, { headers: { authorization: 'Bearer' } }),
  badGet('three parts in the header', getSession, {}, { headers: { authorization: 'Bearer {alice.access} more' } }),
  badGet('token alone', getSession, {}, { headers: { authorization: '{alice.access}' } }),
  badGet('header empty', getSession, {}, { headers: { authorization: '' } }),
  Object.entries(wrongTokens).map(([name, token]) =>
    badGet(name, getSession, {}, { headers: { authorization: (vars) => `Bearer ${typeof token === 'function' ? token(vars) : token}` } }),
  ),
  badPost('by POST', getSession, {}, { as: 'alice' }),
])

export const refresh = group('server.refreshSession', [
  badPost('nobody', refreshSession, undefined),
  badPost('access token', refreshSession, undefined, { as: 'alice' }),
  badPost('admin', refreshSession, undefined, { as: 'admin' }),
  badPost('not a token', refreshSession, undefined, { headers: { authorization: 'Bearer x.y.z' } }),
  badPost('with a body', refreshSession, { a: 1 }, { as: 'alice.refresh' }),
  post('first', refreshSession, undefined, { as: 'alice.refresh', keep: { 'alice.next': 'refreshJwt', 'alice.nextAccess': 'accessJwt' } }),
  post('again within the grace', refreshSession, undefined, { as: 'alice.refresh', keep: { 'alice.same': 'refreshJwt' } }),
  post('with the new one', refreshSession, undefined, { as: 'alice.next', keep: { 'alice.third': 'refreshJwt' } }),
  post('content-length 0', refreshSession, undefined, { as: 'alice.third', headers: { 'content-length': '0' }, keep: { 'alice.refresh': 'refreshJwt' } }),
  get('the access token of a refresh works', getSession, {}, { as: 'alice.nextAccess' }),
  badGet('by GET', refreshSession, {}, { as: 'alice.refresh' }),
])

export const leave = group('server.deleteSession', [
  post('sign in again', createSession, alice(), { keep: { 'gone.access': 'accessJwt', 'gone.refresh': 'refreshJwt' } }),
  badPost('nobody', deleteSession, undefined),
  badPost('access token', deleteSession, undefined, { as: 'gone' }),
  badPost('not a token', deleteSession, undefined, { headers: { authorization: 'Bearer x.y.z' } }),
  post('once', deleteSession, undefined, { as: 'gone.refresh' }),
  post('twice', deleteSession, undefined, { as: 'gone.refresh' }),
  badPost('refresh after it', refreshSession, undefined, { as: 'gone.refresh' }),
  get('the access token lives on', getSession, {}, { as: 'gone' }),
])

export default [sessions, current, refresh, leave].flat()
