//! One socket: which questions are open.

use std::collections::VecDeque;

use super::super::Recognised;
use super::super::client::{Chunk, Finding, Session};
use super::{
    NO_ANSWER,
    message::{self, Message, error},
    stream::{Found, Stream},
};

/// Questions open at the most; the oldest goes first.
const OPEN_LIMIT: usize = 64;
/// Shape of a question that was not captured.
const NOT_CAPTURED: &str = "unknown (not captured)";
/// Bytes of a length before a message.
const PREFIX: u64 = 2;

/// How messages are told apart.
#[derive(Debug, Default)]
enum Framing {
    /// Not known yet.
    #[default]
    New,
    /// Each transfer is one.
    Datagrams,
    /// By their length. What is written, and what is read.
    Streams(Stream, Stream),
}

#[derive(Debug)]
struct Open {
    id: u16,
    question: String,
}

/// One socket that names are asked on.
#[derive(Debug, Default)]
pub(super) struct DnsSession {
    framing: Framing,
    open: VecDeque<Open>,
}

impl Session for DnsSession {
    fn written(&mut self, chunk: Chunk<'_>, found: &mut Vec<Finding>) {
        if chunk.len == 0 {
            return;
        }
        self.begin(chunk.front);
        match &mut self.framing {
            Framing::New => found.push(Finding::Missed),
            Framing::Datagrams if chunk.len == PREFIX => {}
            Framing::Datagrams => match message::message(chunk.front) {
                Some(message) => self.asked(message, found),
                None => found.push(Finding::Missed),
            },
            Framing::Streams(asked, _) => {
                let mut messages = Vec::new();
                follow(asked, chunk, &mut messages);
                for message in messages {
                    match message {
                        Found::Message(front) => match message::message(&front) {
                            Some(message) => self.asked(message, found),
                            None => found.push(Finding::Missed),
                        },
                        Found::Lost => found.push(Finding::Missed),
                    }
                }
            }
        }
    }

    fn read(&mut self, chunk: Chunk<'_>, found: &mut Vec<Finding>) {
        match &mut self.framing {
            Framing::New => {}
            Framing::Datagrams => {
                // A stream whose lengths are written and read apart from the messages is read as datagrams.
                let message = match (chunk.front.split_first_chunk(), chunk.len) {
                    (Some((length, message)), len)
                        if u64::from(u16::from_be_bytes(*length)) + PREFIX == len
                            && self.expects(message) =>
                    {
                        message
                    }
                    _ => chunk.front,
                };
                if let Some(message) = message::message(message) {
                    self.answered(&message, found);
                }
            }
            Framing::Streams(_, answers) => {
                let mut messages = Vec::new();
                follow(answers, chunk, &mut messages);
                for message in messages {
                    match message {
                        Found::Message(front) => {
                            if let Some(message) = message::message(&front) {
                                self.answered(&message, found);
                            }
                        }
                        Found::Lost => self.answer_all(found),
                    }
                }
            }
        }
    }

    fn gap(&mut self, found: &mut Vec<Finding>) {
        self.answer_all(found);
        if let Framing::Streams(..) = self.framing {
            self.framing = Framing::New;
        }
    }
}

/// Takes all messages out of a transfer.
fn follow(stream: &mut Stream, chunk: Chunk<'_>, messages: &mut Vec<Found>) {
    let (mut front, mut gap, mut tail) = chunk.parts();
    while let Some(found) = stream
        .next(&mut front)
        .or_else(|| stream.skip(&mut gap))
        .or_else(|| {
            if gap == 0 {
                stream.next(&mut tail)
            } else {
                None
            }
        })
    {
        messages.push(found);
    }
}

impl DnsSession {
    /// Tells the framing from the first write, and anew where a stream was lost.
    fn begin(&mut self, front: &[u8]) {
        let lost = match &self.framing {
            Framing::New => true,
            Framing::Datagrams => false,
            Framing::Streams(asked, answers) => asked.is_lost() || answers.is_lost(),
        };
        if !lost {
            return;
        }
        if message::prefixed(front) == Recognised::Yes {
            self.framing = Framing::Streams(Stream::default(), Stream::default());
        } else if message::datagram(front) == Recognised::Yes {
            self.framing = Framing::Datagrams;
        }
    }

    /// Whether a message answers an open question.
    fn expects(&self, front: &[u8]) -> bool {
        message::message(front).is_some_and(|message| self.find(&message).is_some())
    }

    fn find(&self, message: &Message) -> Option<usize> {
        if !message.answers {
            return None;
        }
        self.open.iter().position(|open| {
            let same =
                |question: &String| *question == open.question || open.question == NOT_CAPTURED;
            open.id == message.id && message.question.as_ref().is_none_or(same)
        })
    }

    fn asked(&mut self, message: Message, found: &mut Vec<Finding>) {
        if message.answers {
            return;
        }
        if !message.is_query {
            found.push(Finding::Missed);
            return;
        }
        let question = message.question.unwrap_or_else(|| NOT_CAPTURED.to_owned());
        let again = |open: &Open| open.id == message.id && open.question == question;
        if self.open.iter().any(again) {
            return;
        }
        if self.open.len() >= OPEN_LIMIT {
            self.open.pop_front();
            found.push(Finding::AnsweredAt {
                index: 0,
                rows: 0,
                error: Some(NO_ANSWER.to_owned()),
            });
        }
        found.push(Finding::Asked {
            shape: question.clone(),
        });
        self.open.push_back(Open {
            id: message.id,
            question,
        });
    }

    fn answered(&mut self, message: &Message, found: &mut Vec<Finding>) {
        // Else it is late, or nobody's.
        let Some(index) = self.find(message) else {
            return;
        };
        self.open.remove(index);
        found.push(Finding::AnsweredAt {
            index,
            rows: u64::from(message.records),
            error: error(message.code),
        });
    }

    /// What was read cannot be told apart.
    fn answer_all(&mut self, found: &mut Vec<Finding>) {
        for _ in std::mem::take(&mut self.open) {
            found.push(Finding::AnsweredAt {
                index: 0,
                rows: 0,
                error: None,
            });
        }
        found.push(Finding::Missed);
    }
}
