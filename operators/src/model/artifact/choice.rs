//! Which of the stored versions of a model scores: the file `models/<name>/chosen` in the data directory.
//!
//! ```text
//! live 3
//! previous 2
//! shadow 4
//! definition 5d41...
//! ```

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use lineshaft_engine::error::{Error, Result};

use super::{folder_of, write_whole};

const FILE: &str = "chosen";

/// Which version scores, and which one scores beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The version that scores.
    pub live: u32,
    /// The version that scored before.
    pub previous: Option<u32>,
    /// The version that scores beside it.
    pub shadow: Option<u32>,
    /// The definition for which this was chosen, see [`super::Artifact::definition_hash`]: for another one it is chosen anew.
    pub definition: String,
}

impl Choice {
    /// The first version that scores.
    pub fn first(live: u32, definition: &str) -> Self {
        Self { live, previous: None, shadow: None, definition: definition.to_owned() }
    }

    /// The same with another version that scores. A shadow that comes to the light is none any more.
    #[must_use]
    pub fn with_live(&self, live: u32) -> Self {
        let previous = if live == self.live { self.previous } else { Some(self.live) };
        Self { live, previous, shadow: self.shadow.filter(|shadow| *shadow != live), ..self.clone() }
    }

    /// What was chosen for a model; `None` if nothing was.
    ///
    /// # Errors
    /// If the file cannot be read, or is another one.
    pub fn load(folder: &Path, name: &str) -> Result<Option<Self>> {
        let path = folder_of(folder, name)?.join(FILE);
        match fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text).map(Some).ok_or_else(|| {
                let reason = "it does not say which version scores; delete it to let the newest one score";
                Error::file("read", &path, io::Error::new(io::ErrorKind::InvalidData, reason))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::file("read", &path, source)),
        }
    }

    /// Stores it. Whoever reads the file sees the old or the new choice.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, folder: &Path, name: &str) -> Result<()> {
        let path = folder_of(folder, name)?.join(FILE);
        write_whole(&path, self.text().as_bytes()).map_err(|source| Error::file("write", &path, source))
    }

    fn text(&self) -> String {
        let mut text = format!("live {}\n", self.live);
        for (word, version) in [("previous", self.previous), ("shadow", self.shadow)] {
            if let Some(version) = version {
                // Writing to a String cannot fail.
                writeln!(text, "{word} {version}").ok();
            }
        }
        text + &format!("definition {}\n", self.definition)
    }

    fn parse(text: &str) -> Option<Self> {
        let of = |word: &str| {
            text.lines()
                .find_map(|line| line.split_once(' ').filter(|(first, _)| *first == word))
                .map(|it| it.1)
        };
        let version = |word: &str| of(word).map(str::parse).transpose().ok();
        Some(Self {
            live: version("live")??,
            previous: version("previous")?,
            shadow: version("shadow")?,
            definition: of("definition")?.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_chosen_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("models/wear")).unwrap();
        assert_eq!(Choice::load(folder.path(), "wear").unwrap(), None);
        let choice = Choice { shadow: Some(4), ..Choice::first(2, "abc").with_live(3) };
        choice.save(folder.path(), "wear").unwrap();
        assert_eq!(Choice::load(folder.path(), "wear").unwrap(), Some(choice.clone()));
        assert_eq!(choice.with_live(4), Choice { previous: Some(3), shadow: None, live: 4, ..choice });
    }

    #[test]
    fn a_file_that_says_something_else_is_an_error() {
        for text in
            ["", "live\ndefinition a", "live x\ndefinition a", "live 1\nshadow -1\ndefinition a", "live 1"]
        {
            assert_eq!(Choice::parse(text), None, "{text}");
        }
    }
}
