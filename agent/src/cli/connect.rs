//! The way to an agent: its unix socket, or TCP with a token.

use std::{
    fs, io,
    os::unix::{fs::MetadataExt as _, net::UnixStream},
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
use crate::{
    host,
    sink::grpc::{socket::SYSTEM_PATH, token::Token},
};

/// Where an agent is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// On this host: the first of these sockets that an agent answers on.
    Socket(Vec<PathBuf>),
    /// `http://HOST:PORT`.
    Tcp(String),
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Socket(paths) => {
                let paths: Vec<_> = paths
                    .iter()
                    .map(|path| path.display().to_string())
                    .collect();
                f.write_str(&paths.join(" or "))
            }
            Self::Tcp(address) => f.write_str(address),
        }
    }
}

impl Target {
    /// As the command line says.
    pub(super) fn of(context: &Context) -> anyhow::Result<Self> {
        let Some(address) = &context.global.connect else {
            let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
            return Ok(Self::Socket(
                context.sockets().into_iter().map(absolute).collect(),
            ));
        };
        if !address.starts_with("http://") {
            return Err(usage(format!(
                "{address:?} is no address of an agent\nhint: --connect http://HOST:PORT"
            )));
        }
        Ok(Self::Tcp(address.clone()))
    }

    /// With a socket that an agent answers on as the only one.
    ///
    /// # Errors
    /// Nobody answers ([`Absent`]), or the socket is not open to this user. Over TCP, that is told by
    /// the attempt to connect alone.
    pub(super) fn find(&self) -> anyhow::Result<Self> {
        match self {
            Self::Socket(paths) => Ok(Self::Socket(vec![answering(paths)?.to_owned()])),
            Self::Tcp(_) => Ok(self.clone()),
        }
    }

    /// Connects.
    pub(super) async fn channel(&self) -> anyhow::Result<Channel> {
        let uri = match self {
            Self::Socket(paths) => {
                let path = answering(paths)?;
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

/// No agent is there at all.
#[derive(Debug, thiserror::Error)]
#[error("no agent answers on {places}\nhint: {hint}")]
pub(super) struct Absent {
    places: String,
    hint: String,
}

/// The first socket that somebody answers on.
fn answering(paths: &[PathBuf]) -> anyhow::Result<&Path> {
    for path in paths {
        match UnixStream::connect(path) {
            Ok(_) => return Ok(path),
            // What a killed agent leaves behind is nobody, too.
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(socket_error(path, &error)),
        }
    }
    let hint = match paths {
        [path] if path != Path::new(SYSTEM_PATH) => {
            format!(
                "check --socket, or start one there with: sudo whyslow agent --socket {}",
                path.display()
            )
        }
        _ => "start one with: sudo whyslow agent".to_owned(),
    };
    let places = Target::Socket(paths.to_vec()).to_string();
    Err(Absent { places, hint }.into())
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}

/// Why a socket that is there cannot be used.
fn socket_error(path: &Path, error: &io::Error) -> anyhow::Error {
    let shown = path.display();
    if error.kind() != io::ErrorKind::PermissionDenied {
        return anyhow::anyhow!("cannot connect to {shown}: {error}\nhint: check --socket");
    }
    let hint = match fs::metadata(path).map(|metadata| metadata.gid()) {
        Ok(0) => {
            "start the agent with --socket-group GROUP, a group of yours, or use sudo".to_owned()
        }
        Ok(id) => format!(
            "it is open to the group {}: join that, or use sudo",
            host::group_name(id)
        ),
        Err(_) => "use sudo, or ask for access to its folder".to_owned(),
    };
    anyhow::anyhow!("the agent's socket {shown} is not open to this user\nhint: {hint}")
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

/// What a failed call means to a user, in every command. `answered`: an agent had answered before on
/// the same connection. `if_lost`: what to do when it is gone.
pub(super) fn call_error(
    target: &Target,
    status: &Status,
    answered: bool,
    if_lost: &str,
) -> anyhow::Error {
    use std::error::Error as _;

    let message = status.message();
    // What a server says has no source; what the connection says has one.
    let broken = status.source().is_some();
    match (status.code(), target) {
        (tonic::Code::Unauthenticated, _) => anyhow::anyhow!(
            "the agent at {target} refused: {message}\nhint: --token-file FILE with the agent's token"
        ),
        (tonic::Code::InvalidArgument, _) => {
            anyhow::anyhow!("{message}\nhint: whyslow watch --help shows how to write it")
        }
        (tonic::Code::ResourceExhausted, _) => {
            anyhow::anyhow!("{message}\nhint: try again later")
        }
        (tonic::Code::Unimplemented, _) => anyhow::anyhow!(
            "{target} is no agent of this version: {message}\nhint: compare whyslow --version on both sides"
        ),
        (_, Target::Tcp(_)) if broken && !answered => anyhow::anyhow!(
            "what answers on {target} is no agent: {message}\nhint: --connect takes the address that the agent has as --listen"
        ),
        (_, Target::Socket(_)) if broken && !answered => {
            anyhow::anyhow!("what answers on {target} is no agent: {message}\nhint: check --socket")
        }
        _ => anyhow::anyhow!("the agent at {target} was lost: {message}\nhint: {if_lost}"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn the_first_socket_that_answers_is_taken() {
        let folder = TempDir::new();
        let [own, system] = ["own", "system"].map(|name| folder.path().join(name));
        let target = Target::Socket(vec![own.clone(), system.clone()]);

        let error = target.find().unwrap_err();
        assert!(error.is::<Absent>());
        let text = error.to_string();
        for path in [&own, &system] {
            assert!(text.contains(&path.display().to_string()), "{text}");
        }

        let _system = UnixListener::bind(&system).unwrap();
        // An agent that was killed leaves its socket.
        drop(UnixListener::bind(&own).unwrap());
        assert_eq!(target.find().unwrap(), Target::Socket(vec![system]));

        fs::remove_file(&own).unwrap();
        let _own = UnixListener::bind(&own).unwrap();
        assert_eq!(target.find().unwrap(), Target::Socket(vec![own]));
    }

    #[test]
    fn a_closed_socket_names_its_group() {
        let error = io::Error::from(io::ErrorKind::PermissionDenied);
        let folder = TempDir::new();
        let group = fs::metadata(folder.path()).unwrap().gid();
        let text = socket_error(folder.path(), &error).to_string();
        if group == 0 {
            assert!(
                text.contains("\nhint: start the agent with --socket-group"),
                "{text}"
            );
        } else {
            assert!(text.contains(&host::group_name(group)), "{text}");
        }
        // The group of this file is not root's on Debian.
        let shadow = Path::new("/etc/shadow");
        if let Ok(group) = fs::metadata(shadow).map(|metadata| metadata.gid())
            && group != 0
        {
            let text = socket_error(shadow, &error).to_string();
            assert!(
                text.contains(&format!("the group {}", host::group_name(group))),
                "{text}"
            );
        }
    }

    #[test]
    fn a_failed_call_in_words() {
        let target = Target::Tcp("http://h:1".to_owned());
        let text =
            |status: &Status, answered| call_error(&target, status, answered, "wait").to_string();
        let wrong = text(&Status::unauthenticated("wrong token"), false);
        assert!(wrong.starts_with("the agent at http://h:1 refused: wrong token\n"));

        let broken = Status::from_error(Box::new(io::Error::other("http2 error")));
        assert!(
            text(&broken, false).contains("is no agent")
                && text(&broken, false).contains("--listen")
        );
        assert!(
            text(&broken, true).contains("was lost: ")
                && text(&broken, true).ends_with("\nhint: wait")
        );
        // A server that says so itself is one.
        assert!(text(&Status::internal("stopping"), false).contains("was lost"));
    }
}
