//! How the view reaches an agent: a way to make a channel, given by the caller.
//!
//! It knows nothing of sockets or addresses: the command line decides those. What must stay true:
//! each call makes a fresh channel, so that the view can connect again after the agent was lost.

use std::{fmt, future::Future, pin::Pin};

use tonic::{Status, transport::Channel};

use crate::text::clean;

/// A connection attempt under way.
type Connecting = Pin<Box<dyn Future<Output = anyhow::Result<Channel>> + Send>>;

/// How a failed call is told.
type Words = Box<dyn Fn(&Status, bool) -> anyhow::Error + Send + Sync>;

/// How to connect, and to connect again.
///
/// ```no_run
/// # use tonic::transport::Endpoint;
/// let connector = whyslow_top::Connector::new("127.0.0.1:7777", || async {
///     Ok(Endpoint::from_static("http://127.0.0.1:7777").connect().await?)
/// })
/// .with_token(Some("secret".to_owned()));
/// ```
pub struct Connector {
    label: String,
    token: Option<String>,
    connect: Box<dyn Fn() -> Connecting + Send + Sync>,
    words: Words,
}

impl Connector {
    /// A connector; `label` is shown in the header ("local", "10.0.0.5:7777", a socket path).
    /// `connect` is called at the start and again whenever the agent was lost; an error of it is
    /// shown and tried again later (with `once`: returned).
    pub fn new<F, Fut>(label: impl Into<String>, connect: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = anyhow::Result<Channel>> + Send + 'static,
    {
        Self {
            label: label.into(),
            token: None,
            connect: Box::new(move || Box::pin(connect())),
            words: Box::new(|status, _| anyhow::anyhow!(status.to_string())),
        }
    }

    /// Tells failed calls in the caller's words. `words` gets the status, and whether an agent had
    /// answered before on the same connection; the last line of the error may be a hint.
    #[must_use]
    pub fn with_words(
        mut self,
        words: impl Fn(&Status, bool) -> anyhow::Error + Send + Sync + 'static,
    ) -> Self {
        self.words = Box::new(words);
        self
    }

    /// Sends `authorization: Bearer TOKEN` with each call.
    #[must_use]
    pub fn with_token(mut self, token: Option<String>) -> Self {
        self.token = token;
        self
    }

    /// What the header shows.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The bearer token.
    pub(crate) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// What a failed call means. What a stranger says in it does no harm to a terminal.
    pub(crate) fn explain(&self, status: &Status, answered: bool) -> anyhow::Error {
        let text = format!("{:#}", (self.words)(status, answered));
        let lines: Vec<String> = text.lines().map(clean).collect();
        anyhow::anyhow!(lines.join("\n"))
    }

    /// Connects.
    pub(crate) fn connect(&self) -> Connecting {
        (self.connect)()
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The token is a secret: it is not printed.
        f.debug_struct("Connector")
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_call_is_told_in_the_callers_words() {
        let connector = Connector::new("here", || async { anyhow::bail!("nobody") }).with_words(
            |status, answered| anyhow::anyhow!("{answered}: {}\nhint: go on", status.message()),
        );
        let text = connector.explain(&Status::unavailable("no \x1b token"), true);
        assert_eq!(text.to_string(), "true: no \\x1b token\nhint: go on");
    }
}
