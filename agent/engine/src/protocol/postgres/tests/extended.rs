//! The extended protocol, COPY and function calls.

use super::*;

#[test]
fn the_extended_protocol() {
    check(
        &[
            Client([run("select $1"), sync()].concat()),
            Server([ran("SELECT 1"), ready()].concat()),
        ],
        &[asked("select ?"), rows(1)],
    );
    // To prepare is no operation.
    check(
        &[
            Client([parse("s", "select $1"), describe('S', "s"), sync()].concat()),
            Server(
                [
                    message(b'1', b""),
                    message(b't', &[0, 0]),
                    message(b'n', b""),
                    ready(),
                ]
                .concat(),
            ),
            Client([bind("", "s"), execute(""), sync()].concat()),
            Server([message(b'2', b""), done("SELECT 4"), ready()].concat()),
            Client([bind("", "s"), execute(""), close('S', "s"), sync()].concat()),
            Server(
                [
                    message(b'2', b""),
                    done("SELECT 5"),
                    message(b'3', b""),
                    ready(),
                ]
                .concat(),
            ),
            Client([bind("", "s"), execute(""), sync()].concat()),
            Server([error("26000"), ready()].concat()),
        ],
        &[
            asked("select ?"),
            rows(4),
            asked("select ?"),
            rows(5),
            asked(UNKNOWN),
            failed("26000"),
        ],
    );
}

#[test]
fn portals() {
    let suspended = || [row("1"), row("2"), message(b's', b"")].concat();
    check(
        &[
            Client([parse("s", "select a"), parse("", "select b")].concat()),
            Client(
                [
                    bind("p", "s"),
                    bind("", ""),
                    execute("p"),
                    execute(""),
                    message(b'H', b""),
                ]
                .concat(),
            ),
            Server([suspended(), done("SELECT 9")].concat()),
            Client([execute("p"), close('P', "p"), execute("p"), sync()].concat()),
            Server(
                [
                    row("3"),
                    done("SELECT 1"),
                    message(b'3', b""),
                    error("34000"),
                    ready(),
                ]
                .concat(),
            ),
        ],
        &[
            asked("select a"),
            asked("select b"),
            rows(2),
            rows(9),
            asked("select a"),
            asked(UNKNOWN),
            rows(1),
            failed("34000"),
        ],
    );
    // A Query ends the unnamed ones.
    check(
        &[Client(
            [
                parse("", "select a"),
                bind("", ""),
                query("select b"),
                execute(""),
            ]
            .concat(),
        )],
        &[asked("select b"), asked(UNKNOWN)],
    );
}

#[test]
fn statements_prepared_earlier() {
    check(
        &[
            Client([bind("", "s1"), execute(""), sync()].concat()),
            Server([message(b'2', b""), done("INSERT 0 3"), ready()].concat()),
        ],
        &[asked(UNKNOWN), rows(3)],
    );
}

#[test]
fn the_oldest_statement_is_forgotten_first() {
    let mut bytes = Vec::new();
    for number in 0..300 {
        bytes.extend(parse(&format!("s{number}"), &format!("select a{number}")));
    }
    for name in ["s0", "s43", "s44", "s299"] {
        bytes.extend([bind("", name), execute("")].concat());
    }
    assert_eq!(
        findings(&[Client(bytes)]),
        [
            asked(UNKNOWN),
            asked(UNKNOWN),
            asked("select a44"),
            asked("select a299"),
        ]
    );
}

#[test]
fn after_an_error_the_server_skips_to_the_sync() {
    let three = [
        run("select 1 from a"),
        run("select 2 from b"),
        run("select 3 from c"),
        sync(),
    ]
    .concat();
    let again = [run("select 4 from d"), sync()].concat();
    check(
        &[
            Client([three, again].concat()),
            Server([ran("SELECT 1"), error("23505"), ready()].concat()),
            Server([ran("SELECT 2"), ready()].concat()),
        ],
        &[
            asked("select ? from a"),
            asked("select ? from b"),
            asked("select ? from c"),
            asked("select ? from d"),
            rows(1),
            failed("23505"),
            failed(SKIPPED),
            rows(2),
        ],
    );
    // What is written between the error and the Sync is skipped too.
    check(
        &[
            Client([parse("", "selec"), message(b'H', b"")].concat()),
            Server(error("42601")),
            Client([bind("", ""), execute(""), sync()].concat()),
            Server(ready()),
        ],
        &[asked("selec"), failed(SKIPPED)],
    );
}

#[test]
fn pipelines_with_several_syncs() {
    let mut written = Vec::new();
    let mut read = Vec::new();
    let mut expected = Vec::new();
    for number in 0..5_u64 {
        written.extend([run(&format!("select a{number}")), sync()].concat());
        expected.push(asked(&format!("select a{number}")));
    }
    for number in 0..5_u64 {
        if number == 2 {
            read.extend([error("22012"), ready()].concat());
            expected.push(failed("22012"));
        } else {
            read.extend([ran(&format!("SELECT {number}")), ready()].concat());
            expected.push(rows(number));
        }
    }
    check(&[Client(written), Server(read)], &expected);
}

#[test]
fn copy_in() {
    let begin = || message(b'G', &[0, 0, 1, 0, 0]);
    let data = [
        message(b'd', b"1\tsecret\n"),
        message(b'd', b"2\tsecret\n"),
        message(b'c', b""),
    ]
    .concat();
    check(
        &[
            Client(query("copy t from stdin")),
            Server(begin()),
            Client(data.clone()),
            Server([done("COPY 2"), ready()].concat()),
            Client(query("select 1")),
            Server([done("SELECT 1"), ready()].concat()),
        ],
        &[
            asked("copy t from stdin"),
            rows(2),
            asked("select ?"),
            rows(1),
        ],
    );
    // The Sync that was sent ahead is passed over by the server; a second one follows the data.
    check(
        &[
            Client([run("copy t from stdin"), sync()].concat()),
            Server([message(b'1', b""), message(b'2', b""), begin()].concat()),
            Client([data, sync()].concat()),
            Server([done("COPY 2"), ready()].concat()),
            Client([run("select 1"), sync()].concat()),
            Server([error("57014"), ready()].concat()),
        ],
        &[
            asked("copy t from stdin"),
            rows(2),
            asked("select ?"),
            failed("57014"),
        ],
    );
    check(
        &[
            Client(query("copy t from stdin")),
            Server(begin()),
            Client(message(b'f', b"given up\0")),
            Server([error("57014"), ready()].concat()),
        ],
        &[asked("copy t from stdin"), failed("57014")],
    );
}

#[test]
fn copy_out() {
    check(
        &[
            Client(query("copy t to stdout")),
            Server(
                [
                    message(b'H', &[0, 0, 1, 0, 0]),
                    message(b'd', b"1\n"),
                    message(b'd', b"2\n"),
                    message(b'c', b""),
                    done("COPY 2"),
                    ready(),
                ]
                .concat(),
            ),
        ],
        &[asked("copy t to stdout"), rows(2)],
    );
}

#[test]
fn function_calls() {
    let call = message(b'F', &[0, 0, 3, 0xb8, 0, 0, 0, 0, 0, 1]);
    check(
        &[
            Client(call.clone()),
            Server([message(b'V', &[0xff; 4]), ready()].concat()),
            Client(call),
            Server([error("42883"), ready()].concat()),
        ],
        &[
            asked(FUNCTION_CALL),
            rows(0),
            asked(FUNCTION_CALL),
            failed("42883"),
        ],
    );
}
