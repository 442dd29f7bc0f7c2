//! The way to an agent: its unix socket, or TCP with a token.

use std::{
    io,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};
use whyslow_proto::v1::whyslow_client::WhyslowClient;

use super::{Context, usage};
use crate::sink::grpc::token::Token;

/// Where an agent is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// On this host.
    Socket(PathBuf),
    /// `http://HOST:PORT`.
    Tcp(String),
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "{}", path.display()),
            Self::Tcp(address) => f.write_str(address),
        }
    }
}

impl Target {
    /// As the command line says.
    pub(super) fn of(context: &Context) -> anyhow::Result<Self> {
        let Some(address) = &context.global.connect else {
            let path = context.socket();
            let path = std::path::absolute(&path).unwrap_or(path);
            return Ok(Self::Socket(path));
        };
        if !address.starts_with("http://") {
            return Err(usage(format!(
                "{address:?} is no address of an agent\nhint: --connect http://HOST:PORT"
            )));
        }
        Ok(Self::Tcp(address.clone()))
    }

    /// Connects.
    pub(super) async fn channel(&self) -> anyhow::Result<Channel> {
        let uri = match self {
            Self::Socket(path) => {
                if let Some(error) = socket_error(path) {
                    return Err(error);
                }
                let path = path.to_str().ok_or_else(|| {
                    anyhow::anyhow!("the socket's path is not UTF-8\nhint: choose another --socket")
                })?;
                format!("unix:{path}")
            }
            Self::Tcp(address) => address.clone(),
        };
        let endpoint = Endpoint::from_shared(uri).map_err(|_| {
            anyhow::anyhow!("{self} is no address of an agent\nhint: --connect http://HOST:PORT")
        })?;
        endpoint.connect().await.map_err(|error| {
            let reason = innermost(&error);
            anyhow::anyhow!("no agent answers on {self}: {reason}\nhint: start it there with: whyslow agent --listen HOST:PORT --token-file FILE")
        })
    }
}

/// Why nobody can be reached on a socket; `None`: somebody can.
pub(super) fn socket_error(path: &Path) -> Option<anyhow::Error> {
    let error = UnixStream::connect(path).err()?;
    let path = path.display();
    Some(match error.kind() {
        io::ErrorKind::PermissionDenied => anyhow::anyhow!(
            "the agent's socket {path} is not open to this user\nhint: sudo whyslow ..., or join the socket's group"
        ),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            anyhow::anyhow!("no agent answers on {path}\nhint: start one with: sudo whyslow agent")
        }
        _ => anyhow::anyhow!("cannot connect to {path}: {error}\nhint: check --socket"),
    })
}

/// The error at the root: "connection refused" rather than "transport error".
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// Sends the token with each call, if there is one.
#[derive(Clone, Debug)]
pub(super) struct Authorize(Option<MetadataValue<Ascii>>);

impl tonic::service::Interceptor for Authorize {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request
                .metadata_mut()
                .insert("authorization", value.clone());
        }
        Ok(request)
    }
}

/// A client of an agent.
pub(super) type Client = WhyslowClient<InterceptedService<Channel, Authorize>>;

/// The token for TCP, from its file.
pub(super) fn token(context: &Context, target: &Target) -> anyhow::Result<Option<Token>> {
    match (target, context.token_file()) {
        (Target::Tcp(_), Some(path)) => Token::read(&path).map(Some),
        // A unix socket is guarded by its mode.
        _ => Ok(None),
    }
}

/// Connects to the agent.
pub(super) async fn client(target: &Target, token: Option<&Token>) -> anyhow::Result<Client> {
    let value = match token {
        Some(token) => {
            let mut value: MetadataValue<Ascii> =
                format!("Bearer {}", token.secret()).parse().map_err(|_| {
                    anyhow::anyhow!("the token cannot be sent\nhint: make a new token file")
                })?;
            value.set_sensitive(true);
            Some(value)
        }
        None => None,
    };
    let channel = target.channel().await?;
    Ok(WhyslowClient::with_interceptor(channel, Authorize(value)))
}

/// What a failed call means to a user.
pub(super) fn call_error(target: &Target, status: &Status) -> anyhow::Error {
    let message = status.message();
    match status.code() {
        tonic::Code::Unauthenticated => anyhow::anyhow!(
            "the agent at {target} refused: {message}\nhint: --token-file FILE with the agent's token"
        ),
        tonic::Code::InvalidArgument => {
            anyhow::anyhow!("{message}\nhint: whyslow watch --help shows how to write it")
        }
        tonic::Code::ResourceExhausted => anyhow::anyhow!("{message}\nhint: try again later"),
        tonic::Code::Unimplemented => anyhow::anyhow!(
            "{target} is no agent of this version: {message}\nhint: compare whyslow --version on both sides"
        ),
        _ => anyhow::anyhow!(
            "the agent at {target} was lost: {message}\nhint: --reconnect waits for it to come back"
        ),
    }
}
