//! What tests share: data that stands beside the checkout, and a program run to its end.

pub(crate) mod compare;
pub(crate) mod seeded;
pub(crate) mod small_disk;
pub(crate) mod views;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The file or folder `name` of the real industrial data; `None`, with a message, where it is not on this machine.
pub(crate) fn shared_data(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: the data set {name:?} is not here ({})", path.display());
    None
}

/// What the command line said.
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// The program as a user starts it, in `folder`.
pub(crate) fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lineshaft"));
    command.current_dir(folder).args(arguments).env_remove("RUST_LOG").env("NO_COLOR", "1");
    command
}

/// Runs the command line in `folder` to its end.
pub(crate) fn lineshaft(folder: &Path, arguments: &[&str]) -> Said {
    said(&command(folder, arguments).output().unwrap())
}

/// What a process said that has ended.
pub(crate) fn said(output: &Output) -> Said {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

impl Said {
    /// Fails unless the exit code is `code`; the message shows what was said.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "\n{}\n{}", self.out, self.err);
        self
    }

    /// Fails unless the standard error has `text`.
    #[track_caller]
    pub(crate) fn tells(self, text: &str) -> Self {
        assert!(self.err.contains(text), "{text:?} is not in:\n{}", self.err);
        self
    }
}
