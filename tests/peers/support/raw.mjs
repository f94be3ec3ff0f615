// Requests as no well-behaved client sends them.

import { once } from 'node:events'
import net from 'node:net'
import { within } from './deadline.mjs'

/** One fetch: `{ status, headers, body, text }`; `body` is the parsed JSON, when it is JSON. */
export async function request(server, path, { method = 'GET', headers = {}, body } = {}) {
  const answer = await within(
    30,
    `an answer to ${method} ${path.slice(0, 80)}`,
    fetch(server.url + path, { method, headers, body, redirect: 'manual', duplex: body ? 'half' : undefined }),
  )
  const text = await answer.text()
  return { status: answer.status, headers: answer.headers, text, body: parseJson(text) }
}

/**
 * Writes `pieces` on a bare TCP connection, ends it as `ending` says ('wait' for the server, 'half' close, 'reset') and
 * gives the status line's number and the body, or `{ status: null }` when the server closed without an answer.
 */
export async function exchange(server, pieces, ending = 'wait') {
  const socket = net.connect(server.port, '127.0.0.1')
  const received = []
  socket.on('data', (data) => received.push(data))
  socket.on('error', () => {})
  const closed = once(socket, 'close').catch(() => {})
  await once(socket, 'connect')
  for (const piece of pieces) {
    if (socket.destroyed) break
    if (!socket.write(piece)) await Promise.race([once(socket, 'drain').catch(() => {}), closed])
  }
  if (ending === 'half') socket.end()
  if (ending === 'reset') socket.resetAndDestroy()
  if (ending === 'wait') {
    // A refusal may leave the connection open for the next request; an answer with its head is enough.
    const answered = new Promise((resolve) => {
      const look = () => Buffer.concat(received).includes('\r\n\r\n') && setImmediate(resolve)
      socket.on('data', look)
      look()
    })
    await within(30, 'an answer or the end of the connection', Promise.race([answered, closed]))
    socket.destroy()
  }
  await within(30, 'the end of the connection', closed)
  const text = Buffer.concat(received).toString()
  const [head, ...rest] = text.split('\r\n\r\n')
  const status = head.match(/^HTTP\/1\.[01] (\d{3})/)?.[1]
  return { status: status ? Number(status) : null, head, body: parseJson(rest.join('\r\n\r\n')) }
}

function parseJson(text) {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** JSON of `depth` objects inside each other, without building them. */
export function nested(depth, open = '{"a":', close = '}') {
  return `${open.repeat(depth)}1${close.repeat(depth)}`
}
