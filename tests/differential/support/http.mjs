// One HTTP request exactly as a step says: nothing is added but Host, and a length when there is a body.

import http from 'node:http'

/** How long an answer may take, in milliseconds. */
const ANSWER_MS_MAX = 30_000

/**
 * Sends it. `body`: bytes, or nothing. `framing`: 'length' (default), 'chunked', or 'none' to send neither header.
 * `announce`: a Content-Length that is not the body's; the body is then not sent, and the connection not used again.
 *
 * Gives `{ status, headers, body }`, `body` being a Buffer, or `{ status: 0, headers: {}, body }` when the server
 * hung up.
 */
export function send(base, agent, { method, path, headers = {}, body, framing = 'length', announce }) {
  const { hostname, port } = new URL(base)
  return new Promise((resolve, reject) => {
    const request = http.request({
      hostname,
      port,
      method,
      path,
      agent: announce === undefined ? agent : undefined,
      headers: { ...headers },
      timeout: ANSWER_MS_MAX,
    })
    request.useChunkedEncodingByDefault = framing === 'chunked'
    if (announce !== undefined) request.setHeader('content-length', String(announce))
    else if (framing === 'length' && body !== undefined) request.setHeader('content-length', String(body.length))
    let answered = false
    request.on('response', (response) => {
      answered = true
      const pieces = []
      response.on('data', (piece) => pieces.push(piece))
      const done = (complete) => {
        resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(pieces), complete })
        if (announce !== undefined) request.destroy()
      }
      response.on('end', () => done(true))
      response.on('error', () => done(false))
    })
    request.on('timeout', () => request.destroy(new Error('no answer in time')))
    request.on('error', (error) => {
      if (answered) return
      if (error.code === 'ECONNRESET' || error.code === 'EPIPE') {
        resolve({ status: 0, headers: {}, body: Buffer.alloc(0), complete: false })
      } else {
        reject(new Error(`${method} ${path.slice(0, 100)}: ${error.message}`))
      }
    })
    if (announce !== undefined) request.flushHeaders()
    else request.end(body)
  })
}
