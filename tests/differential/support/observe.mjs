// Runs one step on one side and says what a client saw: status, headers, body, and what was forwarded meanwhile.

import { adminPassword } from '../../reference/support/reference.mjs'
import { describeCar } from './car.mjs'
import { send } from './http.mjs'
import { at, fill } from './script.mjs'

/** Headers that clients look at. Others (ETag, Date, Server, ...) may differ. */
const HEADERS = new Set([
  'content-type',
  'content-encoding',
  'content-language',
  'content-disposition',
  'content-security-policy',
  'x-content-type-options',
  'cache-control',
  'location',
  'www-authenticate',
  'retry-after',
  'dpop-nonce',
  'ratelimit-limit',
  'ratelimit-remaining',
  'ratelimit-reset',
  'ratelimit-policy',
  'atproto-repo-rev',
  'atproto-content-labelers',
  'atproto-upstream-lag',
  'access-control-allow-origin',
  'access-control-allow-methods',
  'access-control-allow-headers',
  'access-control-expose-headers',
  'access-control-max-age',
  'x-not-for-clients',
  'set-cookie',
])

/** Sends `step` to `side`. */
export async function observe(step, side) {
  const { vars } = side
  const headers = lowerCase(fill(step.headers ?? {}, vars))
  const authorization = credentials(step.as, vars)
  if (authorization) headers.authorization ??= authorization
  const body = bodyOf(step, vars, headers)
  const forwardedBefore = side.upstream.requests.length
  const start = Date.now()
  const answer = await send(side.url, side.agent, {
    method: step.method,
    path: pathOf(step, vars),
    headers,
    body,
    framing: step.framing,
    announce: step.announce,
  })
  const end = Date.now()
  side.times.push({ id: step.id, start, end })
  const said = await read(answer, step, side)
  for (const [list, by] of Object.entries(step.order ?? {})) {
    said.body?.[list]?.sort((a, b) => (a[by] < b[by] ? -1 : 1))
  }
  if (step.keep && answer.status < 300) keepFrom(step, said.body, side, answer)
  learnCommits(said.body, side)
  const forwarded = side.upstream.requests.slice(forwardedBefore)
  const normaliser = side.normaliser()
  const seen = normaliser.value(said)
  for (const path of step.volatile ?? []) mask(seen.body, path.split('.'))
  return { ...seen, ...(forwarded.length > 0 ? { forwarded: forwarded.map((each) => describe(each, normaliser)) } : {}) }
}

function lowerCase(headers) {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
}

function credentials(as, vars) {
  if (!as) return undefined
  if (as === 'admin') return `Basic ${Buffer.from(`admin:${adminPassword}`).toString('base64')}`
  const name = as.includes('.') ? as : `${as}.access`
  return `Bearer ${fill(`{${name}}`, vars)}`
}

function bodyOf(step, vars, headers) {
  const type = step.type === undefined ? 'application/json' : step.type
  const value = step.text ?? step.bytes ?? step.body
  if (value === undefined) return undefined
  if (type !== null) headers['content-type'] ??= type
  const filled = fill(value, vars)
  if (filled instanceof Uint8Array) return Buffer.from(filled)
  return Buffer.from(step.text !== undefined ? filled : JSON.stringify(filled))
}

function pathOf({ path, query }, vars) {
  const search = new URLSearchParams()
  for (const [name, value] of Object.entries(fill(query ?? {}, vars))) {
    for (const each of [value].flat()) search.append(name, String(each))
  }
  const text = search.toString()
  return fill(path, vars) + (text ? `?${text}` : '')
}

/** The answer, with its body understood. */
async function read({ status, headers, body, complete }, step, side) {
  const said = { status, headers: {} }
  if (!complete) said.complete = false
  for (const [name, value] of Object.entries(headers)) {
    if (HEADERS.has(name) && !step.ignoreHeaders?.includes(name)) said.headers[name] = header(name, value)
  }
  const type = (headers['content-type'] ?? '').split(';')[0]
  if (body.length === 0 || headers['content-encoding']) {
    said.body = headers['content-encoding'] ? undefined : ''
  } else if (type === 'application/json') {
    said.body = parse(body.toString())
  } else if (type === 'application/vnd.ipld.car') {
    said.body = await describeCar(body, side)
  } else if (step.anyBody) {
    said.body = '<text>'
  } else {
    said.body = body.toString('latin1')
  }
  return said
}

function parse(text) {
  try {
    return JSON.parse(text)
  } catch {
    return { unreadable: text }
  }
}

/** Headers whose value may be written in several ways. */
function header(name, value) {
  if (name === 'content-type') return value.replace(/;\s*charset=utf-8$/i, '')
  if (name === 'dpop-nonce') return '<nonce>'
  if (name === 'ratelimit-reset' || name === 'atproto-upstream-lag') return '<number>'
  if (name.startsWith('access-control-')) {
    const list = String(value).toLowerCase().split(/\s*,\s*/)
    return list.sort().join(', ')
  }
  return value
}

/** What the stub behind a server was sent. */
function describe({ method, path, headers, body }, normaliser) {
  const isJson = headers['content-type']?.startsWith('application/json') && !headers['content-encoding']
  // The order of members says nothing; the length follows from what was normalised.
  const said = isJson ? { body: parse(body), headers: { ...headers, 'content-length': undefined } } : { body, headers }
  return normaliser.value({ method, path, ...said })
}

function keepFrom({ id, keep }, body, side, answer) {
  for (const [name, path] of Object.entries(keep)) {
    const value = typeof path === 'function' ? path(body, answer) : at(body, path)
    if (value === undefined) throw new Error(`${id}: the answer of ${side.name} has no ${path}`)
    side.keep(name, value)
  }
}

/** CIDs that stand where commits stand. */
function learnCommits(body, side) {
  if (body === null || typeof body !== 'object') return
  for (const [name, value] of Object.entries(body)) {
    if (['root', 'head', 'repoCommit'].includes(name) && typeof value === 'string') side.commits.add(value)
    if (name === 'cid' && typeof body.rev === 'string') side.commits.add(value)
    learnCommits(value, side)
  }
}

/** Replaces what `path` names, if it is there; `*` is every member. */
function mask(value, [name, ...rest]) {
  if (value === null || typeof value !== 'object') return
  const names = name === '*' ? Object.keys(value) : [name]
  for (const each of names) {
    if (!Object.hasOwn(value, each)) continue
    if (rest.length > 0) mask(value[each], rest)
    else value[each] = '<volatile>'
  }
}

/** How long a mail may take, in seconds. */
const MAIL_SECS_MAX = 5

/** The next mail to `to` that this side has not looked at. */
export async function nextMail(step, side) {
  const to = fill(step.mail, side.vars)
  const seen = (side.mailsSeenTo ??= new Map())
  const skip = seen.get(to) ?? 0
  const toThem = (mails) => mails.filter((mail) => mail.to === to)
  const mails = await side.smtp.mails.until((all) => toThem(all).length > skip, `${step.id}: a mail to ${to}`, MAIL_SECS_MAX)
  const mail = toThem(mails)[skip]
  seen.set(to, skip + 1)
  for (const [name, expression] of Object.entries(step.keep)) {
    const found = mail.text.match(expression)
    if (!found) throw new Error(`${step.id}: nothing like ${expression} in the mail of ${side.name}:\n${mail.text}`)
    side.keep(name, found[1] ?? found[0])
  }
  return { mail: { from: mail.from, to: mail.to, subject: side.normaliser().text(mail.subject ?? '') } }
}
