// Identities of our own: DIDs on the directory, and tokens signed with their keys.

import { Secp256k1Keypair } from '@atproto/crypto'
import { createServiceJwt } from '@atproto/xrpc-server'
import { Client } from '@did-plc/lib'
import * as plc from '@did-plc/lib'

/** Registers a did:plc: `{ did, keypair, rotation }`. `services` by id: `{ type, endpoint }`. */
export async function makeDid(plcUrl, { handle, services = {} }) {
  const keypair = await Secp256k1Keypair.create({ exportable: true })
  const rotation = await Secp256k1Keypair.create({ exportable: true })
  const operation = await plc.addSignature(
    {
      type: 'plc_operation',
      verificationMethods: { atproto: keypair.did() },
      rotationKeys: [rotation.did()],
      alsoKnownAs: handle ? [`at://${handle}`] : [],
      services,
      prev: null,
    },
    rotation,
  )
  const did = await plc.didForCreateOp(operation)
  await new Client(plcUrl).sendOperation(did, operation)
  return { did, keypair, rotation }
}

/** A token between services, as its DID's key signs it. */
export function serviceToken({ did, keypair }, { aud, lxm, exp, iss = did }) {
  return createServiceJwt({ iss, aud, lxm, exp, keypair })
}
