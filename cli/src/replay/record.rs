//! `--record`: has a flight recorder note all that happens to a node.

use std::path::PathBuf;

use headwater_recorder::{Options, Recorder};

use crate::failure::Failure;
use crate::logs;
use crate::status::Status;

/// What is recorded, and where it goes.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Note all that happens to the node, and write it to this new file when the node ends, however
    /// it ends; SIGUSR1 has it written at once, to FILE.1, then FILE.2. `replay` shows it. No key is
    /// in it.
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
    /// Memory for what is noted, in MiB, 64 unless told otherwise; when it is full, the oldest makes
    /// room.
    #[arg(
        long,
        value_name = "MIB",
        requires = "record",
        value_parser = clap::value_parser!(u16).range(1..),
    )]
    pub(crate) record_cap: Option<u16>,
    /// Note what messages say, too, and not just its length and hash: only then connections can be
    /// run again.
    #[arg(long, requires = "record")]
    pub(crate) record_payloads: bool,
}

/// A recorder, and where its recording goes.
#[derive(Debug)]
pub(crate) struct Recorded {
    recorder: Recorder,
    path: PathBuf,
    asked: u32,
}

impl Args {
    /// A recorder, if one is asked for.
    ///
    /// # Errors
    ///
    /// [`Status::Output`] if there is something of that name.
    pub(crate) fn start(&self) -> Result<Option<Recorded>, Failure> {
        let Some(path) = self.record.clone() else { return Ok(None) };
        if path.symlink_metadata().is_ok() {
            let text = format!("{} exists already; a recording is a new file", path.display());
            return Err(Failure::new(Status::Output, text));
        }
        let cap = usize::from(self.record_cap.unwrap_or(64)) << 20;
        let options = Options { cap, payloads: self.record_payloads, on_panic: Some(path.clone()) };
        Ok(Some(Recorded { recorder: Recorder::new(options), path, asked: 0 }))
    }
}

impl Recorded {
    pub(crate) fn recorder(&self) -> Recorder {
        self.recorder.clone()
    }

    /// Writes what there is so far, beside the file of the end.
    pub(crate) fn write_now(&mut self) {
        self.asked += 1;
        let mut path = self.path.clone().into_os_string();
        path.push(format!(".{}", self.asked));
        let path = PathBuf::from(path);
        match self.recorder.write(&path) {
            Ok(()) => {
                tracing::info!(target: logs::NODE, path = %path.display(), "recording written");
            }
            Err(error) => tracing::error!(target: logs::NODE, %error, "recording not written"),
        }
    }

    /// Writes all of it.
    ///
    /// # Errors
    ///
    /// [`Status::Output`].
    pub(crate) fn write_at_end(&self) -> Result<(), Failure> {
        let failed = |error| Failure::new(Status::Output, format!("{error}"));
        self.recorder.write(&self.path).map_err(failed)?;
        tracing::info!(target: logs::NODE, path = %self.path.display(), "recording written");
        Ok(())
    }
}

/// Gives something each time that a recording is asked for.
#[derive(Debug)]
pub(crate) struct Asked {
    #[cfg(unix)]
    signal: Option<tokio::signal::unix::Signal>,
}

impl Asked {
    /// Listens for SIGUSR1, if there is something to write.
    pub(crate) fn listen(recorded: bool) -> Self {
        #[cfg(unix)]
        {
            let kind = tokio::signal::unix::SignalKind::user_defined1();
            let signal = recorded.then(|| tokio::signal::unix::signal(kind).ok()).flatten();
            Self { signal }
        }
        #[cfg(not(unix))]
        {
            let _ = recorded;
            Self {}
        }
    }

    /// Waits for it.
    pub(crate) async fn wait(&mut self) {
        #[cfg(unix)]
        if let Some(signal) = &mut self.signal {
            if signal.recv().await.is_some() {
                return;
            }
        }
        std::future::pending::<()>().await;
    }
}
