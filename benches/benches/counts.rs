//! Operations whose instructions are counted: `.ci/counts` runs each under callgrind, and
//! `counts.txt` has what came of it. Run without, it only sees that they work.
//!
//! `counts NAME` does one; `counts --list` names them, each with how many operations it does.

use headwater_benches::counted::{Count, measured};
use headwater_benches::pair::Pair;
use headwater_benches::{crowd, machines};
use headwater_core::secure::ChannelFactory;

const COUNTS: [Count; 16] = [
    Count { name: "framing-out-128", operations: 10_000, run: machines::framing_out },
    Count { name: "framing-in-128", operations: 10_000, run: machines::framing_in },
    Count { name: "session-frame-4096", operations: 2000, run: machines::session },
    Count { name: "pool-borrow-return", operations: 10_000, run: machines::pool },
    Count { name: "exchange-setup", operations: 20, run: machines::setup },
    Count { name: "exchange-push", operations: 100, run: machines::push },
    Count { name: "supervisor-10000-failure", operations: 10_000, run: machines::supervisor },
    Count { name: "node-10000-tick", operations: 150, run: |n| crowd::ticks(crowd::CROWD, n) },
    Count { name: "node-10000-loss", operations: 10_000, run: crowd::losses },
    Count {
        name: "node-10000-send",
        operations: 5000,
        run: |n| crowd::send_around(crowd::CROWD, n),
    },
    Count { name: "node-10-send", operations: 5000, run: |n| crowd::send_around(10, n) },
    Count { name: "pair-plain-128", operations: 20_000, run: |n| plain(128, n) },
    Count { name: "pair-plain-4096", operations: 4000, run: |n| plain(4096, n) },
    Count { name: "pair-plain-1048576", operations: 32, run: |n| plain(1 << 20, n) },
    Count { name: "pair-tls-128", operations: 20_000, run: |n| tls(128, n) },
    Count { name: "pair-tls-1048576", operations: 8, run: |n| tls(1 << 20, n) },
];

fn plain(len: usize, messages: u32) {
    transfer(&mut Pair::new(), len, messages);
}

fn tls(len: usize, messages: u32) {
    transfer(&mut Pair::tls(), len, messages);
}

/// Sends fresh messages until the windows have their size, then `messages` that count.
fn transfer<F: ChannelFactory>(pair: &mut Pair<F>, len: usize, messages: u32) {
    let payload = vec![7; len];
    pair.transfer(&payload, messages as usize);
    measured(&mut || pair.transfer(&payload, messages as usize));
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|arg| arg == "--list") {
        for count in COUNTS {
            println!("{} {}", count.name, count.operations);
        }
        return;
    }
    for count in COUNTS {
        let asked = args.iter().any(|arg| arg == count.name);
        if asked || args.iter().all(|arg| arg.starts_with("--")) {
            (count.run)(count.operations);
        }
    }
}
