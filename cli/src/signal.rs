//! SIGINT and SIGTERM: the first asks for an orderly end, the second for an end at once.
//!
//! Whoever waits for the second has a moment to end. Then the process is ended from here: it may be
//! stuck in a write to somebody who does not read.

use std::time::Duration;

use tokio::signal::unix::{self, SignalKind};
use tokio::sync::watch;

use crate::failure::Failure;
use crate::status::Status;

/// How long the second signal leaves for an end.
const MOMENT: Duration = Duration::from_secs(1);

/// Tells whoever waits that the user wants the program to end. Cloning it is cheap.
#[derive(Clone, Debug)]
pub(crate) struct Signals {
    seen: watch::Receiver<Seen>,
}

/// What has come so far.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    count: u32,
    first: Option<Status>,
}

impl Signals {
    /// Takes over both signals; needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// The system does not let us; nothing has changed then.
    pub(crate) fn install() -> Result<Self, Failure> {
        let cannot = |error| Failure::internal(format_args!("cannot handle signals: {error}"));
        let mut interrupt = unix::signal(SignalKind::interrupt()).map_err(cannot)?;
        let mut terminate = unix::signal(SignalKind::terminate()).map_err(cannot)?;
        let (sender, seen) = watch::channel(Seen::default());
        tokio::spawn(async move {
            loop {
                let status = tokio::select! {
                    Some(()) = interrupt.recv() => Status::SigInt,
                    Some(()) = terminate.recv() => Status::SigTerm,
                    else => return,
                };
                sender.send_modify(|seen| {
                    seen.count = seen.count.saturating_add(1);
                    seen.first.get_or_insert(status);
                });
                let Seen { count, first } = *sender.borrow();
                if count == 2 {
                    let status = first.unwrap_or(status);
                    tokio::spawn(async move {
                        tokio::time::sleep(MOMENT).await;
                        std::process::exit(i32::from(status.code()));
                    });
                }
            }
        });
        Ok(Self { seen })
    }

    /// Waits for the first signal, or returns at once if it has come.
    pub(crate) async fn first(&self) -> Failure {
        self.wait(1).await
    }

    /// Waits for the second signal.
    pub(crate) async fn second(&self) -> Failure {
        self.wait(2).await
    }

    async fn wait(&self, count: u32) -> Failure {
        let mut seen = self.seen.clone();
        while seen.borrow_and_update().count < count {
            if seen.changed().await.is_err() {
                // The task that counts ends only with the runtime.
                std::future::pending::<()>().await;
            }
        }
        let status = seen.borrow().first;
        match status {
            Some(Status::SigTerm) => Failure::new(Status::SigTerm, "ended by SIGTERM"),
            _ => Failure::new(Status::SigInt, "interrupted"),
        }
    }
}
