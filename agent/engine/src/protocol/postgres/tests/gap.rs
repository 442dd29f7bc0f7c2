//! Bytes that were not seen at all, not even how many.

use super::partial::next;
use super::*;

/// Findings of transfers; `None`: a gap.
fn with_gaps(transfers: &[Option<Sent>]) -> Vec<Finding> {
    let mut session = Postgres.session();
    let mut found = Vec::new();
    for sent in transfers {
        match sent {
            Some(sent) => transfer(&mut *session, sent, &mut found),
            None => session.gap(&mut found),
        }
    }
    found
}

fn answer() -> Sent {
    Server([done("SELECT 1"), ready()].concat())
}

#[test]
fn what_is_open_is_given_up_and_the_next_write_is_followed() {
    let found = with_gaps(&[
        Some(Client(query("select a"))),
        None,
        Some(Client(query("select b"))),
        Some(Server([error("42P01"), ready()].concat())),
        Some(Client(run("select c"))),
    ]);
    assert_eq!(
        found,
        [
            asked("select a"),
            rows(0),
            Finding::Missed,
            asked("select b"),
            failed("42P01"),
            asked("select c"),
        ]
    );
}

#[test]
fn the_rest_of_a_message_is_no_beginning() {
    let write = query("select a from b where c = 'a long value'");
    let (front, rest) = write.split_at(20);
    let found = with_gaps(&[
        Some(Client(front.to_vec())),
        None,
        Some(Client(rest.to_vec())),
        Some(Client(b"Q\0\0\0".to_vec())),
        Some(answer()),
        Some(next()[0].clone()),
        Some(next()[1].clone()),
    ]);
    assert_eq!(found, [Finding::Missed, asked("select ?"), rows(1)]);
}

#[test]
fn the_rest_of_an_answer_answers_nothing() {
    // From the middle of a row on, before and after the write that is a clear beginning.
    let rest = [
        row("a value of some length")[9..].to_vec(),
        done("SELECT 7"),
    ]
    .concat();
    let found = with_gaps(&[
        None,
        Some(Server([rest.clone(), ready()].concat())),
        Some(next()[0].clone()),
        Some(next()[1].clone()),
        None,
        Some(next()[0].clone()),
        Some(Server(rest)),
        Some(answer()),
        Some(next()[0].clone()),
        Some(next()[1].clone()),
    ]);
    let counted = [asked("select ?"), rows(1)];
    assert_eq!(
        found,
        [
            &[Finding::Missed][..],
            &counted,
            &[Finding::Missed],
            &counted,
            &counted
        ]
        .concat()
    );
}

#[test]
fn named_statements_are_kept_unnamed_ones_are_not() {
    let found = with_gaps(&[
        Some(Client(
            [parse("s", "select a"), parse("", "select b"), sync()].concat(),
        )),
        Some(Server(ready())),
        None,
        Some(Client(
            [
                bind("", "s"),
                execute(""),
                bind("", ""),
                execute(""),
                sync(),
            ]
            .concat(),
        )),
        Some(Server(
            [done("SELECT 1"), done("SELECT 2"), ready()].concat(),
        )),
    ]);
    assert_eq!(
        found,
        [
            Finding::Missed,
            asked("select a"),
            asked(UNKNOWN),
            rows(1),
            rows(2)
        ]
    );
}

#[test]
fn a_connection_that_begins_anew() {
    // The question whether to encrypt, and its answer, were not seen.
    let found = with_gaps(&[
        Some(Client(startup_packet(80_877_103, b""))),
        None,
        Some(Client(startup())),
        Some(Server([message(b'R', &[0; 4]), ready()].concat())),
        Some(next()[0].clone()),
        Some(next()[1].clone()),
    ]);
    assert_eq!(found, [Finding::Missed, asked("select ?"), rows(1)]);
    // What follows is encrypted.
    let record = [&b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"[..], &[7; 400]].concat();
    let found = with_gaps(&[
        Some(Client(startup_packet(80_877_103, b""))),
        None,
        Some(Client(record.clone())),
        Some(Server(record)),
    ]);
    assert_eq!(found, [Finding::Missed]);
}

#[test]
fn gaps_in_every_place_open_nothing_twice() {
    let transfers = [
        Client(startup()),
        Server([message(b'R', &[0; 4]), ready()].concat()),
        Client([run("select a"), sync(), run("select b"), sync()].concat()),
        Server([ran("SELECT 1"), ready()].concat()),
        Server([ran("SELECT 2"), ready()].concat()),
        next()[0].clone(),
        next()[1].clone(),
    ];
    for at in 0..=transfers.len() {
        let mut with = transfers.clone().map(Some).to_vec();
        with.insert(at, None);
        let found = with_gaps(&with);
        let asks = found
            .iter()
            .filter(|f| matches!(f, Finding::Asked { .. }))
            .count();
        let answers = found
            .iter()
            .filter(|f| matches!(f, Finding::Answered { .. }))
            .count();
        assert!(asks == answers && asks <= 3, "{at}: {found:?}");
        assert!(found.contains(&Finding::Missed), "{at}: {found:?}");
        // What follows the gap is counted.
        let last = if at < 6 { rows(1) } else { Finding::Missed };
        assert_eq!(found.last(), Some(&last), "{at}");
    }
}
