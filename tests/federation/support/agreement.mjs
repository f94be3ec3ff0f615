// What "nothing is lost" means: everybody holds the same of a repository, the relay has said all that the servers said,
// and it complains about nothing. Each function throws, or gives a list of what is wrong: the callers want it empty.

import { Client as PlcClient } from '@did-plc/lib'
import assert from 'node:assert/strict'
import { readRepo } from '../../migration/support/content.mjs'
import { eventually } from './program.mjs'

/** How long the last event may take through relay and tap, in seconds. */
const arrivesSecs = 60

async function get(server, method, parameters) {
  const response = await fetch(`${server.url}/xrpc/${method}?${new URLSearchParams(parameters)}`)
  if (!response.ok) throw new Error(`${method} ${JSON.stringify(parameters)}: ${response.status} ${await response.text()}`)
  return response
}

/**
 * The repository as its server exports it, verified with the key of the DID document: `{ head, treeRoot, records: path to
 * CID }`.
 */
export async function exported(network, host, did) {
  const car = new Uint8Array(await (await get(host.server, 'com.atproto.sync.getRepo', { did })).arrayBuffer())
  const { verificationMethods } = await new PlcClient(network.directory.url).getDocumentData(did)
  const { head, treeRoot, records } = await readRepo(car, did, verificationMethods.atproto)
  return { head, treeRoot, records: new Map(Object.entries(records)) }
}

/** Path to `{ cid, value }`, as listRecords has it. */
async function listed(host, repo) {
  const records = new Map()
  const { collections } = await (await get(host.server, 'com.atproto.repo.describeRepo', { repo })).json()
  for (const collection of collections) {
    let cursor
    do {
      const parameters = { repo, collection, limit: 100, ...(cursor && { cursor }) }
      const page = await (await get(host.server, 'com.atproto.repo.listRecords', parameters)).json()
      for (const { uri, cid, value } of page.records) records.set(uri.slice(`at://${repo}/`.length), { cid, value })
      cursor = page.records.length > 0 ? page.cursor : undefined
    } while (cursor)
  }
  return records
}

const sorted = (map) => new Map([...map].sort(([a], [b]) => (a < b ? -1 : 1)))
const cids = (records) => sorted(new Map([...records].map(([path, { cid }]) => [path, cid])))

/** The relay knows the account as active on `host`, with the commit of the export. */
export async function relayHolds(network, host, did, { head, treeRoot }) {
  await eventually(arrivesSecs, `the relay to hold the last commit of ${did}`, () => {
    const account = network.relay.account(did)
    assert.equal(account?.commit_cid, head)
    const { status, upstream_status, hostname, commit_data_cid } = account
    assert.deepEqual([status, upstream_status, hostname, commit_data_cid], ['active', 'active', host.host, treeRoot])
    return true
  })
  const { body } = await network.relay.call('com.atproto.sync.getRepoStatus', { did })
  assert.deepEqual([body.active, body.status], [true, undefined])
}

/** Tap holds the export and nothing else, record by record, and its channel has told the same. */
export async function tapHolds(network, did, { treeRoot, records }) {
  const { tap } = network
  await eventually(arrivesSecs, `tap to hold the last commit of ${did}`, () => {
    const repo = tap.repo(did)
    assert.deepEqual([repo?.state, repo?.status, repo?.prev_data], ['active', 'active', treeRoot])
    return true
  })
  assert.deepEqual(sorted(tap.records(did)), records, `what tap holds of ${did}`)
  await eventually(arrivesSecs, `the channel of tap to tell all of ${did}`, () => {
    assert.deepEqual(cids(tap.told.get(did) ?? new Map()), records)
    return true
  })
}

/** The values that tap's channel has told are those that the server lists. */
async function valuesAgree(network, host, did, { records }) {
  const values = await listed(host, did)
  assert.deepEqual(cids(values), records, `what listRecords gives of ${did}`)
  const told = network.tap.told.get(did)
  for (const [path, { value }] of values) assert.deepEqual(told.get(path).record, value, `${did}/${path}`)
}

/** Server, relay and tap hold the same of each of `dids`. Gives what they hold: DID to the export. */
export async function allHold(network, host, dids) {
  const held = new Map()
  for (const did of dids) {
    const latest = await (await get(host.server, 'com.atproto.sync.getLatestCommit', { did })).json()
    const before = network.compared.get(did)
    const repo = before?.head === latest.cid ? before : await exported(network, host, did)
    await relayHolds(network, host, did, repo)
    await tapHolds(network, did, repo)
    if (repo !== before) await valuesAgree(network, host, did, repo)
    network.compared.set(did, repo)
    held.set(did, repo)
  }
  return held
}

/**
 * Nothing is lost and nobody complains. `homes`: DID to the host where the account is, of all that are active: their last
 * events are waited for.
 */
export async function nothingLost(network, homes) {
  for (const [did, { name, server, recorder }] of homes) {
    const { rev } = await (await get(server, 'com.atproto.sync.getLatestCommit', { did })).json()
    const said = () => recorder.of(did, '#commit', '#sync').some((event) => event.rev >= rev)
    await recorder.events.until(said, `${name} to say ${rev}`)
  }
  for (const { name, recorder } of network.hosts) {
    assert.deepEqual([recorder.faults, recorder.repeated], [[], []], `what ${name} says`)
  }
  assert.deepEqual(network.relayed.faults, [], 'what the relay says')
  // Complaints first: they say why something does not arrive.
  const nobodyComplains = () => {
    assert.deepEqual(relayComplaints(network), [])
    assert.deepEqual(tapComplaints(network), [])
  }
  nobodyComplains()
  await eventually(arrivesSecs, 'the relay to pass on all that was said', () => {
    assert.deepEqual(lostEvents(network), [])
    return true
  })
  nobodyComplains()
  assert.equal(await network.relay.metric('events_warn_counter'), 0)
}

const stateOf = ({ type, rev, commit, ops }) => [type, rev, commit, ops].filter((field) => field !== undefined).join(' ')
const statusOf = ({ active, status }) => (active ? 'active' : `${status}`)
/** A server that comes back may say its last event once more, and so does the relay. */
const once = (list) => list.filter((item, n) => item !== list[n - 1])

/**
 * Compares what the servers have said since the relay came with what the relay has said, account by account: every
 * commit, #sync and #account, in their order, and as many #identity at least.
 */
export function lostEvents(network) {
  const said = new Map()
  const probes = new Set(network.hosts.map(({ probe }) => probe))
  for (const { recorder, firstSeq } of network.hosts) {
    for (const event of recorder.events.items) {
      if (event.seq < firstSeq || probes.has(event.did) || network.isAway(event.did, recorder, event.seq)) continue
      if (network.isExcused(event, recorder)) continue
      if (!said.has(event.did)) said.set(event.did, [])
      said.get(event.did).push(event)
    }
  }
  const passed = Map.groupBy(network.relayed.events.items, ({ did }) => did)
  const wrong = []
  for (const [did, events] of said) {
    // Of an account that has moved, two servers speak, one after the other.
    events.sort((a, b) => a.at - b.at)
    const relayed = passed.get(did) ?? []
    const pick = (list, types, name) => once(list.filter(({ type }) => types.includes(type)).map(name))
    for (const [types, name] of [[['#commit', '#sync'], stateOf], [['#account'], statusOf]]) {
      const expected = pick(events, types, name)
      const found = pick(relayed, types, name)
      const at = expected.findIndex((item, n) => item !== found[n])
      if (at >= 0) {
        const which = `number ${at} of ${expected.length} ${types}`
        wrong.push(`${did}: the relay passed on '${found[at]}' for '${expected[at]}', ${which}`)
      } else if (found.length > expected.length) {
        wrong.push(`${did}: the relay passed on '${found[expected.length]}', which nobody said`)
      }
    }
    const [of, all] = [relayed, events].map((list) => list.filter(({ type }) => type === '#identity').length)
    if (of < all) wrong.push(`${did}: the relay passed on ${of} of ${all} #identity`)
  }
  return wrong
}

/** Messages of the relay about connections, and nothing else: servers and consumers come and go here. */
const connections = [
  'dialing failed',
  'host connection failed',
  'failed to read message from client',
  'failed to ping',
  'failed to ping client',
]

/**
 * What the relay has logged about events that it did not like: everything from a warning on, and every word of dropping.
 * Not counted: connections, a commit that it drops because it has passed it on already, the farewell of a server that an
 * account has left, and what the network has been told to excuse.
 */
export function relayComplaints(network) {
  const passed = new Set(network.relayed.events.items.map(({ did, rev }) => `${did} ${rev}`))
  return network.relay.lines.items.filter((line) => {
    const { level, msg = '', text, did, rev, seq, host, eventType, err = '' } = line
    if (text !== undefined) return /panic|fatal|error/i.test(text)
    if (!['WARN', 'ERROR'].includes(level) && !/drop|skip|desync/i.test(msg)) return false
    if (connections.includes(msg)) return false
    if (msg === 'dropping commit with old rev') return !passed.has(`${did} ${rev}`)
    const { recorder } = network.hosts.find((one) => one.host === host) ?? {}
    if (/account from a different host/.test(err)) return !network.isAway(did, recorder, seq)
    return !(/signature invalid/.test(err) && network.isExcused({ type: `#${eventType}`, did, seq }, recorder))
  })
}

/** The same for tap; it saves its cursor every second, and has never managed to do so at its end. */
const tapConnections = ['dialing failed', 'firehose connection failed', 'failed to save cursor on shutdown']

/** The same of tap. `desynchronized` would be a commit that does not follow from the one before. */
export function tapComplaints(network) {
  return network.tap.lines.items.filter(({ level, msg, text }) => {
    if (text !== undefined) return /panic|fatal/i.test(text)
    return ['WARN', 'ERROR'].includes(level) && !tapConnections.includes(msg)
  })
}
