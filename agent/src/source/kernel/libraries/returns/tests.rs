//! Hand-made functions, and random bytes.

use whyslow_abi::library::ResultRegister;

use super::*;

/// Where the code of a test lies.
const BASE: u64 = 0x1000;

/// The ends of the function at `BASE`: distances from there, and what is known there. `lengths` by distance.
fn states(
    code: &[u8],
    lengths: &[(u64, u64)],
    pointers: &[(u64, Callee)],
) -> Result<Vec<(u64, EndState)>, Unknown> {
    let read = |address: u64, len: u64| {
        let start = usize::try_from(address.wrapping_sub(BASE)).unwrap();
        let rest = code.get(start..).unwrap_or_default();
        &rest[..rest.len().min(usize::try_from(len).unwrap_or(usize::MAX))]
    };
    let text = Text {
        read: &read,
        lengths: lengths.iter().map(|(at, len)| (BASE + at, *len)).collect(),
        pointers: pointers.iter().copied().collect(),
        probes_calls: true,
    };
    let ends = super::ends(&text, BASE)?;
    Ok(ends
        .into_iter()
        .map(|end| (end.address - BASE, end.state))
        .collect())
}

/// Where they are.
fn ends(
    code: &[u8],
    lengths: &[(u64, u64)],
    pointers: &[(u64, Callee)],
) -> Result<Vec<u64>, Unknown> {
    let states = states(code, lengths, pointers)?;
    Ok(states.into_iter().map(|(at, _)| at).collect())
}

#[test]
fn all_kinds_of_returns() {
    // je +1; ret; test; je +2; rep ret; je +2; bnd ret; ret 8
    let code = [
        0x74, 0x01, 0xc3, 0x85, 0xc0, 0x74, 0x02, 0xf3, 0xc3, 0x74, 0x02, 0xf2, 0xc3, 0xc2, 8, 0,
    ];
    let expected = Ok(vec![2, 7, 11, 13]);
    assert_eq!(ends(&code, &[(0, 16)], &[]), expected);
    assert_eq!(ends(&code, &[], &[]), expected);
    // mov eax, 0xc3c3c3c3; ret
    let within = [0xb8, 0xc3, 0xc3, 0xc3, 0xc3, 0xc3];
    assert_eq!(ends(&within, &[(0, 6)], &[]), Ok(vec![5]));
    // retf
    let far = ends(&[0xcb], &[(0, 1)], &[]);
    assert_eq!(far, Err(Unknown::Instruction(BASE)));
}

#[test]
fn what_is_jumped_to_outside() {
    // je cold; jmp other; cold: ud2 before its function, here behind: nop; ret
    let code = [
        0x74, 0x06, // je 8
        0xeb, 0x06, // jmp 10
        0xcc, 0xcc, 0xcc, 0xcc, // padding
        0x0f, 0x0b, // 8: ud2
        0x90, // 10: nop
        0x74, 0xf3, // je 0
        0xc3, // 13: ret
        0x90, 0xc3, // another function
    ];
    let expected = Ok(vec![13]);
    assert_eq!(ends(&code, &[(0, 4)], &[]), expected);
    assert_eq!(ends(&code, &[(0, 4), (10, 4)], &[]), expected);
    assert_eq!(ends(&code, &[], &[]), expected);
    // The symbol ends within an instruction.
    let cut = ends(&code, &[(0, 3)], &[]);
    assert_eq!(cut, Err(Unknown::Instruction(BASE + 2)));
    // The symbol ends before the function does: jne 4; nop; | nop; ret
    let short = [0x75, 0x01, 0x90, 0x90, 0xc3];
    assert_eq!(ends(&short, &[(0, 3)], &[]), Ok(vec![4]));
}

#[test]
fn through_pointers() {
    // jmp stub; stub: endbr64; bnd jmp *0x100(rip); 17: ret
    let code = [
        0xeb, 0x03, 0xcc, 0xcc, 0xcc, 0xf3, 0x0f, 0x1e, 0xfa, 0xf2, 0xff, 0x25, 0x00, 0x01, 0x00,
        0x00, 0xcc, 0xc3,
    ];
    let place = BASE + 16 + 0x100;
    let here = [(place, Callee::Here(BASE + 17))];
    assert_eq!(ends(&code, &[(0, 2)], &here), Ok(vec![17]));
    let unknown = Err(Unknown::Jump(BASE + 9));
    assert_eq!(ends(&code, &[(0, 2)], &[]), unknown);
    let elsewhere = [(place, Callee::Elsewhere)];
    assert_eq!(ends(&code, &[(0, 2)], &elsewhere), unknown);
    let abort = [(place, Callee::Abort)];
    assert_eq!(ends(&code, &[(0, 2)], &abort), Err(Unknown::Never));
    // je 8; call stub; garbage; 8: ret; stub: jmp *0x100(rip)
    let code = [
        0x74, 0x06, 0xe8, 0x02, 0x00, 0x00, 0x00, 0x06, 0xc3, 0xff, 0x25, 0x00, 0x01, 0x00, 0x00,
    ];
    let place = BASE + 15 + 0x100;
    let abort = [(place, Callee::Abort)];
    assert_eq!(ends(&code, &[], &abort), Ok(vec![8]));
    assert_eq!(ends(&code, &[], &[]), Err(Unknown::Instruction(BASE + 7)));
}

#[test]
fn tables_and_other_indirect_jumps() {
    // movsxd rax, [rdx+rax*4]; add rax, rdx; jmp rax; ret
    let table = [0x48, 0x63, 0x04, 0x82, 0x48, 0x01, 0xd0, 0xff, 0xe0, 0xc3];
    assert_eq!(ends(&table, &[(0, 10)], &[]), Ok(vec![9]));
    // Without its length it is not known what the table leads to.
    assert_eq!(ends(&table, &[], &[]), Err(Unknown::Jump(BASE + 7)));
    // notrack jmp rax; ret
    let marked = [0x3e, 0xff, 0xe0, 0xc3];
    assert_eq!(ends(&marked, &[(0, 4)], &[]), Ok(vec![3]));
    // mov rax, [rdi+0x30]; add rsp, 0x30; jmp rax: a function by its pointer
    let pointer = [
        0x48, 0x8b, 0x47, 0x30, 0x48, 0x83, 0xc4, 0x30, 0xff, 0xe0, 0xc3,
    ];
    let unknown = Err(Unknown::Jump(BASE + 8));
    assert_eq!(ends(&pointer, &[(0, 11)], &[]), unknown);
    // jmp [rdi+0x30]; jmp [rdx+rax*8], which may be a table of functions
    for code in [&[0xff, 0x67, 0x30, 0xc3], &[0xff, 0x24, 0xc2, 0xc3]] {
        assert_eq!(ends(code, &[(0, 4)], &[]), Err(Unknown::Jump(BASE)));
    }
}

#[test]
fn what_does_not_agree_or_end() {
    // jmp into the middle of: mov eax, 0xc3909090
    let code = [0x74, 0x01, 0xb8, 0x90, 0x90, 0x90, 0xc3, 0xc3];
    assert!(matches!(
        ends(&code, &[(0, 8)], &[]),
        Err(Unknown::Overlap(_))
    ));
    assert!(matches!(ends(&code, &[], &[]), Err(Unknown::Overlap(_))));
    // Data, and the end of the file.
    let invalid = Err(Unknown::Instruction(BASE));
    assert_eq!(ends(&[0x06, 0xc3], &[(0, 2)], &[]), invalid);
    assert_eq!(ends(&[], &[(0, 2)], &[]), invalid);
    assert_eq!(ends(&[], &[], &[]), invalid);
    assert_eq!(ends(&[0xeb, 0xfe], &[], &[]), Err(Unknown::Never));
    let many = [0xc3; PLACES + 1];
    let all = many.len() as u64;
    assert_eq!(ends(&many, &[(0, all)], &[]), Err(Unknown::TooMany));
    let long = vec![0x90; INSTRUCTIONS + 1];
    assert_eq!(ends(&long, &[], &[]), Err(Unknown::TooLong));
    let all = long.len() as u64;
    assert_eq!(ends(&long, &[(0, all)], &[]), Err(Unknown::TooLong));
    assert!(ends(&[0xc3], &[(0, u64::MAX)], &[]).is_err());
}

#[test]
fn random_bytes_are_bounded() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..20_000 {
        let len = random() % 200;
        // Opcodes that matter are frequent.
        let code: Vec<u8> = (0..len)
            .map(|_| match random() % 4 {
                0 => [0xc3, 0xeb, 0x74, 0xff, 0xe9, 0xe8, 0x3e, 0x90]
                    [usize::try_from(random() % 8).unwrap()],
                1 => (random() % 8) as u8,
                _ => random() as u8,
            })
            .collect();
        let lengths = [(0, random() % 220), (random() % 200, random() % 100)];
        let pointers = [(BASE + random() % 200, Callee::Here(BASE + random() % 200))];
        let Ok(ends) = ends(&code, &lengths, &pointers) else {
            continue;
        };
        assert!(!ends.is_empty() && ends.len() <= PLACES);
        for end in ends {
            let rest = &code[usize::try_from(end).unwrap()..];
            let one = decode(end, rest).unwrap();
            let flow = one.flow_control();
            assert!(matches!(
                flow,
                FlowControl::Return | FlowControl::Call | FlowControl::ConditionalBranch
            ));
        }
    }
}

#[test]
fn calls_and_checks_before_a_return() {
    let state = |stack_bytes, register| EndState {
        stack_bytes,
        register,
    };
    // call 0x100; add rsp, 0x28; mov eax, r12d; pop rbx; pop r12; ret
    let call = [
        0xe8, 0xfb, 0, 0, 0, 0x48, 0x83, 0xc4, 0x28, 0x44, 0x89, 0xe0, 0x5b, 0x41, 0x5c, 0xc3,
    ];
    let expected = Ok(vec![(0, state(0x38, ResultRegister::R12))]);
    assert_eq!(states(&call, &[(0, 16)], &[]), expected);
    // call; pop r12; mov eax, r12d; ret: r12 is another by then. call; ret: what it returns is not there yet.
    // call; mov eax, ecx; ret: calls change that. call; xor eax, eax; ret. call; leave; ret
    for rest in [
        &[0x41, 0x5c, 0x44, 0x89, 0xe0, 0xc3][..],
        &[0xc3],
        &[0x89, 0xc8, 0xc3],
        &[0x31, 0xc0, 0xc3],
        &[0xc9, 0xc3],
    ] {
        let code = [&[0xe8, 0xfb, 0, 0, 0], rest].concat();
        let len = code.len() as u64;
        let expected = Ok(vec![(len - 1, EndState::AT_RETURN)]);
        assert_eq!(states(&code, &[(0, len)], &[]), expected);
    }
    // jne 10; add rsp, 0x18; xor edx, edx; ret; 10: call stub; stub: jmp *0x100(rip)
    let check = [
        0x75, 0x08, 0x48, 0x83, 0xc4, 0x18, 0x31, 0xd2, 0xc3, 0xcc, 0xe8, 0, 0, 0, 0, 0xff, 0x25,
        0, 1, 0, 0,
    ];
    let abort = [(BASE + 21 + 0x100, Callee::Abort)];
    let expected = Ok(vec![(0, state(0x18, ResultRegister::Rax))]);
    assert_eq!(states(&check, &[(0, 15)], &abort), expected);
    // The call may return.
    let other = ends(&check, &[(0, 15)], &[]);
    assert_eq!(other, Ok(vec![8]));
    // call; pop rbx; jne -3 (to the return); ret: what is jumped to has other ways to it.
    let jumped = [0xe8, 0xfb, 0, 0, 0, 0x5b, 0x75, 0x00, 0xc3];
    assert_eq!(ends(&jumped, &[(0, 9)], &[]), Ok(vec![8]));
}
