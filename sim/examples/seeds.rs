//! Runs a range of seeds.
#![allow(clippy::disallowed_methods, reason = "it times the simulator, not a node")]
use std::time::Duration;
fn main() {
    let args: Vec<f64> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let trace = std::env::args().any(|a| a == "--trace");
    let get = |n: usize, d: f64| args.get(n).copied().unwrap_or(d);
    let (from, to) = (get(0, 0.0) as u64, get(1, 4.0) as u64);
    let nodes = get(2, 10.0) as usize;
    let time = Duration::from_secs_f64(get(3, 1.0) * 60.0);
    let rate = get(4, 1.0);
    let deep_every = get(5, 64.0) as u64;
    if !trace {
        std::panic::set_hook(Box::new(|info| eprintln!("{info}")));
    }
    for seed in from..to {
        let options =
            headwater_sim::Options { seed, nodes, time, rate, deep_every, ..Default::default() };
        let start = std::time::Instant::now();
        let mut err = std::io::BufWriter::new(std::io::stderr().lock());
        let out: Option<&mut dyn std::io::Write> = if trace { Some(&mut err) } else { None };
        match headwater_sim::run(&options, out) {
            Ok(o) => println!("ok {seed} {:?} {o:?}", start.elapsed()),
            Err(f) => println!("FAIL {f}"),
        }
    }
}
