//! The nodes of the demo with what is needed to start one of them again: keys, ports, and the wire
//! of the node that is cut off for a while.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread;

use ::tokio::runtime::Handle;
use headwater_core::id::PeerId;
use headwater_identity::NodeKey;

use super::member::{Member, Runtime};
use super::plan::{self, BLOB, CUT_NODE, GONE, GONE_NODE, HEALED};
use super::scene::Scene;
use super::steps::dials;
use super::watch::Watch;
use super::wire::Wire;
use super::{mio, smol, tokio};
use crate::failure::Failure;
use crate::net::Security;

/// Everybody who takes part.
pub(crate) struct Stage {
    pub(crate) scene: Arc<Scene>,
    security: Security,
    pub(crate) members: Vec<Box<dyn Member>>,
    /// Those that run, for the status page.
    pub(crate) watch: Watch,
    /// Between [`CUT_NODE`] and the others.
    pub(crate) wire: Wire,
    places: Vec<Place>,
}

/// What stays of a node when it is killed.
struct Place {
    key: NodeKey,
    id: PeerId,
    /// Where it listens; 0 until it does.
    port: u16,
}

impl Stage {
    /// Starts all nodes; the wire is carried on `runtime`.
    ///
    /// # Errors
    ///
    /// A node cannot be started.
    pub(crate) fn start(
        scene: Arc<Scene>,
        security: Security,
        runtime: &Handle,
    ) -> Result<Self, Failure> {
        let (wire, watch) = (Wire::new(runtime), Watch::default());
        let (members, places) = (Vec::new(), Vec::new());
        let mut stage = Self { scene, security, members, watch, wire, places };
        for index in 0..stage.scene.cast().len() {
            let key = crate::keys::load(None)?;
            stage.places.push(Place { id: key.peer_id(), key, port: 0 });
            let member = stage.member(index)?;
            stage.members.push(member);
        }
        Ok(stage)
    }

    /// Starts the node of that place.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub(crate) fn member(&self, index: usize) -> Result<Box<dyn Member>, Failure> {
        let nobody = || Failure::internal("no such node");
        let key = &self.places.get(index).ok_or_else(nobody)?.key;
        let (_, runtime) = self.scene.cast().get(index).ok_or_else(nobody)?;
        let member: Box<dyn Member> = match runtime {
            Runtime::Tokio => Box::new(tokio::start(&self.scene, index, key, self.security)?),
            Runtime::Smol => Box::new(smol::start(&self.scene, index, key, self.security)?),
            Runtime::Mio => {
                Box::new(mio::MioMember::start(&self.scene, index, key, self.security)?)
            }
        };
        self.watch.enter(self.scene.name(index), key.peer_id().to_string(), member.handle());
        Ok(member)
    }

    /// Lets a node register what every node supports, and listen, on the port that it had if it
    /// had one.
    ///
    /// # Errors
    ///
    /// It does not take a protocol, or cannot listen.
    pub(crate) fn enter(&mut self, index: usize) -> Result<(), Failure> {
        let place = self.places.get_mut(index);
        let (Some(place), Some(member)) = (place, self.members.get(index)) else {
            return Err(Failure::internal("no such node"));
        };
        for name in [BLOB, HEALED].into_iter().chain((index == GONE_NODE).then_some(GONE)) {
            member.register(&plan::protocol(name))?;
        }
        place.port = member.listen(place.port)?.port();
        let address = format!("/ip4/127.0.0.1/tcp/{}/p2p/{}", place.port, place.id);
        self.scene.listens(index, place.id, &address);
        Ok(())
    }

    /// Lets a node keep its connections: of each pair one node does.
    ///
    /// # Errors
    ///
    /// It does not take an address, or the wire has no socket left.
    pub(crate) fn require(&self, index: usize) -> Result<(), Failure> {
        let Some(member) = self.members.get(index) else { return Ok(()) };
        for (other, place) in self.places.iter().enumerate().filter(|(to, _)| dials(index, *to)) {
            let mut at = SocketAddr::from((Ipv4Addr::LOCALHOST, place.port));
            if index == CUT_NODE || other == CUT_NODE {
                at = self.wire.lead(at)?;
            }
            let address = format!("/ip4/{}/tcp/{}/p2p/{}", at.ip(), at.port(), place.id);
            member.require(address.parse().map_err(Failure::internal)?)?;
        }
        Ok(())
    }

    /// Stops all nodes at the same time: each waits for the others to close.
    pub(crate) fn stop(&self) {
        thread::scope(|scope| {
            for member in &self.members {
                scope.spawn(|| member.stop());
            }
        });
    }
}
