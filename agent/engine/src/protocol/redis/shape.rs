//! From a command's first words to its shape and to what answers it. Nothing of an argument can get
//! into a shape: a name is one that is known, a subcommand only where it is in [`CONTAINERS`].

use super::command::Command;
use super::names;
use super::open::{Expect, Topic};

/// Shape of a command whose name could not be read or is none.
const UNKNOWN: &str = "unknown";

/// Commands whose first argument is part of their name, with what it may be. As of Redis 8.0
/// (`src/commands/*.json`, field `container`) and Valkey 8.1, and modules' and `DEBUG`'s most used.
const CONTAINERS: &[(&str, &str)] = &[
    (
        "ACL",
        "CAT DELUSER DRYRUN GENPASS GETUSER HELP LIST LOAD LOG SAVE SETUSER USERS WHOAMI",
    ),
    (
        "CLIENT",
        "CACHING CAPA GETNAME GETREDIR HELP ID IMPORT-SOURCE INFO KILL LIST NO-EVICT NO-TOUCH PAUSE \
         REPLY SETINFO SETNAME TRACKING TRACKINGINFO UNBLOCK UNPAUSE",
    ),
    (
        "CLUSTER",
        "ADDSLOTS ADDSLOTSRANGE BUMPEPOCH COUNT-FAILURE-REPORTS COUNTKEYSINSLOT DELSLOTS \
         DELSLOTSRANGE FAILOVER FLUSHSLOTS FORGET GETKEYSINSLOT HELP INFO KEYSLOT LINKS MEET MYID \
         MYSHARDID NODES REPLICAS REPLICATE RESET SAVECONFIG SET-CONFIG-EPOCH SETSLOT SHARDS SLAVES \
         SLOT-STATS SLOTS",
    ),
    (
        "COMMAND",
        "COUNT DOCS GETKEYS GETKEYSANDFLAGS HELP INFO LIST",
    ),
    ("COMMANDLOG", "GET HELP LEN RESET"),
    ("CONFIG", "GET HELP RESETSTAT REWRITE SET"),
    ("DEBUG", "OBJECT RELOAD SLEEP"),
    ("FT.CONFIG", "GET HELP SET"),
    (
        "FUNCTION",
        "DELETE DUMP FLUSH HELP KILL LIST LOAD RESTORE STATS",
    ),
    (
        "LATENCY",
        "DOCTOR GRAPH HELP HISTOGRAM HISTORY LATEST RESET",
    ),
    ("MEMORY", "DOCTOR HELP MALLOC-STATS PURGE STATS USAGE"),
    ("MODULE", "HELP LIST LOAD LOADEX UNLOAD"),
    ("OBJECT", "ENCODING FREQ HELP IDLETIME REFCOUNT"),
    (
        "PUBSUB",
        "CHANNELS HELP NUMPAT NUMSUB SHARDCHANNELS SHARDNUMSUB",
    ),
    ("SCRIPT", "DEBUG EXISTS FLUSH HELP KILL LOAD SHOW"),
    (
        "SENTINEL",
        "CKQUORUM CONFIG DEBUG FAILOVER FLUSHCONFIG GET-MASTER-ADDR-BY-NAME GET-PRIMARY-ADDR-BY-NAME \
         HELP INFO-CACHE IS-MASTER-DOWN-BY-ADDR MASTER MASTERS MONITOR MYID PENDING-SCRIPTS PRIMARIES \
         PRIMARY REMOVE REPLICAS RESET SENTINELS SET SIMULATE-FAILURE SLAVES",
    ),
    ("SLOWLOG", "GET HELP LEN RESET"),
    (
        "XGROUP",
        "CREATE CREATECONSUMER DELCONSUMER DESTROY HELP SETID",
    ),
    ("XINFO", "CONSUMERS GROUPS HELP STREAM"),
];

/// Commands whose arguments are all of one kind: `MGET ...`, not `MGET ? ...`.
const LISTS: &str = "DEL EXISTS MGET MSET MSETNX PFCOUNT PSUBSCRIBE PUNSUBSCRIBE SDIFF SINTER SSUBSCRIBE \
    SUBSCRIBE SUNION SUNSUBSCRIBE TOUCH UNLINK UNSUBSCRIBE WATCH";

/// Commands that people type, inline. Others are counted as `unknown`: any line of text looks like an
/// inline command, so its first word may be a piece of a value.
const INLINE: &str = "APPEND AUTH BGSAVE CLIENT CLUSTER COMMAND CONFIG DBSIZE DECR DEL DISCARD ECHO EVAL \
    EXEC EXISTS EXPIRE FLUSHALL FLUSHDB GET GETDEL HELLO HGET HGETALL HSET INCR INFO KEYS LASTSAVE LLEN \
    LPOP LPUSH LRANGE MEMORY MGET MONITOR MSET MULTI OBJECT PING PSUBSCRIBE PSYNC PUBLISH QUIT RESET ROLE \
    RPOP RPUSH SADD SAVE SCAN SELECT SET SETEX SLOWLOG SMEMBERS SUBSCRIBE SYNC TIME TTL TYPE UNLINK \
    UNSUBSCRIBE UNWATCH WATCH XADD XLEN ZADD ZRANGE";

/// What the session does about a command, apart from counting it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It is answered so.
    Answered(Expect),
    /// CLIENT REPLY ON.
    RepliesOn,
    /// CLIENT REPLY OFF.
    RepliesOff,
    /// CLIENT REPLY SKIP.
    RepliesSkip,
    /// The connection becomes a replication link: what follows are no commands and replies.
    Replication,
}

/// The subcommands of `name`, when it has any.
pub(super) fn subcommands(name: &[u8]) -> Option<&'static str> {
    CONTAINERS
        .iter()
        .find(|(container, _)| container.as_bytes().eq_ignore_ascii_case(name))
        .map(|(_, subcommands)| *subcommands)
}

/// Whether `byte` may be in a command's name.
pub(super) fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

/// Shape of a command: name, subcommand, and how many arguments there are: none, one, more.
pub(super) fn shape(command: &Command) -> String {
    let Some(name) = command.name().filter(|_| is_known(command)) else {
        return UNKNOWN.to_owned();
    };
    let mut shape = upper(name);
    let folded = if contains(LISTS, name) {
        " ..."
    } else {
        " ? ..."
    };
    let mut arguments = command.words().saturating_sub(1);
    if let Some(subcommand) = subcommands(name).and_then(|known| {
        command
            .subcommand()
            .filter(|subcommand| contains(known, subcommand))
    }) {
        shape.push(' ');
        shape.push_str(&upper(subcommand));
        arguments = arguments.saturating_sub(1);
    }
    shape.push_str(match arguments {
        0 => "",
        1 => " ?",
        _ => folded,
    });
    shape
}

/// What answers a command.
pub(super) fn meaning(command: &Command) -> Meaning {
    let Some(name) = command.name() else {
        return Meaning::Answered(Expect::Reply);
    };
    let channels = command.words().saturating_sub(1);
    let expect = match upper(name).as_str() {
        "SUBSCRIBE" => Expect::Confirmation(Topic::Subscribe, channels),
        "PSUBSCRIBE" => Expect::Confirmation(Topic::PSubscribe, channels),
        "SSUBSCRIBE" => Expect::Confirmation(Topic::SSubscribe, channels),
        "UNSUBSCRIBE" => Expect::Confirmation(Topic::Unsubscribe, channels),
        "PUNSUBSCRIBE" => Expect::Confirmation(Topic::PUnsubscribe, channels),
        "SUNSUBSCRIBE" => Expect::Confirmation(Topic::SUnsubscribe, channels),
        "PING" | "QUIT" | "RESET" => Expect::Control,
        "MONITOR" => Expect::Monitor,
        "SYNC" | "PSYNC" => return Meaning::Replication,
        "CLIENT" => return client_meaning(command),
        _ => Expect::Reply,
    };
    Meaning::Answered(expect)
}

fn client_meaning(command: &Command) -> Meaning {
    if command.is_client_reply() {
        let mode = command.mode();
        if mode.is("OFF") {
            return Meaning::RepliesOff;
        }
        if mode.is("SKIP") {
            return Meaning::RepliesSkip;
        }
        if mode.is("ON") {
            return Meaning::RepliesOn;
        }
    }
    Meaning::Answered(Expect::Reply)
}

/// Whether its name is one.
pub(super) fn is_known(command: &Command) -> bool {
    let Some(name) = command.name() else {
        return false;
    };
    names::is_command(name) && (!command.is_inline() || contains(INLINE, name))
}

/// Whether `word` is in `list`, which is in upper case.
fn contains(list: &str, word: &[u8]) -> bool {
    list.split_ascii_whitespace()
        .any(|known| known.as_bytes().eq_ignore_ascii_case(word))
}

fn upper(name: &[u8]) -> String {
    name.iter()
        .map(|byte| char::from(byte.to_ascii_uppercase()))
        .collect()
}
