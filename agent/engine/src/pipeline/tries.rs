//! Lock files: what was slept between two tries to create one is a wait for it, in the finished request.

use std::sync::Arc;

use whyslow_abi::{
    account::Account,
    record::{TRIED_DIRECTORY, TRIED_REMOVED, TRIED_SPENT, TriedRecord},
};

use super::Engine;
use crate::{
    decode,
    input::LockFileFact,
    losses::reason,
    output::{Holder, LedgerEntry, Output, Query, RequestFinished, Target, WaitEntry},
    timeline::{
        ThreadKey,
        tries::{Creation, FileWait, Tried, Try},
    },
};

/// From this share on, one creator stands out.
const CERTAIN_SHARE: f64 = 0.7;
/// The outside is asked who has a file open after so many sleeps, and later each time they have doubled.
const ASK_AFTER: u32 = 1;

impl Engine {
    /// A thread tried to create what may be a lock.
    pub(super) fn tried(&mut self, raw: &TriedRecord, out: &mut Vec<Output>) {
        let header = &raw.header;
        if raw.flags & TRIED_SPENT != 0
            && let Some(request) = self.connections.request_mut(raw.connection)
        {
            request.mark(reason::TRIES_LEFT_OUT);
        }
        let path = decode::name(&raw.path);
        if raw.flags & TRIED_REMOVED != 0 {
            self.creators.removed(&path, header.tgid, header.time_ns);
            return;
        }
        let Some(thread) = self.threads.of(ThreadKey::from(header)) else {
            return;
        };
        let seen = thread.tries.note(Try {
            path: &path,
            time_ns: header.time_ns,
            exists: raw.result < 0,
            directory: raw.flags & TRIED_DIRECTORY != 0,
            sleep_ns: raw.sleep_ns,
            sleep_count: raw.sleep_count,
        });
        let (pid, tid) = (header.tgid, header.tid);
        match seen {
            Tried::Again(times) if times >= ASK_AFTER && times.is_power_of_two() => {
                let now = header.time_ns;
                let known = self.creator(&path, pid, (now.saturating_sub(1), now));
                if known.is_none_or(|(it, _)| it.tid == tid) {
                    out.push(Output::Query(Query::LockFile { pid, path }));
                }
            }
            Tried::Done => {
                self.name_creator(&path, (pid, tid), header.time_ns);
                self.created(path, raw);
            }
            Tried::Once if raw.result >= 0 => self.created(path, raw),
            Tried::Once | Tried::Again(_) => {}
        }
    }

    fn created(&mut self, path: String, raw: &TriedRecord) {
        let (pid, tid) = (raw.header.tgid, raw.header.tid);
        let time_ns = raw.header.time_ns;
        let creation = Creation {
            time_ns,
            until_ns: None,
            pid,
            parent: self.processes.get(pid).map_or(0, |it| it.parent),
            tid,
            comm: self.comm(tid, pid),
            request: self.serves_at(tid, pid, time_ns),
        };
        self.creators.add(&path, creation);
    }

    fn creator(&self, path: &str, pid: u32, span: (u64, u64)) -> Option<(&Creation, u64)> {
        let parent = self.processes.get(pid).map_or(0, |it| it.parent);
        self.creators.most(path, (pid, parent), span)
    }

    /// A wait for a path is over: who had created it for most of the time.
    fn name_creator(&mut self, path: &str, (pid, tid): (u32, u32), end_ns: u64) {
        let thread = self.threads.get_mut(tid);
        let wait = thread.and_then(|it| it.tries.of_mut(path));
        let Some(start_ns) = wait.map(|it| it.start_ns) else {
            return;
        };
        let creation = self.creator(path, pid, (start_ns, end_ns));
        // Who waits does not have it: what he created was removed unseen.
        let Some((creation, ns)) = creation.filter(|(it, _)| it.tid != tid) else {
            return;
        };
        let share = ns as f64 / end_ns.saturating_sub(start_ns).max(1) as f64;
        let holder = Holder {
            pid: creation.pid,
            tid: creation.tid,
            comm: creation.comm.clone(),
            share,
            samples: 0,
            certain: share >= CERTAIN_SHARE && creation.until_ns.is_some(),
            request: creation.request.as_ref().map(Arc::clone),
            waits_for: None,
        };
        let thread = self.threads.get_mut(tid);
        if let Some(wait) = thread.and_then(|it| it.tries.of_mut(path)) {
            wait.holder = Some(holder);
        }
    }

    /// The outside found who has a lock file.
    pub(super) fn lock_file_found(&mut self, pid: u32, path: &str, fact: Option<LockFileFact>) {
        let Some(fact) = fact else {
            return;
        };
        let tids = self.processes.get(pid).map(|it| it.threads.clone());
        for tid in tids.unwrap_or_default() {
            let thread = self.threads.get_mut(tid);
            let wait = thread.and_then(|it| it.tries.of_mut(path));
            if let Some(wait) = wait.filter(|it| it.holder.is_none()) {
                wait.holder = Some(Holder {
                    pid: fact.pid,
                    tid: fact.pid,
                    comm: fact.comm.clone(),
                    // It has it now; before, it may have been another's.
                    share: 1.0,
                    ..Holder::default()
                });
            }
        }
    }

    /// Moves what was slept between tries to create a lock file from `sleep` to `lock.file`.
    pub(super) fn move_tries(&mut self, finished: &mut RequestFinished) {
        let begin_ns = finished.started.start_ns;
        let end_ns = begin_ns.saturating_add(finished.wall_ns);
        let thread = self.threads.get_mut(finished.started.tid);
        let Some(thread) = thread.filter(|it| !it.tries.is_empty()) else {
            return;
        };
        for wait in thread.tries.take(begin_ns, end_ns) {
            move_wait(finished, wait);
        }
        finished.ledger.retain(|entry| entry.ns > 0);
        let ledger = &mut finished.ledger;
        ledger.sort_by(|a, b| b.ns.cmp(&a.ns).then(a.account.cmp(&b.account)));
        finished
            .waits
            .sort_by(|a, b| b.ns.cmp(&a.ns).then(a.start_ns.cmp(&b.start_ns)));
    }
}

fn move_wait(finished: &mut RequestFinished, wait: FileWait) {
    let ledger = &mut finished.ledger;
    let mut entries = ledger.iter_mut();
    let Some(sleep) = entries.find(|it| it.account == Account::Sleep && it.ns >= wait.slept_ns)
    else {
        return;
    };
    let sleeps = u64::from(wait.sleeps);
    sleep.ns -= wait.slept_ns;
    sleep.count = sleep.count.saturating_sub(sleeps);
    match ledger.iter_mut().find(|it| it.account == Account::LockFile) {
        Some(lock) => {
            lock.ns += wait.slept_ns;
            lock.count += sleeps;
        }
        None => ledger.push(LedgerEntry {
            account: Account::LockFile,
            ns: wait.slept_ns,
            count: sleeps,
        }),
    }
    let within = |it: &WaitEntry| (wait.start_ns..wait.end_ns).contains(&it.start_ns);
    finished
        .waits
        .retain(|it| it.account != Account::Sleep || !within(it));
    finished.waits.push(WaitEntry {
        served: None,
        served_unknown: "",
        account: Account::LockFile,
        start_ns: wait.start_ns,
        ns: wait.slept_ns,
        target: Target::File {
            path: wait.path,
            inode: 0,
        },
        holder: wait.holder,
        waker: None,
    });
}
