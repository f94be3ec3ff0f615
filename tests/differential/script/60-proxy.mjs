// What is passed on to other services, how, and what comes back.

import { badGet, badPost, get, group, local, post, request } from '../support/script.mjs'
import { makeDid } from '../support/identity.mjs'
import { like, nobody, noCid, note, rkey } from '../support/records.mjs'

const appview = 'did:plc:appviewappviewappviewapp'
const moderation = 'did:plc:modservicemodservicemods'
const alice = { as: 'alice' }
const to = (target, more) => ({ ...alice, headers: { 'atproto-proxy': target, ...more } })
const other = '{stub.did}#bsky_chat'
const profile = 'app.bsky.actor.getSuggestions'

const targets = group('proxy targets', [
  local('a service with a DID of its own', async (side) => {
    const services = {
      bsky_chat: { type: 'BskyChatService', endpoint: side.upstream.url },
      broken: { type: 'Broken', endpoint: 'not a url' },
      ftp: { type: 'Ftp', endpoint: 'ftp://example.com' },
      gone: { type: 'Gone', endpoint: 'http://localhost:9' },
      bsky_fg: { type: 'BskyFeedGenerator', endpoint: side.upstream.url },
      bsky_notif: { type: 'BskyNotificationService', endpoint: side.upstream.url },
    }
    const { did } = await makeDid(side.plcUrl, { services })
    side.keep('stub.did', did)
    side.upstream.generatorDid = did
  }),
  get('AppView by default', profile, { limit: 3 }, alice),
  get('AppView named', profile, {}, to(`${appview}#bsky_appview`)),
  get('a method that nobody knows', 'com.example.unknown.method', { a: 1 }, alice),
  get('chat without header goes to the AppView', 'chat.bsky.convo.getLog', {}, alice),
  get('chat named', 'chat.bsky.convo.getLog', {}, to(other)),
  get('chat as a privileged app', 'chat.bsky.convo.getLog', {}, { as: 'chat', headers: { 'atproto-proxy': other } }),
  badGet('chat as an app', 'chat.bsky.convo.getLog', {}, { as: 'phone', headers: { 'atproto-proxy': other } }),
  get('ozone goes to moderation', 'tools.ozone.moderation.queryStatuses', {}, alice),
  get('ozone outside the list goes to the AppView', 'tools.ozone.unknown.method', {}, alice),
  // The AppView's name is known without asking the directory, this one's is not.
  badGet('moderation named', 'tools.ozone.moderation.queryStatuses', {}, to(`${moderation}#atproto_labeler`)),
  get('local methods ignore the header', 'com.atproto.server.getSession', {}, to(other)),
  badGet('as nobody', profile),
  badGet('as nobody to a bad target', profile, {}, { headers: { 'atproto-proxy': 'x' } }),
  badGet('as the administrator', profile, {}, { as: 'admin' }),
  badGet('target without service', profile, {}, to('{stub.did}')),
  badGet('target with an empty service', profile, {}, to('{stub.did}#')),
  badGet('target with an empty did', profile, {}, to('#bsky_chat')),
  badGet('target with two services', profile, {}, to('{stub.did}#a#b')),
  badGet('target with a space', profile, {}, to('{stub.did} #bsky_chat')),
  badGet('target that does not resolve', profile, {}, to(`${nobody}#bsky_chat`)),
  badGet('target without that service', profile, {}, to('{stub.did}#other')),
  badGet('target whose address is none', profile, {}, to('{stub.did}#broken')),
  badGet('target of another scheme', profile, {}, to('{stub.did}#ftp')),
  badGet('target where nobody listens', profile, {}, to('{stub.did}#gone')),
  badGet('target of another did method', profile, {}, to('did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme#x')),
  badGet('target that is no did', profile, {}, to('example.com#x')),
  badGet('protected method through a target', 'com.atproto.admin.sendEmail', {}, to(other)),
  request('by PUT', 'PUT', `/xrpc/${profile}`, alice),
  request('by DELETE', 'DELETE', `/xrpc/${profile}`, alice),
  request('not a method', 'GET', '/xrpc/nonsense', alice),
  request('not a method, with a slash', 'GET', `/xrpc/${profile}/more`, alice),
  request('method with a slash at the end', 'GET', `/xrpc/${profile}/`, alice),
  request('no method', 'GET', '/xrpc/', alice),
  ['com.atproto.identity.resolveDid', 'com.atproto.identity.resolveIdentity'].map((nsid) => get(nsid, nsid, { did: '{alice.did}', identifier: '{alice.did}' }, alice)),
  post('com.atproto.identity.refreshIdentity', 'com.atproto.identity.refreshIdentity', { identifier: '{alice.did}' }, alice),
  get('com.atproto.label.queryLabels', 'com.atproto.label.queryLabels', { uriPatterns: '*' }, alice),
  get('com.atproto.temp.fetchLabels', 'com.atproto.temp.fetchLabels', {}, alice),
  get('com.atproto.admin.searchAccounts', 'com.atproto.admin.searchAccounts', { email: 'a' }, alice),
  get('com.atproto.sync.listHosts', 'com.atproto.sync.listHosts', {}, alice),
  post('com.atproto.sync.requestCrawl', 'com.atproto.sync.requestCrawl', { hostname: 'x' }, alice),
  post('com.atproto.sync.notifyOfUpdate', 'com.atproto.sync.notifyOfUpdate', { hostname: 'x' }, alice),
])

const passing = group('proxy passing', [
  get('query as it stands', profile, {}, { ...alice, path: `/xrpc/${profile}?a=1&a=2&b=%20x+y&c=%E2%82%AC&d` }),
  get('headers that go along', profile, {}, {
    ...alice,
    headers: {
      'accept-language': 'de, en;q=0.5',
      'atproto-accept-labelers': `${moderation};redact`,
      'x-bsky-topics': 'a,b',
      'user-agent': 'script/1',
      cookie: 'a=b',
      'x-forwarded-for': '192.0.2.1',
      'x-other': 'y',
      accept: 'application/json',
      'if-none-match': '"x"',
    },
  }),
  get('headers of the x-atproto kind', profile, {}, { ...alice, headers: { 'x-atproto-bsky-topics': 'a' } }),
  get('gzip asked for', profile, { stub: 'gzip' }, { ...alice, headers: { 'accept-encoding': 'gzip, deflate' } }),
  get('gzip not asked for', profile, { stub: 'gzip' }, alice),
  post('JSON', 'app.bsky.graph.muteActor', { actor: '{bob.did}' }, alice),
  post('text', 'app.bsky.video.uploadVideo', undefined, { ...alice, text: 'bytes', type: 'video/mp4' }),
  post('chunked', 'app.bsky.graph.muteActor', { actor: '{bob.did}' }, { ...alice, framing: 'chunked' }),
  post('empty', 'app.bsky.notification.updateSeen', undefined, alice),
  post('with an encoding', 'app.bsky.graph.muteActor', { actor: 'x' }, { ...alice, headers: { 'content-encoding': 'identity' } }),
  post('larger than a body of ours may be', 'app.bsky.graph.muteActor', { actor: 'x'.repeat(200_000) }, { ...alice, volatile: [] }),
  request('HEAD', 'HEAD', `/xrpc/${profile}`, alice),
])

const answers = group('proxy answers', [
  get('text', profile, { stub: 'text' }, alice),
  get('empty', profile, { stub: 'empty' }, alice),
  get('JSON that is none', profile, { stub: 'garbage' }, alice),
  ['400', '401', '403', '404', '409', '413', '429', '500', '501', '502', '503'].map((status) => badGet(`error ${status}`, profile, { stub: status }, alice)),
  badPost('error of a procedure', 'app.bsky.graph.muteActor', { actor: 'x' }, { ...alice, query: { stub: '400' } }),
  badGet('error that is no JSON', profile, { stub: 'html500' }, alice),
  get('status 202', profile, { stub: '202' }, alice),
])

const feed = 'app.bsky.feed'
const reads = group('proxy reads of one\'s own', [
  ['app.bsky.actor.getProfile', `${feed}.getAuthorFeed`, `${feed}.getActorLikes`].map((nsid) => [
    get(`${nsid}`, nsid, { actor: '{alice.did}' }, alice),
    get(`${nsid} with a rev of old`, nsid, { actor: '{alice.did}', stub: 'rev:2222222222222' }, alice),
    badGet(`${nsid}, an error`, nsid, { actor: '{alice.did}', stub: '400' }, alice),
    badGet(`${nsid} as nobody`, nsid, { actor: '{alice.did}' }),
  ]),
  get('getProfiles', 'app.bsky.actor.getProfiles', { actors: ['{alice.did}', '{bob.did}'] }, alice),
  get('getProfiles, another spelling', 'app.bsky.actor.getProfiles', {}, { ...alice, path: '/xrpc/app.bsky.actor.getProfiles?actors[]=alice.test&actors[]=bob.test' }),
  get('getTimeline', `${feed}.getTimeline`, { limit: 5 }, alice),
  get('getTimeline that is none', `${feed}.getTimeline`, { stub: 'garbage' }, alice),
  get('getPostThread', `${feed}.getPostThread`, { uri: `at://{alice.did}/app.bsky.feed.post/${rkey(1)}` }, alice),
  badGet('getPostThread of another, not found', `${feed}.getPostThread`, { uri: `at://${nobody}/app.bsky.feed.post/${rkey(1)}`, stub: '404' }, alice),
  badGet('getTimeline with a limit of text', `${feed}.getTimeline`, { limit: 'many' }, alice),
  get('getTimeline, accept-encoding', `${feed}.getTimeline`, {}, { ...alice, headers: { 'accept-encoding': 'br, gzip;q=0.5' } }),
  badGet('getTimeline, nothing acceptable', `${feed}.getTimeline`, {}, { ...alice, headers: { 'accept-encoding': 'identity;q=0, *;q=0' } }),
  get('getFeed', `${feed}.getFeed`, { feed: `at://${nobody}/app.bsky.feed.generator/real`, limit: 5 }, alice),
  badGet('getFeed of no record', `${feed}.getFeed`, { feed: `at://${nobody}/app.bsky.feed.generator/x` }, alice),
  badGet('getFeed as nobody', `${feed}.getFeed`, { feed: `at://${nobody}/app.bsky.feed.generator/x` }),
  badGet('getFeed without feed', `${feed}.getFeed`, {}, alice),
])

/** Reads that come back from an AppView that has not seen the newest records. `lag.rev` is what it has seen. */
const lagging = (id, nsid, query) => get(id, nsid, { ...query, stub: 'rev:{lag.rev}' }, alice)
const write = (id, collection, key, record, keep) =>
  post(id, 'com.atproto.repo.putRecord', { repo: '{alice.did}', collection, rkey: key, record }, { ...alice, keep })
const theirPost = `at://${nobody}/app.bsky.feed.post/${rkey(1)}`
const merged = group('proxy reads after writes', [
  write('what the AppView has seen', 'com.example.note', 'lag', { a: 1 }, { 'lag.rev': 'commit.rev' }),
  lagging('getProfile, nothing new', 'app.bsky.actor.getProfile', { actor: '{alice.did}' }),
  write('a new profile', 'app.bsky.actor.profile', 'self', { displayName: 'Alice the New', description: 'written here' }),
  write('a new post', 'app.bsky.feed.post', rkey(800), note('a new post')),
  write('a new reply', 'app.bsky.feed.post', rkey(801), note('a new reply', { reply: { root: { uri: theirPost, cid: noCid }, parent: { uri: theirPost, cid: noCid } } })),
  write('a new like', 'app.bsky.feed.like', rkey(802), like(5)),
  lagging('getProfile', 'app.bsky.actor.getProfile', { actor: '{alice.did}' }),
  lagging('getProfile of another', 'app.bsky.actor.getProfile', { actor: '{bob.did}' }),
  lagging('getProfiles', 'app.bsky.actor.getProfiles', { actors: ['{alice.did}', '{bob.did}'] }),
  lagging('getTimeline', `${feed}.getTimeline`, {}),
  lagging('getTimeline, second page', `${feed}.getTimeline`, { cursor: 'x', items: 1 }),
  lagging('getAuthorFeed', `${feed}.getAuthorFeed`, { actor: '{alice.did}', items: 1 }),
  lagging('getAuthorFeed that is empty', `${feed}.getAuthorFeed`, { actor: '{alice.did}' }),
  lagging('getAuthorFeed of another', `${feed}.getAuthorFeed`, { actor: '{bob.did}', items: 1 }),
  lagging('getActorLikes', `${feed}.getActorLikes`, { actor: '{alice.did}', items: 1 }),
  lagging('getPostThread with a reply of ours', `${feed}.getPostThread`, { uri: theirPost }),
  badGet('getPostThread that the AppView lacks', `${feed}.getPostThread`, { uri: theirPost, stub: 'notfound:{lag.rev}' }, alice),
  get('getPostThread of ours that the AppView lacks', `${feed}.getPostThread`, { uri: `at://{alice.did}/app.bsky.feed.post/${rkey(800)}`, stub: 'notfound:{lag.rev}' }, alice),
])

const report = (fields) => ({ reasonType: 'com.atproto.moderation.defs#reasonSpam', subject: { $type: 'com.atproto.admin.defs#repoRef', did: '{bob.did}' }, ...fields })
const reports = group('moderation.createReport', [
  post('default', 'com.atproto.moderation.createReport', report({ reason: 'it is spam' }), alice),
  post('to another', 'com.atproto.moderation.createReport', report(), to(other)),
  post('as an app', 'com.atproto.moderation.createReport', report(), { as: 'chat' }),
  badPost('as nobody', 'com.atproto.moderation.createReport', report()),
  badPost('without subject', 'com.atproto.moderation.createReport', report({ subject: undefined }), alice),
  badPost('refused there', 'com.atproto.moderation.createReport', report(), { ...alice, query: { stub: '400' } }),
])

const push = (fields) => ({ serviceDid: appview, token: 'abc', platform: 'ios', appId: 'app', ...fields })
const pushes = group('notification.registerPush', [
  post('at the AppView', 'app.bsky.notification.registerPush', push(), alice),
  post('at another', 'app.bsky.notification.registerPush', push({ serviceDid: '{stub.did}' }), alice),
  post('not any more', 'app.bsky.notification.unregisterPush', push(), alice),
  badPost('at nobody', 'app.bsky.notification.registerPush', push({ serviceDid: nobody }), alice),
  badPost('at no did', 'app.bsky.notification.registerPush', push({ serviceDid: 'x' }), alice),
  badPost('as nobody', 'app.bsky.notification.registerPush', push()),
])

export default [targets, passing, answers, reads, merged, reports, pushes].flat()
