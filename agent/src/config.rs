//! The configuration file: TOML with the names of the flags, in which `_` may stand for `-`. A flag wins
//! over it.
//!
//! Unknown keys are errors: a misspelt exclusion must not silently watch what it should not.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Deserializer};

/// Read when it is there and no other was named.
pub const DEFAULT_PATH: &str = "/etc/whyslow.toml";

/// A key is taken for a misspelt one up to so many edits.
const MOST_EDITS: usize = 2;

/// What a file may say. Everything is optional.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Unix socket of the agent.
    pub socket: Option<PathBuf>,
    /// Group that may connect to it: a name or a number.
    pub socket_group: Option<String>,
    /// TCP address to serve on as well.
    pub listen: Option<SocketAddr>,
    /// File with the token for TCP.
    #[serde(alias = "token-file")]
    pub token_file: Option<PathBuf>,
    /// Log filter.
    pub log: Option<String>,
    /// Watch these processes.
    #[serde(deserialize_with = "list")]
    pub pid: Vec<u32>,
    /// Watch processes of these names.
    #[serde(deserialize_with = "list")]
    pub comm: Vec<String>,
    /// Watch processes that listen on these TCP ports.
    #[serde(deserialize_with = "list")]
    pub port: Vec<u16>,
    /// Watch processes in these control groups.
    #[serde(deserialize_with = "list")]
    pub cgroup: Vec<String>,
    /// Never these.
    #[serde(alias = "exclude-pid", deserialize_with = "list")]
    pub exclude_pid: Vec<u32>,
    /// Never these.
    #[serde(alias = "exclude-comm", deserialize_with = "list")]
    pub exclude_comm: Vec<String>,
    /// Never these.
    #[serde(alias = "exclude-port", deserialize_with = "list")]
    pub exclude_port: Vec<u16>,
    /// Never these.
    #[serde(alias = "exclude-cgroup", deserialize_with = "list")]
    pub exclude_cgroup: Vec<String>,
    /// Route templates, tried in order before the built-in ones.
    #[serde(alias = "route-rule", alias = "route_rule", deserialize_with = "list")]
    pub routes: Vec<String>,
    /// Keep query values in targets.
    #[serde(alias = "show-query")]
    pub show_query: Option<bool>,
    /// Keep the arguments of programs.
    #[serde(alias = "show-arguments")]
    pub show_arguments: Option<bool>,
    /// Follow programs that no watched process started, too.
    pub programs: Option<bool>,
    /// Routes kept at the most.
    #[serde(alias = "max-routes")]
    pub max_routes: Option<usize>,
    /// Requests in flight kept at the most.
    #[serde(alias = "max-in-flight")]
    pub max_in_flight: Option<usize>,
    /// Threads watched at the most.
    #[serde(alias = "max-threads")]
    pub max_threads: Option<u32>,
    /// Connections followed at the most.
    #[serde(alias = "max-connections")]
    pub max_connections: Option<u32>,
    /// Bytes of the ring buffer; a power of two.
    #[serde(alias = "ring-bytes")]
    pub ring_bytes: Option<u32>,
    /// Read what requests ask of PostgreSQL, MySQL, Redis and memcached.
    pub operations: Option<bool>,
    /// Operations of one shape in one request from which on it is told as repeated.
    pub repeated: Option<u64>,
    /// Keep literals, keys and arguments in the shapes of operations.
    #[serde(alias = "show-literals")]
    pub show_literals: Option<bool>,
    /// With operations, probe functions of SQLite and OpenSSL libraries.
    #[serde(alias = "library-probes")]
    pub library_probes: Option<bool>,
    /// Shortest wait kept with a request: "1ms".
    #[serde(alias = "wait-floor")]
    pub wait_floor: Option<String>,
    /// An event loop that does not come back to poll for this long is told: "20ms"; "0": none is.
    #[serde(alias = "loop-stall-limit")]
    pub loop_stall_limit: Option<String>,
}

/// A list, or the only value of one.
fn list<'de, D, T>(values: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let value = toml::Value::deserialize(values)?;
    let values = match value {
        toml::Value::Array(values) => values,
        one => vec![one],
    };
    values
        .into_iter()
        .map(|value| T::deserialize(value).map_err(serde::de::Error::custom))
        .collect()
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {error}\nhint: check --config and the file's permissions", path = .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is not as it should be.
    #[error("{path}:{line}: {message}\nhint: keys have the names of the flags, see whyslow agent --help", path = .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
}

impl Config {
    /// Reads `path`, or the default file if there is one.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let (path, required) = match path {
            Some(path) => (path, true),
            None => (Path::new(DEFAULT_PATH), false),
        };
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(path, &text),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !required => {
                Ok(Self::default())
            }
            Err(error) => Err(ConfigError::Read {
                path: path.to_owned(),
                error,
            }),
        }
    }

    fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let before = text.as_bytes().get(..start).unwrap_or_default();
            ConfigError::Content {
                path: path.to_owned(),
                line: before.iter().filter(|byte| **byte == b'\n').count() + 1,
                message: unknown_key(error.message())
                    .unwrap_or_else(|| error.message().replace('\n', " ")),
            }
        })
    }
}

/// What serde says of a key that it does not know, in words for people: the nearest of those that it expects
/// instead of all of them.
fn unknown_key(message: &str) -> Option<String> {
    let (key, expected) = message.strip_prefix("unknown field `")?.split_once('`')?;
    let known = expected.split('`').skip(1).step_by(2);
    let near = known
        .map(|known| (distance(key, known), known))
        .filter(|(distance, _)| *distance <= MOST_EDITS)
        .min_by_key(|(distance, _)| *distance);
    Some(match near {
        Some((_, near)) => format!("unknown key `{key}`: did you mean `{near}`?"),
        None => format!("unknown key `{key}`"),
    })
}

/// Characters to insert, delete or replace (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(Path::new("/etc/w.toml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn all_keys() {
        let config = parse(
            r#"
            socket = "/run/a.sock"
            socket_group = "adm"
            listen = "127.0.0.1:7878"
            token_file = "/etc/token"
            log = "debug"
            pid = [1]
            comm = ["gunicorn"]
            port = [8000]
            cgroup = ["/web"]
            exclude_pid = [2]
            exclude_comm = ["nginx"]
            exclude_port = [80]
            exclude_cgroup = ["/batch"]
            routes = ["/shop/{name}"]
            show_query = true
            show_arguments = true
            programs = true
            max_routes = 10
            max_in_flight = 20
            max_threads = 30
            max_connections = 40
            ring_bytes = 4096
            operations = true
            repeated = 20
            show_literals = true
            library_probes = true
            wait_floor = "2ms"
            loop_stall_limit = "50ms"
            "#,
        )
        .unwrap();
        assert_eq!(config.port, [8000]);
        assert_eq!(config.socket_group.as_deref(), Some("adm"));
        assert_eq!(config.show_query, Some(true));
        assert_eq!(config.operations, Some(true));
        assert_eq!(
            (config.show_arguments, config.programs),
            (Some(true), Some(true))
        );
        assert_eq!(
            (config.repeated, config.show_literals),
            (Some(20), Some(true))
        );
        assert_eq!(config.listen.unwrap().port(), 7878);
        assert_eq!(config.library_probes, Some(true));
    }

    #[test]
    fn keys_may_be_spelt_as_the_flags() {
        let text = r#"
            token_file = "/etc/token"
            exclude_pid = [2]
            exclude_comm = ["nginx"]
            exclude_port = [80]
            exclude_cgroup = ["/batch"]
            route_rule = ["/shop/{name}"]
            show_query = true
            max_routes = 10
            max_in_flight = 20
            max_threads = 30
            max_connections = 40
            ring_bytes = 4096
            operations = true
            repeated = 20
            show_literals = true
            library_probes = true
            wait_floor = "2ms"
            loop_stall_limit = "50ms"
        "#;
        let config = parse(text).unwrap();
        assert_eq!(config.max_threads, Some(30));
        assert_eq!(config.routes, ["/shop/{name}"]);
        assert_eq!(parse(&text.replace('_', "-")).unwrap(), config);
        let both = parse("max-threads = 5\nmax_threads = 6\n").unwrap_err();
        assert!(both.contains("duplicate field"), "{both}");
    }

    #[test]
    fn one_value_is_a_list_of_one() {
        for key in ["comm", "cgroup", "exclude_comm", "exclude_cgroup", "routes"] {
            let (one, list) = (format!("{key} = \"/a\""), format!("{key} = [\"/a\"]"));
            assert_eq!(parse(&one).unwrap(), parse(&list).unwrap());
            assert_ne!(parse(&one).unwrap(), Config::default());
        }
        for key in ["pid", "port", "exclude-pid", "exclude-port"] {
            let (one, list) = (format!("{key} = 80"), format!("{key} = [80]"));
            assert_eq!(parse(&one).unwrap(), parse(&list).unwrap());
            assert_ne!(parse(&one).unwrap(), Config::default());
        }
        assert_eq!(parse("port = []").unwrap(), Config::default());
    }

    #[test]
    fn errors_name_the_line() {
        for (text, line, part) in [
            ("pid = [1]\nexclude_pit = [2]\n", 2, "exclude_pit"),
            ("\n\nport = [99999]\n", 3, "99999"),
            ("pid = \"x\"\n", 1, "invalid type: string"),
            (
                "log = \"a\"\ncomm = [\"a\", 1]\n",
                2,
                "invalid type: integer",
            ),
            ("\nexclude-port = 99999\n", 2, "99999"),
            ("pid = [1\n", 1, "unclosed"),
            ("listen = \"nowhere\"\n", 1, ""),
        ] {
            let error = parse(text).unwrap_err();
            assert!(
                error.starts_with(&format!("/etc/w.toml:{line}: ")) && error.contains(part),
                "{text:?}: {error}"
            );
            assert_eq!(error.lines().count(), 2, "{error}");
            assert!(error.contains("\nhint: "));
        }
    }

    #[test]
    fn a_misspelt_key_is_told_with_the_right_one() {
        for (text, said) in [
            ("operatons = true", "did you mean `operations`?"),
            ("libary-probe = true", "did you mean `library-probes`?"),
            ("libary_probe = true", "did you mean `library_probes`?"),
            ("ports = 80", "did you mean `port`?"),
            ("\"é\" = 1", "unknown key `é`\n"),
            ("something_else = 1", "unknown key `something_else`\n"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(said), "{error}");
            assert!(error.len() < 160, "{error}");
        }
        for (a, b, edits) in [
            ("", "", 0),
            ("", "ab", 2),
            ("kitten", "sitting", 3),
            ("pid", "pdi", 2),
        ] {
            assert_eq!((distance(a, b), distance(b, a)), (edits, edits));
        }
    }

    #[test]
    fn a_named_file_must_be_there() {
        let error = Config::load(Some(Path::new("/nonexistent/w.toml"))).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("cannot read the configuration /nonexistent/w.toml")
        );
    }
}
