// Deactivation and back, the status of an account, and accounts that bring their identity along.

import { badGet, badPost, get, group, local, post } from '../support/script.mjs'
import { makeDid, serviceToken } from '../support/identity.mjs'
import { note, png, rkey } from '../support/records.mjs'

const server = (name) => `com.atproto.server.${name}`
const posts = 'app.bsky.feed.post'
const frank = { as: 'frank' }
const status = (id, options = frank) => get(id, server('checkAccountStatus'), {}, { ...options, volatile: ['repoRev'] })

/** What a deactivated account's readers and its owner see. */
const whileInactive = [
  post('sign in', server('createSession'), { identifier: 'frank.test', password: 'frank-pass' }, { keep: { 'frank.access': 'accessJwt', 'frank.refresh': 'refreshJwt' } }),
  get('getSession', server('getSession'), {}, frank),
  status('checkAccountStatus'),
  post('refresh', server('refreshSession'), undefined, { as: 'frank.refresh' }),
  badPost('createRecord', 'com.atproto.repo.createRecord', { repo: '{frank.did}', collection: posts, rkey: rkey(2), record: note('x') }, frank),
  badPost('putRecord', 'com.atproto.repo.putRecord', { repo: '{frank.did}', collection: posts, rkey: rkey(2), record: note('x') }, frank),
  badPost('deleteRecord', 'com.atproto.repo.deleteRecord', { repo: '{frank.did}', collection: posts, rkey: rkey(1) }, frank),
  badPost('applyWrites', 'com.atproto.repo.applyWrites', { repo: '{frank.did}', writes: [] }, frank),
  post('uploadBlob', 'com.atproto.repo.uploadBlob', undefined, { ...frank, bytes: png(20), type: 'image/png' }),
  get('listMissingBlobs', 'com.atproto.repo.listMissingBlobs', {}, frank),
  get('getServiceAuth', server('getServiceAuth'), { aud: 'did:web:example.com' }, frank),
  get('getPreferences', 'app.bsky.actor.getPreferences', {}, frank),
  get('getRecommendedDidCredentials', 'com.atproto.identity.getRecommendedDidCredentials', {}, frank),
  get('getRecord goes elsewhere', 'com.atproto.repo.getRecord', { repo: '{frank.did}', collection: posts, rkey: rkey(1) }),
  badGet('listRecords', 'com.atproto.repo.listRecords', { repo: '{frank.did}', collection: posts }),
  badGet('describeRepo', 'com.atproto.repo.describeRepo', { repo: '{frank.did}' }),
  badGet('resolveHandle', 'com.atproto.identity.resolveHandle', { handle: 'frank.test' }),
  badGet('getRepo', 'com.atproto.sync.getRepo', { did: '{frank.did}' }),
  get('getRepo as the owner', 'com.atproto.sync.getRepo', { did: '{frank.did}' }, frank),
  get('getRepo as the administrator', 'com.atproto.sync.getRepo', { did: '{frank.did}' }, { as: 'admin' }),
  badGet('getRepo as another', 'com.atproto.sync.getRepo', { did: '{frank.did}' }, { as: 'alice' }),
  badGet('getLatestCommit', 'com.atproto.sync.getLatestCommit', { did: '{frank.did}' }),
  badGet('getBlocks', 'com.atproto.sync.getBlocks', { did: '{frank.did}', cids: 'bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm' }),
  badGet('listBlobs', 'com.atproto.sync.listBlobs', { did: '{frank.did}' }),
  get('getRepoStatus', 'com.atproto.sync.getRepoStatus', { did: '{frank.did}' }),
  badPost('signing up with its handle', server('createAccount'), { handle: 'frank.test', email: 'new@example.com', password: 'x' }),
  badPost('signing up with its address', server('createAccount'), { handle: 'newfrank.test', email: 'frank2@example.com', password: 'x' }),
]

const deactivation = group('server.deactivateAccount', [
  post('a post before', 'com.atproto.repo.createRecord', { repo: '{frank.did}', collection: posts, rkey: rkey(1), record: note('before') }, frank),
  status('status before'),
  badPost('as nobody', server('deactivateAccount'), {}),
  badPost('without a body', server('deactivateAccount'), undefined, frank),
  badPost('with a date that is none', server('deactivateAccount'), { deleteAfter: 'tomorrow' }, frank),
  badPost('activate as nobody', server('activateAccount'), undefined),
  post('activate what is active', server('activateAccount'), undefined, frank),
  post('deactivate', server('deactivateAccount'), {}, frank),
  whileInactive,
  post('again, with a date', server('deactivateAccount'), { deleteAfter: '2099-01-01T00:00:00.000Z' }, frank),
  get('the administrator sees it', 'com.atproto.admin.getAccountInfo', { did: '{frank.did}' }, { as: 'admin' }),
  badPost('activate with a body', server('activateAccount'), { a: 1 }, frank),
  post('activate', server('activateAccount'), undefined, frank),
  status('status after'),
  get('listRecords after', 'com.atproto.repo.listRecords', { repo: '{frank.did}', collection: posts }),
  get('getRepoStatus after', 'com.atproto.sync.getRepoStatus', { did: '{frank.did}' }, { volatile: ['rev'] }),
  badGet('status as nobody', server('checkAccountStatus')),
])

/** Makes an identity elsewhere whose DID and key are kept as `name`. */
export const identity = (name, services = {}) =>
  local(`identity ${name}`, async (side) => {
    const made = await makeDid(side.plcUrl, { handle: `${name}.test`, services })
    side.keep(`${name}.did`, made.did)
    side.identities ??= new Map()
    side.identities.set(name, made)
  })

/** Makes a service token of `name` and keeps it. */
export const token = (keep, name, { aud = 'did:web:localhost', lxm = server('createAccount'), exp, iss } = {}) =>
  local(`token ${keep}`, async (side) => {
    const identity = side.identities.get(name)
    side.keep(keep, await serviceToken(identity, { aud, lxm, exp: exp?.(), iss: iss?.(identity.did) }))
  })

const mover = (fields) => ({ handle: 'mover.test', email: 'mover@example.com', password: 'mover-pass', did: '{mover.did}', ...fields })
const refusedWith = (name) =>
  badPost(`token ${name} refused`, server('createAccount'), mover(), { headers: { authorization: `Bearer {${name}}` } })

const arrival = group('server.createAccount with a did', [
  identity('mover'),
  identity('other'),
  badPost('without a token', server('createAccount'), mover()),
  token('bad.aud', 'mover', { aud: 'did:web:elsewhere.example.com' }),
  refusedWith('bad.aud'),
  token('bad.lxm', 'mover', { lxm: server('createSession') }),
  refusedWith('bad.lxm'),
  token('bad.nolxm', 'mover', { lxm: null }),
  refusedWith('bad.nolxm'),
  token('bad.exp', 'mover', { exp: () => Math.floor(Date.now() / 1000) - 100 }),
  refusedWith('bad.exp'),
  token('bad.iss', 'other'),
  refusedWith('bad.iss'),
  token('bad.unsigned', 'other', { iss: () => 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa' }),
  refusedWith('bad.unsigned'),
  token('bad.issform', 'other', { iss: () => 'not a did' }),
  refusedWith('bad.issform'),
  token('mover.token', 'mover'),
  badPost('token of a session of here', server('createAccount'), mover(), { as: 'alice' }),
  badPost('token cut short', server('createAccount'), mover(), { headers: { authorization: (vars) => `Bearer ${vars.get('mover.token').slice(0, -6)}` } }),
  badPost('token in two parts', server('createAccount'), mover(), { headers: { authorization: (vars) => `Bearer ${vars.get('mover.token').split('.').slice(0, 2).join('.')}` } }),
  badPost('handle of another domain', server('createAccount'), mover({ handle: 'mover.example.com' }), { as: 'mover.token' }),
  post('with the token', server('createAccount'), mover(), { as: 'mover.token', keep: { 'mover.access': 'accessJwt', 'mover.refresh': 'refreshJwt' } }),
  badPost('twice', server('createAccount'), mover(), { as: 'mover.token' }),
  get('its session', server('getSession'), {}, { as: 'mover' }),
  status('its status', { as: 'mover' }),
  get('its repo status', 'com.atproto.sync.getRepoStatus', { did: '{mover.did}' }),
  get('what its identity should say', 'com.atproto.identity.getRecommendedDidCredentials', {}, { as: 'mover' }),
  badPost('activate before the identity points here', server('activateAccount'), undefined, { as: 'mover' }),
  badPost('write before it is active', 'com.atproto.repo.createRecord', { repo: '{mover.did}', collection: posts, record: note('x') }, { as: 'mover' }),
  token('mover.upload', 'mover', { lxm: 'com.atproto.repo.uploadBlob' }),
])

export default [deactivation, arrival].flat()
