//! What our mails say: what was asked for, the code, how long it is good, what to do if it was somebody else, and who
//! writes. Plain text, and the same as HTML without pictures, links or styles from elsewhere.
//!
//! Not for: sending ([`super`]).

use super::Mail;

/// Longest subject that others may give a mail, in characters.
pub const SUBJECT_CHARS_MAX: usize = 200;

/// A mail with a code.
#[derive(Clone, Copy, Debug)]
pub struct CodeMail<'a> {
    /// One line.
    pub subject: &'a str,
    /// What the code does, as the end of "Someone, most likely you, wants to".
    pub wish: &'a str,
    /// What becomes of it when the code is not used, for the one who did not ask.
    pub otherwise: &'a str,
    /// The code.
    pub code: &'a str,
    /// How long it is good, in minutes.
    pub minutes: i64,
    /// The account, as its owner knows it.
    pub account: &'a str,
    /// Host name of this server.
    pub server: &'a str,
}

impl CodeMail<'_> {
    /// The mail to `to`.
    pub fn write(&self, to: &str) -> Mail {
        let CodeMail { subject, wish, otherwise, code, minutes, account, server } = self;
        let text = format!(
            "Hello {account},\n\n\
             someone, most likely you, wants to {wish} on {server}. This is the code for it:\n\n    \
             {code}\n\n\
             Enter it where you were asked for it. It is good for {minutes} minutes, and once.\n\n\
             If it was not you, you need not do anything: {otherwise}. Never tell the code to anybody, not even to \
             someone who says to be from {server}.\n\n\
             -- \n{server}\n"
        );
        let [wish, otherwise, account, server, code] =
            [wish, otherwise, account, server, code].map(|text| escape(text));
        let html = page(&format!(
            "<p>Hello {account},</p>\
             <p>someone, most likely you, wants to {wish} on {server}. This is the code for it:</p>\
             <p style=\"font-size:1.6em;font-family:monospace;letter-spacing:.05em\"><strong>{code}</strong></p>\
             <p>Enter it where you were asked for it. It is good for {minutes} minutes, and once.</p>\
             <p>If it was not you, you need not do anything: {otherwise}. Never tell the code to anybody, not even to \
             someone who says to be from {server}.</p>\
             <p style=\"color:#666\">{server}</p>"
        ));
        Mail { to: to.to_owned(), subject: (*subject).to_owned(), text, html }
    }
}

/// A mail that says something to `to`; each of the `paragraphs` plain text.
pub fn notice(to: &str, subject: &str, paragraphs: &[&str], server: &str) -> Mail {
    let html: String = paragraphs.iter().map(|paragraph| format!("<p>{}</p>", escape(paragraph))).collect();
    Mail {
        to: to.to_owned(),
        subject: subject.to_owned(),
        text: format!("{}\n\n-- \n{server}\n", paragraphs.join("\n\n")),
        html: page(&format!("{html}<p style=\"color:#666\">{}</p>", escape(server))),
    }
}

/// A mail whose HTML somebody else wrote; its text is the HTML without its tags.
pub fn from_html(to: &str, subject: &str, html: &str) -> Mail {
    Mail { to: to.to_owned(), subject: subject.to_owned(), text: strip_tags(html), html: html.to_owned() }
}

fn page(body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"></head>\
         <body style=\"font-family:sans-serif;line-height:1.5;max-width:36em;margin:1em auto;padding:0 1em\">{body}</body></html>"
    )
}

/// Text as HTML shows it.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// The text between the tags, with the ends of paragraphs and lines as line ends.
fn strip_tags(html: &str) -> String {
    let mut text = String::with_capacity(html.len());
    let mut rest = html;
    while let Some((before, after)) = rest.split_once('<') {
        text.push_str(before);
        let Some((tag, after)) = after.split_once('>') else {
            rest = "";
            break;
        };
        let tag = tag.to_ascii_lowercase();
        if ["br", "/p", "/div", "/li", "/h1", "/h2", "/h3", "/tr"].iter().any(|end| tag.starts_with(end)) {
            text.push('\n');
        }
        rest = after;
    }
    text.push_str(rest);
    let entities =
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&nbsp;", " "), ("&amp;", "&")];
    entities.into_iter().fold(text, |text, (entity, character)| text.replace(entity, character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_says_what_the_code_how_long_and_who_in_both_forms() {
        let mail = CodeMail {
            subject: "Password Reset Requested",
            wish: "set a new password",
            otherwise: "your password stays as it is",
            code: "ABCDE-23456",
            minutes: 15,
            account: "@<alice>.test",
            server: "pds.example.com",
        }
        .write("alice@example.com");
        for part in [&mail.text, &mail.html] {
            for said in
                ["set a new password", "ABCDE-23456", "15 minutes", "your password stays", "pds.example.com"]
            {
                assert!(part.contains(said), "{said}: {part}");
            }
        }
        assert!(mail.text.contains("@<alice>.test") && mail.html.contains("@&lt;alice&gt;.test"));
    }

    #[test]
    fn html_of_others_reads_as_text_too() {
        let mail = from_html("a@b.c", "s", "<p>One &amp; <b>two</b></p><p>three<br/>four &lt;five");
        assert_eq!(mail.text, "One & two\nthree\nfour <five");
        assert_eq!(strip_tags("no tags < at all"), "no tags ");
    }
}
