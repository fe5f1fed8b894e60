//! The exit statuses of the whole program: one table, which the code uses and `--help` prints.

use std::fmt::Write as _;
use std::process::ExitCode;

macro_rules! statuses {
    ($($name:ident = $code:literal $word:literal, $meaning:literal;)+) => {
        /// How the program ends.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Status {
            $(#[doc = $meaning] $name = $code,)+
        }

        impl Status {
            /// Every status, in the order of its number.
            const ALL: &[Self] = &[$(Self::$name),+];

            /// Its name in events: words of lower case with `_` between them, which stay.
            pub(crate) const fn name(self) -> &'static str {
                match self { $(Self::$name => $word,)+ }
            }

            /// What it tells the caller.
            const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)+ }
            }
        }
    };
}

statuses! {
    Done = 0 "done", "done";
    Off = 1 "off", "demo: a count or a checksum is off, or a step took too long; sim: a seed failed; replay: something differs";
    Usage = 2 "usage", "the command line is not understood";
    Unknown = 3 "unknown", "unknown address: the name does not resolve, or no route leads there";
    Refused = 4 "refused", "connection refused: nobody listens there";
    WrongPeer = 5 "wrong_peer", "another peer answered than the address names";
    Unsupported = 6 "unsupported", "the peer does not support the protocol";
    Busy = 7 "busy", "the listener is serving another sender";
    Lost = 8 "lost", "the other side was lost in the middle of the transfer";
    Interrupted = 9 "interrupted", "the other side interrupted the transfer";
    NoSpace = 10 "no_space", "no space is left where the file is to be written, on either side";
    Output = 11 "output", "the file cannot be written, on either side";
    Input = 12 "input", "the file cannot be read, on either side";
    Mismatch = 13 "mismatch", "what arrived is not what was announced: length, SHA-256 or format";
    Timeout = 14 "timeout", "the other side did nothing for too long";
    Handshake = 15 "handshake", "what answered is no node, or turned the connection away";
    Listen = 16 "listen", "the address cannot be listened on";
    Key = 17 "key", "the key cannot be read or written";
    Config = 18 "config", "the configuration cannot be read, is not understood, or cannot be used";
    NoPeer = 19 "no_peer", "status and why: the node knows no such peer, or several";
    Admin = 20 "admin", "status and why: the node cannot be asked: nobody answers, or the token is wrong";
    Internal = 70 "internal", "a fault of the program itself";
    SigInt = 130 "sigint", "ended by SIGINT (Ctrl-C)";
    SigTerm = 143 "sigterm", "ended by SIGTERM";
}

impl Status {
    /// The number that the caller sees.
    pub(crate) const fn code(self) -> u8 {
        self as u8
    }

    /// The table as the help prints it.
    pub(crate) fn table() -> String {
        let mut text = String::from("Exit statuses:\n");
        for status in Self::ALL {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  {:>3}  {}", status.code(), status.meaning());
        }
        text.push_str(
            "A node, and with --keep a listener that has no transfer under way or a demo that is \
             over,\nend with 0 at the first SIGINT or SIGTERM.",
        );
        text
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_and_every_one_is_in_the_table() {
        let codes: Vec<u8> = Status::ALL.iter().map(|status| status.code()).collect();
        assert!(codes.windows(2).all(|pair| pair[0] < pair[1]), "{codes:?}");
        let table = Status::table();
        for status in Status::ALL {
            assert!(table.contains(&format!("{:>3}  {}\n", status.code(), status.meaning())));
        }
    }
}
