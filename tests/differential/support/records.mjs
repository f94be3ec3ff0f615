// Records with nothing in them that differs between two servers, so that their CIDs are equal.

import { deflateSync } from 'node:zlib'

export const createdAt = '2024-05-01T12:00:00.000Z'
export const nobody = 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa'
/** A CID that no server has. */
export const noCid = 'bafyreibk5eqekgfbxnkr5cxmvydhmhxxqfsn4eq4ukgxchyhodkyusbcfm'
export const noBlob = 'bafkreiaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'

/** A record key of the right form, of a day in 2024; greater for greater `n`. */
export function rkey(n) {
  const letters = '234567abcdefghijklmnopqrstuvwxyz'
  const digit = (place) => letters[Math.floor(n / 32 ** place) % 32]
  return `3krfaaaaa${digit(3)}${digit(2)}${digit(1)}${digit(0)}`
}

export const note = (text, more) => ({ $type: 'app.bsky.feed.post', text, createdAt, ...more })

export const like = (n, more) => ({
  $type: 'app.bsky.feed.like',
  subject: { uri: `at://${nobody}/app.bsky.feed.post/${rkey(n)}`, cid: noCid },
  createdAt,
  ...more,
})

export const follow = (subject = nobody, more) => ({ $type: 'app.bsky.graph.follow', subject, createdAt, ...more })

/** The bytes of a PNG of `size` by `size` pixels in one grey. */
export function png(size = 8, grey = 0x80) {
  const chunk = (type, data) => {
    const body = Buffer.concat([Buffer.from(type, 'latin1'), data])
    const out = Buffer.alloc(body.length + 8)
    out.writeUInt32BE(data.length, 0)
    body.copy(out, 4)
    out.writeUInt32BE(checksum(body), body.length + 4)
    return out
  }
  const head = Buffer.alloc(13)
  head.writeUInt32BE(size, 0)
  head.writeUInt32BE(size, 4)
  head[8] = 8
  const row = Buffer.concat([Buffer.from([0]), Buffer.alloc(size, grey)])
  const pixels = Buffer.concat(Array.from({ length: size }, () => row))
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])
  return Buffer.concat([signature, chunk('IHDR', head), chunk('IDAT', deflateSync(pixels)), chunk('IEND', Buffer.alloc(0))])
}

function checksum(bytes) {
  let crc = ~0
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0)
  }
  return ~crc >>> 0
}

/** JSON text of `depth` objects inside each other. */
export const nested = (depth, open = '{"a":', close = '}') => `${open.repeat(depth)}1${close.repeat(depth)}`
