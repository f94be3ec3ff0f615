// Accounts that the other scripts use, and every way in which signing up goes wrong. Zoe's repository is for writes that
// only one of the servers takes: its tree is not compared.

import { badPost, get, group, post } from '../support/script.mjs'

const createAccount = 'com.atproto.server.createAccount'

/** Signs `name` up and keeps its DID and tokens. */
const signUp = (name) =>
  post(`sign up ${name}`, createAccount, { handle: `${name}.test`, email: `${name}@example.com`, password: `${name}-pass` }, {
    keep: { [`${name}.did`]: 'did', [`${name}.access`]: 'accessJwt', [`${name}.refresh`]: 'refreshJwt' },
  })

const account = (fields) => ({ handle: 'fresh.test', email: 'fresh@example.com', password: 'fresh-pass', ...fields })
const refused = (id, fields, options) => badPost(id, createAccount, account(fields), options)

export default group('server.createAccount', [
  get('describeServer', 'com.atproto.server.describeServer'),
  ['alice', 'bob', 'carol', 'dan', 'zoe'].map(signUp),
  refused('handle taken', { handle: 'alice.test' }),
  refused('handle taken in capitals', { handle: 'ALICE.test' }),
  refused('email taken', { email: 'alice@example.com' }),
  refused('email taken in capitals', { email: 'ALICE@Example.com' }),
  refused('email missing', { email: undefined }),
  refused('email without a domain', { email: 'fresh' }),
  refused('email empty', { email: '' }),
  refused('handle missing', { handle: undefined }),
  refused('handle empty', { handle: '' }),
  refused('handle of one label', { handle: 'fresh' }),
  refused('handle too short', { handle: 'ab.test' }),
  refused('handle too long', { handle: 'abcdefghijklmnopqrs.test' }),
  refused('handle with a dot in front', { handle: 'fresh.er.test' }),
  refused('handle with an underscore', { handle: 'fre_sh.test' }),
  refused('handle reserved', { handle: 'admin.test' }),
  refused('handle of another domain', { handle: 'fresh.example.com' }),
  refused('handle of a forbidden domain', { handle: 'fresh.local' }),
  refused('handle with hyphen in front', { handle: '-fresh.test' }),
  refused('handle as a number', { handle: 5 }),
  refused('password too long', { password: 'x'.repeat(257) }),
  refused('password as a number', { password: 5 }),
  refused('plcOp given', { plcOp: { type: 'plc_operation' } }),
  refused('did without a token', { did: 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa' }),
  refused('did malformed', { did: 'alice' }),
  refused('authorization of another kind', {}, { as: 'admin' }),
  refused('session token as authorization', {}, { as: 'alice' }),
  badPost('no body', createAccount, undefined),
  badPost('body is a list', createAccount, []),
  badPost('body is not JSON', createAccount, undefined, { text: '{"handle":' }),
  badPost('body of another type', createAccount, undefined, { text: '{}', type: 'text/plain' }),
  badPost('body without type', createAccount, undefined, { text: '{}', type: null }),
])
