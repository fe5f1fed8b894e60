//! The body of the config fuzz target: a checker that panics when a promise is broken.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::unwrap_used,
    reason = "it is a test"
)]

use alloc::string::ToString;
use core::net::SocketAddr;
use core::time::Duration;

use super::Config;
use crate::contract::{Command, Event};
use crate::endpoint::Endpoint;
use crate::id::PeerId;
use crate::secure::Insecure;
use crate::seed::Seed;
use crate::time::Instant;

const LOCAL: &[u8] = b"QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4";
const REMOTE: &[u8] = b"QmaZbkcHNW7V3r63aFGXr8o6UVVvQWLEHpMoseFo6UUJwR";

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// As it was, near a power of two, or anything.
    fn number(&mut self, own: usize) -> usize {
        let (choice, value) = (self.byte(), usize::from(self.byte()));
        match choice {
            0..=99 => own,
            100..=179 => {
                (1_usize << (value % 64)).wrapping_add(usize::from(choice)).wrapping_sub(140)
            }
            180..=219 => value,
            _ => own.wrapping_mul(value) >> 6,
        }
    }
}

/// Takes `data` as a configuration, and as the memory that it is to fit in. A configuration that
/// is good runs a node that takes a link; another one says which value is not.
///
/// # Panics
///
/// If a promise is broken.
pub fn config(data: &[u8]) {
    let mut input = Input(data);
    let preset = if input.byte() % 2 == 0 { Config::default() } else { Config::interop() };
    let config = changed(&mut input, preset);
    check(&config);
    let memory = input.number(512 << 20);
    match config.clone().fit_memory(memory) {
        Ok(fitted) => {
            assert_eq!((fitted.validate(), fitted.max_memory), (Ok(()), Some(memory)));
            assert!(fitted.overcommit || fitted.memory_max() <= memory);
            assert!(fitted.memory_max() <= config.memory_max());
            assert!(fitted.receive_streams_max >= 12 && fitted.peers_max == config.peers_max);
            check(&fitted);
            let more = config.fit_memory(memory.saturating_add(1 << 20)).unwrap();
            assert!(more.receive_streams_max >= fitted.receive_streams_max);
        }
        Err(error) if error.key == "max_memory" => {
            assert!(!config.overcommit && error.actual < error.min);
            let least = usize::try_from(error.min).unwrap();
            assert!(config.fit_memory(least).is_ok(), "{least} would do");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn changed(input: &mut Input<'_>, mut config: Config) -> Config {
    for size in [
        &mut config.message_max,
        &mut config.assembly_max,
        &mut config.leases_max,
        &mut config.protocols_max,
        &mut config.send_streams_initial,
        &mut config.send_streams_max,
        &mut config.receive_streams_max,
        &mut config.peers_max,
        &mut config.connections_per_peer_max,
        &mut config.pending_max,
        &mut config.pending_per_source_max,
        &mut config.ending_max,
        &mut config.required_max,
        &mut config.required_dials_max,
        &mut config.rules_max,
        &mut config.addresses_max,
        &mut config.dials_max,
        &mut config.outbox_max,
        &mut config.large_min,
        &mut config.output_max,
        &mut config.inbox_max,
        &mut config.slab,
        &mut config.slabs_max,
        &mut config.progress_min,
    ] {
        *size = input.number(*size);
    }
    for window in [&mut config.window_inner_max, &mut config.window_outer_max] {
        *window = input.number(*window as usize) as u32;
    }
    config.window_growth_max = input.number(config.window_growth_max as usize) as u64;
    config.offences_max = input.number(config.offences_max as usize) as u32;
    for time in [
        &mut config.handshake_deadline,
        &mut config.exchange_deadline,
        &mut config.dial_deadline,
        &mut config.send_deadline,
        &mut config.close_deadline,
        &mut config.keep_alive,
        &mut config.pong_deadline,
        &mut config.push_deadline,
        &mut config.progress_interval,
    ] {
        *time = Duration::from_millis(input.number(time.as_millis() as usize) as u64);
    }
    config.max_memory = (input.byte() > 220).then(|| input.number(1 << 30));
    config.overcommit = input.byte() > 200;
    config
}

fn check(config: &Config) {
    let sum = config.memory_max();
    let local = PeerId::from_bytes(LOCAL).unwrap();
    let now = Instant::from_nanos(1 << 40);
    let factory = Insecure::new(local).unwrap();
    let made = Endpoint::new(config.clone(), Seed::from_u64(1), factory, now);
    let mut endpoint = match (config.validate(), made) {
        (Ok(()), Ok(endpoint)) => endpoint,
        (Err(error), Err(same)) => {
            assert_eq!(error, same);
            assert!(error.actual < error.min || error.actual > error.max, "{error}");
            return;
        }
        (validated, made) => panic!("{validated:?}, {:?}", made.map(|_| "made")),
    };
    assert!(sum >= config.connection_memory_max() && sum >= config.handshake_memory_max());
    run(&mut endpoint, now);
}

/// A link that says who it is, then nothing; and a stop.
fn run(endpoint: &mut Endpoint<Insecure>, now: Instant) {
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    let listener = endpoint.listen(now, address).unwrap();
    while let Some(Command::Listen { .. }) = endpoint.poll_command() {
        endpoint.handle_event(now, Event::Listening { listener, local: address });
    }
    let id = endpoint.handle_accepted(now, listener, address).unwrap();
    if let Some(buffer) = endpoint.recv_buf(id) {
        assert!(buffer.capacity() >= REMOTE.len());
        buffer.extend_from_slice(REMOTE);
        endpoint.handle_received(now, id).unwrap();
    }
    let mut chunks: [&[u8]; 4] = [&[]; 4];
    let count = endpoint.transmit(now, id, &mut chunks);
    let said: usize = chunks.iter().take(count).map(|chunk| chunk.len()).sum();
    assert!(said >= LOCAL.len(), "it says who it is, too");
    endpoint.handle_transmitted(now, id, said);
    endpoint.assert_invariants();
    let mut now = now;
    endpoint.stop(now);
    for _ in 0..64 {
        while endpoint.poll_command().is_some() {}
        while endpoint.poll_notification().is_some() {}
        let Some(next) = endpoint.next_timeout() else { break };
        now = now.max(next.at);
        endpoint.handle_timeout(now);
    }
    assert!(endpoint.is_stopped());
}

#[cfg(test)]
mod tests {
    use super::config;
    use crate::seed::Seed;
    use std::vec::Vec;

    #[test]
    fn any_configuration_runs_or_is_refused() {
        let mut rng = Seed::from_u64(6).rng("config", 0);
        for round in 0..2000 {
            // Few changes, or none is ever good.
            let often = 1 + round % 12;
            let data: Vec<u8> = (0..80)
                .map(|_| if rng.below(often) == 0 { rng.next_u64() as u8 } else { 0 })
                .collect();
            config(&data);
        }
    }
}
