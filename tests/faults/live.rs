//! A live program as a process, and a client that posts to it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use crate::support::command;

/// Far longer than anything takes here, and below the patience of a person.
const LONG: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_millis(5);

pub(super) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[track_caller]
pub(super) fn wait_for(what: &str, mut is_there: impl FnMut() -> bool) {
    for _ in 0..LONG.as_millis() / STEP.as_millis() {
        if is_there() {
            return;
        }
        sleep(STEP);
    }
    panic!("{what} was not there within a minute");
}

/// `lineshaft run p.sql --data data` in a folder. What it says goes to the file `said`.
pub(super) struct Live {
    folder: PathBuf,
    process: Child,
}

impl Live {
    /// With more in its environment and on its command line.
    pub(super) fn start(folder: &Path, environment: &[(&str, &str)], more: &[&str]) -> Self {
        Self::spawn(folder, &[], environment, more).unwrap()
    }

    /// Under strace, which injects faults. `None`, with a word on stderr, where it is not installed.
    pub(super) fn start_traced(folder: &Path, environment: &[(&str, &str)], strace: &[&str]) -> Option<Self> {
        // Detached, so that our child is the program itself.
        let before = [&["strace", "-D", "-f", "-qq", "--seccomp-bpf"], strace].concat();
        let live = Self::spawn(folder, &before, environment, &[]);
        if live.is_none() {
            eprintln!("skipped: strace is not installed (apt-get install strace)");
        }
        live
    }

    fn spawn(folder: &Path, before: &[&str], environment: &[(&str, &str)], more: &[&str]) -> Option<Self> {
        let said = fs::File::create(folder.join("said")).unwrap();
        let mut arguments = vec!["run", "p.sql", "--data", "data"];
        if !more.contains(&"--workers") {
            arguments.extend(["--workers", "2"]);
        }
        arguments.extend(more);
        let mut run = command(folder, &arguments);
        if let [program, options @ ..] = before {
            let mut outer = Command::new(program);
            outer.current_dir(folder).args(options).arg(run.get_program()).args(run.get_args());
            outer.env_remove("RUST_LOG").env("NO_COLOR", "1");
            run = outer;
        }
        run.envs(environment.iter().copied()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
        let process = run.spawn().ok()?;
        Some(Self { folder: folder.to_owned(), process })
    }

    /// What it has said since it was started.
    pub(super) fn said(&self) -> String {
        fs::read_to_string(self.folder.join("said")).unwrap_or_default()
    }

    pub(super) fn is_alive(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }

    /// Sends it a signal by name, such as `STOP`.
    pub(super) fn signal(&self, name: &str) {
        // It may have ended meanwhile.
        Command::new("kill")
            .args(["-s", name, &self.process.id().to_string()])
            .stderr(Stdio::null())
            .status()
            .unwrap();
    }

    /// kill -9
    pub(super) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Asks it to stop, and waits until it has.
    pub(super) fn end(mut self) -> (ExitStatus, String) {
        self.signal("TERM");
        let status = self.process.wait().unwrap();
        (status, self.said())
    }

    /// Stops it in order; gives what it has said.
    #[track_caller]
    pub(super) fn stop(self) -> String {
        let (status, said) = self.end();
        assert_eq!(status.code(), Some(0), "{said}");
        said
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub(super) fn ended(mut self) -> (ExitStatus, String) {
        wait_for("the end", || !self.is_alive());
        let status = self.process.wait().unwrap();
        (status, self.said())
    }
}

impl Drop for Live {
    /// A test that has failed leaves nothing behind.
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Ends what runs beside a test, also when the test fails.
pub(super) struct Ends<'a>(pub(super) &'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Posts bodies over one connection, which is made again when it is lost.
pub(super) struct Client {
    port: u16,
    connection: Option<BufReader<TcpStream>>,
}

impl Client {
    pub(super) fn new(port: u16) -> Self {
        Self { port, connection: None }
    }

    /// The status of the answer; `None` if there is none.
    pub(super) fn post(&mut self, content_type: &str, body: &[u8]) -> Option<u16> {
        let answered = self.try_post(content_type, body);
        if answered.is_none() {
            self.connection = None;
        }
        answered
    }

    fn try_post(&mut self, content_type: &str, body: &[u8]) -> Option<u16> {
        if self.connection.is_none() {
            let stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
            stream.set_nodelay(true).ok()?;
            stream.set_read_timeout(Some(LONG)).ok()?;
            self.connection = Some(BufReader::new(stream));
        }
        let connection = self.connection.as_mut()?;
        let length = body.len();
        let head = format!(
            "POST /r HTTP/1.1\r\nhost: here\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n"
        );
        connection.get_mut().write_all(&[head.as_bytes(), body].concat()).ok()?;
        let (mut line, mut length, mut closes) = (String::new(), 0, false);
        connection.read_line(&mut line).ok()?;
        let status = line.split(' ').nth(1)?.parse().ok()?;
        loop {
            line.clear();
            connection.read_line(&mut line).ok()?;
            let header = line.trim_end().to_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(text) = header.strip_prefix("content-length:") {
                length = text.trim().parse().ok()?;
            }
            closes |= header == "connection: close";
        }
        connection.read_exact(&mut vec![0; length]).ok()?;
        if closes {
            self.connection = None;
        }
        Some(status)
    }
}
