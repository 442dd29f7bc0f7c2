//! Who is to blame for a wait, in words for all who tell of it.

use crate::v1::Holder;

impl Holder {
    /// "held 91 % by GET /report (tid 4711)". Nobody is named where nobody held it for half of the time.
    #[must_use]
    pub fn words(&self) -> String {
        if self.share < 0.5 {
            return "several holders".to_owned();
        }
        let share = (self.share * 100.0).round();
        let tid = self.tid;
        let who = match (&*self.request, &*self.comm) {
            ("", "") => format!("tid {tid}"),
            ("", comm) => format!("{comm} (tid {tid})"),
            (request, _) => format!("{request} (tid {tid})"),
        };
        format!("held {share} % by {who}")
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
            (holder(0.49, "GET /", ""), "several holders"),
        ] {
            assert_eq!(holder.words(), words);
        }
    }
}
