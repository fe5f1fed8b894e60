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
pub mod hostile;
mod link;
mod pair;
pub mod process;
pub mod scenarios;

use std::panic::resume_unwind;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

pub use adapter::{
    Adapter, CallError, ListenError, Messages, Node, Notifications, Running, Security, Stream, Wait,
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

/// Makes a module of tests in which hostile peers attack a node of the first adapter while one of
/// the second goes about its business.
///
/// `attacks!(name, first, second)`. What attacks has no key: the adapters are without security.
#[macro_export]
macro_rules! attacks {
    ($name:ident, $first:expr, $second:expr) => {
        mod $name {
            use super::*;

            $crate::suite! { @tests $first, $second;
                attacks {
                    packages_beyond_a_limit_reset_their_stream_alone
                    d02_messages_that_never_end_are_reset
                    floods_end_their_connection_alone
                    violations_end_their_connection_alone
                    d108_frames_for_closed_and_unknown_streams_change_nothing
                    exchanges_that_are_not_what_they_claim_are_refused
                    d75_a_link_of_the_other_kind_is_refused
                    d21_half_and_slow_handshakes_end_at_their_deadline
                    d21_a_flood_of_handshakes_keeps_no_good_peer_out
                    d33_what_a_peer_never_takes_is_told_of
                }
            }
        }
    };
}

/// Makes a module of tests, one for each scenario in which two nodes have most to do with each
/// other: for adapters that pass the whole [`suite!`] by themselves, or share what does.
///
/// `encounter!(name, first, second)`.
#[macro_export]
macro_rules! encounter {
    ($name:ident, $first:expr, $second:expr) => {
        mod $name {
            use super::*;

            $crate::suite! { @tests $first, $second;
                dial {
                    a_name_that_leads_to_a_peer
                }
                exchange {
                    protocols_and_peers_are_told_in_order
                    messages_of_all_sizes_cross_both_ways_at_once
                    small_messages_arrive_once_each_while_the_reader_lags
                }
                healing {
                    a_required_peer_is_found_when_it_listens_and_again_after_it_was_gone
                }
                loss {
                    a_link_that_is_reset_is_told_and_made_anew
                    what_is_lost_with_a_link_is_counted
                }
                pressure {
                    a_reader_that_stops_fills_the_sender_and_loses_nothing
                    a_stop_wakes_one_who_waits_for_room
                }
                stop {
                    what_was_queued_arrives_and_both_sides_are_told
                    a_stopped_node_says_so_and_leaves_nothing
                }
                streams {
                    d28_a_borrowed_stream_keeps_the_order
                }
            }
        }
    };
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
                calls {
                    d19_a_receiver_that_panics_leaves_the_node_alone
                    d40_calls_may_be_made_while_notifications_are_read
                    calls_are_answered_although_nobody_reads_notifications
                }
                crowd {
                    a_full_node_takes_twenty_and_tells_why_it_refuses_the_others
                }
                dial {
                    a_port_where_nobody_listens
                    a_name_that_does_not_exist
                    a_name_that_leads_to_a_peer
                    another_peer_than_the_one_that_was_dialled
                    ones_own_id
                    d22_a_listener_that_says_nothing
                    an_accepted_link_that_says_nothing
                    a_peer_that_answers_nonsense
                    a_second_connection_of_one_peer_is_refused_and_the_first_lives_on
                    d67_a_port_in_use
                }
                exchange {
                    protocols_and_peers_are_told_in_order
                    messages_of_all_sizes_cross_both_ways_at_once
                    small_messages_arrive_once_each_while_the_reader_lags
                    what_cannot_be_sent_is_refused_by_type_and_comes_back
                    a_message_can_be_answered_as_soon_as_it_is_read
                }
                healing {
                    a_required_peer_is_found_when_it_listens_and_again_after_it_was_gone
                    a_required_peer_is_left_alone_when_it_is_disconnected_or_released
                    d68_a_blocked_peer_is_cut_off_and_kept_out_until_the_rule_goes
                }
                inside {
                    both_sides_count_the_same_also_after_the_end
                    it_says_why_a_peer_is_not_connected
                    it_says_what_blocks_a_connection
                }
                loss {
                    a_link_that_is_reset_is_told_and_made_anew
                    a_link_that_ends_is_told
                    what_is_lost_with_a_link_is_counted
                    a_peer_that_falls_silent_is_given_up
                    a_peer_that_takes_nothing_for_a_while_loses_what_waited
                    a_peer_that_stops_after_its_id_is_given_up
                }
                pressure {
                    a_reader_that_stops_fills_the_sender_and_loses_nothing
                    d47_a_protocol_is_told_of_past_a_reader_that_stops
                    what_was_not_sent_in_time_is_not_sent
                    one_who_waits_for_room_goes_on_when_there_is_some
                    a_stop_leaves_what_had_come_to_the_reader
                    a_stop_wakes_one_who_waits_for_room
                    peers_that_come_and_go_leave_a_bounded_heap
                }
                recording {
                    a_recorded_session_replays_to_the_same_outputs
                }
                secrecy {
                    what_passes_between_nodes_can_be_read_only_without_security
                }
                stop {
                    what_was_queued_arrives_and_both_sides_are_told
                    listeners_go_first
                    a_stopped_node_says_so_and_leaves_nothing
                    a_stop_does_not_wait_for_a_peer_for_ever
                    a_stop_ends_a_dial
                    d44_dropping_every_handle_stops_the_node
                    a_node_restarts_on_its_port_at_once
                }
                streams {
                    d28_a_borrowed_stream_keeps_the_order
                    a_stream_is_full_until_the_peer_reads
                    a_stream_is_lost_with_its_connection
                    streams_go_back_and_are_waited_for
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
