//! The status page of a running node, and the same for programs: `/`, `/status`, `/metrics`,
//! `/events`.
//!
//! It only reads. Once a second it looks at the nodes for the throughput of the last minutes;
//! whoever asks more often than ten times a second gets the same answer again.
//!
//! Bounds: [`SAMPLES`] samples for each node; the rest is that of `feed.rs` and `http.rs`.

mod access;
pub(crate) mod client;
mod feed;
mod http;
mod metrics;
mod patient;
pub(crate) mod shape;
mod words;

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use headwater_core::snapshot::Snapshot;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::failure::Failure;
use crate::status::Status;

use access::Access;
pub(crate) use feed::Feed;
use shape::{NodeStatus, Throughput};
pub(crate) use words::time;

/// Where `status` and `why` look for a node, and where `--admin` without an address serves.
pub(crate) const DEFAULT: &str = "127.0.0.1:11380";

/// Samples of the throughput, one a second.
const SAMPLES: usize = 300;

/// How old a snapshot may be that is given to somebody else.
const FRESH: Duration = Duration::from_millis(100);

/// How the page is served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Where.
    pub(crate) at: Option<SocketAddr>,
    /// The file with the token.
    pub(crate) token: Option<PathBuf>,
    /// Names by which the server may be called, beside its addresses.
    pub(crate) hosts: Vec<String>,
}

impl Settings {
    /// Who may look, if there is a page at all.
    ///
    /// # Errors
    ///
    /// [`Status::Config`] for the token.
    fn access(&self) -> Result<Option<(SocketAddr, Access)>, Failure> {
        let Some(at) = self.at else { return Ok(None) };
        Ok(Some((at, Access::new(at, self.token.as_deref(), &self.hosts)?)))
    }

    /// Judges what does not need the address.
    ///
    /// # Errors
    ///
    /// [`Status::Config`] for the token.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        self.access().map(drop)
    }
}

/// Snapshots under the names of their nodes, as they come.
pub(crate) type Looking<'a> = Pin<Box<dyn Future<Output = Vec<(String, Snapshot)>> + Send + 'a>>;

/// Where snapshots come from.
pub(crate) trait Source: Send + Sync + 'static {
    /// A snapshot of each node that runs, with its name.
    fn look(&self) -> Looking<'_>;

    /// The names of all nodes with their ids, whether they run or not; none if there is only one.
    fn cast(&self) -> Vec<(String, Option<String>)> {
        Vec::new()
    }
}

/// One node without a name.
impl Source for headwater_tokio::Node {
    fn look(&self) -> Looking<'_> {
        Box::pin(async {
            let snapshot = self.snapshot().await.ok();
            snapshot.map(|snapshot| (String::new(), snapshot)).into_iter().collect()
        })
    }
}

/// What the server shares with its connections.
struct Admin {
    source: Box<dyn Source>,
    access: Access,
    feed: Feed,
    seen: Mutex<Seen>,
}

/// What was seen last.
#[derive(Default)]
struct Seen {
    latest: Option<(Instant, Vec<(String, Snapshot)>)>,
    throughput: BTreeMap<String, Samples>,
}

/// Bytes received and sent, second by second.
#[derive(Default)]
struct Samples {
    totals: Option<(u64, u64)>,
    samples: VecDeque<(u64, u64)>,
}

/// A server that runs until it is dropped.
pub(crate) struct Server {
    /// Where it is.
    pub(crate) url: String,
    _tasks: JoinSet<()>,
}

impl Server {
    /// Starts to serve.
    ///
    /// # Errors
    ///
    /// [`Status::Listen`] if the address cannot be listened on, [`Status::Config`] for the token.
    pub(crate) async fn start(
        settings: &Settings,
        source: Box<dyn Source>,
        feed: Feed,
    ) -> Result<Option<Self>, Failure> {
        let Some((at, access)) = settings.access()? else { return Ok(None) };
        let listen = |error: std::io::Error| {
            Failure::new(Status::Listen, format!("cannot serve the status page on {at}: {error}"))
        };
        let listener = TcpListener::bind(at).await.map_err(listen)?;
        let url = format!("http://{}/", listener.local_addr().map_err(listen)?);
        let admin = Arc::new(Admin { source, access, feed, seen: Mutex::default() });
        let mut tasks = JoinSet::new();
        tasks.spawn(sample(Arc::clone(&admin)));
        tasks.spawn(http::serve(admin, listener));
        Ok(Some(Self { url, _tasks: tasks }))
    }
}

async fn sample(admin: Arc<Admin>) {
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let nodes = admin.snapshots().await;
        let mut seen = admin.seen.lock().await;
        for (name, snapshot) in &nodes {
            let counters = snapshot.counters();
            let totals = (counters.received_bytes, counters.sent_bytes);
            let known = seen.throughput.entry(name.clone()).or_default();
            let before = known.totals.replace(totals).unwrap_or(totals);
            let moved = (totals.0.saturating_sub(before.0), totals.1.saturating_sub(before.1));
            known.samples.push_back(moved);
            if known.samples.len() > SAMPLES {
                known.samples.pop_front();
            }
        }
    }
}

impl Admin {
    /// The nodes as they are now, or were a moment ago.
    async fn snapshots(&self) -> Vec<(String, Snapshot)> {
        let mut seen = self.seen.lock().await;
        if let Some((at, nodes)) = &seen.latest {
            if at.elapsed() < FRESH {
                return nodes.clone();
            }
        }
        let nodes = self.source.look().await;
        seen.latest = Some((Instant::now(), nodes.clone()));
        nodes
    }

    /// What `/status` says of each node.
    async fn status(&self) -> Vec<NodeStatus> {
        let nodes = self.snapshots().await;
        let seen = self.seen.lock().await;
        let cast = self.source.cast();
        let name_of = |id: &str| {
            let mut cast = cast.iter();
            let found = cast.find(|(_, known)| known.as_deref() == Some(id));
            found.map(|(name, _)| name.clone())
        };
        let mut all: Vec<NodeStatus> = Vec::new();
        for (name, snapshot) in &nodes {
            let throughput = seen.throughput.get(name).map(Samples::shape).unwrap_or_default();
            all.push(shape::node(name, snapshot, throughput, &name_of));
        }
        for (name, id) in cast.iter().filter(|(name, _)| !nodes.iter().any(|(n, _)| n == name)) {
            all.push(shape::not_running(name, id.as_deref().unwrap_or_default()));
        }
        all.sort_by_key(|node| cast.iter().position(|(name, _)| *name == node.name));
        all
    }
}

impl Samples {
    fn shape(&self) -> Throughput {
        Throughput {
            interval_ms: 1000,
            received: self.samples.iter().map(|(received, _)| *received).collect(),
            sent: self.samples.iter().map(|(_, sent)| *sent).collect(),
        }
    }
}
