//! Differences of cumulative totals as lists for people.

use whyslow_abi::{account::Account, descriptor::IoKind, syscall::SyscallClass, totals::Totals};

use crate::output::LedgerEntry;

/// Accounts with time, most first.
pub(crate) fn entries(
    ns: &[u64; Account::COUNT],
    count: impl Fn(usize) -> u64,
) -> Vec<LedgerEntry> {
    let used = ns.iter().filter(|ns| **ns > 0).count();
    let mut ledger = Vec::with_capacity(used);
    for (index, account) in Account::ALL.iter().enumerate() {
        if ns[index] > 0 {
            ledger.push(LedgerEntry {
                account: *account,
                ns: ns[index],
                count: count(index),
            });
        }
    }
    ledger.sort_by(|a, b| b.ns.cmp(&a.ns).then(a.account.cmp(&b.account)));
    ledger
}

/// Accounts of a thread's difference, most time first.
pub(crate) fn of(delta: &Totals) -> Vec<LedgerEntry> {
    entries(&delta.ns, |index| u64::from(delta.count[index]))
}

/// Bytes by kind: in, out; kinds without bytes are left out.
pub(crate) fn bytes(delta: &Totals) -> Vec<(IoKind, u64, u64)> {
    IoKind::ALL
        .iter()
        .enumerate()
        .map(|(index, kind)| (*kind, delta.bytes_in[index], delta.bytes_out[index]))
        .filter(|(_, bytes_in, bytes_out)| *bytes_in > 0 || *bytes_out > 0)
        .collect()
}

/// Calls by class; classes without calls are left out.
pub(crate) fn syscalls(delta: &Totals) -> Vec<(SyscallClass, u64)> {
    SyscallClass::ALL
        .iter()
        .enumerate()
        .map(|(index, class)| (*class, u64::from(delta.syscalls[index])))
        .filter(|(_, calls)| *calls > 0)
        .collect()
}

/// Whether accounts and wall time differ by more than 0.1 %.
pub(crate) fn mismatch(delta: &Totals, wall_ns: u64) -> bool {
    delta.total_ns().abs_diff(wall_ns).saturating_mul(1000) > wall_ns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_time_first_without_the_empty() {
        let mut delta = Totals::ZERO;
        delta.ns[Account::Cpu as usize] = 5;
        delta.ns[Account::Sleep as usize] = 9;
        delta.count[Account::Sleep as usize] = 2;
        delta.bytes_out[IoKind::Disk as usize] = 4;
        delta.syscalls[SyscallClass::Poll as usize] = 3;
        let ledger = of(&delta);
        assert_eq!(ledger.len(), 2);
        assert_eq!((ledger[0].account, ledger[0].count), (Account::Sleep, 2));
        assert_eq!(bytes(&delta), [(IoKind::Disk, 0, 4)]);
        assert_eq!(syscalls(&delta), [(SyscallClass::Poll, 3)]);
    }

    #[test]
    fn one_in_a_thousand_is_the_bar() {
        let mut delta = Totals::ZERO;
        delta.ns[0] = 1_000_000;
        assert!(!mismatch(&delta, 1_000_000));
        assert!(!mismatch(&delta, 1_000_999));
        assert!(mismatch(&delta, 1_002_000));
        assert!(mismatch(&delta, 990_000));
    }
}
