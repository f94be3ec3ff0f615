//! Methods that not every session may use through another service: by a service token (`getServiceAuth`) or by the
//! proxy (XR-11, XR-14).
//!
//! Names are compared without regard to case: `com.atproto.server.createaccount` must not pass for another method.
//! Not for: which scopes a method of this server accepts (that is in the type of its caller).

/// Methods that hold or change the account itself. They are answered here or not at all: no service token is issued
/// for them, and no call of them is forwarded. Sorted, in lower case.
const PROTECTED: [&str; 16] = [
    "com.atproto.admin.sendemail",
    "com.atproto.identity.requestplcoperationsignature",
    "com.atproto.identity.signplcoperation",
    "com.atproto.identity.updatehandle",
    "com.atproto.server.activateaccount",
    "com.atproto.server.confirmemail",
    "com.atproto.server.createapppassword",
    "com.atproto.server.deactivateaccount",
    "com.atproto.server.getaccountinvitecodes",
    "com.atproto.server.getsession",
    "com.atproto.server.listapppasswords",
    "com.atproto.server.requestaccountdelete",
    "com.atproto.server.requestemailconfirmation",
    "com.atproto.server.requestemailupdate",
    "com.atproto.server.revokeapppassword",
    "com.atproto.server.updateemail",
];

/// Methods for the account's own password and privileged app passwords: private messages, and moving the account to
/// another server. Sorted, in lower case.
const PRIVILEGED: [&str; 15] = [
    "chat.bsky.actor.deleteaccount",
    "chat.bsky.actor.exportaccountdata",
    "chat.bsky.convo.deletemessageforself",
    "chat.bsky.convo.getconvo",
    "chat.bsky.convo.getconvoformembers",
    "chat.bsky.convo.getlog",
    "chat.bsky.convo.getmessages",
    "chat.bsky.convo.leaveconvo",
    "chat.bsky.convo.listconvos",
    "chat.bsky.convo.muteconvo",
    "chat.bsky.convo.sendmessage",
    "chat.bsky.convo.sendmessagebatch",
    "chat.bsky.convo.unmuteconvo",
    "chat.bsky.convo.updateread",
    "com.atproto.server.createaccount",
];

/// True for methods that no service token is issued for and that are never forwarded, whoever asks.
pub fn is_protected(nsid: &str) -> bool {
    is_in(&PROTECTED, nsid)
}

/// True for methods that only [`Scope::is_privileged`](super::Scope::is_privileged) sessions reach at other services.
pub fn is_privileged(nsid: &str) -> bool {
    is_in(&PRIVILEGED, nsid)
}

fn is_in(sorted: &[&str], nsid: &str) -> bool {
    sorted.binary_search(&nsid.to_ascii_lowercase().as_str()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sets_are_sorted_for_the_search_and_in_lower_case() {
        for set in [&PROTECTED[..], &PRIVILEGED[..]] {
            assert!(set.is_sorted());
            assert!(set.iter().all(|nsid| *nsid == nsid.to_ascii_lowercase()));
        }
    }

    /// Checklist 10
    #[test]
    fn case_does_not_help_a_method_out_of_its_set() {
        for nsid in [
            "com.atproto.server.getSession",
            "com.atproto.server.getsession",
            "COM.ATPROTO.server.GETSESSION",
        ] {
            assert!(is_protected(nsid), "{nsid}");
            assert!(!is_privileged(nsid), "{nsid}");
        }
        for nsid in
            ["chat.bsky.convo.getLog", "com.atproto.server.createAccount", "com.atproto.server.createaccount"]
        {
            assert!(is_privileged(nsid), "{nsid}");
            assert!(!is_protected(nsid), "{nsid}");
        }
        for nsid in
            ["app.bsky.feed.getTimeline", "com.atproto.repo.uploadBlob", "com.atproto.server.getSession2", ""]
        {
            assert!(!is_protected(nsid) && !is_privileged(nsid), "{nsid}");
        }
    }
}
