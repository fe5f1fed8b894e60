//! What is under way while small messages come beside large ones.

use std::time::Duration;

use headwater_core::secure::Insecure;

use crate::harness::{World, pair, protocol};

const MIB: usize = 1 << 20;

/// From one read of the slower end to the next.
const TICK: Duration = Duration::from_micros(50);

/// A node that sends bulk to another one, which reads slower than the first one writes.
struct Flow {
    world: World<Insecure>,
    bulk: bytes::Bytes,
    written: usize,
    heard: usize,
}

impl Flow {
    fn new(seed: u64) -> Self {
        let mut world = pair::<Insecure>(seed);
        world.listen(1);
        world.pipe_max = 64 * MIB;
        let address = world.address(1);
        let now = world.now;
        world.ends[0].endpoint.dial(now, address).unwrap();
        // Pings take their time.
        for _ in 0..100 {
            world.step();
            world.now = world.now.after(Duration::from_micros(200));
        }
        Self { world, bulk: vec![7; MIB].into(), written: 0, heard: 0 }
    }

    /// Ticks, with a small message in every 20th if asked for; the most bytes that were under way
    /// in the second half, and how many were read in it.
    fn run(&mut self, ticks: usize, small: bool) -> (usize, usize) {
        let (mut most, mut before) = (0, 0);
        for tick in 0..ticks {
            let (now, peer) = (self.world.now, self.world.ends[1].endpoint.local());
            let from = &mut self.world.ends[0].endpoint;
            while from.send(now, &peer, &protocol("/echo"), self.bulk.clone()).is_ok() {}
            if small && tick % 20 == 0 {
                from.send(now, &peer, &protocol("/echo"), vec![1; 100].into()).unwrap();
            }
            self.world.step();
            self.world.now = now.after(TICK);
            self.written += std::mem::take(&mut self.world.ends[0].written).len();
            let heard = std::mem::take(&mut self.world.ends[1].heard);
            self.heard += heard.values().flatten().map(Vec::len).sum::<usize>();
            self.world.ends[1].messages.clear();
            if tick == ticks / 2 {
                (most, before) = (0, self.heard);
            }
            most = most.max(self.written - self.heard);
        }
        (most, self.heard - before)
    }
}

#[test]
fn small_messages_beside_large_ones_hold_back_what_is_under_way_and_nobody_waits_for_it() {
    let mut flow = Flow::new(8);
    let (alone, read_alone) = flow.run(1000, false);
    assert!(alone > 3 * MIB, "the window does not grow: {alone}");
    let (beside, read_beside) = flow.run(1000, true);
    assert!(beside < alone / 2, "{beside} bytes are under way, {alone} before");
    assert!(read_beside > read_alone * 95 / 100, "{read_beside} read, {read_alone} before");
    // A second after the last small one the window is what it was.
    flow.world.advance(Duration::from_secs(1));
    let (after, _) = flow.run(1000, false);
    assert!(after > alone * 9 / 10, "{after} bytes are under way, {alone} before");
}
