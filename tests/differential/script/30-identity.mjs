// Handles, DIDs and operations on the did:plc directory.

import { badGet, badPost, get, group, local, mail, post } from '../support/script.mjs'
import { nobody } from '../support/records.mjs'

const identity = (name) => `com.atproto.identity.${name}`
const handle = (id, query, make = get) => make(id, identity('resolveHandle'), query)

const resolve = group('identity.resolveHandle', [
  handle('of here', { handle: 'alice.test' }),
  handle('in capitals', { handle: 'ALICE.test' }),
  handle('unknown, of our domain', { handle: 'nobody.test' }, badGet),
  handle('the domain itself', { handle: 'test' }, badGet),
  handle('not a handle', { handle: '?' }, badGet),
  handle('empty', { handle: '' }, badGet),
  handle('missing', {}, badGet),
  handle('a did', { handle: '{alice.did}' }, badGet),
])

const update = (id, to, make = post, options = {}) => make(id, identity('updateHandle'), { handle: to }, { as: 'dan', ...options })

const updates = group('identity.updateHandle', [
  update('as nobody', 'dan2.test', badPost, { as: undefined }),
  update('to one that is taken', 'alice.test', badPost),
  update('to one that is reserved', 'admin.test', badPost),
  update('to one too short', 'da.test', badPost),
  update('to one too long', 'abcdefghijklmnopqrs.test', badPost),
  update('to one with a dot in front', 'dan.dan.test', badPost),
  update('to another domain', 'dan.example.com', badPost),
  update('to a forbidden domain', 'dan.local', badPost),
  update('to no handle', 'dan', badPost),
  update('to a number', 5, badPost),
  badPost('without handle', identity('updateHandle'), {}, { as: 'dan' }),
  badPost('without body', identity('updateHandle'), undefined, { as: 'dan' }),
  update('to a new one', 'dan2.test'),
  update('in capitals', 'DAN3.test'),
  update('to the same again', 'dan3.test'),
  get('the old one is free', 'com.atproto.repo.describeRepo', { repo: 'dan3.test' }),
  badGet('the old one does not resolve', identity('resolveHandle'), { handle: 'dan.test' }),
  get('the session says so', 'com.atproto.server.getSession', {}, { as: 'dan' }),
  post('signing in with the new one', 'com.atproto.server.createSession', { identifier: 'dan3.test', password: 'dan-pass' }),
  update('back', 'dan.test'),
  update('as an app', 'dan4.test', post, { as: 'chat' }),
  update('back as an app', 'dan.test', post, { as: 'chat' }),
  post('as the administrator, reserved', 'com.atproto.admin.updateAccountHandle', { did: '{dan.did}', handle: 'support.test' }, { as: 'admin' }),
  post('as the administrator, back', 'com.atproto.admin.updateAccountHandle', { did: '{dan.did}', handle: 'dan.test' }, { as: 'admin' }),
  badPost('as the administrator, taken', 'com.atproto.admin.updateAccountHandle', { did: '{dan.did}', handle: 'alice.test' }, { as: 'admin' }),
  badPost('as the administrator, too short', 'com.atproto.admin.updateAccountHandle', { did: '{dan.did}', handle: 'da.test' }, { as: 'admin' }),
  badPost('as the administrator, unknown account', 'com.atproto.admin.updateAccountHandle', { did: nobody, handle: 'dan5.test' }, { as: 'admin' }),
  badPost('as the administrator, another domain', 'com.atproto.admin.updateAccountHandle', { did: '{dan.did}', handle: 'dan.example.com' }, { as: 'admin' }),
  badPost('as the administrator, as an account', 'com.atproto.admin.updateAccountHandle', { did: '{dan.did}', handle: 'dan5.test' }, { as: 'dan' }),
])

const token = /[A-Z2-7]{5}-[A-Z2-7]{5}/
const ask = (n) => [
  post(`request ${n}`, identity('requestPlcOperationSignature'), undefined, { as: 'bob' }),
  mail(`mail ${n}`, 'bob@example.com', { 'plc.token': token }),
]
const signed = ['operation.sig', 'operation.prev', 'operation.rotationKeys.0', 'operation.rotationKeys.1']
const sign = (id, body, make = post, options = {}) => make(id, identity('signPlcOperation'), body, { as: 'bob', volatile: signed, ...options })
const submit = (id, change, make = badPost, options = {}) =>
  make(id, identity('submitPlcOperation'), (vars) => ({ operation: change(structuredClone(vars.get('plc.operation'))) }), { as: 'bob', ...options })

const operations = group('identity.plc', [
  get('recommended', identity('getRecommendedDidCredentials'), {}, { as: 'bob', keep: { 'plc.rotation': 'rotationKeys.0' } }),
  badGet('recommended as nobody', identity('getRecommendedDidCredentials')),
  badPost('request as nobody', identity('requestPlcOperationSignature'), undefined),
  badPost('sign without token', identity('signPlcOperation'), {}, { as: 'bob' }),
  badPost('sign with a wrong token', identity('signPlcOperation'), { token: 'AAAAA-AAAAA' }, { as: 'bob' }),
  badPost('sign as nobody', identity('signPlcOperation'), { token: 'AAAAA-AAAAA' }),
  ask('one'),
  sign('with the token', { token: '{plc.token}' }, post, { keep: { 'plc.operation': 'operation' } }),
  badPost('twice with one token', identity('signPlcOperation'), { token: '{plc.token}' }, { as: 'bob' }),
  submit('as nobody', (operation) => operation, badPost, { as: undefined }),
  submit('no operation', () => ({ type: 'x' })),
  submit('no object', () => 5),
  submit('without our rotation key', (operation) => ({ ...operation, rotationKeys: ['did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme'] })),
  submit('with another type of service', (operation) => ({ ...operation, services: { atproto_pds: { type: 'Other', endpoint: operation.services.atproto_pds.endpoint } } })),
  submit('without our service', (operation) => ({ ...operation, services: {} })),
  submit('with another endpoint', (operation) => ({ ...operation, services: { atproto_pds: { ...operation.services.atproto_pds, endpoint: 'https://elsewhere.example.com' } } })),
  submit('with another signing key', (operation) => ({ ...operation, verificationMethods: { atproto: 'did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme' } })),
  submit('with another handle', (operation) => ({ ...operation, alsoKnownAs: ['at://other.test'] })),
  submit('without handle', (operation) => ({ ...operation, alsoKnownAs: [] })),
  submit('with a signature that is wrong', (operation) => ({ ...operation, sig: `${'A'.repeat(85)}Q` }), badPost, { volatile: ['message'] }),
  submit('as another account', (operation) => operation, badPost, { as: 'carol' }),
  submit('as it was signed', (operation) => operation, post),
  // The directory's words quote the operation.
  submit('twice', (operation) => operation, badPost, { volatile: ['message'] }),
  ask('two'),
  sign('with changes', { token: '{plc.token}', alsoKnownAs: ['at://bob.test', 'at://other.example.com'], services: { extra: { type: 'Extra', endpoint: 'https://extra.example.com' } } }, post, { keep: { 'plc.changed': 'operation' } }),
  badPost('changes that leave us out', identity('submitPlcOperation'), { operation: '{plc.changed}' }, { as: 'bob' }),
])

const arrival = group('identity.arrival', [
  local('an operation that points here', async (side) => {
    const { Client } = await import('@did-plc/lib')
    const { did, rotation } = side.identities.get('mover')
    const answer = await fetch(`${side.url}/xrpc/com.atproto.identity.getRecommendedDidCredentials`, {
      headers: { authorization: `Bearer ${side.vars.get('mover.access')}` },
    })
    const { verificationMethods, rotationKeys, services, alsoKnownAs } = await answer.json()
    const change = (last) => ({ ...last, verificationMethods, services, alsoKnownAs, rotationKeys: [rotation.did(), ...rotationKeys] })
    await new Client(side.plcUrl).updateData(did, rotation, change)
  }),
  get('status before', 'com.atproto.server.checkAccountStatus', {}, { as: 'mover', volatile: ['repoCommit', 'repoRev'] }),
  post('activate', 'com.atproto.server.activateAccount', undefined, { as: 'mover' }),
  get('its records', 'com.atproto.repo.listRecords', { repo: 'mover.test', collection: 'com.example.note' }),
  get('its description', 'com.atproto.repo.describeRepo', { repo: 'mover.test' }),
  post('a record after it', 'com.atproto.repo.createRecord', { repo: 'mover.test', collection: 'com.example.note', rkey: 'after', record: { a: 1 } }, { as: 'mover' }),
  get('the repo', 'com.atproto.sync.getRepo', { did: '{mover.did}' }),
])


export default [resolve, updates, operations, arrival].flat()
