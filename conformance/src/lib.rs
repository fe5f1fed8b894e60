//! What every adapter of Headwater has to pass on real loopback sockets.
//!
//! An adapter takes part by implementing [`Adapter`] and the traits of what it starts; the
//! [`suite!`] macro then makes one test of each scenario. A scenario has two adapters, which may
//! be the same: so adapters also meet each other. The traits block where an adapter awaits.
//!
//! Scenarios depend on no speed: what has to happen is waited for with [`LONG`], what must not
//! happen is excluded by something that comes after it, and what ends by a deadline of the node
//! gets a short one in its configuration.

#![forbid(unsafe_code)]

mod adapter;
mod pair;
pub mod scenarios;

use std::panic::resume_unwind;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

pub use adapter::{
    Adapter, CallError, ListenError, Messages, Node, Notifications, Running, Stream, Wait,
};

/// Longer than anything takes that has to happen, on a busy machine.
pub const LONG: Duration = Duration::from_secs(30);

/// After this a scenario hangs.
const SCENARIO_MAX: Duration = Duration::from_secs(120);

/// Runs a scenario; one that hangs fails.
///
/// # Panics
///
/// If the scenario does, or if it does not end in time.
pub fn run(scenario: impl FnOnce() + Send + 'static) {
    let (ended, end) = channel::<()>();
    let thread = std::thread::spawn(move || {
        // Dropped at the end, panic or not.
        let _ended = ended;
        scenario();
    });
    if end.recv_timeout(SCENARIO_MAX) == Err(RecvTimeoutError::Timeout) {
        panic!("the scenario hangs");
    }
    if let Err(panic) = thread.join() {
        resume_unwind(panic);
    }
}

/// Makes a module of tests, one for each scenario, in which nodes of two adapters meet.
///
/// `suite!(name, first, second)`; the adapters are expressions, evaluated for each test.
#[macro_export]
macro_rules! suite {
    ($name:ident, $first:expr, $second:expr) => {
        mod $name {
            use super::*;

            $crate::suite! { @tests $first, $second;
                dial {
                    a_port_where_nobody_listens
                    a_name_that_does_not_exist
                    a_name_that_leads_to_a_peer
                    another_peer_than_the_one_that_was_dialled
                    ones_own_id
                    d22_a_listener_that_says_nothing
                    a_peer_that_answers_nonsense
                    a_second_connection_of_one_peer_is_refused_and_the_first_lives_on
                    d67_a_port_in_use
                }
                exchange {
                    protocols_and_peers_are_told_in_order
                    messages_of_all_sizes_cross_both_ways_at_once
                    small_messages_arrive_once_each_while_the_reader_lags
                    what_cannot_be_sent_is_refused_by_type_and_comes_back
                }
            }
        }
    };
    (@tests $first:expr, $second:expr; $($room:ident { $($scenario:ident)+ })+) => {
        $($(
            #[test]
            fn $scenario() {
                $crate::run(|| $crate::scenarios::$room::$scenario(&$first, &$second));
            }
        )+)+
    };
}
