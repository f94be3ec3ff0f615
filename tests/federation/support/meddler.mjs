// Stands in front of a server and passes everything on, except that it may lose or change what the firehose says.

import { once } from 'node:events'
import http from 'node:http'
import { WebSocket, WebSocketServer } from 'ws'

/** Starts one on `port` before the server at `url`: `{ url, meddle, close }`. */
export async function startMeddler({ port, url }) {
  /** Frame as bytes to the frames to send in its place. */
  let meddle = async (bytes) => [bytes]
  const server = http.createServer((request, response) => {
    const { method, headers } = request
    const forward = http.request(new URL(request.url, url), { method, headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers)
      answer.pipe(response)
    })
    forward.on('error', () => response.destroy())
    request.pipe(forward)
  })
  const sockets = new WebSocketServer({ server })
  sockets.on('connection', (down, request) => {
    const up = new WebSocket(new URL(request.url, url.replace(/^http/, 'ws')))
    // One after the other: what is changed takes longer.
    let sent = Promise.resolve()
    up.on('message', (bytes) => {
      sent = sent.then(async () => {
        for (const frame of await meddle(bytes)) down.send(frame)
      })
    })
    for (const [one, other] of [[up, down], [down, up]]) {
      one.on('close', () => other.terminate())
      one.on('error', () => other.terminate())
    }
  })
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://localhost:${port}`,
    /** From now on, frames go through `change`. */
    meddle(change) {
      meddle = change
    },
    async close() {
      for (const socket of sockets.clients) socket.terminate()
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}
