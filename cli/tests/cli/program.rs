//! Runs the built program. Every wait has a deadline, generous enough for a slow machine.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

const DEADLINE: Duration = Duration::from_secs(240);

/// The program, with a clean environment as far as it looks at it.
pub(crate) fn headwater() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
    for name in
        ["RUST_LOG", "HEADWATER_KEY", "HEADWATER_ADMIN", "HEADWATER_ADMIN_TOKEN", "NO_COLOR"]
    {
        command.env_remove(name);
    }
    command
}

/// A run that is over.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: Vec<String>,
    pub(crate) stderr: Vec<String>,
}

impl Ended {
    /// The last line of standard error, which says what went wrong.
    pub(crate) fn complaint(&self) -> &str {
        self.stderr.last().map_or("", |line| line)
    }

    /// The lines of standard output as events.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.stdout.iter().map(|line| event(line)).collect()
    }
}

/// A line of `--json`.
pub(crate) fn event(line: &str) -> Value {
    assert!(line.starts_with("{\"event\":\""), "{line}");
    serde_json::from_str(line).expect(line)
}

/// A run under way; it is killed when dropped.
pub(crate) struct Running {
    child: Child,
    pub(crate) stdin: Option<ChildStdin>,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    seen: Vec<String>,
    complained: Vec<String>,
}

impl Running {
    /// Starts the program with arguments.
    pub(crate) fn start<S: AsRef<OsStr>>(args: &[S]) -> Self {
        Self::spawn(headwater().args(args))
    }

    /// Starts a prepared command.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let stdin = child.stdin.take();
        let stdout = lines(child.stdout.take().expect("standard output"));
        let stderr = lines(child.stderr.take().expect("standard error"));
        Self { child, stdin, stdout, stderr, seen: Vec::new(), complained: Vec::new() }
    }

    /// The next line of standard output.
    pub(crate) fn line(&mut self) -> String {
        match self.stdout.recv_timeout(DEADLINE) {
            Ok(line) => {
                self.seen.push(line.clone());
                line
            }
            Err(error) => {
                panic!("no line: {error}, {:?}", self.stderr.try_iter().collect::<Vec<_>>())
            }
        }
    }

    /// The next line of standard error.
    pub(crate) fn complaint(&mut self) -> String {
        let line = self.stderr.recv_timeout(DEADLINE).expect("a line on standard error");
        self.complained.push(line.clone());
        line
    }

    /// Reads events until one fits.
    pub(crate) fn until(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        loop {
            let event = event(&self.line());
            if fits(&event) {
                return event;
            }
        }
    }

    /// Writes to standard input.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("standard input is open");
        stdin.write_all(bytes).expect("the program reads");
        stdin.flush().expect("the program reads");
    }

    /// Sends a signal, by its name.
    pub(crate) fn signal(&self, name: &str) {
        let status =
            Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(status.expect("kill runs").success());
    }

    /// Closes standard input and waits for the end.
    pub(crate) fn end(mut self) -> Ended {
        drop(self.stdin.take());
        self.wait()
    }

    /// Waits for the end.
    pub(crate) fn wait(&mut self) -> Ended {
        let until = Instant::now() + DEADLINE;
        let rest = |lines: &Receiver<String>, seen: &mut Vec<String>| {
            loop {
                match lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                    Ok(line) => seen.push(line),
                    Err(RecvTimeoutError::Disconnected) => return,
                    Err(RecvTimeoutError::Timeout) => panic!("it does not end: {seen:?}"),
                }
            }
        };
        rest(&self.stdout, &mut self.seen);
        rest(&self.stderr, &mut self.complained);
        // Both outputs are closed, so the process ends now.
        let status = self.child.wait().expect("an exit status");
        Ended {
            status: status.code(),
            stdout: std::mem::take(&mut self.seen),
            stderr: std::mem::take(&mut self.complained),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Runs the program to its end.
pub(crate) fn run<S: AsRef<OsStr>>(args: &[S]) -> Ended {
    Running::start(args).end()
}

/// Starts a listener that stores in `output`; gives it and the address to paste.
pub(crate) fn listen(output: &Path, more: &[&str]) -> (Running, String) {
    let mut command = headwater();
    command.args(["listen", "--output"]).arg(output).args(more);
    listening(&mut command)
}

/// The same, of a prepared command.
pub(crate) fn listening(command: &mut Command) -> (Running, String) {
    let mut listener = Running::spawn(command);
    let line = listener.line();
    let address = if line.starts_with('{') {
        event(&line)["addresses"][0].as_str().expect("an address").to_owned()
    } else {
        line
    };
    assert!(address.starts_with("/ip4/127.0.0.1/tcp/"), "{address}");
    (listener, address)
}

/// Writes a file that only its owner can use, as keys have to be.
pub(crate) fn write_private(path: &Path, text: impl AsRef<[u8]>) {
    std::fs::write(path, text).expect("a file");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(path, mode).expect("its owner may");
}

/// The names in a folder.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Bytes that do not repeat soon.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_be_bytes());
    }
    bytes.truncate(len);
    bytes
}
