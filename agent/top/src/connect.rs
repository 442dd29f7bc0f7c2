//! How the view reaches an agent: a way to make a channel, given by the caller.
//!
//! It knows nothing of sockets or addresses: the command line decides those. What must stay true:
//! each call makes a fresh channel, so that the view can connect again after the agent was lost.

use std::{fmt, future::Future, pin::Pin};

use tonic::transport::Channel;

/// A connection attempt under way.
type Connecting = Pin<Box<dyn Future<Output = anyhow::Result<Channel>> + Send>>;

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
        }
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
