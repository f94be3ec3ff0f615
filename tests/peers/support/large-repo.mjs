// Writes the CAR of a repo of any size in a few hundred bytes of memory per record: larger than a test could make by
// calling the server. The tree is built from the sorted keys, without a library, so it checks the server's independently.

import { Secp256k1Keypair } from '@atproto/crypto'
import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { open, rm } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'

const flushBytes = 1 << 20

/**
 * Writes a repo of `count` records for `did` to `file`: version 3, signed with a key made for it.
 * Returns `{ data, rev }`, the tree's root as hex of the binary CID.
 */
export async function writeLargeRepo(file, did, count) {
  const blocks = await BlockFile.create(`${file}.blocks`)
  const width = String(count).length
  const keys = Array.from({ length: count }, (_, n) => `com.example.note/k${String(n).padStart(width, '0')}`)
  const depths = keys.map(depthOf)
  const values = Buffer.alloc(36 * count)
  for (let n = 0; n < count; n += 1) {
    const record = map([
      ['n', uint(n)],
      ['text', text(`note ${n} of a repo that is large on purpose`)],
      ['$type', text('com.example.note')],
    ])
    ;(await blocks.add(record)).copy(values, 36 * n)
  }

  /** The node at `depth` over keys `from..to`; null when there are none. */
  async function node(from, to, depth) {
    if (from === to) return null
    const entries = []
    let left = from
    let previous = ''
    let first = null
    for (let n = from; n <= to; n += 1) {
      if (n < to && depths[n] !== depth) continue
      const between = depth === 0 ? null : await node(left, n, depth - 1)
      if (entries.length === 0) first = between
      else entries.at(-1).t = between
      if (n === to) break
      const shared = sharedPrefix(previous, keys[n])
      entries.push({ p: shared, k: keys[n].slice(shared), v: values.subarray(36 * n, 36 * n + 36), t: null })
      previous = keys[n]
      left = n + 1
    }
    const encoded = entries.map(({ p, k, v, t }) =>
      map([['k', bytes(Buffer.from(k))], ['p', uint(p)], ['t', linkOrNull(t)], ['v', link(v)]]),
    )
    return blocks.add(map([['e', array(encoded)], ['l', linkOrNull(first)]]))
  }

  const top = depths.reduce((most, depth) => Math.max(most, depth), 0)
  const data = (await node(0, count, top)) ?? (await blocks.add(map([['e', array([])], ['l', linkOrNull(null)]])))
  const rev = '3kznmn7xqxl22'
  const unsigned = [['did', text(did)], ['rev', text(rev)], ['data', link(data)], ['prev', Buffer.from([0xf6])], ['version', uint(3)]]
  const keypair = await Secp256k1Keypair.create()
  const sig = await keypair.sign(new Uint8Array(map(unsigned)))
  const root = await blocks.add(map([...unsigned, ['sig', bytes(Buffer.from(sig))]]))
  await blocks.close()

  const header = map([['roots', array([link(root)])], ['version', uint(1)]])
  const car = createWriteStream(file)
  car.write(Buffer.concat([varint(header.length), header]))
  await pipeline(createReadStream(`${file}.blocks`), car)
  await rm(`${file}.blocks`)
  return { data: data.toString('hex'), rev }
}

/** CAR sections in a file, written in large pieces. */
class BlockFile {
  #file
  #pending = []
  #size = 0

  static async create(file) {
    const blocks = new BlockFile()
    blocks.#file = await open(file, 'w')
    return blocks
  }

  /** Appends one DAG-CBOR block; returns its binary CID. */
  async add(block) {
    const cid = Buffer.concat([Buffer.from([0x01, 0x71, 0x12, 0x20]), createHash('sha256').update(block).digest()])
    const section = [varint(cid.length + block.length), cid, block]
    for (const part of section) this.#size += part.length
    this.#pending.push(...section)
    if (this.#size >= flushBytes) await this.#flush()
    return cid
  }

  async #flush() {
    await this.#file.write(Buffer.concat(this.#pending))
    this.#pending = []
    this.#size = 0
  }

  async close() {
    await this.#flush()
    await this.#file.close()
  }
}

/** Leading zero bits of the key's sha-256, in pairs. */
function depthOf(key) {
  const hash = createHash('sha256').update(key).digest()
  let pairs = 0
  for (const byte of hash) {
    if (byte !== 0) return pairs + Math.floor(Math.clz32(byte << 24) / 2)
    pairs += 4
  }
  return pairs
}

function sharedPrefix(a, b) {
  let n = 0
  while (n < a.length && a[n] === b[n]) n += 1
  return n
}

function varint(n) {
  const out = []
  for (let rest = n; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...out, rest])
    out.push((rest % 128) | 0x80)
  }
}

function head(major, n) {
  if (n < 24) return Buffer.from([(major << 5) | n])
  if (n < 0x100) return Buffer.from([(major << 5) | 24, n])
  if (n < 0x10000) return Buffer.from([(major << 5) | 25, n >> 8, n & 0xff])
  return Buffer.from([(major << 5) | 26, n >>> 24, (n >>> 16) & 0xff, (n >>> 8) & 0xff, n & 0xff])
}

const uint = (n) => head(0, n)
const bytes = (value) => Buffer.concat([head(2, value.length), value])
const text = (value) => Buffer.concat([head(3, Buffer.byteLength(value)), Buffer.from(value)])
const array = (items) => Buffer.concat([head(4, items.length), ...items])
const link = (cid) => Buffer.concat([Buffer.from([0xd8, 0x2a, 0x58, 0x25, 0x00]), cid])
const linkOrNull = (cid) => (cid ? link(cid) : Buffer.from([0xf6]))

/** A map in canonical order: shorter keys first, then bytewise. */
function map(fields) {
  const sorted = [...fields].sort(([a], [b]) => a.length - b.length || (a < b ? -1 : 1))
  return Buffer.concat([head(5, sorted.length), ...sorted.flatMap(([key, value]) => [text(key), value])])
}
