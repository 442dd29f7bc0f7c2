//! The gRPC server: `whyslow.v1.Whyslow`, reflection and health, on a unix socket and, when asked
//! for, on TCP behind a token.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Context as _;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};
use tonic::{service::InterceptorLayer, transport::Server};
use tonic_reflection::server::Builder as Reflection;
use whyslow_proto::v1::whyslow_server::WhyslowServer;

use crate::pipeline::Handle;

mod service;
pub mod socket;
pub mod token;

#[cfg(test)]
mod tests;

use service::Service;
use socket::Socket;
use token::Token;

/// Time that open calls have to end after a stop.
const GRACE: Duration = Duration::from_secs(2);
/// Between two signs of life on an idle connection, so that vanished TCP peers are noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Where to serve.
#[derive(Debug)]
pub struct Endpoints {
    /// Unix socket.
    pub socket: PathBuf,
    /// Id of the group that may connect to it, when it is not this process's own.
    pub group: Option<u32>,
    /// TCP, and the token that callers must send.
    pub tcp: Option<(SocketAddr, Token)>,
}

/// Sockets taken, nothing served yet.
#[derive(Debug)]
pub struct Bound {
    socket: Socket,
    unix: tokio::net::UnixListener,
    tcp: Option<(TcpListener, Token)>,
}

/// A server at work.
#[derive(Debug)]
pub struct Serving {
    stop: watch::Sender<bool>,
    servers: Vec<JoinHandle<Result<(), tonic::transport::Error>>>,
    tcp: Option<SocketAddr>,
    // Removes the socket when dropped, after the servers were told to stop.
    socket: Socket,
}

/// Takes the sockets: before anything is loaded into the kernel, so that a second agent fails early.
///
/// # Errors
/// Another agent answers on the socket, the port is in use, or the place is not writable.
pub async fn bind(endpoints: Endpoints) -> anyhow::Result<Bound> {
    let (socket, listener) = Socket::bind(&endpoints.socket, endpoints.group)?;
    let unix = tokio::net::UnixListener::from_std(listener).context("cannot use the socket")?;
    let tcp = match endpoints.tcp {
        Some((address, token)) => {
            let listener = TcpListener::bind(address).await.map_err(|error| {
                anyhow::anyhow!(
                    "cannot listen on {address}: {error}\nhint: choose another --listen address"
                )
            })?;
            Some((listener, token))
        }
        None => None,
    };
    Ok(Bound { socket, unix, tcp })
}

impl Bound {
    /// Serves a pipeline on the sockets.
    ///
    /// # Errors
    /// The reflection data is not valid (a fault of the build), or a socket broke.
    pub fn serve(self, handle: Handle) -> anyhow::Result<Serving> {
        let (stop, stopped) = watch::channel(false);
        let mut servers = Vec::new();
        let mut tcp_address = None;
        if let Some((listener, token)) = self.tcp {
            tcp_address = Some(listener.local_addr().context("no local address")?);
            let guard = InterceptorLayer::new(move |request| token.check(request));
            let router = Server::builder()
                .http2_keepalive_interval(Some(KEEP_ALIVE))
                .layer(guard)
                .add_routes(routes(handle.clone())?);
            servers.push(tokio::spawn(router.serve_with_incoming_shutdown(
                TcpListenerStream::new(listener),
                until(stopped.clone()),
            )));
        }
        let router = Server::builder().add_routes(routes(handle)?);
        servers.push(tokio::spawn(router.serve_with_incoming_shutdown(
            UnixListenerStream::new(self.unix),
            until(stopped),
        )));
        Ok(Serving {
            stop,
            servers,
            tcp: tcp_address,
            socket: self.socket,
        })
    }
}

impl Serving {
    /// Where TCP is served.
    #[must_use]
    pub fn tcp(&self) -> Option<SocketAddr> {
        self.tcp
    }

    /// Stops serving: the socket goes at once, open calls get a moment to end. Stop the pipeline
    /// first, which ends all subscriptions.
    pub async fn stop(self) {
        let Self {
            stop,
            servers,
            socket,
            ..
        } = self;
        drop(socket);
        let _ = stop.send(true);
        let deadline = tokio::time::Instant::now() + GRACE;
        for mut server in servers {
            if tokio::time::timeout_at(deadline, &mut server)
                .await
                .is_err()
            {
                server.abort();
            }
        }
    }
}

async fn until(mut stopped: watch::Receiver<bool>) {
    // An error says that the sender is gone, which is a stop as well.
    let _ = stopped.wait_for(|stop| *stop).await;
}

fn routes(handle: Handle) -> anyhow::Result<tonic::service::Routes> {
    let (health_reporter, health) = tonic_health::server::health_reporter();
    tokio::spawn(async move {
        health_reporter
            .set_serving::<WhyslowServer<Service>>()
            .await;
    });
    let reflection = || {
        Reflection::configure()
            .register_encoded_file_descriptor_set(whyslow_proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    Ok(
        tonic::service::Routes::new(WhyslowServer::new(Service::new(handle)))
            .add_service(health)
            .add_service(reflection().build_v1().context("reflection data")?)
            .add_service(reflection().build_v1alpha().context("reflection data")?),
    )
}
