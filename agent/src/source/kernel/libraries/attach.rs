//! Puts the programs of a library on the functions of a file.

use std::path::Path;

use anyhow::anyhow;
use aya::{
    Ebpf,
    programs::{
        UProbe,
        uprobe::{UProbeAttachLocation, UProbeAttachPoint, UProbeLink, UProbeScope},
    },
};
use whyslow_abi::{
    catalogue::{Hook, PROBES},
    library::{Function, Library, STEP},
};

use super::symbols::Content;
use crate::source::kernel::load;

/// Attaches all programs of a library to a file, those at returns first: a return that was not noted is let
/// pass, a noted call without its return is not. Nothing is attached before all places are known.
///
/// # Errors
/// Where a function ends is not known, or the kernel refuses a place.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    file: &Path,
    library: Library,
    content: &Content,
) -> anyhow::Result<Vec<UProbeLink>> {
    let mut wanted = Vec::new();
    for probe in PROBES {
        if let Some((of, functions)) = probe.hook.library()
            && of == library
        {
            wanted.push((probe.name, points(probe.hook, functions, content)?));
        }
    }
    let mut links = Vec::new();
    for (name, points) in wanted {
        let program: &mut UProbe = load::program(ebpf, name)?;
        for (offset, number) in points {
            let point = UProbeAttachPoint {
                location: UProbeAttachLocation::AbsoluteOffset(offset),
                cookie: Some(number),
            };
            let link = program.attach(point, file, UProbeScope::AllProcesses)?;
            links.push(program.take_link(link)?);
        }
    }
    Ok(links)
}

/// Where in a file a program is attached, and what it is told. Functions may end at the same place, which is
/// probed once: an end is told where the result is, not of which function.
fn points(
    hook: Hook,
    functions: &[Function],
    content: &Content,
) -> anyhow::Result<Vec<(u64, u64)>> {
    let mut points = Vec::new();
    for Function { symbol, number } in functions {
        let Some(place) = content.functions.get(symbol) else {
            continue;
        };
        if !matches!(hook, Hook::Return(..)) {
            let number = match (hook, *number) {
                (Hook::Call(Library::Sqlite, _), STEP) => place.around.cookie(),
                (_, number) => number,
            };
            points.push((place.offset, number));
            continue;
        }
        let ends = place.ends.as_ref();
        let ends = ends.map_err(|error| anyhow!("where {symbol} returns: {error}"))?;
        points.extend(ends.iter().map(|(offset, state)| (*offset, state.cookie())));
    }
    points.sort_unstable();
    points.dedup();
    Ok(points)
}
