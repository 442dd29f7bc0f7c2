//! Files of the corpus: a line for each transfer, `> ` what the client wrote, `< ` what it read, `!` bytes
//! that were not seen; `#` begins a comment. Other bytes than printable ASCII are `\r`, `\n`, `\\`, `\x00`.

use std::{fmt::Write as _, path::Path};

/// One thing that happens to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Written(Vec<u8>),
    Read(Vec<u8>),
    Gap,
}

/// What a connection sees.
pub(super) type Conversation = Vec<Step>;

/// All files of a folder of the corpus, by name.
pub(super) fn folder(name: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpus")
        .join(name);
    #[expect(
        clippy::disallowed_methods,
        reason = "the test reads its files; the engine does not"
    )]
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    let entries = std::fs::read_dir(&folder);
    let mut files: Vec<_> = entries
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.display().to_string(), read(&path)))
        .collect();
    files.sort();
    assert!(
        !files.is_empty(),
        "no corpus in {}: record some real conversations",
        folder.display()
    );
    files
}

/// The conversations of a protocol.
pub(super) fn conversations(protocol: &str) -> Vec<(String, Conversation)> {
    folder(protocol)
        .into_iter()
        .map(|(name, text)| {
            // A session begins with a write: a greeting before that goes unseen.
            let steps = parse(&text).into_iter();
            let steps = steps.skip_while(|step| matches!(step, Step::Read(_)));
            (name, steps.collect())
        })
        .collect()
}

/// Reads a conversation.
fn parse(text: &str) -> Conversation {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter(|line| !line.is_empty())
        .map(|line| match line.split_at_checked(2) {
            Some(("> ", rest)) => Step::Written(unescape(rest)),
            Some(("< ", rest)) => Step::Read(unescape(rest)),
            _ => {
                assert_eq!(line, "!", "no step");
                Step::Gap
            }
        })
        .collect()
}

/// The text of a conversation.
pub(super) fn print(conversation: &[Step]) -> String {
    let mut text = String::new();
    for step in conversation {
        let (mark, bytes) = match step {
            Step::Written(bytes) => ("> ", bytes),
            Step::Read(bytes) => ("< ", bytes),
            Step::Gap => {
                text.push_str("!\n");
                continue;
            }
        };
        text.push_str(mark);
        for byte in bytes {
            match byte {
                b'\\' => text.push_str("\\\\"),
                b'\r' => text.push_str("\\r"),
                b'\n' => text.push_str("\\n"),
                b' '..=b'~' => text.push(char::from(*byte)),
                _ => write!(text, "\\x{byte:02x}").unwrap(),
            }
        }
        text.push('\n');
    }
    text
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next().unwrap() {
                b'\\' => b'\\',
                b'r' => b'\r',
                b'n' => b'\n',
                b'x' => {
                    let digits = [rest.next().unwrap(), rest.next().unwrap()];
                    u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                other => panic!("no escape: {}", char::from(other)),
            },
            byte => byte,
        });
    }
    bytes
}

#[test]
fn what_is_printed_is_read_again() {
    let conversation = vec![
        Step::Written((0..=255).collect()),
        Step::Gap,
        Step::Read(b"\\x41\r\n".to_vec()),
        Step::Read(Vec::new()),
    ];
    assert_eq!(parse(&print(&conversation)), conversation);
}
