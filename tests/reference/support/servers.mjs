// The two servers behind one shape, so that one script runs against either: `rookery` and, as the oracle, `reference`.

import { randomBytes } from 'node:crypto'
import { freePort } from '../../peers/support/deadline.mjs'
import { Rookery, adminPassword } from '../../peers/support/rookery.mjs'
import { startReference } from './reference.mjs'

/** `rookery` or `reference`, from the environment: the suites' run.sh sets SUBJECT. */
export const subject = process.env.SUBJECT ?? 'rookery'

const nowhere = 'http://localhost:1'

/** An AppView that no call reaches: it only makes the servers keep preferences. */
export const noAppView = {
  url: nowhere,
  did: 'did:web:appview.invalid',
  mod: { url: nowhere, did: 'did:web:mod.invalid' },
}

/**
 * Starts a server that registers at `plcUrl` and mails to `smtp`, with the services of `appview` (see appview.mjs).
 * `did`: its own DID, when several must differ; nobody resolves it. Absent, `did:web:localhost`.
 * Gives `{ kind, url, did, websocketUrl, adminPassword, restart, close }`; `restart` starts it again at the same place, after
 * the signal that it is given (Rookery only: the reference runs in this process and always ends in order).
 */
export async function startServer(kind, { plcUrl, port, appview, smtp, did: ownDid }) {
  port ??= await freePort()
  const start = { rookery: startRookery, reference: startTheReference }[kind]
  if (!start) throw new Error(`no server of kind '${kind}': rookery or reference`)
  const { url, restart, close } = await start({ plcUrl, port, appview, smtp, did: ownDid })
  const { did } = await (await fetch(`${url}/xrpc/com.atproto.server.describeServer`)).json()
  return { kind, url, did, adminPassword, websocketUrl: url.replace(/^http/, 'ws'), restart, close }
}

async function startRookery({ plcUrl, port, appview, smtp, did }) {
  const services = appview
    ? ['--appview-url', appview.url, '--appview-did', appview.did, '--mod-url', appview.mod.url, '--mod-did', appview.mod.did]
    : []
  const mail = smtp ? ['--set', `mail.smtp_url=${smtp.url}`, '--set', 'mail.from=pds@rookery.test'] : []
  const rookery = await Rookery.dev({ plcUrl, port, args: [...services, ...mail, ...(did ? ['--set', `server.service_did=${did}`] : [])] })
  // By the name that DID documents give it: the ready line says where it listens.
  const restart = (signal) => rookery.restart(signal)
  return { url: `http://localhost:${rookery.port}`, restart, close: () => rookery.close() }
}

async function startTheReference({ plcUrl, port, appview, smtp, did }) {
  const services = appview && {
    bskyAppViewUrl: appview.url,
    bskyAppViewDid: appview.did,
    modServiceUrl: appview.mod.url,
    modServiceDid: appview.mod.did,
  }
  const mail = smtp && { emailSmtpUrl: smtp.url, emailFromAddress: 'pds@reference.test' }
  // A rotation key of its own: a server that takes the key of another for its own would prove nothing.
  const plcRotationKeyK256PrivateKeyHex = randomBytes(32).toString('hex')
  const own = { port, plcRotationKeyK256PrivateKeyHex, ...(did && { serviceDid: did }) }
  return startReference({ plcUrl, options: { ...own, ...services, ...mail } })
}
