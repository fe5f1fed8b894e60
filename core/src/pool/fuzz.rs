//! Bodies of the fuzz targets of this room; unit tests run them on pseudo-random inputs.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::arithmetic_side_effects)]

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use super::config::PoolConfig;
use super::send::{BorrowError, PoolError, Returned, SendStreamPool, threshold};
use crate::time::Instant;

/// What a stream is in the reference model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Idle since the given step.
    Idle(usize),
    Lent,
}

/// A send stream pool as spec 5.1 tells it, without regard to cost.
struct Model {
    streams: BTreeMap<u8, Place>,
    credit: [u32; 256],
    opening: usize,
    cap: usize,
    closed: bool,
    step: usize,
}

impl Model {
    fn current(&self) -> usize {
        self.streams.len() + self.opening
    }

    fn idle(&self) -> usize {
        self.streams.values().filter(|place| **place != Place::Lent).count()
    }

    fn best(&self, config: &PoolConfig) -> Option<u8> {
        let mut idle: Vec<(usize, u8)> = Vec::new();
        for (key, place) in &self.streams {
            if let Place::Idle(since) = place {
                idle.push((*since, *key));
            }
        }
        idle.sort_unstable();
        let credit = |key: u8| self.credit[usize::from(key)];
        if let Some((_, first)) = idle.first().filter(|(_, key)| credit(*key) >= config.credit_full)
        {
            return Some(*first);
        }
        idle.retain(|(_, key)| credit(*key) >= config.credit_min);
        let most = idle.iter().map(|(_, key)| credit(*key)).max()?;
        idle.iter().find(|(_, key)| credit(*key) == most).map(|(_, key)| *key)
    }

    fn keep(&mut self, key: u8) -> Returned {
        if self.current() >= self.cap {
            return Returned::Close;
        }
        self.streams.insert(key, Place::Idle(self.step));
        Returned::Kept
    }

    fn opened(&mut self, key: u8) -> Result<Returned, PoolError> {
        if self.closed {
            return Ok(Returned::Close);
        }
        if self.opening == 0 {
            return Err(PoolError::NotOpening);
        }
        if self.streams.contains_key(&key) {
            return Err(PoolError::AlreadyOpened);
        }
        self.opening -= 1;
        Ok(self.keep(key))
    }

    fn give_back(&mut self, key: u8) -> Result<Returned, PoolError> {
        if self.closed {
            return Ok(Returned::Close);
        }
        match self.streams.get(&key) {
            None => Err(PoolError::Unknown),
            Some(Place::Idle(_)) => Err(PoolError::AlreadyIdle),
            Some(Place::Lent) => {
                self.streams.remove(&key);
                Ok(self.keep(key))
            }
        }
    }

    fn drop_stream(&mut self, key: u8) -> Result<(), PoolError> {
        let known = self.streams.remove(&key).is_some();
        if known || self.closed { Ok(()) } else { Err(PoolError::Unknown) }
    }

    fn borrow(&mut self, config: &PoolConfig) -> Result<u8, BorrowError> {
        if self.closed {
            return Err(BorrowError::Closed);
        }
        if let Some(key) = self.best(config) {
            self.streams.insert(key, Place::Lent);
            return Ok(key);
        }
        let full = self.current() >= self.cap && self.opening == 0;
        Err(if full { BorrowError::Exhausted } else { BorrowError::Pending })
    }
}

/// Reads `data` as a list of calls to a pool, one in two bytes, and compares every answer and
/// every counter with the model's.
///
/// # Panics
///
/// If they differ, or an invariant of the pool does not hold.
pub fn pool(data: &[u8]) {
    let Some((&[init, cap], calls)) = data.split_first_chunk::<2>() else { return };
    let cap = 1 + usize::from(cap % 32);
    let config = PoolConfig { init: usize::from(init) % cap, cap, ..PoolConfig::default() };
    let mut pool = SendStreamPool::new(config).unwrap();
    let mut model = Model {
        streams: BTreeMap::new(),
        credit: [config.credit_full; 256],
        opening: 0,
        cap,
        closed: false,
        step: 0,
    };
    let mut now = Instant::ZERO;
    pool.start(now);
    for call in calls.chunks_exact(2) {
        model.step += 1;
        let key = call[1];
        match call[0] % 16 {
            0..=2 => {
                let credit = model.credit;
                let borrowed = pool.borrow(|key| credit[usize::from(*key)]);
                assert_eq!(borrowed, model.borrow(&config));
            }
            3..=4 => assert_eq!(pool.opened(key), model.opened(key)),
            5..=6 => assert_eq!(pool.give_back(key), model.give_back(key)),
            7 => {
                let lent = model.streams.iter().find(|(_, place)| **place == Place::Lent);
                if let Some(key) = lent.map(|(key, _)| *key) {
                    assert_eq!(pool.give_back(key), model.give_back(key));
                }
            }
            8 => assert_eq!(pool.drop_stream(key), model.drop_stream(key)),
            9 => assert_eq!(pool.refused(now, key), model.drop_stream(key)),
            10 => {
                let failed = pool.open_failed(now);
                let expected = model.closed || model.opening > 0;
                assert_eq!(failed.is_ok(), expected);
                model.opening = model.opening.saturating_sub(1);
            }
            11 => model.credit[usize::from(key)] = u32::from(call[0]) << 12,
            12 => {
                now = now.after(Duration::from_millis(u64::from(key) * 20));
                pool.handle_timeout(now);
                assert!(pool.next_timeout().is_none_or(|at| at > now));
            }
            13 => check_open(&mut pool, &mut model, &config),
            14 if key < 64 => {
                model.cap = usize::from(key).max(1);
                pool.set_cap(usize::from(key));
                while let Some(key) = pool.poll_surplus() {
                    assert!(model.current() > model.cap);
                    assert!(matches!(model.streams.remove(&key), Some(Place::Idle(_))));
                }
                assert!(model.current() <= model.cap || model.idle() == 0);
            }
            15 if key == 0 => {
                assert_eq!(pool.close().count(), model.streams.len());
                assert_eq!(pool.close().count(), 0);
                model.streams.clear();
                model.opening = 0;
                model.closed = true;
            }
            _ => {}
        }
        pool.assert_invariants();
        let counts = pool.counts();
        assert_eq!(
            (counts.current, counts.idle, counts.opening),
            (model.current(), model.idle(), model.opening)
        );
    }
    assert!(now < Instant::MAX);
}

/// What is opened is within the cap, and after it the pool has no reason to open more.
fn check_open(pool: &mut SendStreamPool<u8>, model: &mut Model, config: &PoolConfig) {
    let wanted = pool.poll_open();
    assert_eq!(pool.poll_open(), 0, "asked again without anything having happened");
    model.opening += wanted;
    if wanted > 0 {
        assert!(!model.closed && pool.next_timeout().is_none());
        assert!(model.current() <= model.cap);
    } else if !model.closed && pool.next_timeout().is_none() && model.current() < model.cap {
        assert!(model.idle() + model.opening > threshold(model.current()));
        assert!(config.init == 0 || model.current() > 0);
    }
}
