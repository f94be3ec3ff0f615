// What an account holds: filling one, and taking a picture of all of it to compare with another.

import { MemoryBlockstore, def, readCarWithRoot, verifyRepo } from '@atproto/repo'
import { randomBytes } from 'node:crypto'
import { png, post } from '../../peers/support/account.mjs'

const writesMax = 200
const day = 86_400_000

/** A record key in the form of a TID that sorts by `n`, so that two runs make the same tree. */
export function tid(n) {
  const alphabet = '234567abcdefghijklmnopqrstuvwxyz'
  let value = (BigInt(Date.UTC(2024, 0, 1)) * 1000n + BigInt(n) * 1_000_000n) << 10n
  let text = ''
  for (let digit = 0; digit < 13; digit += 1) {
    text = alphabet[Number(value & 31n)] + text
    value >>= 5n
  }
  return text
}

const at = (n) => new Date(Date.UTC(2024, 0, 1) + n * 60_000).toISOString()

/**
 * Writes `records` records with `blobs` blobs, some of them edited and deleted again, so that the tree has a history.
 * Gives the number of records that remain.
 */
export async function fill(agent, { records, blobs, first = 0 }) {
  const repo = agent.did
  const someone = (n) => `did:plc:${'abcdefghijklmnopqrstuvwxyz234567'.at(n % 32).repeat(20)}${tid(n).slice(9)}`
  const uploaded = []
  for (let n = 0; n < blobs; n += 1) {
    // Text, pictures and noise; the largest has half a megabyte.
    const made = [
      [png(8 + n, (first + n) % 256), 'image/png'],
      [Buffer.from(`{"number": ${first + n}}`), 'application/json'],
      [randomBytes(1 + n * 25_000), 'application/octet-stream'],
    ][n % 3]
    const { data } = await agent.uploadBlob(made[0], { encoding: made[1] })
    uploaded.push(data.blob)
  }
  const images = uploaded.filter(({ mimeType }) => mimeType === 'image/png')
  const records_ = []
  const add = (collection, value, rkey = tid(first + records_.length)) => {
    records_.push({ collection, rkey, value: { $type: collection, ...value } })
  }
  const spare = uploaded.filter((blob) => !images.includes(blob))
  for (const [n, image] of images.entries()) {
    const embed = { $type: 'app.bsky.embed.images', images: [{ image, alt: `number ${n}` }] }
    add('app.bsky.feed.post', post(`picture ${n}`, { createdAt: at(n), embed }))
  }
  // One blob in two records; what is no picture in records of no known schema.
  if (images.length > 0) add('com.example.cover', { image: images[0] })
  for (const blob of spare) add('com.example.file', { file: blob, at: at(0) })
  const kinds = [
    (n) => ['app.bsky.feed.post', post(`post ${n}: ${'ä€😀'.repeat(n % 9)}`, { createdAt: at(n), langs: ['en', 'de'] })],
    (n) => ['app.bsky.feed.post', post(`another ${n}`, { createdAt: at(n), tags: [`t${n % 7}`] })],
    (n) => ['app.bsky.graph.follow', { subject: someone(n), createdAt: at(n) }],
    (n) => ['app.bsky.graph.block', { subject: someone(n + 1), createdAt: at(n) }],
    (n) => {
      const subject = { uri: `at://${someone(n)}/app.bsky.feed.post/${tid(n)}`, cid: someCid }
      return ['app.bsky.feed.like', { subject, createdAt: at(n) }]
    },
    (n) => ['com.example.note', { deep: { list: [n, -n, null, true, 'x', { n }] }, bytes: { $bytes: btoa(`n${n}`) } }],
  ]
  for (let n = 0; records_.length < records; n += 1) add(...kinds[n % kinds.length](n))

  // A tenth more than asked for, which goes again; and as many that are written twice.
  const passing = Array.from({ length: Math.ceil(records / 10) }, (_, n) => tid(first + records + n))
  const type = (action) => `com.atproto.repo.applyWrites#${action}`
  const note = 'com.example.note'
  const writes = [
    ...passing.map((rkey) => ({ $type: type('create'), collection: note, rkey, value: { $type: note, rkey } })),
    ...records_.map((record) => ({ $type: type('create'), ...record })),
    ...passing.map((rkey) => ({ $type: type('delete'), collection: note, rkey })),
    ...records_
      .filter(({ collection }) => collection === note)
      .map((record) => ({ $type: type('update'), ...record, value: { ...record.value, edited: true } })),
  ]
  for (let n = 0; n < writes.length; n += writesMax) {
    await agent.com.atproto.repo.applyWrites({ repo, writes: writes.slice(n, n + writesMax) })
  }
  return records_.length
}

const someCid = 'bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a'

const byPath = ([a], [b]) => (a < b ? -1 : 1)

/** Everything that a move has to carry over, in a form that compares with deepEqual. */
export async function picture(agent) {
  const did = agent.did
  const { data: latest } = await agent.com.atproto.sync.getLatestCommit({ did })
  const { records, treeRoot, head } = await readRepo(await download(agent), did)
  const { data } = await agent.com.atproto.repo.describeRepo({ repo: did })
  const listed = {}
  for (const collection of data.collections) {
    let cursor
    do {
      const page = await agent.com.atproto.repo.listRecords({ repo: did, collection, limit: 100, cursor })
      for (const { uri, cid, value } of page.data.records) {
        listed[uri.slice(`at://${did}/`.length)] = { cid, value: JSON.parse(JSON.stringify(value)) }
      }
      cursor = page.data.records.length > 0 ? page.data.cursor : undefined
    } while (cursor)
  }
  return {
    records,
    listed: Object.fromEntries(Object.entries(listed).sort(byPath)),
    treeRoot,
    isLatest: head === latest.cid,
    blobs: await blobs(agent),
    preferences: (await agent.app.bsky.actor.getPreferences()).data.preferences,
  }
}

/**
 * Reads a repository of `did` from its CAR file, checking every hash and, given one, the signature:
 * `{ head, treeRoot, records: path to CID }`.
 */
export async function readRepo(car, did, signingKey) {
  const { root, blocks } = await readCarWithRoot(car)
  const { creates } = await verifyRepo(blocks, root, did, signingKey)
  const commit = await new MemoryBlockstore(blocks).readObj(root, def.commit)
  const records = creates.map(({ collection, rkey, cid }) => [`${collection}/${rkey}`, cid.toString()])
  return { head: root.toString(), treeRoot: commit.data.toString(), records: Object.fromEntries(records.sort(byPath)) }
}

export async function download(agent) {
  return (await agent.com.atproto.sync.getRepo({ did: agent.did })).data
}

/** CID to bytes in base64, of every blob that the server lists. */
async function blobs(agent) {
  const found = {}
  for await (const cid of blobCids(agent)) {
    found[cid] = (await downloadBlob(agent, cid)).bytes.toString('base64')
  }
  return Object.fromEntries(Object.entries(found).sort(byPath))
}

/** `{ bytes, type }` of a blob. Not by the client's getBlob, which takes apart what is JSON. */
export async function downloadBlob(agent, cid) {
  const query = new URLSearchParams({ did: agent.did, cid })
  const answer = await fetch(new URL(`/xrpc/com.atproto.sync.getBlob?${query}`, agent.serviceUrl))
  if (!answer.ok) throw new Error(`getBlob ${cid}: ${answer.status} ${await answer.text()}`)
  return { bytes: Buffer.from(await answer.arrayBuffer()), type: answer.headers.get('content-type') }
}

export async function* blobCids(agent, limit = 100) {
  let cursor
  do {
    const { data } = await agent.com.atproto.sync.listBlobs({ did: agent.did, limit, cursor })
    yield* data.cids
    cursor = data.cursor
  } while (cursor)
}

export const preferences = [
  { $type: 'app.bsky.actor.defs#adultContentPref', enabled: true },
  { $type: 'app.bsky.actor.defs#contentLabelPref', label: 'spider', visibility: 'hide' },
  { $type: 'app.bsky.actor.defs#contentLabelPref', label: 'clown', visibility: 'warn' },
  {
    $type: 'app.bsky.actor.defs#savedFeedsPrefV2',
    items: [{ id: '3kz4', type: 'timeline', value: 'following', pinned: true }],
  },
  { $type: 'app.bsky.actor.defs#personalDetailsPref', birthDate: new Date(Date.UTC(1990, 4, 17) + day / 2).toISOString() },
  { $type: 'app.bsky.example.unheardOf', kept: { as: ['it', 'is'] } },
]
