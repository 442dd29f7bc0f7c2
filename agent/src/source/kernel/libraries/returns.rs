//! Where a function ends: its return instructions, by disassembly of its file, or places shortly before. x86-64 only.
//!
//! A function of known length is read from its first instruction to its last; jumps out of it (tail calls, cold
//! parts), also through pointers that the dynamic linker fills, are followed. All or nothing: where a thread may
//! leave the function by a way that is not known, there is an error. A probe writes a breakpoint, so a place must be
//! the first byte of an instruction: what is jumped to, and what was read twice, has to agree on where those begin.
//!
//! Not followed: jump tables, which lead to other parts of the same function. A cold part that only a table leads
//! to, and that returns by itself, is missed.

mod epilogue;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Instruction, OpKind, Register};
use whyslow_abi::library::EndState;

/// Instructions read for one function at the most.
const INSTRUCTIONS: usize = 65_536;
/// Places that one function has at the most: each is a probe.
const PLACES: usize = 32;
/// Bytes read at once where the length is not known.
const CHUNK: u64 = 256;
/// The longest instruction, bytes.
const LONGEST: usize = 15;
/// Instructions before a jump by a table that are looked at.
const RECENT: usize = 12;
/// Instructions before a return that are looked at.
const EPILOGUE: usize = 24;

/// Who is called through a pointer that the dynamic linker fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Callee {
    /// A function of the same file, at this address.
    Here(u64),
    /// One of another file.
    Elsewhere,
    /// One of another file that never returns.
    Abort,
}

/// The code of a file.
pub(super) struct Text<'a> {
    /// At most so many bytes of it from an address on.
    pub(super) read: &'a dyn Fn(u64, u64) -> &'a [u8],
    /// Length of the function at an address, where it is known.
    pub(super) lengths: HashMap<u64, u64>,
    /// By address of the pointer.
    pub(super) pointers: HashMap<u64, Callee>,
    /// Whether a call may be probed in place of a return.
    pub(super) probes_calls: bool,
}

/// Why the ends of a function are not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unknown {
    /// At this address.
    #[error("what is at {0:#x} is not understood")]
    Instruction(u64),
    /// At this address.
    #[error("where the jump at {0:#x} leads to is not known")]
    Jump(u64),
    /// At this address.
    #[error("instructions overlap at {0:#x}")]
    Overlap(u64),
    /// See `INSTRUCTIONS`.
    #[error("it has more than {INSTRUCTIONS} instructions")]
    TooLong,
    /// See `PLACES`.
    #[error("it has more than {PLACES} return instructions")]
    TooMany,
    /// It has none.
    #[error("it has no return instruction")]
    Never,
    /// Of another processor.
    #[error("return instructions are known on x86-64 only")]
    Processor,
}

/// A place that a thread passes when it leaves a function, and what is known there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct End {
    /// Its address.
    pub(super) address: u64,
    /// Where the result is, and how far the stack pointer is from that at the begin.
    pub(super) state: EndState,
}

/// The ends of the function there.
///
/// # Errors
/// They are not all known.
pub(super) fn ends(text: &Text<'_>, function: u64) -> Result<Vec<End>, Unknown> {
    let mut walk = Walk {
        text,
        seen: BTreeMap::new(),
        places: BTreeSet::new(),
        targets: vec![function],
        targets_done: 0,
    };
    while let Some(target) = walk.targets.get(walk.targets_done).copied() {
        walk.targets_done += 1;
        if walk.seen.contains_key(&target) {
            continue;
        }
        match text.lengths.get(&target) {
            Some(len) if *len > 0 => walk.sweep(target, *len)?,
            _ => walk.descend(target)?,
        }
    }
    walk.check()?;
    Ok(epilogue::ends(&walk))
}

/// What comes after an instruction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// The following one.
    Following,
    /// The following one, when a call returns.
    Returned,
    /// Not the following one.
    Elsewhere,
}

struct Walk<'t, 'a> {
    text: &'t Text<'a>,
    /// Instructions read: first byte, and the one after the last.
    seen: BTreeMap<u64, u64>,
    places: BTreeSet<u64>,
    /// What is jumped to: none of them may be within an instruction.
    targets: Vec<u64>,
    targets_done: usize,
}

impl Walk<'_, '_> {
    /// Reads a function of known length.
    fn sweep(&mut self, start: u64, len: u64) -> Result<(), Unknown> {
        let code = (self.text.read)(start, len);
        let mut recent: Vec<Instruction> = Vec::new();
        let mut at = 0;
        let mut next = Next::Elsewhere;
        while (at as u64) < len {
            let one = decode(start + at as u64, &code[at.min(code.len())..])?;
            at += one.len();
            if at as u64 > len {
                return Err(Unknown::Instruction(one.ip()));
            }
            self.see(&one)?;
            next = self.follow(&one, Some(&recent))?;
            if recent.len() == RECENT {
                recent.remove(0);
            }
            recent.push(one);
        }
        if next == Next::Following {
            self.targets.push(start + len);
        }
        Ok(())
    }

    /// Reads what is reached from there, up to jumps.
    fn descend(&mut self, start: u64) -> Result<(), Unknown> {
        let mut at = start;
        let mut code: &[u8] = &[];
        let mut after_call = false;
        while !self.seen.contains_key(&at) {
            if after_call && self.text.lengths.contains_key(&at) {
                // The call did not return: another function begins here.
                return Ok(());
            }
            if code.len() < LONGEST {
                code = (self.text.read)(at, CHUNK);
            }
            let one = decode(at, code)?;
            self.see(&one)?;
            match self.follow(&one, None)? {
                Next::Elsewhere => return Ok(()),
                Next::Returned if self.aborts(&one) => return Ok(()),
                Next::Returned => after_call = true,
                Next::Following => after_call &= is_padding(&one),
            }
            at = one.next_ip();
            code = &code[one.len()..];
        }
        Ok(())
    }

    fn see(&mut self, one: &Instruction) -> Result<(), Unknown> {
        self.seen.insert(one.ip(), one.next_ip());
        if self.seen.len() > INSTRUCTIONS {
            return Err(Unknown::TooLong);
        }
        Ok(())
    }

    /// Notes where an instruction leads to. `recent`: those before it; `None`: the length of what it is in is not
    /// known.
    fn follow(
        &mut self,
        one: &Instruction,
        recent: Option<&[Instruction]>,
    ) -> Result<Next, Unknown> {
        match one.flow_control() {
            FlowControl::Next if one.code() == Code::Hlt => Ok(Next::Elsewhere),
            FlowControl::Next => Ok(Next::Following),
            FlowControl::Call | FlowControl::IndirectCall => Ok(Next::Returned),
            FlowControl::Exception => Ok(Next::Elsewhere),
            FlowControl::Interrupt if one.code() == Code::Int3 => Ok(Next::Elsewhere),
            FlowControl::ConditionalBranch => {
                self.targets.push(one.near_branch_target());
                Ok(Next::Following)
            }
            FlowControl::UnconditionalBranch if one.is_jmp_short_or_near() => {
                self.targets.push(one.near_branch_target());
                Ok(Next::Elsewhere)
            }
            FlowControl::IndirectBranch => {
                match self.pointer(one) {
                    Some(Callee::Here(target)) => self.targets.push(target),
                    Some(Callee::Abort) => {}
                    Some(Callee::Elsewhere) => return Err(Unknown::Jump(one.ip())),
                    None if recent.is_some_and(|recent| is_table(one, recent)) => {}
                    None => return Err(Unknown::Jump(one.ip())),
                }
                Ok(Next::Elsewhere)
            }
            FlowControl::Return if matches!(one.code(), Code::Retnq | Code::Retnq_imm16) => {
                self.places.insert(one.ip());
                if self.places.len() > PLACES {
                    return Err(Unknown::TooMany);
                }
                Ok(Next::Elsewhere)
            }
            _ => Err(Unknown::Instruction(one.ip())),
        }
    }

    /// Who is jumped to or called through a pointer at a fixed place.
    fn pointer(&self, one: &Instruction) -> Option<Callee> {
        let fixed = one.op0_kind() == OpKind::Memory && one.is_ip_rel_memory_operand();
        let near = matches!(one.code(), Code::Jmp_rm64 | Code::Call_rm64);
        if !fixed || !near {
            return None;
        }
        let place = one.ip_rel_memory_address();
        Some(
            self.text
                .pointers
                .get(&place)
                .copied()
                .unwrap_or(Callee::Elsewhere),
        )
    }

    /// Whether a call is one that never returns, as far as names tell.
    fn aborts(&self, one: &Instruction) -> bool {
        if !one.is_call_near() {
            return self.pointer(one) == Some(Callee::Abort);
        }
        let stub = one.near_branch_target();
        let mut code = (self.text.read)(stub, CHUNK);
        let mut at = stub;
        for _ in 0..2 {
            let Ok(jump) = decode(at, code) else {
                return false;
            };
            if jump.code() != Code::Endbr64 {
                return self.pointer(&jump) == Some(Callee::Abort);
            }
            at = jump.next_ip();
            code = &code[jump.len()..];
        }
        false
    }

    /// Whether all agree on where instructions begin.
    fn check(&self) -> Result<(), Unknown> {
        let mut end = 0;
        for (start, next) in &self.seen {
            if *start < end {
                return Err(Unknown::Overlap(*start));
            }
            end = *next;
        }
        if let Some(within) = self.targets.iter().find(|at| !self.seen.contains_key(at)) {
            return Err(Unknown::Overlap(*within));
        }
        if self.places.is_empty() {
            return Err(Unknown::Never);
        }
        Ok(())
    }
}

fn decode(at: u64, code: &[u8]) -> Result<Instruction, Unknown> {
    let one = Decoder::with_ip(64, code, at, DecoderOptions::NONE).decode();
    if one.is_invalid() || at.checked_add(LONGEST as u64).is_none() {
        return Err(Unknown::Instruction(at));
    }
    Ok(one)
}

/// Whether an instruction does nothing, as those between functions.
fn is_padding(one: &Instruction) -> bool {
    matches!(
        one.code(),
        Code::Nopd | Code::Nopq | Code::Nopw | Code::Nop_rm16 | Code::Nop_rm32 | Code::Nop_rm64
    )
}

/// Whether a jump is one by a table of the same function: compilers mark it (`notrack`), or add to the table's
/// address the distance that they took from it. A jump to a function takes its whole address from somewhere.
fn is_table(jump: &Instruction, recent: &[Instruction]) -> bool {
    if jump.code() != Code::Jmp_rm64 {
        return false;
    }
    if jump.segment_prefix() == Register::DS {
        return true;
    }
    if jump.op0_kind() != OpKind::Register {
        return false;
    }
    let target = jump.op0_register();
    let mut before = recent.iter().rev();
    let added = before.find(|one| one.op_count() > 0 && one.op0_register() == target);
    let Some(added) = added.filter(|one| {
        matches!(one.code(), Code::Add_r64_rm64 | Code::Add_rm64_r64)
            && one.op1_kind() == OpKind::Register
    }) else {
        return false;
    };
    before
        .take_while(|one| one.flow_control() == FlowControl::Next)
        .any(|one| {
            one.code() == Code::Movsxd_r64_rm32
                && one.op1_kind() == OpKind::Memory
                && one.memory_index() != Register::None
                && one.memory_index_scale() == 4
                && (one.op0_register() == target || one.op0_register() == added.op1_register())
        })
}

#[cfg(test)]
mod tests;
