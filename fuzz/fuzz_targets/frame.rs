//! Firehose frames: what decodes to a known frame encodes to a frame that decodes to the same.
#![no_main]

use atproto::{event::Frame, repo::verify_commit_event};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(frame) = Frame::decode(bytes) else {
        return;
    };
    if let Frame::Commit(event) = &frame {
        // Any verdict is fine; a panic is not.
        let _ = verify_commit_event(event, None);
    }
    if !matches!(frame, Frame::Unknown { .. }) {
        let again = Frame::decode(&frame.encode()).expect("our own frame can be read");
        assert_eq!(again, frame);
    }
});
