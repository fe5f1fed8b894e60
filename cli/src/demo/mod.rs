//! `headwater demo`: six nodes in this process, two each on tokio, on smol and on mio, over real
//! TCP on the loopback interface.
//!
//! They connect each to each and exchange protocols. Every node sends messages of 0 B to 8 MiB to
//! every other. One node registers a protocol late, and then gets messages of it; another
//! unregisters one, and then nobody can send it any. A node is killed and restarted, another is cut
//! off for a while; the others find them again by themselves. Each message's SHA-256 is compared at
//! the receiver. Every step has a deadline.

mod awaited;
mod heal;
mod member;
mod mio;
mod plan;
mod scene;
mod smol;
mod stage;
mod steps;
pub(crate) mod table;
mod tokio;
mod view;
mod watch;
mod wire;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::admin::{self, Server};
use crate::failure::Failure;
use crate::net::Security;
use crate::report::Report;
use crate::signal::Signals;
use crate::status::Status;

use member::Runtime;
use scene::Scene;
use stage::Stage;
use table::End;

/// Who takes part, and on what.
const CAST: [(&str, Runtime); 6] = [
    ("tokio-1", Runtime::Tokio),
    ("tokio-2", Runtime::Tokio),
    ("smol-1", Runtime::Smol),
    ("smol-2", Runtime::Smol),
    ("mio-1", Runtime::Mio),
    ("mio-2", Runtime::Mio),
];

/// How long it may take to read what the stopped nodes still had to say.
const SETTLE_DEADLINE: Duration = Duration::from_secs(10);

/// Serves the status page of all nodes, where `headwater status` looks for it if that is free.
async fn serve(scene: &Scene, stage: &Stage) -> Result<Option<Server>, Failure> {
    let start = async |at: SocketAddr| {
        let settings = admin::Settings { at: Some(at), ..admin::Settings::default() };
        Server::start(&settings, Box::new(stage.watch.clone()), scene.feed()).await
    };
    let usual = admin::DEFAULT.parse().unwrap_or_else(|_| (Ipv4Addr::LOCALHOST, 0).into());
    match start(usual).await {
        Ok(page) => Ok(page),
        Err(_) => start((Ipv4Addr::LOCALHOST, 0).into()).await,
    }
}

/// Runs the command. What is kept (`keep`) stays until the first signal, which is no failure then.
///
/// # Errors
///
/// [`Status::Off`] if a step was not over in time, or a count or a checksum is off.
pub(crate) fn run(report: Report, security: Security, keep: bool) -> Result<(), Failure> {
    let runtime = ::tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::internal(format_args!("no runtime: {error}")))?;
    let scene = Arc::new(Scene::new(report, &CAST));
    let signals = runtime.block_on(async { Signals::install() })?;
    let watched = Arc::clone(&scene);
    runtime.spawn(async move {
        let failure = signals.first().await;
        watched.end(failure);
        let failure = signals.second().await;
        std::process::exit(i32::from(failure.status.code()));
    });

    let outcome =
        Stage::start(Arc::clone(&scene), security, runtime.handle()).and_then(|mut stage| {
            let page = runtime.block_on(serve(&scene, &stage))?;
            if let Some(Server { url, .. }) = &page {
                report.event(crate::event::Event::Admin { url });
                let time = if keep { "until interrupted" } else { "while this runs; see --keep" };
                report.remark(&format!("what the nodes are doing, {time}: {url}"));
            }
            let view = view::View::start(report, Arc::clone(&scene));
            let outcome = steps::play(&mut stage);
            view.finish();
            if keep && outcome.is_ok() {
                report
                    .remark("all is over; the nodes stay until interrupted, then comes the table");
                scene.until_ended();
            }
            stage.stop();
            outcome
        });
    scene.settle(SETTLE_DEADLINE);
    let end = match &outcome {
        Ok(()) => End::Played,
        Err(Failure { status: Status::SigInt | Status::SigTerm, .. }) => End::Interrupted,
        Err(_) => End::Failed,
    };
    let table = table::Table::of(&scene, end);
    report.event(crate::event::Event::Table(&table));
    report.line(&table.text());
    runtime.shutdown_background();
    outcome?;
    if table.ok {
        return Ok(());
    }
    Err(Failure::new(Status::Off, "a count or a checksum is off, see the table"))
}
