//! One connection: which requests are open, and what became of it.

use std::collections::VecDeque;

use super::super::{
    Recognised,
    client::{Chunk, ClientProtocol as _, Finding, Session},
    tls::Tls,
};
use super::{
    HttpClient,
    request::{self, Method, Requests},
    response::{self, Responses},
};

/// Requests open at the most: pipelines are short.
const OPEN_LIMIT: usize = 4096;
/// Request Timeout: servers send it before they close a connection on which nothing was asked.
const TIMEOUT: u16 = 408;
/// First status that is an error.
const FIRST_ERROR: u16 = 400;

/// What the connection is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Use {
    #[default]
    Requests,
    /// A proxy passes all on: to what, the next write tells.
    Tunnel,
    /// Not HTTP any more.
    Other,
}

/// One connection to a server or proxy.
#[derive(Debug, Default)]
pub(super) struct HttpSession {
    requests: Requests,
    responses: Responses,
    open: VecDeque<Method>,
    usage: Use,
}

impl Session for HttpSession {
    fn written(&mut self, chunk: Chunk<'_>, found: &mut Vec<Finding>) {
        if chunk.len == 0 || !self.goes_on(chunk.front, found) {
            return;
        }
        if self.requests.is_within()
            && self.is_answering()
            && HttpClient.recognise(chunk.front) == Recognised::Yes
        {
            self.requests.restart();
        }
        let (mut front, mut gap, mut tail) = chunk.parts();
        while self.usage == Use::Requests {
            let Some(request) = self
                .requests
                .next(&mut front)
                .or_else(|| self.requests.skip(&mut gap))
                .or_else(|| {
                    if gap == 0 {
                        self.requests.next(&mut tail)
                    } else {
                        None
                    }
                })
            else {
                return;
            };
            match request {
                request::Found::Asked { shape, method } => self.asked(shape, method, found),
                request::Found::Lost => missed(found),
            }
        }
    }

    fn read(&mut self, chunk: Chunk<'_>, found: &mut Vec<Finding>) {
        if chunk.len == 0 || self.usage != Use::Requests {
            return;
        }
        let (mut front, mut gap, mut tail) = chunk.parts();
        while self.usage == Use::Requests {
            let asked = self.open.front().copied();
            let Some(response) = self
                .responses
                .next(&mut front, asked)
                .or_else(|| self.responses.skip(&mut gap))
                .or_else(|| {
                    if gap == 0 {
                        self.responses.next(&mut tail, asked)
                    } else {
                        None
                    }
                })
            else {
                break;
            };
            self.response(response, found);
        }
        // The client may close the connection without reading the rest.
        if self.responses.is_in_body() && !self.open.is_empty() {
            found.push(Finding::Answering {
                error: error(self.responses.status()),
                unfinished: !self.responses.is_endless(),
            });
        }
    }

    fn gap(&mut self, found: &mut Vec<Finding>) {
        found.extend(self.open.drain(..).map(|_| Finding::AnsweredBefore));
        // Until a write begins with a request.
        self.requests.lose();
        self.responses.lose();
        missed(found);
    }
}

impl HttpSession {
    /// Whether what is written is HTTP still, or again.
    fn goes_on(&mut self, front: &[u8], found: &mut Vec<Finding>) -> bool {
        match self.usage {
            Use::Requests => true,
            Use::Other => false,
            Use::Tunnel if Tls.recognise(front) == Recognised::Yes => {
                found.push(Finding::Encrypted);
                false
            }
            Use::Tunnel if HttpClient.recognise(front) == Recognised::Yes => {
                *self = Self::default();
                true
            }
            Use::Tunnel => false,
        }
    }

    /// The newest request is answered, or its response has begun.
    fn is_answering(&self) -> bool {
        match self.open.len() {
            0 => true,
            1 => self.responses.has_begun(),
            _ => false,
        }
    }

    fn asked(&mut self, shape: String, method: Method, found: &mut Vec<Finding>) {
        if self.responses.is_endless() {
            // Who asks anew has read its answers.
            found.extend(self.open.drain(..).map(|_| Finding::AnsweredBefore));
            self.responses.restart();
        }
        if self.open.len() >= OPEN_LIMIT {
            missed(found);
            self.usage = Use::Other;
            return;
        }
        self.open.push_back(method);
        found.push(Finding::Asked { shape });
    }

    fn response(&mut self, response: response::Found, found: &mut Vec<Finding>) {
        match response {
            response::Found::Answered { status } => self.answered(status, found),
            response::Found::Switched { status } => {
                self.usage = match self.open.front() {
                    Some(Method::Connect) if status != 101 => Use::Tunnel,
                    _ => Use::Other,
                };
                self.answered(status, found);
                if !self.open.is_empty() {
                    // Pipelined behind it: never answered as HTTP.
                    missed(found);
                }
            }
            response::Found::Unasked { status: TIMEOUT } => {}
            response::Found::Unasked { .. } => missed(found),
        }
    }

    fn answered(&mut self, status: u16, found: &mut Vec<Finding>) {
        if self.open.pop_front().is_some() {
            found.push(Finding::Answered {
                rows: 0,
                error: error(status),
            });
        }
    }
}

fn error(status: u16) -> Option<String> {
    (status >= FIRST_ERROR).then(|| status.to_string())
}

/// Once in a row is enough.
fn missed(found: &mut Vec<Finding>) {
    if found.last() != Some(&Finding::Missed) {
        found.push(Finding::Missed);
    }
}
