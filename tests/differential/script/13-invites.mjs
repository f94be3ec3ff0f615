// Invite codes: made by the administrator, listed, used up, switched off.

import { badGet, badPost, get, group, post } from '../support/script.mjs'

const one = 'com.atproto.server.createInviteCode'
const many = 'com.atproto.server.createInviteCodes'
const mine = 'com.atproto.server.getAccountInviteCodes'
const all = 'com.atproto.admin.getInviteCodes'
const disable = 'com.atproto.admin.disableInviteCodes'
const admin = { as: 'admin' }

export default group('invites', [
  post('one', one, { useCount: 1 }, { ...admin, keep: { 'code.one': 'code' } }),
  post('one for an account', one, { useCount: 2, forAccount: '{alice.did}' }, { ...admin, keep: { 'code.alice': 'code' } }),
  badPost('one as nobody', one, { useCount: 1 }),
  badPost('one as an account', one, { useCount: 1 }, { as: 'alice' }),
  badPost('one with a wrong password', one, { useCount: 1 }, { headers: { authorization: `Basic ${btoa('admin:wrong')}` } }),
  badPost('one as another user', one, { useCount: 1 }, { headers: { authorization: `Basic ${btoa('root:loopback-admin')}` } }),
  badPost('one with a header cut off', one, { useCount: 1 }, { headers: { authorization: 'Basic' } }),
  badPost('one with a header that is not base64', one, { useCount: 1 }, { headers: { authorization: 'Basic ???' } }),
  badPost('one without count', one, {}, admin),
  badPost('one with a count of text', one, { useCount: 'many' }, admin),
  badPost('one with half a use', one, { useCount: 1.5 }, admin),
  badPost('one for no did', one, { useCount: 1, forAccount: 'alice' }, admin),
  post('one with no use', one, { useCount: 0 }, admin),
  post('many', many, { codeCount: 2, useCount: 1 }, { ...admin, keep: { 'code.many': 'codes.0.codes.0' } }),
  post('many for accounts', many, { codeCount: 1, useCount: 3, forAccounts: ['{alice.did}', '{bob.did}'] }, admin),
  post('many by default', many, { useCount: 1 }, admin),
  post('many for none', many, { codeCount: 1, useCount: 1, forAccounts: [] }, admin),
  badPost('many as nobody', many, { codeCount: 1, useCount: 1 }),
  badPost('many with a count of text', many, { codeCount: 'two', useCount: 1 }, admin),
  badPost('many for no did', many, { codeCount: 1, useCount: 1, forAccounts: ['alice'] }, admin),
  get('mine', mine, {}, { as: 'alice' }),
  get('mine, used ones left out', mine, { includeUsed: false }, { as: 'alice' }),
  get('mine, none made', mine, { createAvailable: false }, { as: 'alice' }),
  get('mine, there are none', mine, {}, { as: 'dan' }),
  badGet('mine as nobody', mine),
  badGet('mine with a text for a truth', mine, { includeUsed: 'maybe' }, { as: 'alice' }),
  badGet('mine as an app', mine, {}, { as: 'chat' }),
  post('a code may be given where none is needed', 'com.atproto.server.createAccount', { handle: 'erin.test', email: 'erin@example.com', password: 'erin-pass', inviteCode: '{code.alice}' }, { keep: { 'erin.did': 'did', 'erin.access': 'accessJwt', 'erin.refresh': 'refreshJwt' } }),
  get('mine after a use', mine, {}, { as: 'alice' }),
  get('mine after a use, used ones left out', mine, { includeUsed: false }, { as: 'alice' }),
  badPost('a code that is not there, where none is needed', 'com.atproto.server.createAccount', { handle: 'frank.test', email: 'frank@example.com', password: 'frank-pass', inviteCode: 'localhost-aaaaa-aaaaa' }),
  post('sign up frank', 'com.atproto.server.createAccount', { handle: 'frank.test', email: 'frank@example.com', password: 'frank-pass' }, { keep: { 'frank.did': 'did', 'frank.access': 'accessJwt', 'frank.refresh': 'refreshJwt' } }),
  get('all, first', all, { limit: 1 }, { ...admin, volatile: ['cursor', 'codes.*.code'] }),
  get('all by usage', all, { sort: 'usage', limit: 1 }, { ...admin, volatile: ['cursor'] }),
  badGet('all in another order', all, { sort: 'name' }, admin),
  badGet('all with limit 0', all, { limit: 0 }, admin),
  badGet('all with limit 501', all, { limit: 501 }, admin),
  badGet('all with a bad cursor', all, { cursor: 'x' }, admin),
  badGet('all with a bad cursor by usage', all, { sort: 'usage', cursor: 'x' }, admin),
  badGet('all as nobody', all),
  badGet('all as an account', all, {}, { as: 'alice' }),
  post('disable a code', disable, { codes: ['{code.one}'] }, admin),
  post('disable those of an account', disable, { accounts: ['{bob.did}'] }, admin),
  post('disable nothing', disable, {}, admin),
  post('disable what is not there', disable, { codes: ['localhost-zzzzz-zzzzz'], accounts: ['did:plc:aaaaaaaaaaaaaaaaaaaaaaaa'] }, admin),
  badPost('disable those of the administrator', disable, { accounts: ['admin'] }, admin),
  badPost('disable as nobody', disable, { codes: [] }),
  badPost('disable with a text', disable, { codes: 'x' }, admin),
  get('disabled ones are not listed', mine, {}, { as: 'bob' }),
  post('no invites for an account', 'com.atproto.admin.disableAccountInvites', { account: '{alice.did}', note: 'spam' }, admin),
  get('info says so', 'com.atproto.admin.getAccountInfo', { did: '{alice.did}' }, admin),
  post('invites again', 'com.atproto.admin.enableAccountInvites', { account: '{alice.did}' }, admin),
  post('no invites for nobody', 'com.atproto.admin.disableAccountInvites', { account: 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa' }, admin),
  badPost('no invites, did malformed', 'com.atproto.admin.disableAccountInvites', { account: 'alice' }, admin),
  badPost('no invites as nobody', 'com.atproto.admin.disableAccountInvites', { account: '{alice.did}' }),
  badPost('invites as nobody', 'com.atproto.admin.enableAccountInvites', { account: '{alice.did}' }),
])
