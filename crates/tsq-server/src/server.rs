//! Starting, accepting connections, stopping.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinHandle;
use tsq::Db;

use crate::api;
use crate::app::App;
use crate::config::ServerConfig;
use crate::error::ServeError;
use crate::http::idle::IdleTimeout;

/// Starts servers.
#[derive(Clone, Copy, Debug)]
pub struct Server;

/// A server that accepts connections until it is shut down. Dropping it stops it without waiting for anything.
#[derive(Debug)]
pub struct RunningServer {
    app: Arc<App>,
    local_addr: SocketAddr,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
    /// Present when this server opens the database itself, and so closes it.
    opening: Option<Opening>,
    runtime: Runtime,
}

/// The thread that opens the database: a result, once.
type Opening = oneshot::Receiver<Result<(), tsq::Error>>;

impl Server {
    /// Serves a database that the caller opened, and closes himself after [`RunningServer::shutdown`].
    /// `config.data` and `config.options` are not used.
    ///
    /// # Errors
    /// When the address is refused, see [`ServeError`].
    pub fn start(config: ServerConfig, db: Db) -> Result<RunningServer, ServeError> {
        let server = start(config)?;
        server.app.set_db(db, server.local_addr);
        Ok(server)
    }

    /// Listens at once and opens the database of `config.data` in the background: until it is open, `/-/ready` and the
    /// APIs answer 503. [`RunningServer::shutdown`] closes it.
    ///
    /// # Errors
    /// When the address is refused, see [`ServeError`]. A database that cannot be opened ends
    /// [`RunningServer::wait`] with the error.
    pub fn open(config: ServerConfig) -> Result<RunningServer, ServeError> {
        let (data, options) = (config.data.clone(), config.options.clone());
        let mut server = start(config)?;
        let (sender, receiver) = oneshot::channel();
        let (app, address) = (server.app.clone(), server.local_addr);
        let open = move || {
            let opened = Db::open(&data, options).map(|db| app.set_db(db, address));
            // The receiver is gone only when the server was dropped: nobody is left to tell.
            let _ = sender.send(opened);
        };
        std::thread::Builder::new().name("tsq-open".to_owned()).spawn(open).map_err(ServeError::Io)?;
        server.opening = Some(receiver);
        Ok(server)
    }
}

/// Serves `config.data` until SIGTERM or SIGINT, then stops within about `config.limits.stop_timeout`.
///
/// # Errors
/// When the address is refused or the database cannot be opened or closed.
pub fn run(config: ServerConfig) -> Result<(), ServeError> {
    Server::open(config)?.wait()
}

impl RunningServer {
    /// The address it listens on, with the port that port 0 became.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Blocks until the process gets SIGTERM or SIGINT, then shuts down.
    ///
    /// # Errors
    /// When the database cannot be opened (then it does not wait for a signal) or closed.
    pub fn wait(mut self) -> Result<(), ServeError> {
        let opening = self.opening.take();
        let ended = self.runtime.block_on(wait_for_end(opening))?;
        match ended {
            End::Signal(opening) => {
                self.opening = opening;
                self.shutdown()
            }
            End::OpenFailed(error) => {
                self.stop_accepting(Duration::ZERO);
                Err(error.into())
            }
        }
    }

    /// Stops accepting, lets requests in flight finish, and closes the database if the server opened it. Requests that
    /// take longer than `stop_timeout` are cut off; what was acknowledged stays.
    ///
    /// # Errors
    /// When the database could not be closed, or could not be opened before.
    pub fn shutdown(mut self) -> Result<(), ServeError> {
        tracing::info!("stopping");
        let patience = self.app.config.limits.stop_timeout;
        self.stop_accepting(patience);
        let Some(opening) = self.opening.take() else { return Ok(()) };
        let opened = self.runtime.block_on(async { tokio::time::timeout(patience, opening).await });
        self.runtime.shutdown_timeout(Duration::from_millis(500));
        match opened {
            Ok(Ok(Err(error))) => return Err(error.into()),
            // Still replaying the log: nothing was acknowledged, there is nothing to make durable.
            Err(_) => return Ok(()),
            Ok(_) => {}
        }
        match self.app.db() {
            Some(db) => Ok(db.close()?),
            None => Ok(()),
        }
    }

    fn stop_accepting(&mut self, patience: Duration) {
        self.app.begin_stop(patience);
        // The accept loop may have ended already; then there is nobody to tell.
        let _ = self.stop.send(true);
        let joined = self.runtime.block_on(&mut self.accepting);
        if let Err(error) = joined {
            tracing::warn!("the accept loop failed: {error}");
        }
    }
}

/// Why a server that waits goes on.
enum End {
    /// A signal; the opening of the database if it still runs or has not been looked at.
    Signal(Option<Opening>),
    /// The database could not be opened.
    OpenFailed(tsq::Error),
}

async fn wait_for_end(opening: Option<Opening>) -> Result<End, ServeError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Io)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Io)?;
    let mut opened = None;
    if let Some(mut opening) = opening {
        tokio::select! {
            _ = terminate.recv() => return Ok(End::Signal(Some(opening))),
            _ = interrupt.recv() => return Ok(End::Signal(Some(opening))),
            result = &mut opening => {
                if let Ok(Err(error)) = result {
                    return Ok(End::OpenFailed(error));
                }
                let (sender, receiver) = oneshot::channel();
                sender.send(Ok(())).expect("the receiver is in scope");
                opened = Some(receiver);
            }
        }
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(End::Signal(opened))
}

/// A listening server without a database.
fn start(config: ServerConfig) -> Result<RunningServer, ServeError> {
    if !config.insecure && !config.listen.ip().is_loopback() {
        return Err(ServeError::NotLoopback(config.listen));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("tsq-server")
        .enable_all()
        .build()
        .map_err(ServeError::Io)?;
    let listen_error = |error| ServeError::Listen(config.listen, error);
    let listener = runtime.block_on(TcpListener::bind(config.listen)).map_err(listen_error)?;
    let local_addr = listener.local_addr().map_err(listen_error)?;
    let app = Arc::new(App::new(config));
    let (stop, stopped) = watch::channel(false);
    let accepting = runtime.spawn(accept(listener, app.clone(), stopped));
    tracing::info!("listening on http://{local_addr}");
    Ok(RunningServer { app, local_addr, stop, accepting, opening: None, runtime })
}

/// Accepts until `stopped`, then waits for the open connections as long as the app's patience lasts.
async fn accept(listener: TcpListener, app: Arc<App>, mut stopped: watch::Receiver<bool>) {
    let graceful = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(app.config.limits.connections));
    let service = TowerToHyperService::new(api::router(app.clone()));
    let builder = connection_builder(&app.config);
    loop {
        let slot = tokio::select! {
            slot = slots.clone().acquire_owned() => slot.expect("the semaphore is never closed"),
            _ = stopped.changed() => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.changed() => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, mostly: connections that close give some back.
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        app.metrics.connections.add(1);
        let io = TokioIo::new(prepare(stream, &app.config));
        let connection = graceful.watch(builder.serve_connection(io, service.clone()).into_owned());
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("connection: {error}");
            }
            drop(slot);
        });
    }
    drop(listener);
    if tokio::time::timeout(app.patience(), graceful.shutdown()).await.is_err() {
        tracing::warn!("requests in flight were cut off");
    }
}

fn connection_builder(config: &ServerConfig) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(config.limits.header_timeout).max_buf_size(128 << 10);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(64).keep_alive_interval(Duration::from_secs(30));
    builder
}

/// A connection that ends when nothing moves for longer than any request may take.
fn prepare(stream: TcpStream, config: &ServerConfig) -> IdleTimeout<TcpStream> {
    // Answers are written whole: waiting to fill a packet only delays them. A socket that refuses is as good without.
    let _ = stream.set_nodelay(true);
    let limits = &config.limits;
    let longest = limits.body_timeout + limits.query_wait + config.engine.timeout;
    IdleTimeout::new(stream, longest + limits.header_timeout)
}
