//! What findings make of the operations of a connection.

use std::sync::Arc;

use super::{Answer, Moved, OPEN, OpenOperation, Outcome, Owner, Server};
use crate::protocol::client::{ClientProtocol, Finding};

/// A transfer whose findings are taken.
struct Transfer<'a> {
    owner: Option<Owner>,
    now_ns: u64,
    moved: Moved,
    /// Not all of its bytes were captured.
    in_part: bool,
    /// That hides answers.
    unseen: bool,
    /// The operation that is newest is the first that is open, and not the last.
    begun: bool,
    outcome: &'a mut Outcome,
}

impl Server {
    pub(super) fn take(
        &mut self,
        found: impl IntoIterator<Item = Finding>,
        owner: Option<Owner>,
        now_ns: u64,
        moved: Moved,
        outcome: &mut Outcome,
    ) {
        let mut transfer = Transfer {
            owner,
            now_ns,
            moved,
            in_part: false,
            unseen: false,
            begun: false,
            outcome,
        };
        for finding in found {
            self.take_one(finding, &mut transfer);
        }
        if transfer.unseen {
            self.unseen_ns = now_ns;
            let answered = transfer.outcome.answers.iter_mut();
            let answered = answered.map(|it| &mut it.operation);
            // The answer to the next one may have begun there.
            for operation in answered.chain(self.open.front_mut()) {
                operation.answer_unseen = true;
            }
        }
        mark_together(&mut transfer.outcome.answers);
        self.count_part(transfer.moved);
    }

    fn take_one(&mut self, finding: Finding, transfer: &mut Transfer<'_>) {
        let now_ns = transfer.now_ns;
        match finding {
            Finding::Asked { shape } if self.open.len() < OPEN => {
                self.asked(&shape, transfer.owner, now_ns, transfer.moved.asked());
                transfer.begun = false;
            }
            Finding::Begun { shape } if self.open.len() < OPEN => self.begun(&shape, transfer),
            Finding::Asked { .. } | Finding::Begun { .. } | Finding::Missed => {
                transfer.outcome.missed = true;
            }
            Finding::Answered { rows, error } => {
                if let Some(mut operation) = self.open.pop_front() {
                    let bytes = transfer.moved.answered();
                    operation.bytes = operation.bytes.saturating_add(bytes);
                    operation.several = false;
                    let answer = self.answered(operation, now_ns, (rows, error));
                    transfer.outcome.answers.push(answer);
                }
            }
            Finding::AnsweredAt { index, rows, error } => {
                let answer = self.answered_at(index, now_ns, (rows, error), &mut transfer.moved);
                transfer.outcome.answers.extend(answer);
            }
            Finding::Answering { error, unfinished } => {
                if let Some(operation) = self.open.front_mut() {
                    operation.read_ns = now_ns;
                    operation.error = error;
                    operation.unfinished = unfinished;
                }
            }
            Finding::AnsweredBefore => {
                if let Some(mut operation) = self.open.pop_front() {
                    let end_ns = operation.end_ns(now_ns);
                    let error = operation.error.take();
                    let answer = self.answered(operation, end_ns, (0, error));
                    transfer.outcome.answers.push(answer);
                }
            }
            Finding::RowsEstimated => {
                if let Some(operation) = self.open.front_mut() {
                    operation.rows_estimated = true;
                }
            }
            Finding::ReadInPart => {
                let told = self.protocol().is_none_or(ClientProtocol::tells_at_ends);
                transfer.unseen |= self.open.len() > 1 || !told;
                transfer.in_part = true;
            }
            Finding::Several => self.several(transfer.begun),
            Finding::NotUnderstood => transfer.outcome.not_understood = true,
            Finding::Encrypted => {}
        }
    }

    /// Others are to be begun behind the newest operation.
    fn several(&mut self, begun: bool) {
        let newest = if begun {
            self.open.front_mut()
        } else {
            self.open.back_mut()
        };
        if let Some(operation) = newest {
            operation.several = true;
        }
    }

    /// The request that asked for what was just answered has asked for this too.
    fn begun(&mut self, shape: &str, transfer: &mut Transfer<'_>) {
        let answered = transfer.outcome.answers.last();
        let owner = answered.map_or(transfer.owner, |it| it.operation.owner);
        let operation = self.operation(shape, owner, transfer.now_ns);
        self.open.push_front(operation);
        transfer.begun = true;
        transfer.unseen |= transfer.in_part;
    }

    fn asked(&mut self, shape: &str, owner: Option<Owner>, now_ns: u64, bytes: u64) {
        let protocol = self.speech.protocol();
        let side_by_side = protocol.is_some_and(|it| it.side_by_side().is_some());
        let operation = OpenOperation {
            bytes: bytes.saturating_add(std::mem::take(&mut self.begun)),
            waited_for: side_by_side || self.open.is_empty(),
            ..self.operation(shape, owner, now_ns)
        };
        self.open.push_back(operation);
    }

    /// One that is open from now on.
    fn operation(&self, shape: &str, owner: Option<Owner>, now_ns: u64) -> OpenOperation {
        let same = self.open.back().filter(|last| *last.shape == *shape);
        OpenOperation {
            owner,
            shape: same.map_or_else(|| shape.into(), |last| Arc::clone(&last.shape)),
            asked_ns: now_ns,
            first_byte_ns: 0,
            read_ns: 0,
            error: None,
            unfinished: false,
            bytes: 0,
            rows_estimated: false,
            answer_unseen: false,
            waited_for: false,
            together: false,
            several: false,
        }
    }

    /// What began and ended no operation is a part of one that goes on.
    fn count_part(&mut self, moved: Moved) {
        let part = match moved {
            Moved::Written(bytes) if self.open.is_empty() => {
                self.begun = self.begun.saturating_add(bytes);
                return;
            }
            Moved::Written(bytes) => self.open.back_mut().map(|last| (last, bytes)),
            Moved::Read(bytes) => self.open.front_mut().map(|first| (first, bytes)),
        };
        if let Some((operation, bytes)) = part {
            operation.bytes = operation.bytes.saturating_add(bytes);
        }
    }

    /// One of several that are asked side by side is over.
    fn answered_at(
        &mut self,
        index: usize,
        now_ns: u64,
        (rows, error): (u64, Option<String>),
        moved: &mut Moved,
    ) -> Option<Answer> {
        let mut operation = self.open.remove(index)?;
        operation.first_byte_ns = now_ns;
        operation.bytes = operation.bytes.saturating_add(moved.answered());
        Some(Answer {
            begin_ns: operation.asked_ns,
            end_ns: now_ns,
            rows,
            error,
            operation,
            cut: false,
        })
    }

    /// The oldest operation is over. The next begins where this has ended.
    pub(super) fn answered(
        &mut self,
        mut operation: OpenOperation,
        end_ns: u64,
        (rows, error): (u64, Option<String>),
    ) -> Answer {
        if operation.first_byte_ns == 0 {
            operation.first_byte_ns = end_ns;
        }
        let begin_ns = operation.asked_ns.max(self.answered_ns);
        self.answered_ns = end_ns;
        Answer {
            operation,
            begin_ns,
            end_ns,
            rows,
            error,
            cut: false,
        }
    }
}

/// Of answers that were read at once only the time of all is known. Where one shape has all of it, that is its own.
fn mark_together(answers: &mut [Answer]) {
    let Some((first, others)) = answers.split_first() else {
        return;
    };
    let mut others = others.iter();
    if others.any(|it| it.operation.shape != first.operation.shape) {
        for answer in answers {
            answer.operation.together = true;
        }
    }
}
