//! Starting, accepting connections, stopping.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tsq::Db;

use crate::api;
use crate::app::App;
use crate::config::ServerConfig;
use crate::error::ServeError;
use crate::http::idle::IdleTimeout;
use crate::http::targets::EncodedTargets;

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
    /// Taken when the server stops.
    runtime: Option<Runtime>,
}

/// The thread that opens the database.
#[derive(Debug)]
struct Opening {
    thread: Option<std::thread::JoinHandle<Result<(), ServeError>>>,
    /// Its sender is dropped when the thread is about to end.
    ended: watch::Receiver<()>,
}

impl Opening {
    fn start(app: Arc<App>, address: SocketAddr) -> std::io::Result<Self> {
        let (ending, ended) = watch::channel(());
        let open = move || {
            let _ending = ending;
            let db = Db::open(&app.config.data, app.config.options.clone())?;
            Ok(app.set_db(db, address)?)
        };
        let thread = std::thread::Builder::new().name("tsq-open".to_owned()).spawn(open)?;
        Ok(Self { thread: Some(thread), ended })
    }

    /// Waits until the database is open or cannot be opened.
    async fn end(&mut self) {
        // An error says that the sender is gone: that is the end.
        while self.ended.changed().await.is_ok() {}
    }

    /// What became of it, once it has ended; success when that was asked for before.
    fn result(&mut self) -> Result<(), ServeError> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Server {
    /// Serves a database that the caller opened, and closes after [`RunningServer::shutdown`].
    /// `config.data` and `config.options` are not used.
    ///
    /// # Errors
    /// When the address is refused, see [`ServeError`].
    pub fn start(config: ServerConfig, db: Db) -> Result<RunningServer, ServeError> {
        let server = start(config)?;
        server.app.set_db(db, server.local_addr)?;
        Ok(server)
    }

    /// Listens at once and opens the database of `config.data` in the background: until it is open, `/-/ready` and the
    /// APIs answer 503. [`RunningServer::shutdown`] closes it.
    ///
    /// # Errors
    /// When the address is refused, see [`ServeError`]. A database that cannot be opened ends
    /// [`RunningServer::wait`] with the error.
    pub fn open(config: ServerConfig) -> Result<RunningServer, ServeError> {
        let mut server = start(config)?;
        server.opening = Some(Opening::start(server.app.clone(), server.local_addr).map_err(ServeError::Io)?);
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

    /// Blocks until the process gets SIGTERM or SIGINT, or a request to quit where those are allowed, then shuts down.
    ///
    /// # Errors
    /// When the database cannot be opened (then it does not wait for a signal) or closed.
    pub fn wait(mut self) -> Result<(), ServeError> {
        let runtime = self.runtime.as_ref().expect("the server runs");
        runtime.block_on(wait_for_end(&self.app, self.opening.as_mut()))?;
        self.shutdown()
    }

    /// Stops accepting, lets requests in flight finish, and closes the database if the server opened it. Requests that
    /// take longer than `stop_timeout` are cut off; what was acknowledged stays.
    ///
    /// # Errors
    /// When the database could not be closed, or could not be opened before.
    pub fn shutdown(mut self) -> Result<(), ServeError> {
        tracing::info!("stopping");
        let runtime = self.runtime.take().expect("a server is shut down once");
        let patience = self.app.config.limits.stop_timeout;
        let deadline = Instant::now() + patience;
        self.app.begin_stop(patience);
        // The accept loop may have ended already; then there is nobody to tell.
        let _ = self.stop.send(true);
        if let Err(error) = runtime.block_on(&mut self.accepting) {
            tracing::warn!("the accept loop failed: {error}");
        }
        let opened = self.opening.as_mut().map(|opening| {
            let ended = runtime.block_on(async { tokio::time::timeout_at(deadline.into(), opening.end()).await });
            ended.map(|()| opening.result())
        });
        runtime.shutdown_timeout(Duration::from_millis(500));
        match opened {
            // The caller's database, or one whose log is still being replayed: nothing was acknowledged by this server.
            None | Some(Err(_)) => Ok(()),
            Some(Ok(result)) => {
                result?;
                self.app.runs().map_or(Ok(()), tsq_runs::Runs::close)?;
                Ok(self.app.db().map_or(Ok(()), Db::close)?)
            }
        }
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Returns when the process is told to end, or when the database cannot be opened.
async fn wait_for_end(app: &App, opening: Option<&mut Opening>) -> Result<(), ServeError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Io)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Io)?;
    if let Some(opening) = opening {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            () = app.quit.notified() => return Ok(()),
            () = opening.end() => opening.result()?,
        }
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = app.quit.notified() => {}
    }
    Ok(())
}

/// A listening server without a database.
fn start(mut config: ServerConfig) -> Result<RunningServer, ServeError> {
    if !config.insecure && !config.listen.ip().is_loopback() {
        return Err(ServeError::NotLoopback(config.listen));
    }
    if let Some(dir) = config.mlflow_ui.take() {
        config.mlflow_ui = Some(crate::mlflow::find_pages(&dir).ok_or(ServeError::NoPages(dir))?);
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
    Ok(RunningServer { app, local_addr, stop, accepting, opening: None, runtime: Some(runtime) })
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
fn prepare(stream: TcpStream, config: &ServerConfig) -> EncodedTargets<IdleTimeout<TcpStream>> {
    // Answers are written whole: waiting to fill a packet only delays them. A socket that refuses is as good without.
    let _ = stream.set_nodelay(true);
    let limits = &config.limits;
    let longest = limits.body_timeout + limits.turn_wait + config.engine.timeout;
    EncodedTargets::new(IdleTimeout::new(stream, longest + limits.header_timeout))
}
