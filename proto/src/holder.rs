//! Who is to blame for a wait, in words for all who tell of it.

use crate::v1::{Blocked, Holder, HolderWait, Served, Wait, Waker, wait_target::Target};

impl Holder {
    /// "held 91 % by GET /report (tid 4711)". Nobody is named where nobody held it for half of the time.
    #[must_use]
    pub fn words(&self) -> String {
        if self.share < 0.5 {
            return "several holders".to_owned();
        }
        let share = (self.share * 100.0).round();
        let who = who(&self.request, &self.comm, self.tid);
        let meanwhile = self.waits_for.as_ref();
        let meanwhile = meanwhile.map_or_else(String::new, |it| it.words());
        format!("held {share} % by {who}{meanwhile}")
    }
}

impl HolderWait {
    /// ", which waited in net.upstream for 127.0.0.1:5432".
    fn words(&self) -> String {
        let mut words = match &*self.account {
            "sleep" => ", which slept".to_owned(),
            account => format!(", which waited in {account}"),
        };
        let target = self.wait_target.as_ref().and_then(|it| it.target.as_ref());
        match target {
            Some(Target::Peer(peer)) => words += &format!(" for {}", peer.address),
            Some(Target::File(file)) => words += &format!(" for {}", file.path),
            _ => {}
        }
        if let Some(holder) = &self.holder {
            words += &format!(", {}", holder.words());
        }
        words
    }
}

impl Waker {
    /// "woken by GET /report (tid 4711)".
    #[must_use]
    pub fn words(&self) -> String {
        format!("woken by {}", who(&self.request, &self.comm, self.tid))
    }
}

impl Served {
    /// "postgres (pid 4711): waited 98 % of it for POST /pay (tid 4712)", or where its time went: "postgres (pid 4711): cpu
    /// 90 %, disk.read 10 %".
    #[must_use]
    pub fn words(&self) -> String {
        let whole = self.ns.max(1) as f64;
        let percent = |ns: u64| (ns as f64 / whole * 100.0).round();
        let did = match &self.blocked {
            Some(Blocked {
                ns,
                waker: Some(waker),
                ..
            }) if *ns > self.ns / 2 => {
                let whom = who(&waker.request, &waker.comm, waker.tid);
                format!("waited {} % of it for {whom}", percent(*ns))
            }
            _ => {
                let shares = self.ledger.iter().take(2);
                let shares = shares.map(|it| format!("{} {} %", it.account, percent(it.ns)));
                shares.collect::<Vec<_>>().join(", ")
            }
        };
        let comm = if self.comm.is_empty() {
            "server"
        } else {
            &self.comm
        };
        format!("{comm} (pid {}): {did}", self.pid)
    }
}

impl Wait {
    /// Who is to blame for it, else who ended it; `None`: not known, or no lock.
    #[must_use]
    pub fn blame(&self) -> Option<String> {
        let waker = || self.waker.as_ref().map(Waker::words);
        let holder = self.holder.as_ref().map(Holder::words);
        let served = self.served.as_ref().map(Served::words);
        let tells = self.account.starts_with("lock.") || self.account == "net.upstream";
        served.or_else(|| tells.then(|| holder.or_else(waker)).flatten())
    }
}

fn who(request: &str, comm: &str, tid: u32) -> String {
    match (request, comm) {
        ("", "") => format!("tid {tid}"),
        ("", comm) => format!("{comm} (tid {tid})"),
        (request, _) => format!("{request} (tid {tid})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_held_it_for_half_of_the_time_is_named() {
        let holder = |share, request: &str, comm: &str| Holder {
            tid: 4711,
            share,
            request: request.to_owned(),
            comm: comm.to_owned(),
            ..Holder::default()
        };
        for (holder, words) in [
            (
                holder(0.914, "GET /report", "gunicorn"),
                "held 91 % by GET /report (tid 4711)",
            ),
            (
                holder(1.0, "", "Thread-1"),
                "held 100 % by Thread-1 (tid 4711)",
            ),
            (holder(0.5, "", ""), "held 50 % by tid 4711"),
            (
                Holder {
                    waits_for: Some(Box::new(HolderWait {
                        account: "lock.futex".to_owned(),
                        holder: Some(Box::new(holder(0.8, "GET /b", ""))),
                        ..HolderWait::default()
                    })),
                    ..holder(0.9, "GET /a", "")
                },
                "held 90 % by GET /a (tid 4711), which waited in lock.futex, held 80 % by GET /b (tid 4711)",
            ),
            (holder(0.49, "GET /", ""), "several holders"),
        ] {
            assert_eq!(holder.words(), words);
        }
    }

    #[test]
    fn who_held_a_lock_is_told_before_who_let_it_go() {
        let waker = Waker {
            tid: 7,
            request: "POST /a".to_owned(),
            ..Waker::default()
        };
        let mut wait = Wait {
            account: "lock.futex".to_owned(),
            waker: Some(waker),
            ..Wait::default()
        };
        assert_eq!(wait.blame().unwrap(), "woken by POST /a (tid 7)");
        wait.holder = Some(Holder {
            share: 0.2,
            ..Holder::default()
        });
        assert_eq!(wait.blame().unwrap(), "several holders");
        wait.account = "ipc".to_owned();
        assert_eq!(wait.blame(), None, "no lock");
        assert_eq!(Wait::default().blame(), None);
    }
}
