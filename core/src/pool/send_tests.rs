use std::collections::VecDeque;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::pool::fuzz;
use crate::seed::Seed;

const FULL: u32 = 256 << 10;

fn full(_: &u32) -> u32 {
    FULL
}

fn ms(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

/// An owner that opens every stream it is asked for at once.
struct Owner {
    pool: SendStreamPool<u32>,
    next: u32,
}

impl Owner {
    fn new(init: usize, cap: usize) -> Self {
        let config = PoolConfig { init, cap, ..PoolConfig::default() };
        let mut owner = Self { pool: SendStreamPool::new(config).unwrap(), next: 1 };
        owner.pool.start(ms(0));
        owner.open();
        owner
    }

    fn open(&mut self) -> usize {
        let wanted = self.pool.poll_open();
        for _ in 0..wanted {
            assert_eq!(self.pool.opened(self.next), Ok(Returned::Kept));
            self.next += 2;
        }
        self.pool.assert_invariants();
        wanted
    }

    fn borrow(&mut self) -> Result<u32, BorrowError> {
        let borrowed = self.pool.borrow(full);
        self.open();
        borrowed
    }

    fn state(&self) -> (usize, usize, usize) {
        let counts = self.pool.counts();
        (counts.current, counts.idle, counts.lent)
    }
}

#[test]
fn d8_sizes_that_make_no_sense_are_an_error() {
    let base = PoolConfig::default();
    let cases = [
        (base, None),
        (PoolConfig { cap: 0, ..base }, Some(PoolConfigError::Cap { actual: 0 })),
        (PoolConfig { cap: 1025, ..base }, Some(PoolConfigError::Cap { actual: 1025 })),
        (PoolConfig { init: 0, cap: 1, ..base }, None),
        (
            PoolConfig { init: 100, ..base },
            Some(PoolConfigError::InitNotBelowCap { init: 100, cap: 100 }),
        ),
        (
            PoolConfig { credit_min: 2, credit_full: 1, ..base },
            Some(PoolConfigError::CreditOrder { credit_min: 2, credit_full: 1 }),
        ),
        (
            PoolConfig { backoff_min: Duration::ZERO, ..base },
            Some(PoolConfigError::Backoff {
                backoff_min: Duration::ZERO,
                backoff_max: base.backoff_max,
            }),
        ),
    ];
    for (config, expected) in cases {
        assert_eq!(SendStreamPool::<u32>::new(config).err(), expected, "{config:?}");
    }
}

#[test]
fn threshold_is_a_fifth_rounded() {
    let table = [(0, 0), (2, 0), (3, 1), (7, 1), (8, 2), (10, 2), (12, 2), (13, 3), (15, 3)];
    for (current, expected) in table.into_iter().chain([(18, 4), (100, 20)]) {
        assert_eq!(threshold(current), expected, "of {current}");
    }
    assert!(threshold(usize::MAX) > 0);
}

#[test]
fn the_pool_grows_by_half_of_init_when_a_fifth_is_left() {
    let mut owner = Owner::new(10, 20);
    assert_eq!(owner.state(), (10, 10, 0));
    let mut seen = Vec::new();
    for _ in 0..20 {
        owner.borrow().unwrap();
        seen.push(owner.state());
    }
    // 8 of 10 lent: 2 are left, 5 more come. 12 of 15 lent: 3 are left, 5 more, the last.
    assert_eq!(seen[6], (10, 3, 7));
    assert_eq!(seen[7], (15, 7, 8));
    assert_eq!(seen[10], (15, 4, 11)); // the original's own test: at least 4 idle
    assert_eq!(seen[11], (20, 8, 12));
    assert_eq!(seen[19], (20, 0, 20));
    assert_eq!(owner.borrow(), Err(BorrowError::Exhausted));
}

#[test]
fn a_busy_pool_ends_with_all_streams_idle() {
    let mut owner = Owner::new(10, 20);
    let mut rng = Seed::from_u64(1).rng("pool", 0);
    let mut lent = VecDeque::new();
    for _ in 0..2000 {
        if rng.below(20) >= lent.len() as u64 {
            lent.extend(owner.borrow());
        } else {
            let key = lent.pop_front().unwrap();
            assert_eq!(owner.pool.give_back(key), Ok(Returned::Kept));
        }
    }
    lent.extend(core::iter::from_fn(|| owner.borrow().ok()));
    for key in lent {
        assert_eq!(owner.pool.give_back(key), Ok(Returned::Kept));
    }
    assert_eq!(owner.state(), (20, 20, 0));
}

#[test]
fn streams_that_are_opening_count() {
    let config = PoolConfig { init: 4, cap: 5, ..PoolConfig::default() };
    let mut pool = SendStreamPool::new(config).unwrap();
    assert_eq!((pool.poll_open(), pool.borrow(full)), (0, Err(BorrowError::Pending)));
    pool.start(ms(0));
    pool.start(ms(0));
    assert_eq!((pool.poll_open(), pool.poll_open()), (4, 0));
    assert_eq!(pool.borrow(full), Err(BorrowError::Pending));
    let counts = PoolCounts { max: 5, current: 4, idle: 0, lent: 0, opening: 4 };
    assert_eq!(pool.counts(), counts);
    assert_eq!(pool.opened(1), Ok(Returned::Kept));
    assert_eq!(pool.opened(1), Err(PoolError::AlreadyOpened));
    assert_eq!(pool.borrow(full), Ok(1));
    let counts = PoolCounts { max: 5, current: 4, idle: 0, lent: 1, opening: 3 };
    assert_eq!(pool.counts(), counts);
    for key in [3, 5, 7] {
        assert_eq!(pool.opened(key), Ok(Returned::Kept));
    }
    assert_eq!(pool.opened(9), Err(PoolError::NotOpening));
    assert_eq!(pool.open_failed(ms(0)), Err(PoolError::NotOpening));
}

#[test]
fn the_stream_with_the_most_credit_is_lent() {
    let table: [(&[u32], Option<usize>); 9] = [
        (&[FULL, FULL + 1, 0], Some(0)),    // the first will do
        (&[FULL / 2, FULL, FULL], Some(0)), // so will this one
        (&[FULL / 2 - 1, FULL, FULL], Some(1)),
        (&[FULL / 2 - 1, FULL / 2 + 1, 7], Some(1)),
        (&[FULL / 2, FULL / 2, 7], Some(0)),
        (&[FULL / 2 - 1, FULL / 2, 7], Some(1)),
        (&[FULL / 2 - 1, 0, 7], None),
        (&[0, 0, FULL], Some(2)),
        (&[0, 0, 0], None),
    ];
    for (credits, expected) in table {
        let mut owner = Owner::new(3, 4);
        let lent = owner.pool.borrow(|key| credits[(*key as usize - 1) / 2]);
        assert_eq!(lent.ok(), expected.map(|at| at as u32 * 2 + 1), "{credits:?}");
        // Streams without credit do not count as idle: the pool grows instead.
        assert_eq!(owner.open(), usize::from(expected.is_none()));
    }
}

#[test]
fn a_pool_without_credit_grows_to_the_cap_and_is_exhausted() {
    let mut owner = Owner::new(4, 7);
    assert_eq!(owner.pool.borrow(|_| 0), Err(BorrowError::Pending));
    assert_eq!((owner.open(), owner.pool.borrow(|_| 0)), (2, Err(BorrowError::Pending)));
    assert_eq!((owner.open(), owner.pool.borrow(|_| 0)), (1, Err(BorrowError::Exhausted)));
    assert_eq!(owner.state(), (7, 7, 0));
    assert_eq!(owner.pool.borrow(full), Ok(1));
}

#[test]
fn a_pool_that_got_its_credit_back_does_not_grow_for_it() {
    let mut owner = Owner::new(4, 7);
    assert_eq!(owner.pool.borrow(|_| 0), Err(BorrowError::Pending));
    let key = owner.pool.borrow(full).unwrap();
    assert_eq!((owner.open(), owner.pool.give_back(key)), (0, Ok(Returned::Kept)));
    assert_eq!(owner.open(), 0);
}

#[test]
fn streams_are_lent_in_turn() {
    let mut owner = Owner::new(3, 4);
    let turns: Vec<u32> = (0..5)
        .map(|_| {
            let key = owner.pool.borrow(full).unwrap();
            assert_eq!(owner.pool.give_back(key), Ok(Returned::Kept));
            key
        })
        .collect();
    assert_eq!(turns, [1, 3, 5, 1, 3]);
}

#[test]
fn d34_dropping_all_streams_opens_new_ones() {
    let mut owner = Owner::new(10, 20);
    for _ in 0..10 {
        let key = owner.pool.borrow(full).unwrap();
        assert_eq!(owner.pool.drop_stream(key), Ok(()));
    }
    assert_eq!(owner.pool.borrow(full), Err(BorrowError::Pending));
    assert_eq!(owner.open(), 5);
    assert!(owner.borrow().is_ok());
}

#[test]
fn d34_a_start_that_failed_is_made_good() {
    let config = PoolConfig { init: 2, cap: 4, ..PoolConfig::default() };
    let mut pool = SendStreamPool::new(config).unwrap();
    pool.start(ms(0));
    assert_eq!(pool.poll_open(), 2);
    assert_eq!((pool.open_failed(ms(0)), pool.open_failed(ms(0))), (Ok(()), Ok(())));
    assert_eq!(pool.borrow(full), Err(BorrowError::Pending));
    assert_eq!((pool.poll_open(), pool.next_timeout()), (0, Some(ms(100))));
    pool.handle_timeout(ms(100));
    assert_eq!(pool.poll_open(), 1);
    assert_eq!(pool.opened(1), Ok(Returned::Kept));
    assert_eq!(pool.borrow(full), Ok(1));
}

#[test]
fn d35_after_close_nothing_is_lent_and_everything_is_closed() {
    let mut owner = Owner::new(4, 8);
    let lent = owner.borrow().unwrap();
    for _ in 0..3 {
        owner.pool.borrow(full).unwrap();
    }
    let opening = owner.pool.poll_open();
    assert_eq!(opening, 2);
    let mut closed: Vec<u32> = owner.pool.close().collect();
    closed.sort_unstable();
    assert_eq!(closed, [1, 3, 5, 7]);
    assert_eq!(owner.pool.counts(), PoolCounts::default());
    assert_eq!(owner.pool.close().count(), 0);
    assert_eq!(owner.pool.borrow(full), Err(BorrowError::Closed));
    assert_eq!(owner.pool.give_back(lent), Ok(Returned::Close));
    assert_eq!(owner.pool.opened(99), Ok(Returned::Close));
    assert_eq!(owner.pool.open_failed(ms(0)), Ok(()));
    assert_eq!(owner.pool.drop_stream(1), Ok(()));
    owner.pool.start(ms(0));
    assert_eq!((owner.pool.poll_open(), owner.pool.next_timeout()), (0, None));
    owner.pool.assert_invariants();
}

#[test]
fn d36_failed_opens_wait_longer_and_longer() {
    let mut owner = Owner::new(0, 4);
    let key = owner.pool.borrow(full).unwrap();
    owner.pool.drop_stream(key).unwrap();
    let mut now = ms(0);
    let mut waits = Vec::new();
    for _ in 0..9 {
        assert!(owner.pool.poll_open() > 0);
        owner.pool.open_failed(now).unwrap();
        assert_eq!(owner.pool.poll_open(), 0);
        let at = owner.pool.next_timeout().unwrap();
        owner.pool.handle_timeout(Instant::from_nanos(at.as_nanos() - 1));
        assert_eq!(owner.pool.next_timeout(), Some(at), "too early");
        waits.push(at.since(now).as_millis());
        now = at;
        owner.pool.handle_timeout(now);
        assert_eq!(owner.pool.next_timeout(), None);
    }
    assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
    // A quiet time as long as the longest wait makes the next one short again.
    now = now.after(Duration::from_millis(5001));
    assert!(owner.pool.poll_open() > 0);
    owner.pool.open_failed(now).unwrap();
    assert_eq!(owner.pool.next_timeout(), Some(now.after(Duration::from_millis(100))));
}

#[test]
fn a_peer_that_refuses_streams_is_not_asked_at_once_again() {
    let mut owner = Owner::new(4, 20);
    let lent: Vec<u32> = (0..4).map(|_| owner.pool.borrow(full).unwrap()).collect();
    assert_eq!(owner.open(), 2);
    assert_eq!((owner.pool.refused(ms(5), 9), owner.pool.refused(ms(6), 11)), (Ok(()), Ok(())));
    assert_eq!(owner.pool.refused(ms(6), 11), Err(PoolError::Unknown));
    assert_eq!((owner.open(), owner.pool.next_timeout()), (0, Some(ms(105))));
    assert_eq!(owner.pool.give_back(lent[0]), Ok(Returned::Kept));
    owner.pool.handle_timeout(ms(105));
    assert_eq!(owner.open(), 2); // one of four is idle, that is the threshold
}

#[test]
fn d37_foreign_and_double_returns_change_nothing() {
    let mut owner = Owner::new(3, 4);
    let key = owner.pool.borrow(full).unwrap();
    let before = owner.state();
    assert_eq!(owner.pool.give_back(77), Err(PoolError::Unknown));
    assert_eq!(owner.pool.give_back(3), Err(PoolError::AlreadyIdle));
    assert_eq!(owner.pool.drop_stream(77), Err(PoolError::Unknown));
    assert_eq!(owner.state(), before);
    assert_eq!(owner.pool.give_back(key), Ok(Returned::Kept));
    assert_eq!(owner.pool.give_back(key), Err(PoolError::AlreadyIdle));
    assert_eq!(owner.state(), (3, 3, 0));
    assert_eq!(owner.pool.drop_stream(key), Ok(()));
    assert_eq!(owner.pool.drop_stream(key), Err(PoolError::Unknown));
    assert_eq!(owner.state(), (2, 2, 0));
}

#[test]
fn a_lowered_cap_is_reached_by_closing_what_comes_back() {
    let mut owner = Owner::new(6, 8);
    let lent: Vec<u32> = (0..3).map(|_| owner.pool.borrow(full).unwrap()).collect();
    owner.pool.set_cap(2);
    assert_eq!((owner.pool.poll_surplus(), owner.pool.poll_surplus()), (Some(11), Some(9)));
    assert_eq!((owner.pool.poll_surplus(), owner.pool.poll_surplus()), (Some(7), None));
    assert_eq!(owner.pool.borrow(full), Err(BorrowError::Exhausted));
    let returned: Vec<_> = lent.iter().map(|key| owner.pool.give_back(*key)).collect();
    assert_eq!(returned, [Ok(Returned::Close), Ok(Returned::Kept), Ok(Returned::Kept)]);
    assert_eq!((owner.state(), owner.open()), ((2, 2, 0), 0));
    owner.pool.set_cap(0);
    assert_eq!(owner.pool.counts().max, 1);
}

#[test]
fn the_model_agrees_on_random_calls() {
    for id in 0..400 {
        let mut rng = Seed::from_u64(7).rng("pool fuzz", id);
        let data: Vec<u8> = (0..600)
            .map(|at| {
                // Few keys, so that calls meet.
                let byte = rng.next_u64() as u8;
                if at > 1 && at % 2 == 1 && id % 4 != 0 { byte % 40 } else { byte }
            })
            .collect();
        fuzz::pool(&data);
    }
}

proptest! {
    #[test]
    fn the_model_agrees(data in prop::collection::vec(any::<u8>(), 0..400)) {
        fuzz::pool(&data);
    }
}
