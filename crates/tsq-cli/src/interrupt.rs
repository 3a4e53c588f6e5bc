//! Ctrl-C for commands that stop at a safe place.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tsq::promql::CancelFlag;

use crate::failure::{Exit, Failure, Result};

/// From now on Ctrl-C does this instead of ending the process.
fn on_press(action: impl Fn() + Send + 'static) -> Result<()> {
    let cannot = |error: std::io::Error| Failure::failed(format!("cannot listen for Ctrl-C: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(cannot)?;
    // Here and not in the thread: once this function returns, the signal ends nothing any more, and a line editor that
    // puts its own handler in place and back again finds this one.
    let mut presses = {
        let _context = runtime.enter();
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt()).map_err(cannot)?
    };
    let wait = async move {
        while presses.recv().await.is_some() {
            action();
        }
    };
    std::thread::Builder::new().name("tsq-ctrl-c".into()).spawn(move || runtime.block_on(wait)).map_err(cannot)?;
    Ok(())
}

/// Set once Ctrl-C was pressed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// From now on Ctrl-C asks to stop. A second one stops the process at once: what is on disk stays consistent, as
    /// after a crash.
    pub(crate) fn listen() -> Result<Self> {
        let interrupt = Self::default();
        let flag = interrupt.clone();
        on_press(move || {
            if flag.0.swap(true, Ordering::Relaxed) {
                std::process::exit(i32::from(Exit::Interrupted as u8));
            }
        })?;
        Ok(interrupt)
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The query that Ctrl-C cancels, one after another.
#[derive(Clone, Debug, Default)]
pub(crate) struct Running(Arc<Mutex<CancelFlag>>);

impl Running {
    /// From now on Ctrl-C cancels what runs, and nothing else.
    pub(crate) fn listen() -> Result<Self> {
        let running = Self::default();
        let flag = running.clone();
        on_press(move || flag.0.lock().unwrap_or_else(PoisonError::into_inner).cancel())?;
        Ok(running)
    }

    /// The flag of a query that starts now.
    pub(crate) fn start(&self) -> CancelFlag {
        let fresh = CancelFlag::default();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = fresh.clone();
        fresh
    }
}
