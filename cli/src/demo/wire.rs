//! A wire of its own for the node that is cut off from the others: everything between them goes
//! through sockets of the demo, which can be cut and mended.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::sleep;

use super::member::failed;
use crate::failure::Failure;

/// How long to wait after an accept that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A wire that is whole at first. It is cut for good when it is dropped.
#[derive(Debug)]
pub(crate) struct Wire {
    runtime: Handle,
    is_cut: watch::Sender<bool>,
}

impl Wire {
    /// A wire whose tasks run on `runtime`.
    pub(crate) fn new(runtime: &Handle) -> Self {
        Self { runtime: runtime.clone(), is_cut: watch::Sender::new(false) }
    }

    /// Leads links through it to `to`; gives the address at its near end.
    ///
    /// # Errors
    ///
    /// No socket can be had.
    pub(crate) fn lead(&self, to: SocketAddr) -> Result<SocketAddr, Failure> {
        let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let listener =
            self.runtime.block_on(bound).map_err(|error| failed("the wire", "listen", error))?;
        let near = listener.local_addr().map_err(|error| failed("the wire", "listen", error))?;
        self.runtime.spawn(carry_all(listener, to, self.is_cut.subscribe()));
        Ok(near)
    }

    /// Ends every link on it, and each new one at once.
    pub(crate) fn cut(&self) {
        self.is_cut.send_replace(true);
    }

    /// Lets new links through again.
    pub(crate) fn mend(&self) {
        self.is_cut.send_replace(false);
    }
}

/// Takes links until the wire is gone.
async fn carry_all(listener: TcpListener, to: SocketAddr, mut is_cut: watch::Receiver<bool>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // A cut is for the links; only the end of the wire is an error.
            changed = is_cut.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        match accepted {
            Ok(_) if *is_cut.borrow() => {}
            Ok((near, _)) => {
                tokio::spawn(carry(near, to, is_cut.clone()));
            }
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Carries the bytes of one link until it ends or is cut.
async fn carry(mut near: TcpStream, to: SocketAddr, mut is_cut: watch::Receiver<bool>) {
    let carried = async {
        let mut far = TcpStream::connect(to).await?;
        copy_bidirectional(&mut near, &mut far).await
    };
    tokio::select! {
        // Whatever ends the link, its two ends notice it themselves.
        _ = carried => {}
        _ = is_cut.wait_for(|is_cut| *is_cut) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn bytes_pass_until_it_is_cut_and_again_when_it_is_mended() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let wire = Wire::new(runtime.handle());
        let near = wire.lead(listener.local_addr().unwrap()).unwrap();
        let link = || {
            let near = TcpStream::connect(near).unwrap();
            near.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            near
        };
        let mut one = link();
        let (mut other, _) = listener.accept().unwrap();
        one.write_all(b"ab").unwrap();
        let mut seen = [0; 2];
        other.read_exact(&mut seen).unwrap();
        assert_eq!(&seen, b"ab");

        wire.cut();
        assert!(matches!(one.read(&mut seen), Ok(0) | Err(_)));
        assert!(matches!(other.read(&mut seen), Ok(0) | Err(_)));
        assert!(matches!(link().read(&mut seen), Ok(0) | Err(_)));

        wire.mend();
        let mut one = link();
        let (mut other, _) = listener.accept().unwrap();
        other.write_all(b"cd").unwrap();
        one.read_exact(&mut seen).unwrap();
        assert_eq!(&seen, b"cd");
    }
}
