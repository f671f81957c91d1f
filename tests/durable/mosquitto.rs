//! A mosquitto of its own, with its port and its folder.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{free_port, signal, wait_for};

/// A running broker; ends with this.
pub(super) struct Mosquitto {
    process: Child,
    pub(super) port: u16,
    config: PathBuf,
}

impl Mosquitto {
    /// Keeps what is published to clients that are away, as long as it lives. `None`, with a word on stderr, where it is not
    /// installed.
    pub(super) fn start(folder: &Path) -> Option<Self> {
        Self::with(folder, "")
    }

    /// The same, over restarts: when it is asked to stop it writes what it has, and else every `autosave` seconds.
    pub(super) fn persistent(folder: &Path, autosave: u32) -> Option<Self> {
        let folder_of_store = folder.display();
        Self::with(
            folder,
            &format!(
                "user root\npersistence true\npersistence_location {folder_of_store}/\nautosave_interval {autosave}\n"
            ),
        )
    }

    fn with(folder: &Path, more: &str) -> Option<Self> {
        let port = free_port();
        let config = folder.join("mosquitto.conf");
        let text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 1000\n{more}"
        );
        fs::write(&config, text).unwrap();
        let Some(process) = launch(&config) else {
            eprintln!("skipped: mosquitto is not installed (apt-get install mosquitto)");
            return None;
        };
        let broker = Self { process, port, config };
        broker.wait();
        Some(broker)
    }

    fn wait(&self) {
        wait_for("the broker", || TcpStream::connect(("127.0.0.1", self.port)).is_ok());
    }

    /// Asks it to stop, and waits until it has.
    pub(super) fn stop(&mut self) {
        signal(&self.process, "TERM");
        self.process.wait().unwrap();
    }

    /// Asks it to write what it has now.
    pub(super) fn save(&self) {
        signal(&self.process, "USR1");
    }

    /// Kills it.
    pub(super) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// After it has ended: starts it again, on the same port with the same store.
    pub(super) fn start_again(&mut self) {
        self.process = launch(&self.config).unwrap();
        self.wait();
    }
}

fn launch(config: &Path) -> Option<Child> {
    let launch = |program: &&str| {
        let mut command = Command::new(program);
        command.arg("-c").arg(config).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()
    };
    ["mosquitto", "/usr/sbin/mosquitto"].iter().find_map(launch)
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
