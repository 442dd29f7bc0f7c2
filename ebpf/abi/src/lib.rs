//! The only thing that the eBPF programs and the agent share: layouts of records and map values.
//!
//! Plain integers, `#[repr(C)]`, explicit padding. A raw value never becomes an enum by a cast:
//! decoding goes through `TryFrom<u8>` (or the like), and the decoder counts what it does not know.
//! All times are nanoseconds of the kernel's monotonic clock (`bpf_ktime_get_ns`). Network
//! addresses and ports are in network byte order where the name says `be`, else in host order.
#![no_std]

pub mod account;
pub mod catalogue;
pub mod connection;
pub mod descriptor;
pub mod handover;
pub mod interpreter;
pub mod library;
pub mod lock;
pub mod loss;
pub mod queue;
pub mod record;
pub mod settings;
pub mod syscall;
pub mod thread;
pub mod totals;
pub mod turn;
pub mod wait;

/// Version of all layouts here. A recording made with another version is refused.
pub const ABI_VERSION: u32 = 7;

/// Declares a fieldless enum with stable integer values, its names, and the checked way back.
#[macro_export]
macro_rules! integer_enum {
    (
        $(#[$meta:meta])*
        pub enum $name:ident: $int:ty {
            $($(#[$vmeta:meta])* $variant:ident = $value:literal => $text:literal,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr($int)]
        pub enum $name {
            $($(#[$vmeta])* $variant = $value,)+
        }

        impl $name {
            /// All values, in the order of their integers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            /// How many values there are; the integers are `0..COUNT`.
            pub const COUNT: usize = Self::ALL.len();

            /// The name used on screen, in the configuration, and on the wire.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }

        impl TryFrom<$int> for $name {
            type Error = $crate::Unknown;

            fn try_from(value: $int) -> Result<Self, $crate::Unknown> {
                match value {
                    $($value => Ok(Self::$variant),)+
                    _ => Err($crate::Unknown { value: value as u64 }),
                }
            }
        }
    };
}

/// An integer that names no value of the enum it was decoded for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// The integer as read.
    pub value: u64,
}

/// Types that may be read from any bytes of the right length: no padding that matters, no
/// invalid bit patterns, no pointers.
///
/// # Safety
/// Implement it only for `#[repr(C)]` structs of plain integers and arrays of them.
pub unsafe trait Plain: Copy + 'static {}

/// Reads a `T` from the front of `bytes`; `None` when there are too few.
#[must_use]
pub fn read_plain<T: Plain>(bytes: &[u8]) -> Option<T> {
    if bytes.len() < size_of::<T>() {
        return None;
    }
    // SAFETY: the length was checked, `Plain` allows any bytes, and the read is unaligned.
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

/// The bytes of a plain value, padding included: for recordings and tests.
#[must_use]
pub fn plain_bytes<T: Plain>(value: &T) -> &[u8] {
    // SAFETY: `Plain` types have explicit padding only, so every byte is initialised.
    unsafe { core::slice::from_raw_parts(core::ptr::from_ref(value).cast::<u8>(), size_of::<T>()) }
}
