// Repositories as another server would hand them over, whole and spoilt. Their trees and records are the same at every
// run; the commit is signed with the key of the day.

import { MemoryBlockstore, Repo, WriteOpAction, blocksToCarFile, getFullRepo, readCar } from '@atproto/repo'
import { like, note, rkey } from './records.mjs'

/** `{ name: bytes }` of CAR files of the account `did`. */
export async function foreignRepo(did, keypair) {
  const storage = new MemoryBlockstore()
  const records = [
    ...Array.from({ length: 40 }, (_, n) => ['app.bsky.feed.post', rkey(n), note(`imported ${n}`)]),
    ['app.bsky.feed.like', rkey(1), like(1)],
    ['com.example.note', 'odd', { $type: 'com.example.note', text: 'no schema' }],
    ['com.example.note', 'not-valid', { $type: 'app.bsky.feed.post', text: 5 }],
    ['com.example.note', 'same', { $type: 'com.example.note', text: 'no schema' }],
  ]
  const creates = records.map(([collection, key, record]) => ({ action: WriteOpAction.Create, collection, rkey: key, record }))
  const repo = await Repo.create(storage, did, keypair, creates)
  const whole = await bytesOf(getFullRepo(storage, repo.cid))
  const { blocks } = await readCar(whole)
  const without = async (cid) => {
    const fewer = await readCar(whole)
    fewer.blocks.delete(cid)
    return blocksToCarFile(repo.cid, fewer.blocks)
  }
  const leaf = await repo.data.get(`app.bsky.feed.post/${rkey(7)}`)
  const spoilt = Buffer.from(whole)
  const at = spoilt.indexOf('imported 7"') < 0 ? spoilt.lastIndexOf('imported') : spoilt.indexOf('imported 7"')
  spoilt[at] = spoilt[at] ^ 1
  return {
    whole: Buffer.from(whole),
    noRoot: Buffer.from(await blocksToCarFile(null, blocks)),
    twoRoots: twoRoots(Buffer.from(whole)),
    rootMissing: Buffer.from(await without(repo.cid)),
    treeMissing: Buffer.from(await without(repo.commit.data)),
    recordMissing: Buffer.from(await without(leaf)),
    wrongHash: spoilt,
    cutOff: Buffer.from(whole).subarray(0, whole.length - 20),
  }
}

async function bytesOf(stream) {
  const pieces = []
  for await (const piece of stream) pieces.push(piece)
  return Buffer.concat(pieces)
}

/** The same file, its header naming its root twice. */
function twoRoots(car) {
  const length = car[0]
  const header = car.subarray(1, 1 + length)
  // {roots: [cid], version: 1}: the array is 0x81 and then 41 bytes of the link.
  const at = header.indexOf(0x81)
  const link = header.subarray(at + 1, at + 1 + 41)
  const doubled = Buffer.concat([header.subarray(0, at), Buffer.from([0x82]), link, link, header.subarray(at + 42)])
  return Buffer.concat([Buffer.from([doubled.length]), doubled, car.subarray(1 + length)])
}
