// The two servers under comparison and what stands behind them.

import { startDirectory } from '../../peers/support/directory.mjs'
import { Rookery } from '../../peers/support/rookery.mjs'
import { startReference } from '../../reference/support/reference.mjs'
import { startSmtpSink } from '../../reference/support/smtp.mjs'
import { UPLOAD_BYTES_MAX } from './limits.mjs'
import { Side } from './side.mjs'
import { startUpstream } from './upstream.mjs'

export const appviewDid = 'did:plc:appviewappviewappviewapp'
export const moderationDid = 'did:plc:modservicemodservicemods'

/** Settings that both have under names of their own. */
const VARIANTS = {
  plain: { reference: {}, rookery: {} },
  limited: {
    reference: { rateLimitsEnabled: true, rateLimitBypassKey: 'loopback-bypass-key' },
    rookery: { 'rate_limits.enabled': 'true', 'rate_limits.bypass_key': 'loopback-bypass-key' },
  },
  invited: {
    reference: { inviteRequired: true, inviteInterval: 3_600_000, inviteEpoch: 0 },
    rookery: { 'accounts.invite_required': 'true', 'accounts.invite_interval_hours': '1' },
  },
}

/**
 * Starts a pair. `variant` names settings above. `self`: the second is a reference too, which shows what of the
 * comparison is stable. Gives `{ sides: [reference, other], plcUrl, close }`.
 */
export async function startPair({ variant = 'plain', self = false, directory }) {
  const closing = []
  const own = directory ?? (await startDirectory())
  if (!directory) closing.push(() => own.close())
  const behind = async () => {
    const upstream = await startUpstream()
    const smtp = await startSmtpSink()
    closing.push(() => upstream.close(), () => smtp.close())
    return { upstream, smtp }
  }
  const reference = async (name) => {
    const { upstream, smtp } = await behind()
    const server = await startReference({
      plcUrl: own.url,
      options: {
        blobUploadLimit: UPLOAD_BYTES_MAX,
        maxImportSize: UPLOAD_BYTES_MAX,
        bskyAppViewUrl: upstream.url,
        bskyAppViewDid: appviewDid,
        modServiceUrl: upstream.url,
        modServiceDid: moderationDid,
        emailSmtpUrl: smtp.url,
        emailFromAddress: 'pds@example.com',
        moderationEmailSmtpUrl: smtp.url,
        moderationEmailAddress: 'moderation@example.com',
        ...VARIANTS[variant].reference,
      },
    })
    closing.unshift(() => server.close())
    return new Side(name, { url: server.url, port: server.port, upstream, smtp, plcUrl: own.url })
  }
  const rookery = async () => {
    const { upstream, smtp } = await behind()
    const settings = {
      'blobs.upload_limit_bytes': String(UPLOAD_BYTES_MAX),
      'repo.import_limit_bytes': String(UPLOAD_BYTES_MAX),
      'mail.smtp_url': smtp.url,
      'mail.from': 'pds@example.com',
      'mail.moderation_from': 'moderation@example.com',
      ...VARIANTS[variant].rookery,
    }
    const args = Object.entries(settings).flatMap(([name, value]) => ['--set', `${name}=${value}`])
    const server = await Rookery.dev({ plcUrl: own.url, args: [...args, ...rookeryFlags(upstream)] })
    closing.unshift(() => server.close())
    const side = new Side('rookery', { url: `http://localhost:${server.port}`, port: server.port, upstream, smtp, plcUrl: own.url })
    side.process = server
    return side
  }
  const sides = [await reference('reference'), self ? await reference('second reference') : await rookery()]
  const close = async () => {
    for (const each of closing) await each()
  }
  return { sides, directory: own, close }
}

function rookeryFlags(upstream) {
  return [
    ...['--appview-url', upstream.url],
    ...['--appview-did', appviewDid],
    ...['--mod-url', upstream.url],
    ...['--mod-did', moderationDid],
  ]
}
