//! A certificate that signs itself, for servers of a test.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Its files.
#[derive(Debug)]
pub struct Certificate {
    /// The certificate, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

impl Certificate {
    /// Makes one for `localhost` in `dir`.
    ///
    /// # Errors
    /// When the program `openssl` is missing or fails.
    pub fn new(dir: &Path) -> Result<Self> {
        let certificate = dir.join("server.crt");
        let key = dir.join("server.key");
        let output = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
            ])
            .args(["-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .stdin(Stdio::null())
            .output()
            .context("run openssl\nhint: apt-get install openssl")?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "openssl made no certificate: {error}"
        );
        Ok(Self { certificate, key })
    }
}
