//! Ctrl-C for commands that stop at a safe place.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::failure::{Exit, Failure, Result};

/// Set once Ctrl-C was pressed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// From now on Ctrl-C asks to stop. A second one stops the process at once: what is on disk stays consistent, as
    /// after a crash.
    pub(crate) fn listen() -> Result<Self> {
        let cannot = |error: std::io::Error| Failure::failed(format!("cannot listen for Ctrl-C: {error}"));
        let interrupt = Self::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(cannot)?;
        let flag = interrupt.clone();
        let wait = async move {
            while tokio::signal::ctrl_c().await.is_ok() {
                if flag.0.swap(true, Ordering::Relaxed) {
                    std::process::exit(i32::from(Exit::Interrupted as u8));
                }
            }
        };
        std::thread::Builder::new().name("tsq-ctrl-c".into()).spawn(move || runtime.block_on(wait)).map_err(cannot)?;
        Ok(interrupt)
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
