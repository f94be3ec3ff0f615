// The language of the scripts. A step is data: what is sent, and what is kept of the answer for later steps.
//
//   get('id', 'com.example.method', { param: 'value' }, { as: 'alice' })
//   post('id', 'com.example.method', { field: '{alice.did}' }, { as: 'alice', keep: { 'post.uri': 'uri' } })
//
// `{name}` in any text stands for a value kept on the same side. `good` steps must succeed at the reference, `bad` ones
// must be refused there: so a script that has gone wrong does not pass because both sides refuse it.

/** A step by its parts. Options of every step:
 *
 * - `as`: who asks. `'alice'` sends the kept `alice.access` as bearer token, `'alice.refresh'` that value, `'admin'` the
 *   administrator's password.
 * - `headers`, `query`: more of them. A query value that is a list is repeated.
 * - `body`: JSON; `text`, `bytes`: a body as it is (`type` is its Content-Type, none when null).
 * - `keep`: `{ 'name': 'path.in.answer' }`.
 * - `volatile`: paths in the answer whose values are compared by their presence only.
 * - `order`: `{ list: 'member' }`, lists of the answer whose order is no one's promise.
 * - `drawn`: the servers choose a record key here, so that their trees differ.
 * - `framing`, `announce`: see http.mjs.
 */
function step(id, expected, parts) {
  return { id, expected, ...parts }
}

const xrpc = (nsid) => `/xrpc/${nsid}`

/** A query that succeeds. */
export const get = (id, nsid, query = {}, options = {}) =>
  step(id, 'good', { method: 'GET', path: xrpc(nsid), query, ...options })

/** A query that is refused. */
export const badGet = (id, nsid, query = {}, options = {}) =>
  step(id, 'bad', { method: 'GET', path: xrpc(nsid), query, ...options })

/** A procedure that succeeds. */
export const post = (id, nsid, body, options = {}) =>
  step(id, 'good', { method: 'POST', path: xrpc(nsid), body, ...options })

/** A procedure that is refused. */
export const badPost = (id, nsid, body, options = {}) =>
  step(id, 'bad', { method: 'POST', path: xrpc(nsid), body, ...options })

/** Any request on any path. */
export const request = (id, method, path, options = {}) => step(id, 'any', { method, path, ...options })

/** Waits for the next mail to `to` on each side and compares it; `keep` takes from its text by regular expression. */
export const mail = (id, to, keep = {}) => ({ id, expected: 'any', mail: to, keep })

/** Does something of our own on each side, such as making an identity. Counts as no request. */
export const local = (id, run) => ({ id, expected: 'any', local: run })

/** Gives `steps` the prefix of their file. */
export const group = (name, steps) => steps.flat(Infinity).map((each) => ({ ...each, id: `${name}/${each.id}` }))

/** `value` with its `{names}` replaced by what `side` has kept. */
export function fill(value, vars) {
  if (typeof value === 'function') return fill(value(vars), vars)
  if (typeof value === 'string') {
    const whole = value.match(/^\{([a-z]\w*(?:\.\w+)*)\}$/)
    if (whole) return lookUp(whole[1], vars)
    return value.replace(/\{([a-z]\w*(?:\.\w+)+)\}/g, (_, name) => lookUp(name, vars))
  }
  if (value instanceof Uint8Array || value === null || typeof value !== 'object') return value
  if (Array.isArray(value)) return value.map((each) => fill(each, vars))
  // Not by assignment: a script may send a member called __proto__.
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, fill(each, vars)]))
}

function lookUp(name, vars) {
  if (!vars.has(name)) throw new Error(`nothing was kept as {${name}}`)
  return vars.get(name)
}

/** The member of `value` that a path such as `records.0.uri` names. */
export function at(value, path) {
  return path.split('.').reduce((inner, name) => inner?.[name], value)
}
