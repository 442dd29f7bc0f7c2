//! Options from the command line and the file.

use clap::FromArgMatches as _;

use super::*;
use crate::cli::GlobalArgs;

fn context(config: Config) -> Context {
    Context {
        global: GlobalArgs {
            socket: None,
            connect: None,
            token_file: None,
            config: None,
            log: None,
        },
        config,
    }
}

#[test]
fn flags_win_over_the_file() {
    let context = context(Config {
        port: vec![80],
        comm: vec!["uwsgi".to_owned()],
        max_threads: Some(7),
        ring_bytes: Some(4096),
        ..Config::default()
    });
    let args = HostArgs {
        port: vec![8000],
        max_threads: Some(9),
        wait_floor: Some("2ms".to_owned()),
        loop_stall_limit: Some("0".to_owned()),
        ..HostArgs::default()
    };
    let options = args.kernel_options(&context).unwrap();
    assert_eq!(options.rules.ports, [8000]);
    assert_eq!(options.rules.comms, ["uwsgi"]);
    assert_eq!((options.max_threads, options.ring_bytes), (9, 4096));
    assert_eq!(options.wait_floor_ns, 2_000_000);
    assert_eq!(options.loop_stall_limit_ns, 0);
}

#[test]
fn what_is_told_of_operations() {
    let plain = HostArgs::default().settings(&context(Config::default()));
    assert_eq!((plain.repeated, plain.show_literals), (10, false));
    let context = context(Config {
        repeated: Some(5),
        show_literals: Some(true),
        ..Config::default()
    });
    let from_file = HostArgs::default().settings(&context);
    assert_eq!((from_file.repeated, from_file.show_literals), (5, true));
    let args = HostArgs {
        repeated: Some(3),
        ..HostArgs::default()
    };
    assert_eq!(args.settings(&context).repeated, 3);
}

#[test]
fn flags_turn_off_what_the_file_turns_on() {
    let context = context(Config {
        operations: Some(true),
        library_probes: Some(true),
        show_query: Some(true),
        show_literals: Some(true),
        ..Config::default()
    });
    let parse = |line: &[&str]| {
        let command = HostArgs::augment_args(clap::Command::new("whyslow"));
        let words = std::iter::once(&"whyslow").chain(line);
        let matches = command.try_get_matches_from(words).unwrap();
        HostArgs::from_arg_matches(&matches).unwrap()
    };
    for (line, reads) in [
        (&[][..], (true, true)),
        (&["--operations=false"], (false, false)),
        (&["--library-probes=false"], (true, false)),
        (&["--operations", "--library-probes=false"], (true, false)),
        (
            &["--operations=false", "--library-probes=false"],
            (false, false),
        ),
    ] {
        let options = parse(line).kernel_options(&context).unwrap();
        let found = (options.operations, options.library_probes);
        assert_eq!(found, reads, "{line:?}");
    }
    let settings = parse(&["--show-query=false", "--show-literals=false"]).settings(&context);
    assert!(!settings.show_query && !settings.show_literals);
}

#[test]
fn impossible_values_are_refused_with_a_hint() {
    let context = context(Config::default());
    for args in [
        HostArgs {
            pid: vec![u32::MAX],
            ..HostArgs::default()
        },
        HostArgs {
            ring_bytes: Some(5000),
            ..HostArgs::default()
        },
        HostArgs {
            ring_bytes: Some(2048),
            ..HostArgs::default()
        },
        HostArgs {
            max_threads: Some(0),
            ..HostArgs::default()
        },
        HostArgs {
            max_threads: Some(MAX_THREADS + 1),
            ..HostArgs::default()
        },
        HostArgs {
            routes: vec!["/good".to_owned(), "foo".to_owned()],
            ..HostArgs::default()
        },
        HostArgs {
            repeated: Some(0),
            ..HostArgs::default()
        },
        HostArgs {
            operations: Some(false),
            library_probes: Some(true),
            ..HostArgs::default()
        },
        HostArgs {
            wait_floor: Some("soon".to_owned()),
            ..HostArgs::default()
        },
    ] {
        let error = args.kernel_options(&context).unwrap_err().to_string();
        assert!(error.contains("\nhint: "), "{error}");
    }
}
