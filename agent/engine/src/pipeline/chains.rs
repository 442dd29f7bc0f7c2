//! Chains of two: who waits for a lock, whose holder waits himself.

use super::{Engine, finish::HELD_LIMIT};
use crate::{
    attribution::waits::PATH_FLOOR_NS as FLOOR_NS,
    output::{Holder, HolderWait, Output, Query, RequestFinished, WaitEntry},
    timeline::threads::Thread,
};

impl Engine {
    /// What the holders of a finished request's locks waited for themselves, for most of that time.
    pub(super) fn follow_holders(&self, finished: &mut RequestFinished) {
        for wait in &mut finished.waits {
            let span = (wait.start_ns, wait.start_ns.saturating_add(wait.ns));
            if let Some(holder) = &mut wait.holder {
                let thread = self.threads.get(holder.tid);
                let thread = thread.filter(|it| it.tgid == holder.pid);
                holder.waits_for = thread.and_then(|it| waits_for(it, holder.share, span));
            }
        }
    }

    /// Asks for the slots of holders of which it is not known what they waited for; returns their threads. There the
    /// longest waits are until the next request begins.
    pub(super) fn ask_holders(
        &self,
        finished: &RequestFinished,
        out: &mut Vec<Output>,
    ) -> Vec<u32> {
        let mut asked = Vec::new();
        let long = finished.waits.iter().filter(|it| it.ns >= FLOOR_NS);
        for holder in long.filter_map(|it| it.holder.as_ref()) {
            let thread = self.threads.get(holder.tid);
            let lives = thread.is_some_and(|it| it.tgid == holder.pid && it.ended_ns == 0);
            let wanted = holder.waits_for.is_none() && lives && self.held.len() < HELD_LIMIT;
            if wanted && !asked.contains(&holder.tid) {
                asked.push(holder.tid);
                out.push(Output::Query(Query::Thread { tid: holder.tid }));
            }
        }
        asked
    }

    /// The slot of a thread was read: requests may wait for that.
    pub(super) fn holder_found(&mut self, tid: u32, out: &mut Vec<Output>) {
        if !self.held.iter().any(|it| it.holders.contains(&tid)) {
            return;
        }
        let mut held = std::mem::take(&mut self.held);
        for one in held.iter_mut().filter(|it| it.holders.contains(&tid)) {
            one.holders.retain(|it| *it != tid);
            self.follow_holders(&mut one.finished);
        }
        self.held = held;
        self.release_ready(out);
    }

    /// Keeps the longest waits of a request that its thread has finished.
    pub(super) fn keep_waits(&mut self, finished: &RequestFinished) {
        if let Some(thread) = self.threads.get_mut(finished.started.tid) {
            thread
                .served
                .keep_waits(finished.started.id, &finished.waits);
        }
    }
}

fn waits_for(
    thread: &Thread,
    share: f64,
    (start_ns, end_ns): (u64, u64),
) -> Option<Box<HolderWait>> {
    let within = |it: &WaitEntry| {
        let end = it.start_ns.saturating_add(it.ns).min(end_ns);
        end.saturating_sub(it.start_ns.max(start_ns))
    };
    let all = thread.lock_waits.iter().chain(thread.served.waits());
    let (ns, longest) = all
        .chain(&thread.seen_waits)
        .map(|it| (within(it), it))
        .max_by_key(|(ns, _)| *ns)?;
    let held = end_ns.saturating_sub(start_ns) as f64 * share;
    (ns as f64 > held / 2.0).then(|| {
        Box::new(HolderWait {
            account: longest.account,
            ns,
            target: longest.target.clone(),
            holder: longest.holder.clone().map(|holder| Holder {
                waits_for: None,
                ..holder
            }),
        })
    })
}

#[cfg(test)]
mod tests {
    use whyslow_abi::account::Account;

    use super::*;
    use crate::output::Target;

    #[test]
    fn what_a_holder_waited_for_most_of_the_time() {
        let wait = |account, start_ns, ns| WaitEntry {
            served: None,
            served_unknown: "",
            account,
            start_ns,
            ns,
            target: Target::Unknown,
            holder: None,
            waker: None,
        };
        let mut thread = Thread {
            seen_waits: vec![
                wait(Account::Sleep, 0, 139),
                wait(Account::NetUpstream, 140, 60),
            ],
            ..Thread::default()
        };
        let found = waits_for(&thread, 1.0, (100, 200)).unwrap();
        assert_eq!((found.account, found.ns), (Account::NetUpstream, 60));
        assert!(waits_for(&thread, 1.0, (300, 400)).is_none());
        thread.lock_waits.add(wait(Account::LockFutex, 100, 90));
        let found = waits_for(&thread, 1.0, (100, 200)).unwrap();
        assert_eq!((found.account, found.ns), (Account::LockFutex, 90));
    }
}
