//! Where the way to a return instruction is probed.
//!
//! The kernel steps over a probed `ret` by a trap of its own, which takes 20 us on some virtual machines. It emulates
//! direct calls and jumps instead (`branch_setup_xol_ops` in Linux 6.18, `arch/x86/kernel/uprobes.c`). So an end is the
//! last of those before the return, where it is known what is left to be done: the stack pointer's way back to its
//! value at the begin, and the register that holds the result.

use std::collections::BTreeSet;

use iced_x86::{
    Code, FlowControl, Instruction, InstructionInfoFactory, OpAccess, OpKind, Register,
};
use whyslow_abi::library::{EndState, ResultRegister};

use super::{CHUNK, EPILOGUE, End, Walk, decode};

/// One end for each return instruction.
pub(super) fn ends(walk: &Walk<'_, '_>) -> Vec<End> {
    let jumped: BTreeSet<u64> = walk.targets.iter().copied().collect();
    walk.places
        .iter()
        .map(|place| {
            before(walk, &jumped, *place).unwrap_or(End {
                address: *place,
                state: EndState::AT_RETURN,
            })
        })
        .collect()
}

/// A cheaper place before a return; `None`: there is none that is as good.
fn before(walk: &Walk<'_, '_>, jumped: &BTreeSet<u64>, place: u64) -> Option<End> {
    let mut rest = Vec::new();
    let mut at = place;
    for _ in 0..EPILOGUE {
        if jumped.contains(&at) {
            return None;
        }
        let (start, next) = walk.seen.range(..at).next_back()?;
        if *next != at {
            return None;
        }
        let one = decode(*start, (walk.text.read)(*start, CHUNK)).ok()?;
        if one.flow_control() != FlowControl::Next {
            return probed(walk, &one, &rest);
        }
        rest.push(one);
        at = *start;
    }
    None
}

/// The end at a call or jump, if it is one. `rest`: what follows up to the return, last first.
fn probed(walk: &Walk<'_, '_>, one: &Instruction, rest: &[Instruction]) -> Option<End> {
    let state = remaining(rest)?;
    // Longer ones have prefixes, with which they are not emulated.
    let fits = match one.flow_control() {
        FlowControl::Call => {
            // What a call returns is not there before.
            walk.text.probes_calls
                && one.is_call_near()
                && one.len() == 5
                && state.register != ResultRegister::Rax
        }
        FlowControl::ConditionalBranch => {
            one.is_jcc_short_or_near()
                && matches!(one.len(), 2 | 6)
                && aborts(walk, one.near_branch_target())
        }
        _ => false,
    };
    fits.then_some(End {
        address: one.ip(),
        state,
    })
}

/// Whether what is there does nothing but end the program.
fn aborts(walk: &Walk<'_, '_>, at: u64) -> bool {
    decode(at, (walk.text.read)(at, CHUNK))
        .is_ok_and(|one| one.flow_control() == FlowControl::Call && walk.aborts(&one))
}

/// What the stack pointer and the result are before these instructions, last first.
fn remaining(rest: &[Instruction]) -> Option<EndState> {
    let mut factory = InstructionInfoFactory::new();
    let mut stack_bytes = 0u32;
    let mut result = Register::RAX;
    let mut changed = Vec::new();
    for one in rest.iter().rev() {
        if let Some(bytes) = released(one) {
            stack_bytes = stack_bytes.checked_add(bytes)?;
            if one.code() == Code::Pop_r64 {
                changed.push(one.op0_register());
            }
        } else if let Some(from) = moved(one) {
            if result != Register::RAX || changed.contains(&from) {
                return None;
            }
            result = from;
            changed.push(Register::RAX);
        } else {
            for used in factory.info(one).used_registers() {
                let register = used.register().full_register();
                let reads = matches!(used.access(), OpAccess::Read | OpAccess::CondRead);
                if !reads && matches!(register, Register::RSP | Register::RAX) {
                    return None;
                }
                if !reads {
                    changed.push(register);
                }
            }
        }
    }
    Some(EndState {
        stack_bytes,
        register: register(result)?,
    })
}

/// Bytes that an instruction takes off the stack, if it does no more than that.
fn released(one: &Instruction) -> Option<u32> {
    let of_stack = one.op0_kind() == OpKind::Register && one.op0_register() == Register::RSP;
    match one.code() {
        Code::Pop_r64 if !matches!(one.op0_register(), Register::RSP | Register::RAX) => Some(8),
        Code::Add_rm64_imm8 | Code::Add_rm64_imm32 if of_stack => {
            u32::try_from(one.immediate(1).cast_signed()).ok()
        }
        Code::Lea_r64_m
            if of_stack
                && one.memory_base() == Register::RSP
                && one.memory_index() == Register::None =>
        {
            u32::try_from(one.memory_displacement64().cast_signed()).ok()
        }
        _ => None,
    }
}

/// The register that is copied to the one of results.
fn moved(one: &Instruction) -> Option<Register> {
    let copies = matches!(
        one.code(),
        Code::Mov_r32_rm32 | Code::Mov_rm32_r32 | Code::Mov_r64_rm64 | Code::Mov_rm64_r64
    );
    let registers = one.op0_kind() == OpKind::Register && one.op1_kind() == OpKind::Register;
    let to = one.op0_register().full_register();
    (copies && registers && to == Register::RAX).then(|| one.op1_register().full_register())
}

/// Those that calls leave as they are, and the one of results.
fn register(of: Register) -> Option<ResultRegister> {
    Some(match of {
        Register::RAX => ResultRegister::Rax,
        Register::RBX => ResultRegister::Rbx,
        Register::RBP => ResultRegister::Rbp,
        Register::R12 => ResultRegister::R12,
        Register::R13 => ResultRegister::R13,
        Register::R14 => ResultRegister::R14,
        Register::R15 => ResultRegister::R15,
        _ => return None,
    })
}
