//! The command line.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use headwater_core::id::ProtocolId;

use crate::admin::client::Place;
use crate::transfer;

/// What the help of each command ends with.
const MORE_HELP: &str = "Exit statuses and the events of --json: headwater --help";

/// Nodes that keep their connections and carry messages: a demo, a node, files from node to node.
#[derive(Debug, Parser)]
#[command(
    name = "headwater",
    version,
    after_help = crate::status::Status::table(),
    after_long_help = format!("{}\n\n{}", crate::status::Status::table(), crate::event::HELP),
)]
pub(crate) struct Cli {
    /// Print one JSON object a line instead of text.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// As behind the commands that have it.
    #[arg(long, hide = true)]
    pub(crate) insecure: bool,
    /// What to log on standard error: error, warn, info, debug or trace; with a subsystem in front,
    /// that one's, as in warn,dial=debug. Subsystems are node, peer, dial, link, message, page and
    /// file. Without it RUST_LOG tells; without that, `node` logs info, `listen` warn and the
    /// rest error. A line that says the same again is counted, and told as one with again=, unless
    /// its subsystem logs debug.
    #[arg(long, global = true, value_name = "LEVEL", value_parser = crate::logs::filter)]
    pub(crate) log: Option<String>,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run six nodes in this process, on tokio, smol and mio, and let them talk over loopback.
    #[command(after_help = MORE_HELP)]
    Demo(Demo),
    /// Run many nodes in virtual time on a network that fails as a seed says, and check that they
    /// keep what they promise and heal.
    #[command(after_help = MORE_HELP)]
    Sim(crate::sim::Args),
    /// Run a node that keeps connections with its peers, until interrupted; prints its addresses.
    #[command(after_help = MORE_HELP)]
    Node(Node),
    /// Show what was recorded of a node, step by step and frame by frame, and run it again: the
    /// same machines are told the same, and have to do the same. A step has the seconds since the
    /// node began, and its machine: the node, or a connection such as c0.0.
    #[command(after_help = MORE_HELP)]
    Replay(crate::replay::Args),
    /// Show what a running node says of itself and of its peers.
    #[command(after_help = MORE_HELP)]
    Status(Status),
    /// Say why a peer of a running node is connected or not: what was tried, how far it got, when
    /// it is tried again, and what would help.
    #[command(after_help = MORE_HELP)]
    Why(Why),
    /// Wait for a file and store it; prints the address to give to `send`.
    #[command(after_help = MORE_HELP)]
    Listen(Listen),
    /// Send a file, or standard input, to a listener.
    #[command(after_help = MORE_HELP)]
    Send(Send),
    /// Make a key and write it to a new file, readable by its owner alone; prints its peer id.
    #[command(after_help = MORE_HELP)]
    Keygen(KeyFile),
    /// Print the peer id of a key.
    #[command(after_help = MORE_HELP)]
    Id(KeyFile),
    /// Print the manual page of the program, or write the pages of all commands to a folder.
    #[command(after_help = MORE_HELP)]
    Man(Man),
    /// Print what a shell needs to complete the commands of this program.
    #[command(after_help = MORE_HELP)]
    Completions(Completions),
}

impl Command {
    /// Whether something else than results goes to standard output: a file, a key.
    pub(crate) fn takes_stdout(&self) -> bool {
        let dash = Path::new("-");
        match self {
            Self::Listen(args) => args.output.as_deref() == Some(dash),
            Self::Keygen(args) => args.path() == dash,
            _ => false,
        }
    }

    /// How the links of the command are secured; `None` if it makes none between nodes.
    pub(crate) const fn secured(&self) -> Option<&Secured> {
        match self {
            Self::Demo(args) => Some(&args.secured),
            Self::Node(args) => Some(&args.secured),
            Self::Listen(args) => Some(&args.common.secured),
            Self::Send(args) => Some(&args.common.secured),
            Self::Sim(_)
            | Self::Replay(_)
            | Self::Status(_)
            | Self::Why(_)
            | Self::Keygen(_)
            | Self::Id(_)
            | Self::Man(_)
            | Self::Completions(_) => None,
        }
    }
}

/// How links between nodes are secured.
#[derive(Debug, Default, Args)]
pub(crate) struct Secured {
    /// Run without encryption: anybody on the way can read and change what is sent, and peer
    /// ids are not proven. Both sides have to be told so; without it they speak TLS.
    #[arg(long)]
    pub(crate) insecure: bool,
}

/// Run six nodes.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Leave the nodes and their status page as they are when all is over, until interrupted.
    #[arg(long)]
    pub(crate) keep: bool,
    /// How their links are secured.
    #[command(flatten)]
    pub(crate) secured: Secured,
}

/// Run a node.
#[derive(Debug, Default, Args)]
pub(crate) struct Node {
    /// A configuration file in TOML; cli/node.toml of the project explains every key. What else is
    /// given here goes before it: --key, --admin, --admin-token, --authorities and --certificates
    /// take the place of the file's; --listen, --peer, --allow and --admin-host are added to the
    /// file's; --protocol is added, and takes the place of the same ID. Limits are set by the file
    /// alone.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where to listen, a multiaddr or IP:PORT; may be given more than once. Without this and
    /// without a configuration file, a free port of 127.0.0.1.
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Vec<String>,
    /// The address of a peer to keep a connection with; may be given more than once. Several
    /// with the same /p2p/ID are addresses of one peer; one without takes whoever answers.
    #[arg(long, value_name = "ADDR")]
    pub(crate) peer: Vec<String>,
    /// A protocol and what to do with its messages: echo, log or drop; may be given more than
    /// once.
    #[arg(long, value_name = "ID=ACTION")]
    pub(crate) protocol: Vec<String>,
    /// Let in this peer and others that are named so, and nobody else; may be given more than once.
    /// Without it and without `--authorities`, whoever proves some key.
    #[arg(long, value_name = "ID")]
    pub(crate) allow: Vec<String>,
    /// Let in only peers whose certificate was issued by one of the authorities whose certificates
    /// this file has, in PEM.
    #[arg(long, value_name = "PEM")]
    pub(crate) authorities: Option<PathBuf>,
    /// Show the certificates in this file, in PEM with the node's own first, instead of a
    /// self-signed one: for peers that ask for authorities.
    #[arg(long, value_name = "PEM")]
    pub(crate) certificates: Option<PathBuf>,
    /// The node's key in PEM: P-256, P-384, P-521 or RSA, in a file that only its owner can use.
    /// Without it, a fresh P-256 one.
    #[arg(long, value_name = "PEM", env = "HEADWATER_KEY")]
    pub(crate) key: Option<PathBuf>,
    /// Serve a status page, metrics and events, for `status`, `why` and browsers; without ADDR, on
    /// 127.0.0.1:11380. Anything but loopback needs --admin-token.
    #[arg(long, value_name = "ADDR", num_args = 0..=1, default_missing_value = crate::admin::DEFAULT)]
    pub(crate) admin: Option<SocketAddr>,
    /// A file that only its owner can read, with the token that the status page asks for: 16
    /// characters or more. Browsers ask for it as a password, for any name.
    #[arg(long, value_name = "FILE")]
    pub(crate) admin_token: Option<PathBuf>,
    /// A name by which the status page may be called, beside its addresses; may be given more than
    /// once.
    #[arg(long, value_name = "NAME")]
    pub(crate) admin_host: Vec<String>,
    /// Whether all that happens to it is noted.
    #[command(flatten)]
    pub(crate) record: crate::replay::record::Args,
    /// Print what file and command line come to, as a configuration file, and end. It reads the
    /// files that they name, and finds what a start would find wrong with them; it tries no address.
    #[arg(long)]
    pub(crate) print_config: bool,
    /// How its links are secured.
    #[command(flatten)]
    pub(crate) secured: Secured,
}

/// Which node is asked.
#[derive(Debug, Args)]
pub(crate) struct Of {
    /// Where the node serves its status page: HOST:PORT, or its URL.
    #[arg(
        long,
        value_name = "ADDR",
        env = "HEADWATER_ADMIN",
        default_value = crate::admin::DEFAULT,
        value_parser = Place::new,
    )]
    pub(crate) admin: Place,
    /// The file with the token, if the node asks for one.
    #[arg(long, value_name = "FILE", env = "HEADWATER_ADMIN_TOKEN")]
    pub(crate) admin_token: Option<PathBuf>,
}

/// Show what a node says.
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Only this peer: its id or at least four characters from either end of it, its name in the
    /// demo, or an address.
    #[arg(value_name = "PEER")]
    pub(crate) peer: Option<String>,
    /// Which node.
    #[command(flatten)]
    pub(crate) of: Of,
}

/// Say why a peer is connected or not.
#[derive(Debug, Args)]
pub(crate) struct Why {
    /// Which peer: its id or at least four characters from either end of it, its name in the demo,
    /// or an address.
    #[arg(value_name = "PEER")]
    pub(crate) peer: String,
    /// Which node.
    #[command(flatten)]
    pub(crate) of: Of,
}

/// What `listen` and `send` have in common.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// The name under which the file goes; both sides have to agree on it.
    #[arg(long, value_name = "ID", default_value = transfer::PROTOCOL)]
    pub(crate) protocol: ProtocolId,
    /// The node's key in PEM: P-256, P-384, P-521 or RSA, in a file that only its owner can use.
    /// Without it, a fresh P-256 one.
    #[arg(long, value_name = "PEM", env = "HEADWATER_KEY")]
    pub(crate) key: Option<PathBuf>,
    /// Give up when the other side gives no sign of life for so many seconds.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value = "60",
        value_parser = seconds,
        allow_negative_numbers = true,
    )]
    pub(crate) timeout: Duration,
    /// How its links are secured.
    #[command(flatten)]
    pub(crate) secured: Secured,
}

/// Wait for a file and store it.
#[derive(Debug, Args)]
pub(crate) struct Listen {
    /// Where to listen, a multiaddr or IP:PORT; may be given more than once.
    #[arg(long, value_name = "ADDR", default_value = "/ip4/127.0.0.1/tcp/0")]
    pub(crate) listen: Vec<String>,
    /// The file to write, replacing what is there; a directory; or - for standard output.
    /// Without it, a new file here under the name that the sender suggests.
    #[arg(long, value_name = "FILE|-")]
    pub(crate) output: Option<PathBuf>,
    /// Go on after a transfer, until interrupted.
    #[arg(long)]
    pub(crate) keep: bool,
    /// The rest.
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Send a file.
#[derive(Debug, Args)]
pub(crate) struct Send {
    /// The listener's address, a multiaddr that ends in /p2p/ID, as `listen` prints it.
    #[arg(value_name = "ADDR")]
    pub(crate) address: String,
    /// The file; - or nothing for standard input.
    #[arg(value_name = "FILE|-", default_value = "-")]
    pub(crate) file: PathBuf,
    /// The rest.
    #[command(flatten)]
    pub(crate) common: Common,
}

/// The manual.
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// The folder, such as ~/.local/share/man/man1; pages that are there are replaced.
    #[arg(value_name = "FOLDER")]
    pub(crate) folder: Option<PathBuf>,
}

/// A shell.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// Which; what is printed goes where that shell looks for it.
    #[arg(value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

/// A key's file.
#[derive(Debug, Args)]
pub(crate) struct KeyFile {
    /// The key's file, in PEM; - is standard output for `keygen`, standard input for `id`.
    #[arg(value_name = "PEM|-", required_unless_present = "key")]
    path: Option<PathBuf>,
    /// The same, as other commands take it; PEM goes before it.
    #[arg(long, value_name = "PEM", env = "HEADWATER_KEY")]
    key: Option<PathBuf>,
}

impl KeyFile {
    /// The file, or `-`.
    pub(crate) fn path(&self) -> &Path {
        // One of both is required.
        self.path.as_deref().or(self.key.as_deref()).unwrap_or(Path::new("-"))
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<u64>() {
        Ok(number @ 5..=86_400) => Ok(Duration::from_secs(number)),
        _ => Err("a whole number from 5 to 86400 is expected".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn send_takes_standard_input_by_default() {
        let cli = Cli::parse_from(["headwater", "send", "/x", "--insecure"]);
        let Command::Send(send) = cli.command else { panic!("not send") };
        assert_eq!(send.file, PathBuf::from("-"));
        assert_eq!(send.common.protocol.as_str(), transfer::PROTOCOL);
    }

    #[test]
    fn a_timeout_is_several_signs_of_life_and_at_most_a_day() {
        assert_eq!(seconds("5"), Ok(Duration::from_secs(5)));
        assert!(seconds("4").is_err() && seconds("86401").is_err() && seconds("1s").is_err());
    }
}
