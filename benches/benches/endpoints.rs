//! A pair of endpoints in memory, plain and with TLS, a fresh payload for each message: what the
//! machines cost without any system call. `ceiling` copies the payloads and nothing else.

#![allow(missing_docs, reason = "what the macro makes has none")]

use bytes::{Bytes, BytesMut};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use headwater_benches::pair::Pair;

fn messages(criterion: &mut Criterion) {
    for (len, count) in [(128_usize, 10_000_usize), (4096, 4000), (1 << 20, 32)] {
        let mut group = criterion.benchmark_group(format!("endpoints/{len}"));
        group.throughput(Throughput::Bytes((len * count) as u64));
        let fresh = vec![7_u8; len];
        group.bench_function(BenchmarkId::from_parameter("plain"), |bencher| {
            let mut pair = Pair::new();
            bencher.iter(|| pair.transfer(&fresh, count));
        });
        group.bench_function(BenchmarkId::from_parameter("tls"), |bencher| {
            let mut pair = Pair::tls();
            bencher.iter(|| pair.transfer(&fresh, count));
        });
        group.bench_function(BenchmarkId::from_parameter("ceiling"), |bencher| {
            let mut pipe = BytesMut::with_capacity(1 << 21);
            bencher.iter(|| {
                for _ in 0..count {
                    let payload = Bytes::copy_from_slice(&fresh);
                    if pipe.len() + len > pipe.capacity() {
                        pipe.clear();
                    }
                    pipe.extend_from_slice(&payload);
                }
                std::hint::black_box(&pipe);
            });
        });
        group.finish();
    }
}

criterion_group!(benches, messages);
criterion_main!(benches);
