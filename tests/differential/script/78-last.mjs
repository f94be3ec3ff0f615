// What only one of the servers takes, and the other scripts should not meet.

import { badPost, group } from '../support/script.mjs'
import { identity, token } from './15-status.mjs'

const createAccount = 'com.atproto.server.createAccount'

export default group('last', [
  badPost('signing up from a disposable domain', createAccount, {
    handle: 'fresh.test',
    email: 'fresh@mailinator.com',
    password: 'fresh-pass',
  }),
  identity('late'),
  token('late.token', 'late', { aud: 'did:web:localhost#atproto_pds' }),
  badPost('a token for our service by its name', createAccount, {
    handle: 'late.test',
    email: 'late@example.com',
    password: 'late-pass',
    did: '{late.did}',
  }, { as: 'late.token' }),
])
