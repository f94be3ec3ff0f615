// Runs python/test_sdk.py against a server. run.sh has made the virtual environment; PYTHON_SDK is its interpreter.
//
// The SDK looks at the profile of whom it signs in, and posts only then. A stand-in for an AppView answers that one call;
// the real one is in ../appview.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import http from 'node:http'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { startDirectory } from '../peers/support/directory.mjs'
import { startServer, subject } from '../reference/support/servers.mjs'

const python = process.env.PYTHON_SDK
const suite = fileURLToPath(new URL('python/test_sdk.py', import.meta.url))

test('the Python SDK', { timeout: 120_000, skip: !python && 'no Python 3.9 or later with venv (see run.sh)' }, async () => {
  const directory = await startDirectory()
  let server
  const profiles = http.createServer(async (request, response) => {
    const handle = new URL(request.url, 'http://localhost').searchParams.get('actor')
    const resolved = await fetch(`${server.url}/xrpc/com.atproto.identity.resolveHandle?handle=${handle}`)
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ ...(await resolved.json()), handle }))
  })
  profiles.listen(0, 'localhost')
  await once(profiles, 'listening')
  const service = { url: `http://localhost:${profiles.address().port}`, did: 'did:web:profiles.test' }
  server = await startServer(subject, { plcUrl: directory.url, appview: { ...service, mod: service } })
  try {
    const env = { ...process.env, SERVER_URL: server.url, PLC_URL: directory.url, PYTHONDONTWRITEBYTECODE: '1' }
    const [error, output] = await new Promise((resolve) => {
      execFile(python, ['-W', 'ignore', suite, '-v'], { env, timeout: 100_000 }, (error, stdout, stderr) => {
        resolve([error, stdout + stderr])
      })
    })
    assert.ok(!error, output)
  } finally {
    await server.close()
    await directory.close()
    profiles.close()
  }
})
