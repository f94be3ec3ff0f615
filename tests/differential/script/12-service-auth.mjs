// Tokens that an account gives to other services, and the signing key that a migration reserves.

import { badGet, badPost, get, group, post } from '../support/script.mjs'

const method = 'com.atproto.server.getServiceAuth'
const aud = 'did:web:feed.example.com'
const inSeconds = (seconds) => () => String(Math.floor(Date.now() / 1000) + seconds)
const good = (id, query, options) => get(id, method, { aud, ...query }, { as: 'alice', ...options })
const bad = (id, query, options) => badGet(id, method, { aud, ...query }, { as: 'alice', ...options })

const protectedMethods = [
  'com.atproto.admin.sendEmail',
  'com.atproto.identity.requestPlcOperationSignature',
  'com.atproto.identity.signPlcOperation',
  'com.atproto.identity.updateHandle',
  'com.atproto.server.activateAccount',
  'com.atproto.server.confirmEmail',
  'com.atproto.server.createAppPassword',
  'com.atproto.server.deactivateAccount',
  'com.atproto.server.getAccountInviteCodes',
  'com.atproto.server.getSession',
  'com.atproto.server.listAppPasswords',
  'com.atproto.server.requestAccountDelete',
  'com.atproto.server.requestEmailConfirmation',
  'com.atproto.server.requestEmailUpdate',
  'com.atproto.server.revokeAppPassword',
  'com.atproto.server.updateEmail',
]

export const issue = group('server.getServiceAuth', [
  good('aud alone', {}),
  good('with lxm', { lxm: 'com.example.method' }),
  good('aud of did:plc', { aud: 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa' }),
  good('aud with a service id', { aud: `${aud}#feed` }),
  good('aud on localhost with a port', { aud: 'did:web:localhost%3A1234' }),
  good('exp in half a minute', { exp: inSeconds(30) }),
  good('exp in half an hour with lxm', { exp: inSeconds(1800), lxm: 'com.example.method' }),
  good('exp 0', { exp: 0 }),
  good('createAccount as the owner', { lxm: 'com.atproto.server.createAccount' }),
  good('chat method as the owner', { lxm: 'chat.bsky.convo.getLog' }),
  bad('nobody', {}, { as: undefined }),
  bad('admin', {}, { as: 'admin' }),
  bad('refresh token', {}, { as: 'alice.refresh' }),
  badGet('aud missing', method, {}, { as: 'alice' }),
  bad('aud empty', { aud: '' }),
  bad('aud that is no did', { aud: 'feed.example.com' }),
  bad('aud of another method', { aud: 'did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme' }),
  bad('aud with a path', { aud: 'did:web:example.com:user' }),
  bad('aud with a port', { aud: 'did:web:example.com%3A8080' }),
  bad('aud with an empty service id', { aud: `${aud}#` }),
  bad('aud with two service ids', { aud: `${aud}#a#b` }),
  bad('aud very long', { aud: `did:web:${'a'.repeat(2100)}.com` }),
  bad('exp in the past', { exp: 1000 }),
  bad('exp negative', { exp: -1 }),
  bad('exp over an hour ahead', { exp: inSeconds(3700), lxm: 'com.example.method' }),
  bad('exp over a minute ahead without lxm', { exp: inSeconds(90) }),
  bad('exp not a number', { exp: 'soon' }),
  bad('exp with a fraction', { exp: '1.5' }),
  bad('lxm that is no method', { lxm: 'no method' }),
  protectedMethods.map((lxm) => bad(`protected ${lxm}`, { lxm })),
  bad('protected, in other letters', { lxm: 'com.atproto.server.GetSession' }),
  good('as a privileged app, chat method', { lxm: 'chat.bsky.convo.getLog' }, { as: 'chat' }),
  good('as an app', {}, { as: 'phone' }),
  good('as an app with lxm', { lxm: 'com.example.method' }, { as: 'phone' }),
  bad('as an app, chat method', { lxm: 'chat.bsky.convo.getLog' }, { as: 'phone' }),
  bad('as an app, chat method in other letters', { lxm: 'chat.bsky.convo.GetLog' }, { as: 'phone' }),
  bad('as an app, createAccount', { lxm: 'com.atproto.server.createAccount' }, { as: 'phone' }),
])

const reserve = 'com.atproto.server.reserveSigningKey'

export const keys = group('server.reserveSigningKey', [
  post('without did', reserve, {}, { keep: { 'reserved.key': 'signingKey' } }),
  post('with did', reserve, { did: 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa' }, { keep: { 'reserved.forDid': 'signingKey' } }),
  post('with the same did gives the same key', reserve, { did: 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa' }),
  badPost('did malformed', reserve, { did: 'alice' }),
  badPost('did with a path in it', reserve, { did: 'did:web:../../etc' }),
  badPost('no body', reserve, undefined),
])

export default [issue, keys].flat()
