//! `--record`: has a flight recorder note all that happens to a node.

use std::path::{Path, PathBuf};

use headwater_recorder::{Options, Recorder, WriteError};

use crate::failure::Failure;
use crate::logs;
use crate::status::Status;

/// What is recorded, and where it goes.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Note all that happens to the node, and write it to this new file when the node ends. SIGUSR1
    /// has it written at once, to FILE.1, then FILE.2, and what a task of the node notes that ends
    /// in a panic goes to FILE.panic. `replay` shows it. No key is in it, but the seed of the
    /// node's random choices is: keep it to yourself while the node runs.
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
    /// Memory for what is noted, in MiB, 64 unless told otherwise; when it is full, the oldest makes
    /// room.
    #[arg(
        long,
        value_name = "MIB",
        requires = "record",
        value_parser = clap::value_parser!(u16).range(1..),
        allow_negative_numbers = true,
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
    /// [`Status::Output`] if there is something of that name, or no file can be made there.
    pub(crate) fn start(&self) -> Result<Option<Recorded>, Failure> {
        let Some(path) = self.record.clone() else { return Ok(None) };
        headwater_recorder::check(&path)
            .map_err(|error| Failure::new(Status::Output, told(&path, &error)))?;
        let cap = usize::from(self.record_cap.unwrap_or(64)) << 20;
        let options =
            Options { cap, payloads: self.record_payloads, on_panic: Some(beside(&path, "panic")) };
        Ok(Some(Recorded { recorder: Recorder::new(options), path, asked: 0 }))
    }
}

impl Recorded {
    pub(crate) fn recorder(&self) -> Recorder {
        self.recorder.clone()
    }

    /// Writes what there is so far, beside the file of the end.
    /// The node goes on meanwhile.
    pub(crate) fn write_now(&mut self) {
        self.asked += 1;
        let path = beside(&self.path, &self.asked.to_string());
        let recorder = self.recorder.clone();
        tokio::task::spawn_blocking(move || match recorder.write(&path) {
            Ok(()) => {
                tracing::info!(target: logs::NODE, path = %path.display(), "recording written");
            }
            Err(error) => tracing::error!(target: logs::NODE, %error, "recording not written"),
        });
    }

    /// Writes all of it.
    ///
    /// # Errors
    ///
    /// [`Status::Output`].
    pub(crate) fn write_at_end(&self) -> Result<(), Failure> {
        let failed = |error| Failure::new(Status::Output, told(&self.path, &error));
        self.recorder.write(&self.path).map_err(failed)?;
        tracing::info!(target: logs::NODE, path = %self.path.display(), "recording written");
        Ok(())
    }
}

/// FILE with an ending more.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut path = path.to_path_buf().into_os_string();
    path.push(format!(".{ending}"));
    PathBuf::from(path)
}

fn told(path: &Path, error: &WriteError) -> String {
    match error {
        WriteError::Exists(_) => {
            format!("{} exists already; a recording is a new file", path.display())
        }
        other => format!("{}: {other}", path.display()),
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
