//! `syntax/`: lists of texts that a format takes or refuses, `<format>_<list>.txt`.

use std::path::Path;

use atproto::{
    data::cid,
    syntax::{AtIdentifier, AtUri, Datetime, Did, Handle, Language, Nsid, RecordKey, Tid, Uri},
};

use super::report::{Outcome, files, lines, name};

/// Says what is wrong with a text.
type Check = fn(&str) -> Result<(), String>;

/// Tags that the sources of the lists disagree about (C-12).
const DISPUTED_LANGUAGES: [&str; 3] = ["JA", "jaja", "de-419-DE"];

/// Takes a parser as a [`Check`].
macro_rules! parser {
    ($parse:path) => {
        |text| $parse(text).map(drop).map_err(|error| error.to_string())
    };
}

fn check(format: &str) -> Option<Check> {
    Some(match format {
        "atidentifier" => parser!(AtIdentifier::parse),
        "aturi" => parser!(AtUri::parse),
        "cid" => parser!(cid::check_format),
        "datetime" => parser!(Datetime::parse),
        "did" => parser!(Did::parse),
        "handle" => parser!(Handle::parse),
        "language" => parser!(Language::parse),
        "nsid" => parser!(Nsid::parse),
        "recordkey" => parser!(RecordKey::parse),
        "tid" => parser!(Tid::parse),
        "uri" => parser!(Uri::parse),
        _ => return None,
    })
}

pub fn run(dir: &Path) -> Outcome {
    let mut outcome = Outcome::default();
    for file in files(dir) {
        let Some((format, list)) = name(&file).split_once('_') else {
            outcome.skip(format!("unknown file {}", name(&file)));
            continue;
        };
        let (Some(check), Some(valid)) = (check(format), validity(list)) else {
            outcome.skip(format!("unknown file {}", name(&file)));
            continue;
        };
        for line in lines(&file) {
            if format == "language" && DISPUTED_LANGUAGES.contains(&line.as_str()) {
                outcome.skip("sources disagree");
                continue;
            }
            let result = match check(&line) {
                Err(problem) if valid => Err(format!("refused: {problem}")),
                Ok(()) if !valid => Err("accepted".to_owned()),
                _ => Ok(()),
            };
            outcome.check(&file, format!("{line:?}"), result);
        }
    }
    outcome
}

/// Whether the texts of a list are to be taken. What passes the plain grammar and fails a full
/// parse is refused like the rest: there is one parser.
fn validity(list: &str) -> Option<bool> {
    match list {
        "syntax_valid.txt" => Some(true),
        "syntax_invalid.txt" | "parse_invalid.txt" => Some(false),
        _ => None,
    }
}
