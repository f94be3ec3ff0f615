//! did:web identities that this server hosts: accounts whose DID is a host name under one of our handle domains
//! (`did:web:alice.pds.example`). Their document is made from the account; nobody else is asked.
//!
//! Not for: did:web elsewhere ([`super::resolver`]).

use atproto::{
    identity::{DidDocument, PDS_SERVICE_TYPE, Rendering, VerificationMethod},
    syntax::Did,
};

use crate::{
    service::settings::Settings,
    store::{
        Store, StoreError,
        account::{self, Account},
        signing_key,
    },
};

/// The host of a did:web that only this server can answer for.
pub(super) fn host_of<'a>(settings: &Settings, did: &'a Did) -> Option<&'a str> {
    let host = did.as_str().strip_prefix("did:web:")?;
    let is_host = !host.contains([':', '%']);
    (is_host && settings.handle_domain_of(host).is_some()).then_some(host)
}

/// The account with a DID hosted here, and its document; `None` when there is no such account.
///
/// The account may have any status: what may be published of it is for the caller to say.
pub(super) async fn find(
    settings: &Settings,
    store: &Store,
    did: &Did,
) -> Result<Option<(Account, DidDocument)>, StoreError> {
    if host_of(settings, did).is_none() {
        return Ok(None);
    }
    let wanted = did.clone();
    let found = store
        .read(move |db| {
            let Some(account) = account::get_by_did(db, &wanted)? else { return Ok(None) };
            let did_key = signing_key::get_did_key(db, account.id)?;
            Ok::<_, StoreError>(did_key.map(|did_key| (account, did_key)))
        })
        .await?;
    let Some((account, did_key)) = found else { return Ok(None) };
    let aliases: Vec<_> = account.handle.iter().map(|handle| format!("at://{handle}")).collect();
    let json = Rendering {
        id: did,
        also_known_as: &aliases,
        verification_methods: &[VerificationMethod {
            name: "atproto",
            multikey: did_key.strip_prefix("did:key:").unwrap_or(&did_key),
        }],
        services: &[("atproto_pds", PDS_SERVICE_TYPE, &settings.public_url)],
    }
    .to_json();
    let document =
        DidDocument::from_json(json).map_err(|_| StoreError::Corrupt { table: "account", column: "did" })?;
    Ok(Some((account, document)))
}
