//! `whyslow doctor`: what this kernel and these privileges allow, with the reason for each no.

use std::{io::Write as _, path::Path};

use clap::Args;
use serde_json::json;
use whyslow_proto::v1::{AgentStatus, InfoRequest};

use super::{
    Context,
    connect::{self, Target},
    host_args, runtime,
};
use crate::{
    host,
    source::{Feature, kernel},
};

/// Told when the agent ends before the command.
const IF_LOST: &str = "is it running? ask again, or start it again";

/// Show what this kernel and these privileges allow
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sudo whyslow doctor\n  \
    whyslow doctor --json | jq '.[] | select(.available | not)'\n\n\
    Programs are loaded for a moment to see whether the kernel takes them; nothing stays.\n\
    Exit code: 0 when the agent can work here (the feature \"core\" is available), else 1.")]
pub(super) struct DoctorArgs {
    /// A JSON array of {name, available, reason}
    #[arg(long)]
    json: bool,
}

pub(super) fn run(context: &Context, args: DoctorArgs) -> anyhow::Result<()> {
    let mut features = vec![privileges(), kernel_release(), btf(), memory_lock()];
    features.extend(kernel::probe_features());
    features.push(agent(context)?);
    for feature in &mut features {
        // A line of the table is one line.
        feature.reason = feature.reason.replace("\nhint: ", "; ").replace('\n', " ");
    }
    let text = if args.json {
        let list: Vec<_> = features
            .iter()
            .map(|feature| {
                json!({
                    "name": feature.name,
                    "available": feature.available,
                    "reason": feature.reason,
                })
            })
            .collect();
        format!("{}\n", serde_json::to_string_pretty(&list)?)
    } else {
        table(&features)
    };
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            anyhow::bail!("cannot write the output: {error}\nhint: is its disk full?")
        }
        _ => {}
    }
    anyhow::ensure!(
        has_core(&features),
        "the agent cannot work here\nhint: the reason stands at \"core\"; RUST_LOG=debug tells all of it"
    );
    Ok(())
}

/// Without this feature there is no agent; without any of the others it sees less.
fn has_core(features: &[Feature]) -> bool {
    features
        .iter()
        .any(|feature| feature.name == "core" && feature.available)
}

fn table(features: &[Feature]) -> String {
    let width = features.iter().map(|f| f.name.len()).max().unwrap_or(0);
    features
        .iter()
        .map(|feature| {
            let mark = if feature.available { "yes" } else { "no " };
            let line = format!("{mark}  {:width$}  {}", feature.name, feature.reason);
            format!("{}\n", line.trim_end())
        })
        .collect()
}

fn feature(name: &str, available: bool, reason: impl Into<String>) -> Feature {
    Feature {
        name: name.to_owned(),
        available,
        reason: reason.into(),
    }
}

fn privileges() -> Feature {
    if host_args::is_privileged() {
        feature("privileges", true, "")
    } else {
        feature(
            "privileges",
            false,
            "neither root nor CAP_BPF and CAP_PERFMON; run: sudo whyslow doctor",
        )
    }
}

/// 5.10 is the oldest kernel that is supported.
fn kernel_release() -> Feature {
    let release = host::kernel_release();
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= (5, 10) {
        feature("kernel", true, release)
    } else {
        feature(
            "kernel",
            false,
            format!("{release} is older than 5.10, the oldest that is supported"),
        )
    }
}

fn btf() -> Feature {
    const PATH: &str = "/sys/kernel/btf/vmlinux";
    if Path::new(PATH).exists() {
        feature("btf", true, "")
    } else {
        feature(
            "btf",
            false,
            format!("{PATH} is missing: the kernel was built without CONFIG_DEBUG_INFO_BTF"),
        )
    }
}

/// Kernels before 5.11 charge maps to the memlock limit.
fn memory_lock() -> Feature {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid place for the result and outlives the call.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) } == 0;
    match limit.rlim_cur {
        _ if !known => feature("memlock", false, "the limit cannot be read"),
        libc::RLIM_INFINITY => feature("memlock", true, "unlimited"),
        bytes => feature(
            "memlock",
            true,
            format!("{bytes} bytes; matters before kernel 5.11 only"),
        ),
    }
}

fn agent(context: &Context) -> anyhow::Result<Feature> {
    let target = Target::of(context)?;
    let token = connect::token(context, &target)?;
    let info = runtime()?.block_on(async {
        let target = target.find()?;
        let mut client = connect::client(&target, token.as_ref()).await?;
        client
            .info(InfoRequest {})
            .await
            .map_err(|status| connect::call_error(&target, &status, false, IF_LOST))
            .map(|info| (target, info))
    });
    Ok(match info {
        Ok((target, info)) => {
            let status = info.into_inner().status.unwrap_or_default();
            feature("agent", true, answers(&status, &target.to_string()))
        }
        Err(error) => feature("agent", false, format!("{error:#}")),
    })
}

/// What the agent says of itself.
fn answers(status: &AgentStatus, target: &str) -> String {
    let operations = if status.operations {
        "reads operations"
    } else {
        "does not read operations (--operations)"
    };
    format!(
        "version {} answers on {target}; {operations}",
        status.version
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_aligned_and_gives_reasons() {
        let text = table(&[feature("a", true, ""), feature("long", false, "because")]);
        assert_eq!(text, "yes  a\nno   long  because\n");
    }

    #[test]
    fn the_agent_says_whether_it_reads_operations() {
        let mut status = AgentStatus {
            version: "1".to_owned(),
            ..AgentStatus::default()
        };
        assert_eq!(
            answers(&status, "/s"),
            "version 1 answers on /s; does not read operations (--operations)"
        );
        status.operations = true;
        assert_eq!(
            answers(&status, "/s"),
            "version 1 answers on /s; reads operations"
        );
    }

    #[test]
    fn only_the_core_decides() {
        let other = feature("signals", false, "why");
        assert!(has_core(&[feature("core", true, ""), other.clone()]));
        assert!(!has_core(&[feature("core", false, "why")]));
        assert!(!has_core(&[other]));
    }

    #[test]
    fn this_host_is_judged() {
        assert_eq!(
            btf().available,
            Path::new("/sys/kernel/btf/vmlinux").exists()
        );
        assert!(kernel_release().available, "{:?}", kernel_release());
        assert!(memory_lock().available);
    }
}
