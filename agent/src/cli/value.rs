//! Values on the command line that need more words than clap has: what is wrong, and an example.

use std::net::SocketAddr;

pub(super) fn pid(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(pid) if pid > 0 => Ok(pid),
        _ => Err("a process id is a number such as 4711; pgrep -a NAME finds it".to_owned()),
    }
}

pub(super) fn port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err("a TCP port is a number such as 8000, at most 65535".to_owned()),
    }
}

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "an address is an IP address and a port, such as 127.0.0.1:7878 or [::1]:7878".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_values_pass_and_others_get_an_example() {
        assert_eq!(pid("1"), Ok(1));
        assert_eq!(port("65535"), Ok(65535));
        assert!(address("127.0.0.1:7878").is_ok() && address("[::1]:0").is_ok());
        for bad in ["x", "0", "-1", "", "4294967296"] {
            assert!(pid(bad).is_err_and(|text| text.contains("4711")), "{bad}");
        }
        for bad in ["http", "0", "65536"] {
            assert!(port(bad).is_err_and(|text| text.contains("8000")), "{bad}");
        }
        for bad in ["localhost", "localhost:7878", "127.0.0.1", ":7878"] {
            assert!(
                address(bad).is_err_and(|text| text.contains("127.0.0.1:7878")),
                "{bad}"
            );
        }
    }
}
