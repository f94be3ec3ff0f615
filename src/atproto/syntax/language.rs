//! Language tags, BCP 47 (LX-13, C-12).
//!
//! Not for: whether a subtag is registered.

use std::collections::HashSet;

use super::text_type;

/// Longest language tag, in bytes; longer ones do not occur, BCP 47 has no limit.
const LANGUAGE_BYTES_MAX: usize = 128;

/// Tags of old that the grammar does not cover and that are valid all the same.
const IRREGULAR: [&str; 17] = [
    "en-gb-oed",
    "i-ami",
    "i-bnn",
    "i-default",
    "i-enochian",
    "i-hak",
    "i-klingon",
    "i-lux",
    "i-mingo",
    "i-navajo",
    "i-pwn",
    "i-tao",
    "i-tay",
    "i-tsu",
    "sgn-be-fr",
    "sgn-be-nl",
    "sgn-ch-de",
];

text_type! {
    /// A language tag fit for our own output: well-formed, a primary subtag of two or three
    /// lower-case letters, no variant or extension twice.
    ///
    /// For other people's data see [`Language::is_well_formed`].
    Language, "language tag", check
}

impl Language {
    /// True when `text` follows the grammar of BCP 47, in upper or lower case.
    ///
    /// Validation of records asks no more (C-12).
    pub fn is_well_formed(text: &str) -> bool {
        parse(text).is_some()
    }
}

fn check(text: &str) -> Result<(), &'static str> {
    let tag = parse(text).ok_or("must be a BCP 47 language tag, as in en or pt-BR")?;
    if let Some(primary) = tag.primary
        && !(matches!(primary.len(), 2 | 3) && primary.bytes().all(|b| b.is_ascii_lowercase()))
    {
        return Err("must start with two or three lower-case letters");
    }
    let mut seen = HashSet::new();
    if !tag.unique.iter().all(|subtag| seen.insert(subtag.to_ascii_lowercase())) {
        return Err("must not have a variant or extension twice");
    }
    Ok(())
}

/// What a well-formed tag is made of, as far as further rules need it.
#[derive(Default)]
struct Tag<'a> {
    /// The language itself; tags of private use and irregular ones have none.
    primary: Option<&'a str>,
    /// Variants and singletons of extensions, which may occur once each.
    unique: Vec<&'a str>,
}

fn parse(text: &str) -> Option<Tag<'_>> {
    if text.len() > LANGUAGE_BYTES_MAX {
        return None;
    }
    if IRREGULAR.iter().any(|tag| tag.eq_ignore_ascii_case(text)) {
        return Some(Tag::default());
    }
    let mut subtags = Subtags(text.split('-').collect());
    if !subtags.0.iter().all(|subtag| (1..=8).contains(&subtag.len()) && is_alphanumeric(subtag)) {
        return None;
    }
    // Read from the left: the first subtag is taken off the end.
    subtags.0.reverse();
    let mut tag = Tag::default();
    if !subtags.private_use()? {
        subtags.language(&mut tag)?;
    }
    subtags.0.is_empty().then_some(tag)
}

/// The subtags that are left, the next one last.
struct Subtags<'a>(Vec<&'a str>);

impl<'a> Subtags<'a> {
    fn take_if(&mut self, fits: impl Fn(&str) -> bool) -> Option<&'a str> {
        self.0.pop_if(|subtag| fits(subtag))
    }

    /// Takes `x` and what follows. `Some(false)`: there is no `x`; `None`: nothing follows it.
    fn private_use(&mut self) -> Option<bool> {
        if self.take_if(|subtag| subtag.eq_ignore_ascii_case("x")).is_none() {
            return Some(false);
        }
        let any = !self.0.is_empty();
        self.0.clear();
        any.then_some(true)
    }

    /// `language [extlang] [script] [region] *variant *extension [privateuse]`
    fn language(&mut self, tag: &mut Tag<'a>) -> Option<()> {
        let primary = self.take_if(|subtag| subtag.len() >= 2 && is_alphabetic(subtag))?;
        tag.primary = Some(primary);
        if primary.len() <= 3 {
            for _ in 0..3 {
                self.take_if(|subtag| subtag.len() == 3 && is_alphabetic(subtag));
            }
        }
        self.take_if(|subtag| subtag.len() == 4 && is_alphabetic(subtag));
        self.take_if(is_region);
        while let Some(variant) = self.take_if(is_variant) {
            tag.unique.push(variant);
        }
        while let Some(singleton) =
            self.take_if(|subtag| subtag.len() == 1 && !subtag.eq_ignore_ascii_case("x"))
        {
            tag.unique.push(singleton);
            self.take_if(|subtag| subtag.len() >= 2)?;
            while self.take_if(|subtag| subtag.len() >= 2).is_some() {}
        }
        self.private_use().map(|_| ())
    }
}

fn is_region(subtag: &str) -> bool {
    subtag.len() == 2 && is_alphabetic(subtag)
        || subtag.len() == 3 && subtag.bytes().all(|b| b.is_ascii_digit())
}

fn is_variant(subtag: &str) -> bool {
    subtag.len() >= 5 || subtag.len() == 4 && subtag.starts_with(|c: char| c.is_ascii_digit())
}

fn is_alphabetic(subtag: &str) -> bool {
    subtag.bytes().all(|b| b.is_ascii_alphabetic())
}

fn is_alphanumeric(subtag: &str) -> bool {
    subtag.bytes().all(|b| b.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_pass_and_other_texts_do_not() {
        // LX-13
        for good in [
            "ja",
            "ban",
            "pt-BR",
            "hy-Latn-IT-arevela",
            "zh-cmn-Hans-CN",
            "es-419",
            "i-default",
            "sgn-BE-NL",
            "en-a-bbb-x-a-ccc",
            "x-whatever",
            "X-fr-CH",
            "de-1901",
            "zh-min-nan",
        ] {
            assert!(Language::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "a",
            "a-DE",
            "ja-",
            "-ja",
            "de-419-DE",
            "en-x",
            "x",
            "en-a",
            "en-a-b",
            "e1",
            "en_US",
            "en-123456789",
            "é",
            "ja ",
            "123",
        ] {
            assert!(Language::parse(bad).is_err(), "{bad}");
            assert!(!Language::is_well_formed(bad), "{bad}");
        }
    }

    #[test]
    fn case_and_reserved_lengths_are_let_in_from_others_only() {
        // C-12
        for loose in ["JA", "jaja", "En-us"] {
            assert!(Language::parse(loose).is_err(), "{loose}");
            assert!(Language::is_well_formed(loose), "{loose}");
        }
    }

    #[test]
    fn variants_and_extensions_occur_once() {
        for bad in ["de-1901-1901", "en-rozaj-ROZAJ", "en-a-foo-a-bar", "en-u-co-phonebk-U-ca-buddhist"] {
            assert!(Language::parse(bad).is_err(), "{bad}");
            assert!(Language::is_well_formed(bad), "{bad}");
        }
        assert!(Language::parse("en-u-co-phonebk-t-en-us-x-u-u").is_ok());
    }
}
