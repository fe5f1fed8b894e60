//! The nodes of the demo for its status page, which sees them come and go.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use headwater_core::snapshot::Snapshot;
use tokio::time::timeout;

use crate::admin::{Looking, Source};

/// How long a node may take to tell how it does.
const PATIENCE: Duration = Duration::from_secs(2);

/// A node that can be asked, whatever it runs on.
#[derive(Clone)]
pub(crate) enum Handle {
    /// On tokio or smol.
    Awaited(headwater_tokio::Node),
    /// On mio.
    Mio(headwater_mio::Handle),
}

impl Handle {
    async fn snapshot(self) -> Option<Snapshot> {
        match self {
            Self::Awaited(node) => node.snapshot().await.ok(),
            Self::Mio(handle) => {
                let asked = tokio::task::spawn_blocking(move || handle.snapshot());
                asked.await.ok()?.ok()
            }
        }
    }
}

/// One node, whether it runs or not.
struct Seat {
    name: &'static str,
    id: String,
    handle: Option<Handle>,
}

/// The nodes as they are now. Clones are of the same ones.
#[derive(Clone, Default)]
pub(crate) struct Watch(Arc<Mutex<Vec<Seat>>>);

impl Watch {
    /// A node takes part from now on.
    pub(crate) fn enter(&self, name: &'static str, id: String, handle: Handle) {
        let mut seats = self.lock();
        match seats.iter_mut().find(|seat| seat.name == name) {
            Some(seat) => seat.handle = Some(handle),
            None => seats.push(Seat { name, id, handle: Some(handle) }),
        }
    }

    /// A node is gone for now.
    pub(crate) fn leave(&self, name: &str) {
        for seat in self.lock().iter_mut().filter(|seat| seat.name == name) {
            seat.handle = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Seat>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for Watch {
    fn look(&self) -> Looking<'_> {
        let seats = self.lock();
        let seats = seats.iter().filter_map(|seat| Some((seat.name, seat.handle.clone()?)));
        let seats: Vec<_> = seats.collect();
        Box::pin(async move {
            let mut all = Vec::new();
            for (name, handle) in seats {
                if let Ok(Some(snapshot)) = timeout(PATIENCE, handle.snapshot()).await {
                    all.push((name.to_owned(), snapshot));
                }
            }
            all
        })
    }

    fn cast(&self) -> Vec<(String, Option<String>)> {
        let seats = self.lock();
        seats.iter().map(|seat| (seat.name.to_owned(), Some(seat.id.clone()))).collect()
    }
}
