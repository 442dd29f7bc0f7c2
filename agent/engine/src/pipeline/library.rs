//! What a database library did for a request: operations of that request.

use std::sync::Arc;

use super::Engine;
use crate::{
    attribution::operations::Done,
    decode::{Executed, LibraryText},
    protocol::sqlite,
    timeline::{
        connections::Connections,
        libraries::Statement,
        request::{OpenExecution, OpenRequest},
        servers::Owner,
    },
};

/// Executions of a request that are kept while they go on.
const OPEN_LIMIT: usize = 256;

/// The request that a record is about, while it is open.
fn asker(
    connections: &mut Connections,
    connection: u64,
    number: u32,
    tgid: u32,
) -> Option<&mut OpenRequest> {
    connections
        .request_mut(connection)
        .filter(|request| request.number == number && request.tgid == tgid)
}

impl Engine {
    /// A text: of a statement, or the name of a database.
    pub(super) fn library_text(&mut self, text: &LibraryText) {
        let raw = &text.raw;
        let (tgid, now_ns) = (raw.header.tgid, raw.header.time_ns);
        if text.opened {
            self.libraries.opened((tgid, raw.object), text.text());
            return;
        }
        let database = self.libraries.database((tgid, raw.database));
        let shape = sqlite::shape(text.text(), text.whole);
        let request = asker(&mut self.connections, raw.connection, raw.request, tgid);
        let owner: Option<Owner> = request.map(|request| {
            if text.spent {
                request.operations.mark_sampled(now_ns);
            }
            if raw.object == 0 {
                // It failed, and that is all there will be of it.
                request.operations.add(&Done {
                    protocol: sqlite::NAME,
                    peer: &database,
                    shape: &shape,
                    asked_ns: now_ns.saturating_sub(raw.ns),
                    ns: raw.ns,
                    first_byte_ns: 0,
                    rows: 0,
                    error: sqlite::error(raw.result).as_deref(),
                    bytes: 0,
                    opaque: false,
                    rows_estimated: false,
                    answer_unseen: false,
                    waited_for: true,
                    together: false,
                });
            }
            (raw.connection, request.serial)
        });
        if raw.object != 0 {
            let statement = Statement {
                shape: shape.into(),
                database,
                prepared: owner.map(|owner| (owner, raw.ns)),
            };
            self.libraries.prepared((tgid, raw.object), statement);
        }
    }

    /// What a process asks of a library is seen from that time on: of its requests that have begun before, what
    /// is known is not all.
    pub(super) fn probed(&mut self, pid: u32, since_ns: u64) {
        for id in self.connections.of_process(pid) {
            if let Some(request) = self.connections.request_mut(id)
                && request.begin_ns < since_ns
            {
                request.operations.mark_sampled(0);
            }
        }
    }

    /// A statement was executed, or is being so.
    pub(super) fn executed(&mut self, executed: &Executed) {
        let raw = &executed.raw;
        let tgid = raw.header.tgid;
        let asker = asker(&mut self.connections, raw.connection, raw.request, tgid);
        let Some(request) = asker else {
            return;
        };
        if executed.spent || executed.continued {
            request.operations.mark_sampled(raw.begin_ns);
        }
        if executed.continued {
            return;
        }
        let at = request
            .executions
            .iter()
            .position(|open| open.statement == raw.statement && open.begin_ns == raw.begin_ns);
        let mut execution = match at {
            Some(at) => request.executions.swap_remove(at),
            None => {
                let owner = (raw.connection, request.serial);
                let statement = self.libraries.statement((tgid, raw.statement));
                // Preparing is part of what the first execution takes.
                let prepared = statement.prepared.take();
                OpenExecution {
                    statement: raw.statement,
                    begin_ns: raw.begin_ns,
                    shape: Arc::clone(&statement.shape),
                    database: Arc::clone(&statement.database),
                    prepare_ns: prepared
                        .filter(|(of, _)| *of == owner)
                        .map_or(0, |(_, ns)| ns),
                    total_ns: 0,
                    first_row_ns: 0,
                    rows: 0,
                }
            }
        };
        execution.total_ns = raw.total_ns;
        execution.first_row_ns = raw.first_row_ns;
        execution.rows = raw.rows;
        if !executed.open {
            count(request, &execution, raw.result, false);
        } else if request.executions.len() < OPEN_LIMIT {
            request.executions.push(execution);
        } else {
            // Its end would be counted once more.
            request.operations.mark_sampled(raw.begin_ns);
        }
    }

    /// The request is over: statements that it has begun and not ended.
    pub(super) fn count_open_executions(&mut self, connection: u64) {
        if let Some(request) = self.connections.request_mut(connection) {
            for execution in std::mem::take(&mut request.executions) {
                count(request, &execution, 0, true);
            }
        }
    }
}

/// `goes_on`: its last rows were not told.
fn count(request: &mut OpenRequest, execution: &OpenExecution, result: i32, goes_on: bool) {
    let prepare_ns = execution.prepare_ns;
    let first_row_ns = match execution.first_row_ns {
        0 => 0,
        ns => ns.saturating_add(prepare_ns),
    };
    request.operations.add(&Done {
        protocol: sqlite::NAME,
        peer: &execution.database,
        shape: &execution.shape,
        asked_ns: execution.begin_ns,
        ns: execution.total_ns.saturating_add(prepare_ns),
        first_byte_ns: first_row_ns,
        rows: execution.rows,
        error: sqlite::error(result).as_deref(),
        bytes: 0,
        opaque: false,
        rows_estimated: false,
        answer_unseen: goes_on,
        waited_for: true,
        together: false,
    });
}
