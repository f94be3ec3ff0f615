//! Words that may stand neither in handles nor in record keys: a list of the operator's, one word a line.
//!
//! Without a list nothing is refused. Text is compared as a reader would see it: lower case, look-alikes folded
//! (`0` for `o`, `1` for `i`), in pieces between separators, and again with the separators taken out.
//!
//! Not for: names that are reserved (`account::handle_policy`), and the contents of records.

use std::sync::Arc;

/// Longest list, in words.
pub const WORDS_MAX: usize = 10_000;
/// Longest word, in characters, with its stars.
const WORD_CHARS_MAX: usize = 64;
/// Fewest characters of a word that may stand inside another one.
const INNER_CHARS_MIN: usize = 3;

/// What stands between pieces of a handle or a record key.
const SEPARATORS: [char; 5] = ['.', '-', '_', '~', ':'];

/// A compiled list. Cheap to clone; the default refuses nothing.
#[derive(Clone, Debug, Default)]
pub struct WordFilter {
    words: Arc<[Word]>,
}

#[derive(Debug)]
struct Word {
    folded: String,
    /// Something may stand before it (`*word`).
    before: bool,
    /// Something may stand after it (`word*`).
    after: bool,
}

/// Why a list cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WordListError {
    /// More than [`WORDS_MAX`].
    #[error("has more than {WORDS_MAX} words")]
    TooMany,
    /// A line that is no word.
    #[error("line {line}: {problem}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl WordFilter {
    /// Reads a list: one word a line, empty lines and lines that begin with `#` left out. A word has to be a whole
    /// piece; a star before or after it says that more may stand there (`*word*`: anywhere).
    pub fn parse(text: &str) -> Result<WordFilter, WordListError> {
        let mut words = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if words.len() == WORDS_MAX {
                return Err(WordListError::TooMany);
            }
            let refuse = |problem| WordListError::Line { line: number + 1, problem };
            words.push(Word::parse(line).map_err(refuse)?);
        }
        Ok(WordFilter { words: words.into() })
    }

    /// True when `text`, a handle or a record key, has a word of the list in it.
    pub fn matches(&self, text: &str) -> bool {
        if self.words.is_empty() {
            return false;
        }
        let text = fold(text);
        let without_separators = |text: &str| text.replace(SEPARATORS, "");
        // Pieces, labels without their hyphens, everything run together.
        let pieces = text.split(SEPARATORS).map(str::to_owned);
        let labels = text.split('.').map(without_separators);
        let candidates: Vec<_> = pieces.chain(labels).chain([without_separators(&text)]).collect();
        self.words.iter().any(|word| candidates.iter().any(|candidate| word.matches(candidate)))
    }
}

impl Word {
    fn parse(line: &str) -> Result<Word, &'static str> {
        if line.chars().count() > WORD_CHARS_MAX {
            return Err("is longer than 64 characters");
        }
        let (before, rest) = line.strip_prefix('*').map_or((false, line), |rest| (true, rest));
        let (after, rest) = rest.strip_suffix('*').map_or((false, rest), |rest| (true, rest));
        let folded = fold(rest);
        if folded.is_empty() || !folded.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err("is not a word of ASCII letters and digits, with a star before or after it at most");
        }
        if (before || after) && folded.len() < INNER_CHARS_MIN {
            return Err("is too short for a star: it would match inside of too many other words");
        }
        Ok(Word { folded, before, after })
    }

    fn matches(&self, text: &str) -> bool {
        match (self.before, self.after) {
            (false, false) => text == self.folded,
            (true, false) => text.ends_with(&self.folded),
            (false, true) => text.starts_with(&self.folded),
            (true, true) => text.contains(&self.folded),
        }
    }
}

/// Lower case, and for each group of look-alikes the letter that it is read as.
fn fold(text: &str) -> String {
    text.chars()
        .map(|char| match char.to_ascii_lowercase() {
            '0' => 'o',
            '1' | 'l' => 'i',
            '3' => 'e',
            '4' => 'a',
            '5' => 's',
            '6' | '9' => 'g',
            '7' => 't',
            '8' => 'b',
            char => char,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const LIST: &str = "# harmless stand-ins\n\nbadword\n*grimble*\nSNORK*\n";

    #[test]
    fn words_are_found_in_pieces_run_together_and_in_disguise() {
        let filter = WordFilter::parse(LIST).unwrap();
        for text in [
            "badword.test",
            "BADWORD.test",
            "b-a-d-w-o-r-d.test",
            "b4dw0rd.test",
            "my-badword.example.com",
            "bad-word.test",
            "bad.word",
            "xgrimblex.test",
            "gr1mb1e.test",
            "grim-ble.test",
            "snorkeling.test",
            "badword",
            "a_badword~b",
        ] {
            assert!(filter.matches(text), "{text}");
        }
        for text in ["alice.test", "badwords.test", "notabadword.test", "asnork.test", "bad.test"] {
            assert!(!filter.matches(text), "{text}");
        }
    }

    #[test]
    fn without_a_list_nothing_is_refused() {
        assert!(!WordFilter::default().matches("badword.test"));
        assert!(!WordFilter::parse("# nothing\n").unwrap().matches(""));
    }

    #[test]
    fn a_line_that_is_no_word_is_named() {
        for (text, line) in
            [("ok\ntwo words", 2), ("*", 1), ("\n\n\u{e9}t\u{e9}", 3), ("a*b", 1), ("*as*", 1)]
        {
            let refused = WordFilter::parse(text).unwrap_err();
            assert!(
                matches!(refused, WordListError::Line { line: found, .. } if found == line),
                "{text}: {refused}"
            );
        }
        assert!(WordFilter::parse(&"a".repeat(65)).is_err());
        assert_eq!(WordFilter::parse(&"word\n".repeat(WORDS_MAX + 1)).unwrap_err(), WordListError::TooMany);
    }
}
