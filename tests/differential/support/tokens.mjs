// Session tokens that no server signed.

import { createHmac } from 'node:crypto'

const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url')

/** The access token of `name` with other claims or another header, signed with a secret that no server has. */
export function mac(name, { header = {}, claims = {} }) {
  return (vars) => {
    const [theirHeader, theirClaims] = vars
      .get(`${name}.access`)
      .split('.')
      .map((text) => text && safely(text))
    const signed = `${part({ ...theirHeader, ...header })}.${part({ ...theirClaims, ...claims })}`
    return `${signed}.${createHmac('sha256', 'another secret').update(signed).digest('base64url')}`
  }
}

function safely(text) {
  try {
    return JSON.parse(Buffer.from(text, 'base64url'))
  } catch {
    return undefined
  }
}
