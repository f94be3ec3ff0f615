// Preferences, which are kept here.

import { badGet, badPost, get, group, post } from '../support/script.mjs'

const read = 'app.bsky.actor.getPreferences'
const write = 'app.bsky.actor.putPreferences'
const pref = (name, more) => ({ $type: `app.bsky.actor.defs#${name}`, ...more })
const bob = { as: 'dan' }
const put = (id, preferences, make = post, options = bob) => make(id, write, { preferences }, options)

export default group('preferences', [
  get('none', read, {}, bob),
  put('two', [pref('adultContentPref', { enabled: true }), pref('interestsPref', { tags: ['a', 'b'] })]),
  get('two read', read, {}, bob),
  put('others', [pref('savedFeedsPrefV2', { items: [{ id: 'x', type: 'feed', value: 'at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/app.bsky.feed.generator/x', pinned: true }] }), pref('feedViewPref', { feed: 'home', hideReplies: true })]),
  get('others read', read, {}, bob),
  put('personal details', [pref('personalDetailsPref', { birthDate: '1990-01-01T00:00:00.000Z' }), pref('adultContentPref', { enabled: false })]),
  get('personal details read', read, {}, bob),
  get('personal details as an app', read, {}, { as: 'chat' }),
  put('personal details by an app', [pref('personalDetailsPref', { birthDate: '1990-01-01T00:00:00.000Z' })], badPost, { as: 'chat' }),
  put('as an app', [pref('adultContentPref', { enabled: true })], post, { as: 'chat' }),
  get('personal details are still there', read, {}, bob),
  put('declared age is dropped', [pref('declaredAgePref', { isOverAge13: false }), pref('personalDetailsPref', { birthDate: '2020-01-01T00:00:00.000Z' })]),
  get('declared age is computed', read, {}, bob),
  put('one of a kind twice', [pref('adultContentPref', { enabled: true }), pref('adultContentPref', { enabled: false })]),
  get('one of a kind twice, read', read, {}, bob),
  put('unknown kind', [{ $type: 'app.bsky.actor.defs#newPref', anything: { a: [1] } }]),
  get('unknown kind read', read, {}, bob),
  put('none again', []),
  get('none again, read', read, {}, bob),
  put('of another name space', [{ $type: 'com.example.pref', a: 1 }], badPost),
  put('of almost our name space', [{ $type: 'app.bskyx.pref', a: 1 }], badPost),
  put('without type', [{ a: 1 }], badPost),
  put('a text', ['x'], badPost),
  put('no list', {}, badPost),
  put('missing', undefined, badPost),
  put('as nobody', [], badPost, {}),
  badGet('read as nobody', read),
  badGet('read as the administrator', read, {}, { as: 'admin' }),
])
