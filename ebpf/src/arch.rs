//! What differs between processors: where the numbers and arguments of system calls and functions are.

use aya_ebpf::bindings::pt_regs;

/// Saved user registers at a system call's exit: number and arguments still as passed.
#[derive(Clone, Copy)]
pub struct SyscallRegisters(pub *const pt_regs);

/// Which argument of a system call is the path that it creates, and that must not exist before; or that it removes.
#[derive(Clone, Copy)]
pub enum Creates {
    /// It creates nothing, or replaces what exists.
    Nothing,
    /// `open`: with `O_EXCL` among the flags, its second.
    Open,
    /// `openat`: as `open`, one further on.
    OpenAt,
    /// `mkdir`.
    Directory,
    /// `mkdirat`.
    DirectoryAt,
    /// `link`, `symlink`.
    Second,
    /// `symlinkat`.
    Third,
    /// `linkat`.
    Fourth,
    /// It removes or renames its first argument: `unlink`, `rmdir`, `rename`.
    Removes,
    /// The same, one further on.
    RemovesAt,
}

#[cfg(bpf_target_arch = "x86_64")]
mod imp {
    use core::ptr::read_volatile;

    use aya_ebpf::helpers::bpf_probe_read_user;
    use whyslow_abi::library::ResultRegister;

    use super::{Creates, SyscallRegisters, pt_regs};
    pub use whyslow_abi::syscall::X86_64 as SYSCALLS;

    /// Number of `listen`.
    pub const LISTEN: i32 = 50;
    /// Number of `recvfrom`: the one read whose flags may say "only peek".
    pub const RECVFROM: i32 = 45;
    /// Number of `recvmsg`, whose third argument says the same.
    pub const RECVMSG: i32 = 47;
    /// Number of `recvmmsg`: counts messages.
    pub const RECVMMSG: i32 = 299;
    /// Number of `sendmmsg`: counts messages.
    pub const SENDMMSG: i32 = 307;
    /// Number of `sendto`.
    pub const SENDTO: i32 = 44;
    /// Number of `waitid`.
    pub const WAITID: i32 = 247;

    /// Whether a call returns a descriptor of a path: `open`, `creat`, `openat`, `openat2`.
    #[inline(always)]
    pub fn opens(number: i32) -> bool {
        number == 2 || number == 85 || number == 257 || number == 437
    }

    /// What a system call creates.
    #[inline(always)]
    pub fn creates(number: i32) -> Creates {
        match number {
            2 => Creates::Open,
            257 => Creates::OpenAt,
            83 => Creates::Directory,
            258 => Creates::DirectoryAt,
            86 | 88 => Creates::Second,
            266 => Creates::Third,
            265 => Creates::Fourth,
            82 | 84 | 87 => Creates::Removes,
            263 | 264 | 316 => Creates::RemovesAt,
            _ => Creates::Nothing,
        }
    }

    /// The stack pointer.
    #[inline(always)]
    pub fn stack_pointer(registers: *const pt_regs) -> u64 {
        // SAFETY: a pointer from the kernel that the verifier tracks.
        unsafe { (*registers).rsp }
    }

    /// The instruction that is next.
    #[inline(always)]
    pub fn instruction_pointer(registers: *const pt_regs) -> u64 {
        // SAFETY: a pointer from the kernel that the verifier tracks.
        unsafe { (*registers).rip }
    }

    /// What a function returns, at its end. `register`: a [`ResultRegister`].
    #[inline(always)]
    pub fn result(registers: *const pt_regs, register: u32) -> i32 {
        // All are read: the verifier knows no place in them that is computed.
        // SAFETY: a pointer from the kernel that the verifier tracks.
        let [rax, rbx, rbp, r12, r13, r14, r15] = unsafe {
            [
                read_volatile(&raw const (*registers).rax),
                read_volatile(&raw const (*registers).rbx),
                read_volatile(&raw const (*registers).rbp),
                read_volatile(&raw const (*registers).r12),
                read_volatile(&raw const (*registers).r13),
                read_volatile(&raw const (*registers).r14),
                read_volatile(&raw const (*registers).r15),
            ]
        };
        let value = match ResultRegister::try_from(register) {
            Ok(ResultRegister::Rbx) => rbx,
            Ok(ResultRegister::Rbp) => rbp,
            Ok(ResultRegister::R12) => r12,
            Ok(ResultRegister::R13) => r13,
            Ok(ResultRegister::R14) => r14,
            Ok(ResultRegister::R15) => r15,
            _ => rax,
        };
        value as i32
    }

    /// Where a function with that stack pointer at its begin returns to; 0: its stack is gone.
    #[inline(always)]
    pub fn return_address(stack: u64) -> u64 {
        // SAFETY: the kernel checks the address.
        unsafe { bpf_probe_read_user(stack as *const u64) }.unwrap_or(0)
    }

    impl SyscallRegisters {
        /// System call number; -1 when the kernel was not entered by one.
        #[inline(always)]
        pub fn number(self) -> i32 {
            // SAFETY: a pointer from the kernel that the verifier tracks.
            unsafe { (*self.0).orig_rax as i32 }
        }

        /// First argument.
        #[inline(always)]
        pub fn arg0(self) -> u64 {
            // SAFETY: as above.
            unsafe { (*self.0).rdi }
        }

        /// Second argument.
        #[inline(always)]
        pub fn arg1(self) -> u64 {
            // SAFETY: as above.
            unsafe { (*self.0).rsi }
        }

        /// Third argument.
        #[inline(always)]
        pub fn arg2(self) -> u64 {
            // SAFETY: as above.
            unsafe { (*self.0).rdx }
        }

        /// Fourth argument.
        #[inline(always)]
        pub fn arg3(self) -> u64 {
            // SAFETY: as above.
            unsafe { (*self.0).r10 }
        }

        /// Fifth argument.
        #[inline(always)]
        pub fn arg4(self) -> u64 {
            // SAFETY: as above.
            unsafe { (*self.0).r8 }
        }
    }
}

#[cfg(bpf_target_arch = "aarch64")]
mod imp {
    use super::{Creates, SyscallRegisters, pt_regs};
    pub use whyslow_abi::syscall::AARCH64 as SYSCALLS;

    /// Number of `listen`.
    pub const LISTEN: i32 = 201;
    /// Number of `recvfrom`.
    pub const RECVFROM: i32 = 207;
    /// Number of `recvmsg`.
    pub const RECVMSG: i32 = 212;
    /// Number of `recvmmsg`.
    pub const RECVMMSG: i32 = 243;
    /// Number of `sendmmsg`.
    pub const SENDMMSG: i32 = 269;
    /// Number of `sendto`.
    pub const SENDTO: i32 = 206;
    /// Number of `waitid`.
    pub const WAITID: i32 = 95;

    /// Whether a call returns a descriptor of a path: `openat`, `openat2`.
    #[inline(always)]
    pub fn opens(number: i32) -> bool {
        number == 56 || number == 437
    }

    /// What a system call creates.
    #[inline(always)]
    pub fn creates(number: i32) -> Creates {
        match number {
            56 => Creates::OpenAt,
            34 => Creates::DirectoryAt,
            36 => Creates::Third,
            37 => Creates::Fourth,
            35 | 38 | 276 => Creates::RemovesAt,
            _ => Creates::Nothing,
        }
    }

    /// Offset of `syscallno` in `struct pt_regs` (`arch/arm64/include/asm/ptrace.h`): after
    /// `user_pt_regs` (34 words) and `orig_x0`.
    const SYSCALLNO: usize = 35 * 8;
    /// Offset of `orig_x0`: `x0` holds the result at exit.
    const ORIG_X0: usize = 34 * 8;

    /// The stack pointer.
    #[inline(always)]
    pub fn stack_pointer(registers: *const pt_regs) -> u64 {
        // SAFETY: a pointer from the kernel that the verifier tracks.
        unsafe { (*registers).sp }
    }

    /// The instruction that is next.
    #[inline(always)]
    pub fn instruction_pointer(registers: *const pt_regs) -> u64 {
        // SAFETY: a pointer from the kernel that the verifier tracks.
        unsafe { (*registers).pc }
    }

    /// What a function returns, at its end.
    #[inline(always)]
    pub fn result(registers: *const pt_regs, _register: u32) -> i32 {
        // SAFETY: a pointer from the kernel that the verifier tracks.
        unsafe { (*registers).regs[0] as i32 }
    }

    /// Where a function returns to: it need not be on the stack, so nothing is known.
    #[inline(always)]
    pub fn return_address(_stack: u64) -> u64 {
        0
    }

    impl SyscallRegisters {
        #[inline(always)]
        fn word<T: Copy>(self, offset: usize) -> T {
            // SAFETY: a pointer from the kernel that the verifier tracks.
            unsafe { core::ptr::read_volatile(self.0.cast::<u8>().add(offset).cast::<T>()) }
        }

        /// System call number; -1 when the kernel was not entered by one.
        #[inline(always)]
        pub fn number(self) -> i32 {
            self.word(SYSCALLNO)
        }

        /// First argument.
        #[inline(always)]
        pub fn arg0(self) -> u64 {
            self.word(ORIG_X0)
        }

        /// Second argument.
        #[inline(always)]
        pub fn arg1(self) -> u64 {
            self.word(8)
        }

        /// Third argument.
        #[inline(always)]
        pub fn arg2(self) -> u64 {
            self.word(16)
        }

        /// Fourth argument.
        #[inline(always)]
        pub fn arg3(self) -> u64 {
            self.word(24)
        }

        /// Fifth argument.
        #[inline(always)]
        pub fn arg4(self) -> u64 {
            self.word(32)
        }
    }
}

pub use imp::*;
