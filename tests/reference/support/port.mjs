// Ports on loopback.

import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import net from 'node:net'

/** Below those that the system gives to connections: one that waits for a server may be given the very port it waits for. */
const firstPort = 20_000
const endPort = 30_000
const triesMax = 50

/** A TCP port on loopback that was free a moment ago. */
export async function freePort() {
  for (let tries = 0; tries < triesMax; tries++) {
    const port = randomInt(firstPort, endPort)
    const probe = net.createServer().listen(port, '127.0.0.1')
    const isFree = await once(probe, 'listening').then(
      () => true,
      () => false,
    )
    if (!isFree) continue
    probe.close()
    await once(probe, 'close')
    return port
  }
  throw new Error(`none of ${triesMax} ports from ${firstPort} to ${endPort} is free`)
}
