//! The `lineshaft` command.

mod demo;
mod files;
mod journal;
mod status;
mod table;

use std::io::{ErrorKind, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::channel;
use std::time::Duration;

use clap::{Parser, Subcommand};
use lineshaft::backfill::Backfill;
use lineshaft::connectors::format::timestamp::TimestampFormat;
use lineshaft::durable::{self, Durability};
use lineshaft::history::Limits;
use lineshaft::{Engine, Error, MAX_WORKERS, Memory, Running};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tracing_subscriber::EnvFilter;

/// Arrow allocates much and frees it on other threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Sensor streams in; features, scores, decisions, history and commands out; written in SQL.
#[derive(Parser)]
#[command(name = "lineshaft", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// More about what happens; twice for details. `RUST_LOG` says it in full.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// No live status line and no notes; only warnings and errors.
    #[arg(short, long, global = true)]
    quiet: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the program live until it is stopped, or until every source has ended.
    ///
    /// What comes in from a broker is kept (in DATA/journal) before it is acknowledged, and the state every 30 s (in
    /// DATA/checkpoints): after a stop, a crash or a power cut the same command goes on where it was.
    Run {
        /// Query files; they form one program.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// The data directory: history, models, and where relative paths of sinks begin.
        #[arg(long, default_value = "lineshaft-data")]
        data: PathBuf,
        /// Worker threads, at most 256; without it one per core.
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_WORKERS)))]
        workers: Option<u16>,
        /// Forgets the state of the program that ran in the data directory, and what it had not worked on; what sinks wrote stays.
        #[arg(long)]
        new_state: bool,
        /// Memory for input that is on its way and for state, such as 256MiB: what is beyond it waits in the journal or at the
        /// source, and state goes to files.
        #[arg(long, value_name = "SIZE", default_value_t)]
        memory: Memory,
        /// Most that state may take on disk, such as 16GiB.
        #[arg(long, value_name = "SIZE", default_value = "16GiB")]
        spill: Memory,
        /// Keeps nothing for the next start: what comes in is acknowledged at once, and open windows end with the program.
        #[arg(long, conflicts_with = "new_state")]
        volatile: bool,
    },
    /// Runs the same program over history; nothing is sent anywhere.
    ///
    /// After a stop or a crash the same command goes on from its last checkpoint (in OUTPUT/.checkpoint).
    Backfill {
        /// Query files; they form one program.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// History of a source: NAME=PATH with Parquet, CSV or JSON lines.
        #[arg(long = "source", value_delimiter = ',', value_parser = name_and_path)]
        sources: Vec<(String, PathBuf)>,
        /// Each sink writes Parquet below this folder.
        #[arg(long)]
        output: PathBuf,
        /// Only rows at or after this time (RFC 3339, UTC without a zone).
        #[arg(long, value_parser = time)]
        from: Option<i64>,
        /// Only rows before this time.
        #[arg(long, value_parser = time)]
        to: Option<i64>,
        /// Worker threads, at most 256; without it one per core.
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_WORKERS)))]
        workers: Option<u16>,
        /// Memory for input that is on its way and for state, such as 256MiB.
        #[arg(long, value_name = "SIZE", default_value_t)]
        memory: Memory,
        /// Most that state may take on disk, such as 16GiB.
        #[arg(long, value_name = "SIZE", default_value = "16GiB")]
        spill: Memory,
    },
    /// Tells all errors of the files at once.
    Check {
        /// Query files; they form one program.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Shows sources, watermarks, operators and state of the program, or of one view.
    Explain {
        /// Query files, and then perhaps the name of a view.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Runs SQL over the history of a data directory and prints the rows.
    Query {
        /// The query.
        sql: String,
        /// The data directory.
        #[arg(long, default_value = "lineshaft-data")]
        data: PathBuf,
        /// How the rows are printed.
        #[arg(long, value_enum, default_value_t = table::Format::Table)]
        format: table::Format,
        /// Memory that the query may use; it is given up when that is not enough.
        #[arg(long, value_name = "SIZE", default_value_t)]
        memory: Memory,
        /// Seconds that the query may run.
        #[arg(long, value_name = "SECONDS", default_value_t = 60)]
        timeout: u64,
    },
    /// Looks at the files of a Parquet sink or a view.
    #[command(subcommand)]
    History(files::Command),
    /// Looks at the journal of a data directory, and repairs it.
    #[command(subcommand)]
    Journal(journal::Command),
    /// A simulated plant, a broker, and the whole loop, with nothing to install.
    Demo {
        /// Ends after so many seconds; Ctrl-C ends it sooner.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// The data directory.
        #[arg(long, default_value = "lineshaft-demo")]
        data: PathBuf,
    },
}

fn name_and_path(text: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = text.split_once('=').ok_or("write NAME=PATH")?;
    Ok((name.to_owned(), PathBuf::from(path)))
}

fn time(text: &str) -> Result<i64, String> {
    TimestampFormat::Rfc3339
        .parse_text(text.as_bytes())
        .ok_or_else(|| "write a time such as 2026-03-01T12:00:00Z or 2026-03-01".to_owned())
}

/// The program is wrong; nothing was started.
const WRONG: u8 = 1;
/// It failed while it ran.
const FAILED: u8 = 3;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_log(&arguments);
    match run(arguments.command, arguments.quiet) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&error);
            ExitCode::from(exit_code(&error))
        }
    }
}

/// A disk that fails before the program runs is no mistake of who started it; a wrong path is.
fn exit_code(error: &Error) -> u8 {
    use ErrorKind::{AlreadyExists, NotADirectory, NotFound, PermissionDenied, ReadOnlyFilesystem};
    let is_of_the_path = |kind: ErrorKind| {
        matches!(kind, AlreadyExists | NotADirectory | NotFound | PermissionDenied | ReadOnlyFilesystem)
    };
    match error {
        Error::Run(_) => FAILED,
        Error::File { source, .. } if !is_of_the_path(source.kind()) => FAILED,
        _ => WRONG,
    }
}

fn start_log(arguments: &Arguments) {
    let level = match (arguments.quiet, arguments.verbose) {
        (true, _) => "warn",
        (false, 0) => "info,rumqttd=off",
        (false, 1) => "info,lineshaft=debug,lineshaft_engine=debug,lineshaft_connectors=debug,rumqttd=off",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let terminal = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| status::Log)
        .with_ansi(terminal)
        .with_target(false)
        .init();
}

/// An error with its causes, on the standard error.
fn tell(error: &Error) {
    let text = match error {
        Error::Program(errors) => {
            // It prints itself, in colour on a terminal.
            lineshaft::report::print(&errors.errors, &errors.files).ok();
            return;
        }
        other => lineshaft::report::chain(other),
    };
    std::io::stderr().write_all(text.as_bytes()).ok();
}

fn run(command: Command, quiet: bool) -> Result<(), Error> {
    match command {
        Command::Run { files, data, workers, new_state, memory, spill, volatile } => {
            let mut engine = Engine::from_files(&files)?;
            if engine.is_idle() {
                let help = "add CREATE SINK, INSERT INTO an actuator, or CREATE MATERIALIZED VIEW";
                return Err(Error::Query(format!("the program has nothing to do: {help}")));
            }
            if new_state {
                durable::forget(&data)?;
            }
            engine
                .data(data)
                .workers(workers.map_or_else(cores, usize::from))
                .memory(memory)
                .spill(spill.bytes());
            if !volatile {
                engine.durable(Durability::default());
            }
            finish(|| engine.start(), quiet)
        }
        Command::Backfill { files, sources, output, from, to, workers, memory, spill } => {
            let mut engine = Engine::from_files(&files)?;
            engine.workers(workers.map_or_else(cores, usize::from)).memory(memory).spill(spill.bytes());
            let backfill = Backfill { sources, output, from, to, checkpoint_every: None };
            finish(|| engine.backfill(&backfill), quiet)
        }
        Command::Check { files } => {
            Engine::from_files(&files)?;
            print(&format!("{} ok\n", if files.len() == 1 { "1 file" } else { "all files" }));
            Ok(())
        }
        Command::Explain { mut files } => {
            // The last word is a view if it is no file.
            let view = match files.last() {
                Some(last) if files.len() > 1 && !last.exists() => files.pop(),
                _ => None,
            };
            let view = view.map(|view| view.display().to_string());
            print(&Engine::from_files(&files)?.explain(view.as_deref())?);
            Ok(())
        }
        Command::Query { sql, data, format, memory, timeout } => {
            table::query(&sql, &data, Limits { memory, timeout: Duration::from_secs(timeout) }, format)
        }
        Command::History(command) => {
            print(&files::run(command)?);
            Ok(())
        }
        Command::Journal(command) => {
            print(&journal::run(command)?);
            Ok(())
        }
        Command::Demo { seconds, data } => demo::run(seconds, &data, quiet),
    }
}

/// Writes to the standard output; a reader that has gone away is no error.
fn print(text: &str) {
    std::io::stdout().lock().write_all(text.as_bytes()).ok();
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Starts a program and waits until it ends by itself or a signal stops it.
fn finish(start: impl FnOnce() -> Result<Running, Error>, quiet: bool) -> Result<(), Error> {
    let signals = Signals::listen();
    let running = start()?;
    signals.stop(&running);
    status::watch(&running, quiet);
    running.wait()
}

/// How long a start may go on when it is to stop; it may be broken off at any time.
const START: Duration = Duration::from_secs(5);

/// Signals are listened for before a program starts: none falls between.
struct Signals(oneshot::Sender<Box<dyn Fn() + Send>>);

impl Signals {
    /// Listens from now on. A signal that comes before the program has started stops it as soon as it has.
    fn listen() -> Self {
        let (sender, started) = oneshot::channel::<Box<dyn Fn() + Send>>();
        let (listens, ready) = channel::<()>();
        let wait = async move {
            let terminate = signal(SignalKind::terminate()).ok();
            let mut signals = [signal(SignalKind::interrupt()).ok(), terminate];
            drop(listens);
            next_signal(&mut signals).await;
            tracing::info!("stopping: what was read is finished; once more ends at once");
            let stop = async {
                match tokio::time::timeout(START, started).await {
                    Ok(Ok(stop)) => stop(),
                    // It could not start, and is about to say why.
                    Ok(Err(_)) => std::future::pending().await,
                    Err(_) => {
                        tracing::info!("stopped before it had started: the same command goes on from here");
                        std::process::exit(0);
                    }
                }
            };
            tokio::select! {
                () = stop => next_signal(&mut signals).await,
                () = next_signal(&mut signals) => {}
            }
            std::process::exit(i32::from(FAILED));
        };
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            if let Ok(runtime) = runtime {
                runtime.block_on(wait);
            }
        });
        // An error says that it listens, or that it cannot.
        ready.recv().ok();
        Self(sender)
    }

    /// The first signal stops this program in order, the second at once.
    fn stop(self, running: &Running) {
        // Nobody is there to take it if signals cannot be listened for.
        self.0.send(Box::new(running.stopper())).ok();
    }
}

async fn next_signal(signals: &mut [Option<Signal>; 2]) {
    let [interrupt, terminate] = signals;
    let next = async |signal: &mut Option<Signal>| match signal {
        Some(signal) => signal.recv().await,
        None => std::future::pending().await,
    };
    tokio::select! {
        _ = next(interrupt) => {}
        _ = next(terminate) => {}
    }
}
