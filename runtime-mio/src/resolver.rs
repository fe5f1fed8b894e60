//! Names are resolved on helper threads: the system's resolver blocks.
//!
//! Threads are started when they are needed, [`THREADS_MAX`] at most, so one name server that
//! does not answer holds up no other question. Core gives up a question by its own deadline; the
//! late answer is told by its id.
//!
//! Bounds: [`WAITING_MAX`] questions wait, further ones fail at once; an answer holds eight
//! addresses, and there is one for each question.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::{io, thread};

use headwater_core::address::Family;
use headwater_core::contract::{Event, IoCause, QueryId};

use crate::cause;
use crate::lock;
use crate::signal::Signal;

/// Questions that wait for a thread.
const WAITING_MAX: usize = 64;
/// Threads that ask.
const THREADS_MAX: usize = 4;
/// Addresses of one name that are of use to core.
const ADDRESSES_MAX: usize = 8;

/// Asks the system's resolver.
#[derive(Debug)]
pub(crate) struct Resolver {
    questions: SyncSender<Question>,
    /// Shared by the threads; they end when `questions` is dropped.
    inbox: Arc<Mutex<Receiver<Question>>>,
    answers: Arc<Answers>,
    threads: usize,
    /// Questions asked and not answered.
    open: usize,
}

#[derive(Debug)]
struct Question {
    query: QueryId,
    name: Arc<str>,
    port: u16,
    family: Family,
}

#[derive(Debug)]
struct Answers {
    ready: Mutex<Vec<Event>>,
    signal: Arc<Signal>,
}

impl Resolver {
    pub(crate) fn new(signal: Arc<Signal>) -> Self {
        let (questions, inbox) = sync_channel(WAITING_MAX);
        let answers = Arc::new(Answers { ready: Mutex::default(), signal });
        Self { questions, inbox: Arc::new(Mutex::new(inbox)), answers, threads: 0, open: 0 }
    }

    /// Asks; the answer comes with [`Resolver::poll_answer`]. A question that cannot even be
    /// asked is answered in the same way.
    pub(crate) fn ask(&mut self, query: QueryId, name: Arc<str>, port: u16, family: Family) {
        self.open += 1;
        if self.threads < THREADS_MAX && self.threads < self.open {
            // Without a thread the question waits for one of the others, if there is any.
            self.threads += usize::from(self.start_thread().is_ok());
        }
        let question = Question { query, name, port, family };
        if self.threads == 0 || self.questions.try_send(question).is_err() {
            self.answers.give(Event::ResolveFailed { query, cause: IoCause::Other });
        }
    }

    /// Takes the next answer.
    pub(crate) fn poll_answer(&mut self) -> Option<Event> {
        if self.open == 0 {
            return None;
        }
        let answer = lock(&self.answers.ready).pop()?;
        self.open -= 1;
        Some(answer)
    }

    fn start_thread(&self) -> io::Result<()> {
        let inbox = Arc::clone(&self.inbox);
        let answers = Arc::clone(&self.answers);
        thread::Builder::new().name("headwater-resolver".into()).spawn(move || {
            loop {
                let next = lock(&inbox).recv();
                let Ok(question) = next else { break };
                answers.give(answer(&question));
            }
        })?;
        Ok(())
    }
}

impl Answers {
    fn give(&self, answer: Event) {
        lock(&self.ready).push(answer);
        // It fails only where the system is out of memory; the loop finds the answer when it is
        // awake next.
        let _ = self.signal.wake();
    }
}

fn answer(question: &Question) -> Event {
    let Question { query, name, port, family } = question;
    match (&**name, *port).to_socket_addrs() {
        Ok(found) => {
            let addresses = found.filter(|address| is_of(*family, address));
            Event::Resolved { query: *query, addresses: addresses.take(ADDRESSES_MAX).collect() }
        }
        Err(error) => Event::ResolveFailed { query: *query, cause: cause::of_lookup(&error) },
    }
}

fn is_of(family: Family, address: &SocketAddr) -> bool {
    match family {
        Family::Any => true,
        Family::V4 => address.is_ipv4(),
        Family::V6 => address.is_ipv6(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mio::{Poll, Token};

    use super::*;

    fn ask_and_wait(name: &str, family: Family) -> Event {
        let poll = Poll::new().unwrap();
        let signal = Arc::new(Signal::new(poll.registry(), Token(0)).unwrap());
        let mut resolver = Resolver::new(signal);
        resolver.ask(QueryId(5), name.into(), 7001, family);
        for _ in 0..2000 {
            if let Some(answer) = resolver.poll_answer() {
                assert!(resolver.poll_answer().is_none());
                return answer;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("no answer");
    }

    #[test]
    fn a_name_is_resolved_with_its_port_and_family() {
        let Event::Resolved { query, addresses } = ask_and_wait("localhost", Family::V4) else {
            panic!("localhost is known everywhere");
        };
        assert_eq!(query, QueryId(5));
        let [address] = addresses[..] else { panic!("{addresses:?}") };
        assert_eq!(address, "127.0.0.1:7001".parse().unwrap());
    }

    #[test]
    fn addresses_of_another_family_do_not_count() {
        let Event::Resolved { addresses, .. } = ask_and_wait("127.0.0.1", Family::V6) else {
            panic!("an address is its own name");
        };
        assert!(addresses.is_empty());
    }

    #[test]
    fn an_unknown_name_is_a_failure() {
        // RFC 6761: never a name.
        let answer = ask_and_wait("nowhere.invalid", Family::Any);
        assert!(matches!(answer, Event::ResolveFailed { query: QueryId(5), .. }), "{answer:?}");
    }
}
