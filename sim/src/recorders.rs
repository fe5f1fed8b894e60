//! Whoever records the nodes of a run.

use std::fmt;
use std::sync::Arc;

use headwater_core::record::Recorder;

/// Gives each life of a node a recorder of its own: which node, and which of its lives.
pub type MakeRecorder<'a> = dyn FnMut(usize, u32) -> Arc<dyn Recorder> + 'a;

/// The recorders of a run, if it is recorded.
#[derive(Default)]
pub(crate) struct Recorders<'a>(pub(crate) Option<&'a mut MakeRecorder<'a>>);

impl Recorders<'_> {
    pub(crate) fn of(&mut self, node: usize, life: u32) -> Option<Arc<dyn Recorder>> {
        self.0.as_mut().map(|make| make(node, life))
    }
}

impl fmt::Debug for Recorders<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Recorders").field(&self.0.is_some()).finish()
    }
}
