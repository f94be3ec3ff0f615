//! String formats (LX-12, LX-13), decided by the identifier types of [`crate::syntax`].

use crate::{
    data::cid,
    syntax::{AtIdentifier, AtUri, Datetime, Did, Handle, Language, Nsid, RecordKey, Tid, Uri},
};

/// The `format` of a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    AtIdentifier,
    AtUri,
    Cid,
    Datetime,
    Did,
    Handle,
    Language,
    Nsid,
    RecordKey,
    Tid,
    Uri,
}

impl Format {
    pub(super) fn parse(name: &str) -> Option<Format> {
        Some(match name {
            "at-identifier" => Format::AtIdentifier,
            "at-uri" => Format::AtUri,
            "cid" => Format::Cid,
            "datetime" => Format::Datetime,
            "did" => Format::Did,
            "handle" => Format::Handle,
            "language" => Format::Language,
            "nsid" => Format::Nsid,
            "record-key" => Format::RecordKey,
            "tid" => Format::Tid,
            "uri" => Format::Uri,
            _ => return None,
        })
    }

    pub(super) fn allows(self, text: &str) -> bool {
        match self {
            Format::AtIdentifier => AtIdentifier::parse(text).is_ok(),
            Format::AtUri => AtUri::parse(text).is_ok(),
            Format::Cid => cid::check_format(text).is_ok(),
            Format::Datetime => Datetime::parse(text).is_ok(),
            Format::Did => Did::parse(text).is_ok(),
            Format::Handle => Handle::parse(text).is_ok(),
            Format::Language => Language::is_well_formed(text),
            Format::Nsid => Nsid::parse(text).is_ok(),
            Format::RecordKey => RecordKey::parse(text).is_ok(),
            Format::Tid => Tid::parse(text).is_ok(),
            Format::Uri => Uri::parse(text).is_ok(),
        }
    }

    /// Goes on from "must be".
    pub(super) fn noun(self) -> &'static str {
        match self {
            Format::AtIdentifier => "a did or a handle",
            Format::AtUri => "an at-uri",
            Format::Cid => "a cid",
            Format::Datetime => "an atproto datetime such as 2024-01-02T03:04:05.678Z",
            Format::Did => "a did",
            Format::Handle => "a handle",
            Format::Language => "a BCP 47 language tag",
            Format::Nsid => "an nsid",
            Format::RecordKey => "a record key",
            Format::Tid => "a tid",
            Format::Uri => "a uri with a scheme",
        }
    }
}
