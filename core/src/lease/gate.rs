//! The side of one connection: what it has admitted for one purpose.

use super::LEASE_STEP;

/// What one connection has admitted for one purpose, and may admit; see the [module](super).
///
/// ```
/// use headwater_core::lease::{ByteGate, LEASE_STEP};
///
/// let mut gate = ByteGate::new(100, 4 * LEASE_STEP);
/// assert!(gate.admit(80) && !gate.admit(30));
/// assert_eq!(gate.poll_request(), Some(LEASE_STEP));
/// gate.granted(LEASE_STEP);
/// assert!(gate.admit(30));
/// gate.release(80);
/// assert_eq!(gate.poll_return(), Some(LEASE_STEP));
/// ```
#[derive(Clone, Debug)]
pub struct ByteGate {
    /// Bytes that are there without a lease, and the most that may be leased.
    base: usize,
    lease_max: usize,
    step: usize,
    /// It asks as soon as less than this is free.
    ahead: usize,
    /// So much may be free before any of it goes back.
    spare: usize,
    lease: usize,
    in_use: usize,
    /// What is missing for what was refused last, or to be ahead, in whole steps.
    lacking: usize,
    has_asked: bool,
    /// Others wait for what this one leaves free.
    crowded: bool,
    /// Taken off the lease, and not given back yet.
    leaving: usize,
}

impl ByteGate {
    /// A gate that is sure of `base` bytes and may lease up to `lease_max`.
    #[must_use]
    pub const fn new(base: usize, lease_max: usize) -> Self {
        Self {
            base,
            lease_max,
            step: LEASE_STEP,
            ahead: 0,
            spare: 0,
            lease: 0,
            in_use: 0,
            lacking: 0,
            has_asked: false,
            crowded: false,
            leaving: 0,
        }
    }

    /// Has a step free at any time, if it can, so that what comes at the usual pace is not
    /// refused. The first step counts as asked for: whoever makes the connection live does that.
    #[must_use]
    pub const fn with_ahead(self, step: usize) -> Self {
        let spare = step.saturating_mul(2);
        Self { step, ahead: step, spare, has_asked: step > 0, ..self }
    }

    /// Keeps up to so much that is not in use.
    #[must_use]
    pub const fn with_spare(self, spare: usize) -> Self {
        Self { spare, ..self }
    }

    /// Admits `len` bytes if there is room for them; if not it is the turn of these, and nothing
    /// is given back before they fit, or [`ByteGate::forget`], or others wait.
    pub fn admit(&mut self, len: usize) -> bool {
        let admitted = self.in_use.saturating_add(len) <= self.room();
        if admitted {
            self.in_use = self.in_use.saturating_add(len);
            self.want(0);
        } else {
            self.want(len);
        }
        admitted
    }

    /// Asks for room for `len` bytes more, without admitting them.
    pub fn want(&mut self, len: usize) {
        let (room, may_have) = (self.room(), self.lease_max.saturating_sub(self.lease));
        let wanted = self.in_use.saturating_add(len);
        let lacking = wanted.saturating_add(self.ahead).saturating_sub(room);
        // Where even all that may be leased is not enough, some of its own has to go first.
        self.lacking = if wanted.saturating_sub(room) <= may_have {
            self.steps(lacking).min(may_have)
        } else {
            0
        };
    }

    /// Nothing waits any more.
    pub const fn forget(&mut self) {
        self.lacking = 0;
    }

    /// Bytes that were admitted are gone.
    pub fn release(&mut self, len: usize) {
        self.hold(self.in_use.saturating_sub(len));
    }

    /// So many bytes are in use, as somebody counts who keeps within [`ByteGate::room`].
    pub fn hold(&mut self, bytes: usize) {
        self.in_use = bytes;
        if self.crowded {
            self.trim(0);
        }
        if self.ahead > 0 {
            self.want(0);
        }
    }

    /// Others wait for what this one leaves free, or they do no longer.
    pub fn set_crowded(&mut self, crowded: bool) {
        self.crowded = crowded;
        if crowded {
            self.trim(0);
        }
    }

    /// Whether others wait, and this one has more than it is sure of: so many bytes.
    #[must_use]
    pub const fn owes(&self) -> usize {
        if self.crowded { self.in_use.saturating_sub(self.base) } else { 0 }
    }

    /// Takes what to ask the ledger for, once until it is [granted](ByteGate::granted).
    pub const fn poll_request(&mut self) -> Option<usize> {
        if self.lacking == 0 || self.has_asked {
            return None;
        }
        self.has_asked = true;
        Some(self.lacking)
    }

    /// The ledger has granted what was asked for.
    pub fn granted(&mut self, bytes: usize) {
        self.lease = self.lease.saturating_add(bytes);
        self.has_asked = false;
        if self.spare > 0 {
            self.want(0);
        }
    }

    /// Takes what goes back to the ledger: whole steps that are not in use, while nothing waits.
    pub fn poll_return(&mut self) -> Option<usize> {
        if self.lacking == 0 && self.lease > 0 {
            self.trim(self.spare);
        }
        let leaving = core::mem::take(&mut self.leaving);
        (leaving > 0).then_some(leaving)
    }

    /// Gives up whatever it has not in use.
    pub fn give_up(&mut self) {
        self.trim(0);
    }

    /// Takes whole steps off the lease that are beyond what is in use and `spare` bytes.
    fn trim(&mut self, spare: usize) {
        let kept = self.in_use.saturating_add(spare).saturating_sub(self.base);
        let given = self.lease.saturating_sub(self.steps(kept));
        self.lease = self.lease.saturating_sub(given);
        self.leaving = self.leaving.saturating_add(given);
        if self.lacking > 0 {
            self.lacking = self.lacking.saturating_add(given);
        }
    }

    /// So many bytes in whole steps.
    fn steps(&self, bytes: usize) -> usize {
        bytes.div_ceil(self.step.max(1)).saturating_mul(self.step)
    }

    /// Bytes that are admitted.
    #[must_use]
    pub const fn in_use(&self) -> usize {
        self.in_use
    }

    /// Bytes that may be admitted at a time, as the lease is now.
    #[must_use]
    pub const fn room(&self) -> usize {
        self.base.saturating_add(self.lease)
    }

    /// Bytes that it has leased.
    #[must_use]
    pub const fn lease(&self) -> usize {
        self.lease
    }

    /// Bytes that it has leased, or has taken off the lease and not given back yet.
    #[must_use]
    pub const fn charged(&self) -> usize {
        self.lease.saturating_add(self.leaving)
    }
}
