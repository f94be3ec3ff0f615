// importRepo: a whole repository at once. Only accounts that are not used elsewhere take part.

import { badPost, get, group, local, post } from '../support/script.mjs'
import { foreignRepo } from '../support/repos.mjs'

const method = 'com.atproto.repo.importRepo'
const car = 'application/vnd.ipld.car'
const mover = { as: 'mover', type: car }
const bad = (id, bytes, options) => badPost(id, method, undefined, { ...mover, bytes, ...options })
const status = (id) => get(id, 'com.atproto.server.checkAccountStatus', {}, { as: 'mover', volatile: ['repoRev', 'repoCommit'] })

export default group('repo.importRepo', [
  local('repositories', async (side) => {
    const { did, keypair } = side.identities.get('mover')
    const repos = await foreignRepo(did, keypair)
    for (const [name, bytes] of Object.entries(repos)) side.keep(`car.${name}`, bytes)
  }),
  bad('nobody', Buffer.from('x'), { as: undefined }),
  bad('an app', Buffer.from('x'), { as: 'chat' }),
  bad('not a car', Buffer.from('hello')),
  bad('empty', Buffer.alloc(0)),
  bad('without type', Buffer.from('x'), { type: null }),
  bad('of another type', Buffer.from('x'), { type: 'application/json' }),
  bad('without root', '{car.noRoot}'),
  bad('with two roots', '{car.twoRoots}'),
  bad('root missing', '{car.rootMissing}'),
  bad('tree missing', '{car.treeMissing}'),
  bad('record missing', '{car.recordMissing}'),
  bad('block that is not its hash', '{car.wrongHash}'),
  bad('cut off', '{car.cutOff}'),
  bad('larger than allowed', Buffer.alloc((1 << 20) + 1, 7)),
  status('status before'),
  post('whole', method, undefined, { ...mover, bytes: '{car.whole}' }),
  status('status after'),
  get('blobs that are missing', 'com.atproto.repo.listMissingBlobs', {}, { as: 'mover' }),
  get('blobs that are missing, one', 'com.atproto.repo.listMissingBlobs', { limit: 1 }, { as: 'mover' }),
  post('the blob', 'com.atproto.repo.uploadBlob', undefined, { as: 'mover', bytes: Buffer.from('a blob'), type: 'text/plain' }),
  get('blobs that are missing after it', 'com.atproto.repo.listMissingBlobs', {}, { as: 'mover' }),
  status('status after the blob'),
  post('whole again', method, undefined, { ...mover, bytes: '{car.whole}' }),
  get('the repo as its owner', 'com.atproto.sync.getRepo', { did: '{mover.did}' }, { as: 'mover' }),
])
