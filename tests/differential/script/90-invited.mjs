// A pair of servers that need invite codes.

import { badPost, get, group, post } from '../support/script.mjs'

export const variant = 'invited'

const create = 'com.atproto.server.createAccount'
const account = (name, fields) => ({ handle: `${name}.test`, email: `${name}@example.com`, password: `${name}-pass`, ...fields })

export default group('invited', [
  get('describeServer says so', 'com.atproto.server.describeServer'),
  badPost('no code', create, account('alice')),
  badPost('code empty', create, account('alice', { inviteCode: '' })),
  badPost('code unknown', create, account('alice', { inviteCode: 'localhost-aaaaa-aaaaa' })),
  badPost('code malformed', create, account('alice', { inviteCode: '?' })),
  badPost('code a number', create, account('alice', { inviteCode: 5 })),
  post('make one', 'com.atproto.server.createInviteCode', { useCount: 1 }, { as: 'admin', keep: { 'code.one': 'code' } }),
  badPost('the handle is looked at before the code', create, account('a', { inviteCode: 'x' })),
  badPost('the email too', create, account('alice', { email: 'x', inviteCode: 'x' })),
  post('with it', create, account('alice', { inviteCode: '{code.one}' }), { keep: { 'alice.did': 'did', 'alice.access': 'accessJwt' } }),
  badPost('used up', create, account('bob', { inviteCode: '{code.one}' })),
  post('make one that is disabled', 'com.atproto.server.createInviteCode', { useCount: 5 }, { as: 'admin', keep: { 'code.two': 'code' } }),
  post('disable it', 'com.atproto.admin.disableInviteCodes', { codes: ['{code.two}'] }, { as: 'admin' }),
  badPost('disabled', create, account('bob', { inviteCode: '{code.two}' })),
  post('make one of an account', 'com.atproto.server.createInviteCode', { useCount: 5, forAccount: '{alice.did}' }, { as: 'admin', keep: { 'code.three': 'code' } }),
  get('its account sees it', 'com.atproto.server.getAccountInviteCodes', {}, { as: 'alice' }),
  post('its account is taken down', 'com.atproto.admin.updateSubjectStatus', { subject: { $type: 'com.atproto.admin.defs#repoRef', did: '{alice.did}' }, takedown: { applied: true, ref: 'spam' } }, { as: 'admin' }),
  badPost('code of an account that is taken down', create, account('bob', { inviteCode: '{code.three}' })),
  post('its account is back', 'com.atproto.admin.updateSubjectStatus', { subject: { $type: 'com.atproto.admin.defs#repoRef', did: '{alice.did}' }, takedown: { applied: false } }, { as: 'admin' }),
  post('code works again', create, account('bob', { inviteCode: '{code.three}' }), { keep: { 'bob.did': 'did' } }),
  get('its account sees the use', 'com.atproto.server.getAccountInviteCodes', {}, { as: 'alice' }),
  get('who was invited by whom', 'com.atproto.admin.getAccountInfo', { did: '{bob.did}' }, { as: 'admin' }),
])
