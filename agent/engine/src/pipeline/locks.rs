//! Waits for locks: who held them, who let them go, and what requests those threads served.
//!
//! That is judged when a wait ends, while what the others did is still known; the request that waited tells it when it
//! ends itself.

use std::sync::Arc;

use whyslow_abi::{
    account::Account,
    lock::LockHolder,
    record::{PATH_NAME, RecordHeader, WaitRecord},
};

use super::{Engine, event};
use crate::{
    attribution::waits,
    decode,
    output::{
        EventKind, Holder, Output, Query, RequestFinished, RequestStarted, Target, WaitEntry,
        WaitObserved, Waker,
    },
    timeline::{
        ThreadKey,
        locks::{Held, Past},
        threads::Thread,
    },
};

/// Names of processes that are not watched, kept at the most.
pub(super) const STRANGERS: usize = 1_024;
/// From this share on, one holder stands out.
const CERTAIN_SHARE: f64 = 0.7;

impl Engine {
    /// A thread has waited for a lock.
    pub(super) fn lock_wait(&mut self, raw: &WaitRecord, out: &mut Vec<Output>) {
        let header = &raw.header;
        let mut entry = waits::entry(&raw.wait);
        let end_ns = entry.start_ns.saturating_add(entry.ns).min(header.time_ns);
        if let (Target::File { path, .. }, Some(whole)) = (&mut entry.target, path(raw)) {
            *path = whole;
        }
        let holder = match entry.account {
            Account::LockFile => self.file_holder(raw, out),
            _ => self.futex_holder(raw, end_ns),
        };
        entry.holder = holder.map(|(holder, until_ns)| self.with_request(holder, until_ns));
        self.name_waker(&mut entry, end_ns, out);
        let observed = WaitObserved {
            pid: header.tgid,
            tid: header.tid,
            comm: self.comm(header.tid, header.tgid),
            request: self.serves_at(header.tid, header.tgid, entry.start_ns),
            wait: entry.clone(),
        };
        if let Some(thread) = self.threads.of(ThreadKey::from(header)) {
            thread.lock_waits.add(entry);
        }
        out.push(event(
            header.time_ns,
            EventKind::WaitObserved(Arc::new(observed)),
        ));
    }

    fn futex_holder(&mut self, raw: &WaitRecord, end_ns: u64) -> Option<(Holder, u64)> {
        let RecordHeader { tid, tgid, .. } = raw.header;
        let past = Past {
            who: (tgid, tid),
            start_ns: raw.wait.start_ns,
            end_ns,
            waker: waits::thread(raw.wait.waker),
        };
        let held: Held = self.locks.waited((tgid, raw.wait.a), past)?;
        let (pid, tid) = held.who;
        let share = share(held.ns, end_ns.saturating_sub(raw.wait.start_ns));
        let holder = Holder {
            pid,
            tid,
            comm: self.comm(tid, pid),
            share,
            samples: held.turns,
            certain: held.certain && share >= CERTAIN_SHARE,
            ..Holder::default()
        };
        Some((holder, held.until_ns))
    }

    fn file_holder(&mut self, raw: &WaitRecord, out: &mut Vec<Output>) -> Option<(Holder, u64)> {
        let most: &LockHolder = raw.holders.first().filter(|it| it.tgid != 0)?;
        let share = share(most.ns, raw.wait.ns);
        let mut comm = decode::name(&most.comm);
        if comm.is_empty() {
            comm = self.name_of((most.tgid, most.tid), out);
        }
        let holder = Holder {
            pid: most.tgid,
            tid: if most.tid == 0 { most.tgid } else { most.tid },
            comm,
            share,
            samples: 0,
            certain: most.tid != 0 && share >= CERTAIN_SHARE,
            ..Holder::default()
        };
        Some((holder, most.until_ns))
    }

    fn with_request(&self, mut holder: Holder, until_ns: u64) -> Holder {
        holder.request = self.serves_at(holder.tid, holder.pid, until_ns);
        holder
    }

    /// What the thread that ended a wait is called, and what it served then.
    fn name_waker(&mut self, entry: &mut WaitEntry, end_ns: u64, out: &mut Vec<Output>) {
        let Some(waker) = &mut entry.waker else {
            return;
        };
        waker.request = self.serves_at(waker.tid, waker.pid, end_ns);
        waker.comm = match &entry.holder {
            Some(holder) if holder.tid == waker.tid => holder.comm.clone(),
            _ => self.name_of((waker.pid, waker.tid), out),
        };
    }

    /// Name of any thread of the host; asked for where it is not known yet.
    fn name_of(&self, (pid, tid): (u32, u32), out: &mut Vec<Output>) -> String {
        let comm = self.comm(tid, pid);
        if comm.is_empty() {
            out.push(Output::Query(Query::Process { pid }));
        }
        comm
    }

    /// The request that a thread served then; `None`: none, or not known.
    pub(super) fn serves_at(
        &self,
        tid: u32,
        pid: u32,
        time_ns: u64,
    ) -> Option<Arc<RequestStarted>> {
        let thread = self.threads.get(tid).filter(|it| it.tgid == pid)?;
        let served = thread.served.at(time_ns);
        let serves = served.or_else(|| self.serves_since(thread, time_ns));
        serves.map(Arc::clone)
    }

    /// The request that the thread alone serves, if it had begun by then.
    fn serves_since(&self, thread: &Thread, time_ns: u64) -> Option<&Arc<RequestStarted>> {
        let (begin_ns, started) = self.serves_alone(thread)?;
        (begin_ns <= time_ns).then_some(started)
    }

    /// When the request began that the thread alone serves, and that request.
    pub(super) fn serves_alone(&self, thread: &Thread) -> Option<(u64, &Arc<RequestStarted>)> {
        let [id] = thread.open[..] else {
            return None;
        };
        let request = self.connections.request(id)?;
        Some((request.begin_ns, request.started.as_ref()?))
    }

    /// Puts what was judged when they ended to a finished request's waits for locks, and who ended the others.
    pub(super) fn name_lock_holders(&self, finished: &mut RequestFinished) {
        let tid = match finished.worker_tid {
            0 => finished.started.tid,
            worker => worker,
        };
        for wait in &mut finished.waits {
            let known = self.threads.get(tid);
            let known = known.and_then(|thread| thread.lock_waits.of(wait));
            if let Some(known) = known {
                wait.holder.clone_from(&known.holder);
                wait.waker.clone_from(&known.waker);
                wait.target.clone_from(&known.target);
            } else if let Some(waker) = &mut wait.waker {
                let end_ns = wait.start_ns.saturating_add(wait.ns);
                waker.request = self.serves_at(waker.tid, waker.pid, end_ns);
            }
            if let Some(holder) = &mut wait.holder
                && holder.comm.is_empty()
            {
                holder.comm = self.comm(holder.tid, holder.pid);
            }
            if let Some(Waker { pid, tid, comm, .. }) = &mut wait.waker
                && comm.is_empty()
            {
                *comm = self.comm(*tid, *pid);
            }
        }
    }
}

/// The whole path of a locked file; `None`: not known.
fn path(raw: &WaitRecord) -> Option<String> {
    let parts = raw.path.get(..raw.path_depth as usize)?;
    let mut path = String::new();
    for part in parts.iter().rev() {
        let len = part.iter().position(|byte| *byte == 0)?;
        // One that fills its place may be longer.
        if len == 0 || len >= PATH_NAME - 1 {
            return None;
        }
        path.push('/');
        path.push_str(&String::from_utf8_lossy(&part[..len]));
    }
    (!path.is_empty()).then_some(path)
}

fn share(part: u64, of: u64) -> f64 {
    part as f64 / of.max(part).max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(names: &[&str]) -> WaitRecord {
        let zero = vec![0; size_of::<WaitRecord>()];
        let mut raw: WaitRecord = whyslow_abi::read_plain(&zero).unwrap();
        raw.path_depth = u32::try_from(names.len()).unwrap();
        for (place, name) in raw.path.iter_mut().zip(names) {
            place[..name.len()].copy_from_slice(name.as_bytes());
        }
        raw
    }

    #[test]
    fn a_path_is_told_whole_or_not() {
        assert_eq!(path(&record(&["b", "a"])), Some("/a/b".to_owned()));
        assert_eq!(path(&record(&[])), None);
        assert_eq!(path(&record(&["b", ""])), None);
        let cut = "x".repeat(PATH_NAME - 1);
        assert_eq!(path(&record(&["b", &cut])), None);
        let mut beyond = record(&["b"]);
        beyond.path_depth = 99;
        assert_eq!(path(&beyond), None);
    }

    #[test]
    fn a_share_is_never_above_one() {
        assert!((share(50, 100) - 0.5).abs() < 1e-9);
        assert!(share(200, 100) <= 1.0 && share(0, 0) <= 1.0);
    }
}
