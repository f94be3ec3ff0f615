// Takes out of an answer what has to differ between two servers, and nothing else: DIDs, keys, signatures, times, TIDs
// of now, tokens, commits. Each becomes a word that both sides share, so what it is, and where else it stands, is still
// compared. CIDs of records, rkeys and times that the script itself gave stay as they are.

/** A time is the server's own when it is this near to ours, in milliseconds. */
const NOW_MS = 24 * 3600 * 1000
const TID_LETTERS = '234567abcdefghijklmnopqrstuvwxyz'

/** Whether `tid` was made in this run. */
function isOfNow(tid) {
  let micros = 0n
  for (const letter of tid.slice(0, 11)) micros = micros * 32n + BigInt(TID_LETTERS.indexOf(letter))
  return Math.abs(Number(micros / 1000n) - Date.now()) < NOW_MS
}

/** Normalises for one side; `numbering` starts anew with each. */
export class Normaliser {
  #side
  #numbers = new Map()

  constructor(side) {
    this.#side = side
  }

  /** The n-th different value of its kind in this answer. */
  #number(kind, value) {
    const seen = this.#numbers.get(kind) ?? new Map()
    this.#numbers.set(kind, seen)
    if (!seen.has(value)) seen.set(value, seen.size + 1)
    return `<${kind} ${seen.get(value)}>`
  }

  value(value) {
    if (typeof value === 'string') return this.text(value)
    if (typeof value === 'number') return this.#ofNow(value) ?? value
    if (value === null || typeof value !== 'object') return value
    if (Array.isArray(value)) return value.map((each) => this.value(each))
    return Object.fromEntries(Object.entries(value).map(([name, each]) => [this.text(name), this.value(each)]))
  }

  text(text) {
    const side = this.#side
    let out = text.replace(/\beyJ[\w-]+\.[\w-]+\.[\w-]+/g, (token) => this.#token(token))
    for (const [value, word] of side.words()) out = out.replaceAll(value, word)
    return out
      .replace(/\bbaf[a-z2-7]{56}\b/g, (cid) => (side.commits.has(cid) ? this.#number('commit', cid) : cid))
      .replaceAll(new RegExp(`(https?:)?//(localhost|127\\.0\\.0\\.1):${side.port}`, 'g'), '<pds>')
      .replaceAll(`localhost:${side.port}`, '<pds host>')
      .replace(/did:key:z\w+/g, (key) => this.#number('did:key', key))
      .replace(/\bz[1-9A-HJ-NP-Za-km-z]{45,}\b/g, (key) => this.#number('key', key))
      .replace(/did:plc:[a-z2-7]{24}/g, (did) => (side.isOfScript(did) ? did : this.#number('did', did)))
      .replace(/\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)/g, (time) =>
        Math.abs(Date.parse(time) - Date.now()) < NOW_MS ? '<time>' : time,
      )
      .replace(/\b[2-7a-j][2-7a-z]{12}\b/g, (tid) => (isOfNow(tid) ? this.#number('tid', tid) : tid))
      .replace(/\blocalhost-[a-z2-7]{5}-[a-z2-7]{5}\b/g, (code) => this.#number('invite', code))
      .replace(/\b[a-z2-7]{4}-[a-z2-7]{4}-[a-z2-7]{4}-[a-z2-7]{4}\b/g, '<app password>')
      .replace(/\b[A-Z2-7]{5}-[A-Z2-7]{5}\b/g, '<mail token>')
      .replace(/\b\d{10}(\d{3})?\b/g, (digits) => this.#ofNow(Number(digits)) ?? digits)
  }

  /** A JWT by what it says. Its times become durations. */
  #token(token) {
    try {
      const [header, claims] = token.split('.', 2).map((part) => JSON.parse(Buffer.from(part, 'base64url')))
      const { iat, exp, jti, ...rest } = claims
      const said = { ...header, ...rest, seconds: exp - iat, jti: typeof jti }
      return `<jwt ${JSON.stringify(this.value(sorted(said)))}>`
    } catch {
      return token
    }
  }

  #ofNow(number) {
    if (Math.abs(number - Date.now()) < NOW_MS) return '<milliseconds>'
    if (Math.abs(number - Date.now() / 1000) < NOW_MS / 1000) return '<seconds>'
    return undefined
  }
}

/** The members of `value` by name. */
export function sorted(value) {
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
}
