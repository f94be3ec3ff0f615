//! NSIDs (ID-3, ID-4, ID-9).

use super::{handle::is_label, text_type};

/// Longest NSID, in bytes (ID-3). The rule that an authority has at most 253 of them is not applied
/// by itself: peers and the published vectors let longer ones in within this limit.
const NSID_BYTES_MAX: usize = 317;
/// Longest name of an NSID, in bytes (ID-3).
const NAME_BYTES_MAX: usize = 63;

text_type! {
    /// A namespaced identifier: `com.example.fooBar`. Kept as written; see [`Nsid::normalized`].
    Nsid, "NSID", check
}

impl Nsid {
    /// All but the last segment: `com.example`.
    pub fn authority(&self) -> &str {
        self.as_str().rsplit_once('.').unwrap_or_default().0
    }

    /// The last segment: `fooBar`.
    pub fn name(&self) -> &str {
        self.as_str().rsplit_once('.').unwrap_or_default().1
    }

    /// The same NSID with its authority, never its name, in lower case (ID-4).
    pub fn normalized(&self) -> Nsid {
        Nsid(format!("{}.{}", self.authority().to_ascii_lowercase(), self.name()))
    }
}

fn check(text: &str) -> Result<(), &'static str> {
    if text.len() > NSID_BYTES_MAX {
        return Err("is longer than 317 characters");
    }
    let Some((authority, name)) = text.rsplit_once('.').filter(|(authority, _)| authority.contains('.'))
    else {
        return Err("must have at least three segments, as in com.example.name");
    };
    if !authority.split('.').all(is_label) {
        return Err(
            "must have segments of 1 to 63 letters, digits and hyphens, without a hyphen at their ends",
        );
    }
    if authority.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("must not start with a digit");
    }
    if !(1..=NAME_BYTES_MAX).contains(&name.len()) || !name.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err("must have a name (last segment) of 1 to 63 letters and digits");
    }
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("must have a name (last segment) that does not start with a digit");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn nsids_pass_and_other_texts_do_not() {
        // ID-3, ID-9
        for good in ["a.b.c", "com.example.fooBar2", "cn.8.lex.stuff", "a-0.b-1.c3"] {
            assert!(Nsid::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "a.b",
            "a.b.",
            ".a.b",
            "a..b.c",
            "0a.b.c",
            "a.b.3c",
            "a.b.c-d",
            "a.b.c_d",
            "-a.b.c",
            "a-.b.c",
            "com.example.*",
            "a.b.ć",
            "a.b.c ",
        ] {
            assert!(Nsid::parse(bad).is_err(), "{bad}");
        }
        let label = "a".repeat(63);
        assert!(Nsid::parse(&format!("{label}.b.{label}")).is_ok());
        assert!(Nsid::parse(&format!("a.b.{label}a")).is_err());
        assert!(Nsid::parse(&format!("a.{label}b.c")).is_err());
        let longest = format!("a.{}{label}", "a2345678.".repeat(28));
        assert_eq!(longest.len(), 317);
        assert!(Nsid::parse(&longest).is_ok());
        assert!(Nsid::parse(&format!("b{longest}")).is_err());
    }

    #[test]
    fn only_the_authority_is_lower_cased() {
        // ID-4
        let nsid = Nsid::parse("COM.Example.fooBar").unwrap();
        assert_eq!((nsid.authority(), nsid.name()), ("COM.Example", "fooBar"));
        assert_eq!(nsid.normalized().as_str(), "com.example.fooBar");
    }
}
