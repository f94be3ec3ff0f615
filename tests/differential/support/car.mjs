// What a CAR file or a firehose event says, in a form that can be compared: the tree's root and the records are equal on
// both servers when paths and records are; only commits differ.

import { MST, MemoryBlockstore, cborToLex, readCar } from '@atproto/repo'

/** Notes which blocks of `blocks` are commits, so that their CIDs are normalised. */
function commitsOf(blocks, side) {
  const commits = []
  for (const { cid, bytes } of blocks.entries()) {
    const value = cborToLex(bytes)
    if (value && typeof value === 'object' && value.version === 3 && value.sig) {
      side.commits.add(cid.toString())
      commits.push({ cid: cid.toString(), did: value.did, data: value.data.toString(), prev: value.prev, value })
    }
  }
  return commits
}

/** A CAR file: roots, commits, the CIDs of all blocks that are not commits, and the records of a whole tree. */
export async function describeCar(bytes, side) {
  const { roots, blocks } = await readCar(bytes)
  const commits = commitsOf(blocks, side)
  const isCommit = new Set(commits.map(({ cid }) => cid))
  const others = blocks.entries().map(({ cid }) => cid.toString())
  const records = {}
  if (commits.length === 1) {
    try {
      const tree = await MST.load(new MemoryBlockstore(blocks), commits[0].value.data)
      for (const leaf of await tree.leaves()) records[leaf.key] = leaf.value.toString()
    } catch {
      // A proof does not carry the whole tree.
      records.partial = true
    }
  }
  return {
    car: {
      roots: roots.map(String),
      commits: commits.map(({ value: _, ...said }) => said),
      blocks: others.filter((cid) => !isCommit.has(cid)).sort(),
      records,
    },
  }
}

/** A firehose message in the same manner. */
export async function describeEvent(type, body, side) {
  const { seq: _, ...said } = body
  if (said.blocks) said.blocks = (await describeCar(said.blocks, side)).car
  if (said.commit) side.commits.add(said.commit.toString())
  if (said.blocks) delete said.blocks.records
  return { type, ...plain(said) }
}

/** CIDs as text. */
function plain(value) {
  if (value === null || typeof value !== 'object') return value
  if (value.asCID || value['/'] || typeof value.multihash === 'object') return value.toString()
  if (Array.isArray(value)) return value.map(plain)
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, plain(each)]))
}
