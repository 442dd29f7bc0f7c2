//! The bearer token that TCP callers must send.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use tonic::{Request, Status};

/// Shortest token that is accepted: anything shorter can be guessed.
const SHORTEST: usize = 16;

/// A secret shared by the agent and its callers.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Token {
    /// Reads it from a file (white space at both ends is dropped).
    ///
    /// # Errors
    /// The file is not readable, open to everybody, or its token too short or not printable ASCII.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let hint = format!(
            "hint: (umask 077; head -c 32 /dev/urandom | base64 > {shown}) makes a good one"
        );
        let metadata = fs::metadata(path).map_err(|error| {
            anyhow::anyhow!("cannot read the token file {shown}: {error}\n{hint}")
        })?;
        if metadata.permissions().mode() & 0o007 != 0 {
            anyhow::bail!("the token file {shown} is open to everybody\nhint: chmod 0600 {shown}");
        }
        let text = fs::read_to_string(path).map_err(|error| {
            anyhow::anyhow!("cannot read the token file {shown}: {error}\n{hint}")
        })?;
        let token = text.trim();
        if token.len() < SHORTEST {
            anyhow::bail!("the token in {shown} is shorter than {SHORTEST} characters\n{hint}");
        }
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            anyhow::bail!("the token in {shown} is not one word of printable ASCII\n{hint}");
        }
        Ok(Self(token.to_owned()))
    }

    /// The secret itself, to send it.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// Lets a call pass that carries the token as `authorization: Bearer TOKEN`.
    pub(super) fn check(&self, request: Request<()>) -> Result<Request<()>, Status> {
        let sent = request
            .metadata()
            .get("authorization")
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "));
        match sent {
            Some(sent) if same(sent.as_bytes(), self.0.as_bytes()) => Ok(request),
            Some(_) => Err(Status::unauthenticated("wrong token")),
            None => Err(Status::unauthenticated(
                "no token: send it as authorization: Bearer TOKEN",
            )),
        }
    }
}

/// Compares in a time that depends on the lengths alone.
fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let difference = a
        .iter()
        .zip(b)
        .fold(0_u8, |sum, (a, b)| std::hint::black_box(sum | (a ^ b)));
    difference == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    fn write(folder: &TempDir, text: &str, mode: u32) -> std::path::PathBuf {
        let path = folder.path().join("token");
        let _ = fs::remove_file(&path);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn files() {
        let folder = TempDir::new();
        let good = write(&folder, " 0123456789abcdef\n", 0o600);
        assert_eq!(Token::read(&good).unwrap().secret(), "0123456789abcdef");
        for (text, mode, what) in [
            ("0123456789abcdef", 0o604, "everybody"),
            ("0123456789abcde", 0o600, "shorter"),
            ("0123456789 abcdef", 0o600, "one word"),
            ("", 0o600, "shorter"),
        ] {
            let error = Token::read(&write(&folder, text, mode))
                .unwrap_err()
                .to_string();
            assert!(
                error.contains(what) && error.contains("\nhint: "),
                "{error}"
            );
        }
        assert!(Token::read(Path::new("/nonexistent/token")).is_err());
    }

    #[test]
    fn debug_output_keeps_the_secret() {
        assert_eq!(format!("{:?}", Token("secret".to_owned())), "Token(..)");
    }

    #[test]
    fn comparison() {
        assert!(same(b"abc", b"abc"));
        for other in [&b"abd"[..], b"xbc", b"ab", b"abcd", b""] {
            assert!(!same(b"abc", other));
        }
    }
}
