//! The ledger of a request that is still open, from its thread's slot as last read.

use whyslow_abi::{account::Account, thread::ThreadState, totals::Totals};

use super::ledger;
use crate::{
    output::{LedgerEntry, Target},
    timeline::threads::Sample,
};

/// What a thread does now.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Now {
    /// Account that time goes to; `None`: not known.
    pub(crate) account: Option<Account>,
    /// Since when; 0: not known.
    pub(crate) since_ns: u64,
    pub(crate) target: Target,
}

/// What the thread of this slot does.
pub(crate) fn now(sample: &Sample) -> Now {
    let plain = |account| Now {
        account: Some(account),
        since_ns: sample.since_ns,
        target: Target::Unknown,
    };
    match sample.state {
        ThreadState::Running => plain(Account::Cpu),
        ThreadState::Runnable => plain(Account::RunQueue),
        ThreadState::Throttled => plain(Account::Throttled),
        ThreadState::Reclaiming | ThreadState::Reclaims => plain(Account::Memory),
        ThreadState::Faulted => plain(Account::DiskFault),
        ThreadState::Stopped => plain(Account::Unexplained),
        ThreadState::Blocked => match &sample.wait {
            Some(fact) => Now {
                account: Some(Account::try_from(fact.account).unwrap_or(Account::Unexplained)),
                since_ns: sample.since_ns,
                target: fact.target.clone(),
            },
            None => plain(Account::Unexplained),
        },
        ThreadState::Free | ThreadState::Unknown | ThreadState::Ended => Now::default(),
    }
}

/// The ledger since `begin`, up to `now_ns`, with what the thread does `now`. Empty when the slot is not that
/// thread's.
pub(crate) fn ledger(
    sample: &Sample,
    now: &Now,
    (begin, begin_ns): (&Totals, u64),
    now_ns: u64,
) -> Vec<LedgerEntry> {
    let Some(mut delta) = sample.totals.since(begin) else {
        return Vec::new();
    };
    if let Some(account) = now.account {
        // Time before the begin is not the request's.
        let since = sample.since_ns.max(begin_ns);
        let ns = &mut delta.ns[account as usize];
        *ns = ns.saturating_add(now_ns.saturating_sub(since));
        let pending = if sample.state == ThreadState::Blocked {
            account
        } else {
            Account::Unexplained
        };
        let ns = &mut delta.ns[pending as usize];
        *ns = ns.saturating_add(sample.pending_ns);
    }
    ledger::of(&delta)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::WaitFact;

    fn sample(state: ThreadState) -> Sample {
        let mut totals = Totals::ZERO;
        totals.ns[Account::Cpu as usize] = 30;
        Sample {
            generation: 1,
            state,
            since_ns: 140,
            pending_ns: 0,
            totals,
            wait: None,
            waits: Vec::new(),
        }
    }

    #[test]
    fn running_time_goes_to_cpu() {
        let mut begin = Totals::ZERO;
        begin.ns[Account::Cpu as usize] = 10;
        let it = sample(ThreadState::Running);
        let ledger = ledger(&it, &now(&it), (&begin, 100), 200);
        assert_eq!(ledger.len(), 1);
        assert_eq!((ledger[0].account, ledger[0].ns), (Account::Cpu, 20 + 60));
    }

    #[test]
    fn a_block_goes_to_the_account_of_its_wait_with_what_was_before() {
        let mut it = sample(ThreadState::Blocked);
        it.pending_ns = 7;
        it.wait = Some(WaitFact {
            account: Account::NetUpstream as u8,
            target: Target::Peer("1.2.3.4:5".to_owned()),
        });
        let ledger = ledger(&it, &now(&it), (&Totals::ZERO, 100), 200);
        assert_eq!(
            (ledger[0].account, ledger[0].ns),
            (Account::NetUpstream, 67)
        );
        assert_eq!(now(&it).target, Target::Peer("1.2.3.4:5".to_owned()));
        it.wait = None;
        assert_eq!(now(&it).account, Some(Account::Unexplained));
    }

    #[test]
    fn figures_of_another_thread_give_nothing() {
        let mut begin = Totals::ZERO;
        begin.ns[Account::Cpu as usize] = 1_000;
        let it = sample(ThreadState::Running);
        assert!(ledger(&it, &now(&it), (&begin, 100), 200).is_empty());
        assert_eq!(now(&sample(ThreadState::Ended)), Now::default());
    }
}
