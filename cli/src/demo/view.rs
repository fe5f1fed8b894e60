//! The live view: a line a node on a terminal, else a line a step on standard error.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::scene::Scene;
use super::table::{arrived, bytes, received};
use crate::report::{self, Report};

/// The time between two looks.
const EVERY: Duration = Duration::from_millis(80);

/// Shows a scene until it is finished or dropped.
pub(crate) struct View {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl View {
    /// Starts to show it, if there is anything to show it on.
    pub(crate) fn start(report: Report, scene: Arc<Scene>) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&over);
        let watch = move || {
            if report.draws() { draw(&scene, &ended) } else { list(report, &scene, &ended) }
        };
        // Without a thread there is no view; the demo itself does not need it.
        let thread = thread::Builder::new().name("headwater-view".to_owned()).spawn(watch).ok();
        Self { over, thread }
    }

    /// Ends it and removes what it drew.
    pub(crate) fn finish(mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn list(report: Report, scene: &Scene, over: &AtomicBool) {
    let mut told = "";
    while !over.load(Ordering::Relaxed) {
        let step = scene.with(|state| state.step);
        if step != told {
            report.remark(step);
            told = step;
        }
        thread::sleep(EVERY);
    }
}

fn draw(scene: &Scene, over: &AtomicBool) {
    let all = MultiProgress::new();
    let add = |template: &str| {
        let bar = all.add(ProgressBar::new(0));
        let style =
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style.progress_chars("=> "));
        bar
    };
    let colour = if report::coloured() { ".cyan/blue" } else { "" };
    let head = add("{msg}");
    let nodes: Vec<ProgressBar> = scene
        .cast()
        .iter()
        .map(|(name, _)| {
            let bar = add(&format!("  {{prefix:8}} {{bar:24{colour}}} {{msg}}"));
            bar.set_prefix(*name);
            bar
        })
        .collect();
    while !over.load(Ordering::Relaxed) {
        scene.with(|state| {
            let (now, planned) = (bytes(arrived(state)), bytes(state.planned));
            head.set_message(format!("{}: {now} of {planned} checked", state.step));
            for (node, bar) in nodes.iter().enumerate() {
                let (messages, expected, got) = received(state, node);
                let links = state.connected.iter().filter(|(from, _)| *from == node).count();
                bar.set_length(expected.max(1));
                bar.set_position(messages);
                bar.set_message(format!(
                    "{links} peers, {messages}/{expected} messages, {}",
                    bytes(got)
                ));
            }
        });
        thread::sleep(EVERY);
    }
    let _ = all.clear();
}
