//! What an error of the operating system means to a node.

use std::io::{Error, ErrorKind};

use headwater_core::contract::IoCause;

/// The kind of an error, as core tells them apart.
pub(crate) fn of(error: &Error) -> IoCause {
    if is_out_of_files(error) {
        return IoCause::TooManyFiles;
    }
    match error.kind() {
        ErrorKind::ConnectionRefused => IoCause::Refused,
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown => {
            IoCause::Unreachable
        }
        ErrorKind::TimedOut => IoCause::TimedOut,
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
            IoCause::Reset
        }
        ErrorKind::AddrInUse => IoCause::AddressInUse,
        ErrorKind::AddrNotAvailable => IoCause::AddressNotAvailable,
        ErrorKind::PermissionDenied => IoCause::PermissionDenied,
        ErrorKind::NotFound => IoCause::NotFound,
        _ => IoCause::Other,
    }
}

/// The kind of an error of name resolution: what has no kind there means an unknown name.
pub(crate) fn of_lookup(error: &Error) -> IoCause {
    match of(error) {
        IoCause::Other => IoCause::NotFound,
        cause => cause,
    }
}

fn is_out_of_files(error: &Error) -> bool {
    // EMFILE and ENFILE, WSAEMFILE: std has no stable kind for them.
    const CODES: &[i32] = if cfg!(windows) { &[10024] } else { &[23, 24] };
    error.raw_os_error().is_some_and(|code| CODES.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_cause() {
        let kind = |kind: ErrorKind| of(&Error::from(kind));
        assert_eq!(kind(ErrorKind::ConnectionRefused), IoCause::Refused);
        assert_eq!(kind(ErrorKind::NetworkUnreachable), IoCause::Unreachable);
        assert_eq!(kind(ErrorKind::BrokenPipe), IoCause::Reset);
        assert_eq!(kind(ErrorKind::AddrInUse), IoCause::AddressInUse);
        assert_eq!(kind(ErrorKind::InvalidData), IoCause::Other);
        assert_eq!(of_lookup(&Error::other("no such name")), IoCause::NotFound);
        assert_eq!(of_lookup(&Error::from(ErrorKind::TimedOut)), IoCause::TimedOut);
    }

    #[cfg(unix)]
    #[test]
    fn a_process_without_descriptors_is_told_apart() {
        assert_eq!(of(&Error::from_raw_os_error(24)), IoCause::TooManyFiles);
        assert_eq!(of(&Error::from_raw_os_error(23)), IoCause::TooManyFiles);
    }
}
