//! Domains whose mailboxes anyone opens and nobody keeps. An account with such an address could never be recovered.
//!
//! The services that are met most often, no more: whoever wants a throw-away address gets one anyway. Services that
//! forward to a mailbox that somebody keeps are not among them.

/// Sorted, in lower case. Subdomains count as the domain.
const DOMAINS: [&str; 141] = [
    "0-mail.com",
    "10minutemail.com",
    "10minutemail.net",
    "10minutesmail.com",
    "1secmail.com",
    "1secmail.net",
    "1secmail.org",
    "20minutemail.com",
    "anonbox.net",
    "anonymbox.com",
    "armyspy.com",
    "burnermail.io",
    "byom.de",
    "cuvox.de",
    "dayrep.com",
    "deadaddress.com",
    "discard.email",
    "discardmail.com",
    "discardmail.de",
    "dispostable.com",
    "dodgit.com",
    "drdrb.net",
    "dropmail.me",
    "einrot.com",
    "email-fake.com",
    "emailfake.com",
    "emailondeck.com",
    "emailsensei.com",
    "emltmp.com",
    "fakeinbox.com",
    "fakemail.net",
    "fakemailgenerator.com",
    "filzmail.com",
    "fleckens.hu",
    "getairmail.com",
    "getnada.com",
    "grr.la",
    "guerrillamail.biz",
    "guerrillamail.com",
    "guerrillamail.de",
    "guerrillamail.info",
    "guerrillamail.net",
    "guerrillamail.org",
    "guerrillamailblock.com",
    "gustr.com",
    "harakirimail.com",
    "inboxbear.com",
    "inboxkitten.com",
    "incognitomail.com",
    "incognitomail.org",
    "jetable.org",
    "jourrapide.com",
    "kasmail.com",
    "mail-temp.com",
    "mail.tm",
    "mailcatch.com",
    "maildrop.cc",
    "maileater.com",
    "mailexpire.com",
    "mailforspam.com",
    "mailinator.com",
    "mailinator.net",
    "mailinator.org",
    "mailinator2.com",
    "mailmetrash.com",
    "mailmoat.com",
    "mailnesia.com",
    "mailnull.com",
    "mailsac.com",
    "mailtemp.info",
    "mailto.plus",
    "mailzilla.com",
    "meltmail.com",
    "mintemail.com",
    "moakt.com",
    "mohmal.com",
    "mt2015.com",
    "mytemp.email",
    "mytrashmail.com",
    "nada.email",
    "no-spam.ws",
    "nowmymail.com",
    "objectmail.com",
    "one-time.email",
    "pokemail.net",
    "proxymail.eu",
    "rcpt.at",
    "rhyta.com",
    "sharklasers.com",
    "shitmail.me",
    "sogetthis.com",
    "spam4.me",
    "spambog.com",
    "spambog.de",
    "spambox.us",
    "spamfree24.org",
    "spamhole.com",
    "spammotel.com",
    "spamspot.com",
    "spamthis.co.uk",
    "spamthisplease.com",
    "superrito.com",
    "suremail.info",
    "teleworm.us",
    "temp-mail.io",
    "temp-mail.org",
    "tempail.com",
    "tempemail.net",
    "tempinbox.com",
    "tempmail.com",
    "tempmail.de",
    "tempmail.dev",
    "tempmail.email",
    "tempmail.net",
    "tempmail.plus",
    "tempmailaddress.com",
    "tempmailo.com",
    "tempomail.fr",
    "temporaryinbox.com",
    "temporarymail.com",
    "thankyou2010.com",
    "throwam.com",
    "throwawaymail.com",
    "tmail.ws",
    "tmailor.com",
    "tmpmail.net",
    "tmpmail.org",
    "trash-mail.com",
    "trash-mail.de",
    "trashmail.com",
    "trashmail.de",
    "trashmail.me",
    "trashmail.net",
    "trashymail.com",
    "wegwerfmail.de",
    "wegwerfmail.net",
    "wegwerfmail.org",
    "yopmail.com",
    "yopmail.fr",
    "yopmail.net",
    "zetmail.com",
];

/// True for a mail domain of such a service, or one under it.
pub fn is_disposable(domain: &str) -> bool {
    let domain = domain.to_ascii_lowercase();
    let mut rest = Some(domain.as_str());
    while let Some(suffix) = rest {
        if DOMAINS.binary_search(&suffix).is_ok() {
            return true;
        }
        rest = suffix.split_once('.').map(|(_, parent)| parent);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_domains_are_sorted_for_the_search_and_in_lower_case() {
        assert!(DOMAINS.is_sorted());
        assert!(DOMAINS.iter().all(|domain| *domain == domain.to_ascii_lowercase()));
    }

    #[test]
    fn a_domain_counts_in_any_case_and_with_what_is_under_it() {
        for domain in ["mailinator.com", "Mailinator.COM", "any.thing.mailinator.com", "yopmail.fr"] {
            assert!(is_disposable(domain), "{domain}");
        }
        for domain in ["example.com", "notmailinator.com", "mailinator.com.example.com", "com", ""] {
            assert!(!is_disposable(domain), "{domain}");
        }
    }
}
