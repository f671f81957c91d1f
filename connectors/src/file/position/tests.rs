use std::fs;
use std::io::Write;
use std::path::Path;

use lineshaft_engine::source::{Chunk, Decoder, Payload, Source};
use proptest::prelude::*;

use super::super::options::FileOptions;
use super::super::paths::find;
use super::super::source::TextSource;
use crate::format::Encoding;
use crate::format::testing::{declaration, lines};
use crate::position::testing::Running;

/// A source that follows `*.csv` in blocks of a few lines.
fn open(folder: &Path) -> TextSource {
    let mut declared = declaration("name TEXT, n INT, line BIGINT METADATA, received_at TIMESTAMP METADATA");
    declared.folder = folder.to_owned();
    let options = [("connector", "file"), ("path", "*.csv"), ("follow", "true")];
    declared.options = options.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let options = FileOptions::read(&declared).unwrap();
    let paths = find(&options.path, folder).unwrap();
    let mut source = TextSource::open(&declared, &options, Encoding::Csv, paths).unwrap();
    source.block_bytes = 24;
    source
}

/// A source that runs.
struct Follower {
    running: Running,
    /// Of the last chunk that was taken.
    position: Option<Vec<u8>>,
}

impl Follower {
    fn start(folder: &Path, position: Option<Vec<u8>>) -> Self {
        let source = Box::new(open(folder));
        assert!(!source.repeats());
        let running = Running::start(source, position.as_deref());
        Self { running, position }
    }

    /// The rows of the next chunk as `partition: name|n|line`.
    fn next(&mut self) -> Vec<String> {
        let chunk = self.running.chunks.blocking_recv().unwrap();
        self.position = chunk.position.clone();
        rows(self.running.decoder.as_ref(), chunk)
    }

    /// As many rows as that, or more if the last chunk has more.
    fn rows(&mut self, count: usize) -> Vec<String> {
        let mut rows = Vec::new();
        while rows.len() < count {
            rows.extend(self.next());
        }
        rows
    }

    /// Stops, and goes on where the last chunk that was taken ended.
    fn restart(self, folder: &Path) -> Self {
        let position = self.stop();
        Self::start(folder, position)
    }

    fn stop(self) -> Option<Vec<u8>> {
        // A source that was about to give a chunk says that it was stopped.
        self.running.stop().ok();
        self.position
    }
}

fn rows(decoder: &dyn Decoder, chunk: Chunk) -> Vec<String> {
    let partition = chunk.partition;
    let decoded = decoder.decode(chunk).unwrap().map(Result::unwrap);
    let rows: Vec<String> = decoded.flat_map(|decoded| lines(&decoded.rows)).collect();
    rows.iter().map(|row| format!("{partition}: {}", row.rsplit_once('|').unwrap().0)).collect()
}

fn append(path: &Path, text: &str) {
    let mut file = fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn wherever_it_stops_all_runs_together_give_each_row_once(
        lengths in prop::collection::vec(0..20usize, 1..4), stops in prop::collection::vec(1..6usize, 0..4)
    ) {
        let folder = tempfile::tempdir().unwrap();
        for (file, length) in lengths.iter().enumerate() {
            let quoted = |n: usize| if n.is_multiple_of(3) { "\"two\nlines\"" } else { "one" };
            let rows: String = (0..*length).map(|n| format!("{n},{}\n", quoted(n))).collect();
            fs::write(folder.path().join(format!("{file}.csv")), format!("n,name\n{rows}12,cut")).unwrap();
        }
        let expected: usize = lengths.iter().sum();
        let mut undisturbed = Follower::start(folder.path(), None);
        let mut all = undisturbed.rows(expected);
        undisturbed.stop();
        let (mut disturbed, mut given) = (Follower::start(folder.path(), None), Vec::new());
        for stop in stops {
            for _ in 0..stop {
                if given.len() < expected {
                    given.extend(disturbed.next());
                }
            }
            disturbed = disturbed.restart(folder.path());
        }
        given.extend(disturbed.rows(expected - given.len()));
        // The lines that were cut come once they are whole.
        for file in 0..lengths.len() {
            append(&folder.path().join(format!("{file}.csv")), " off\n");
        }
        for _ in &lengths {
            all.push(disturbed.next().concat());
            prop_assert!(all.last().is_some_and(|row| row.contains("cut off|12|")), "{:?}", all.last());
            given.extend(all.last().cloned());
        }
        disturbed.stop();
        all.sort();
        given.sort();
        prop_assert_eq!(given, all);
    }
}

#[test]
fn what_happened_to_the_files_meanwhile_is_seen_at_the_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["appended", "gone", "replaced", "shorter", "rewritten"] {
        fs::write(path(&format!("{name}.csv")), format!("name,n\n{name},1\n{name},2\n")).unwrap();
    }
    let mut follower = Follower::start(folder.path(), None);
    follower.rows(10);
    append(&path("appended.csv"), "appended,3\nappen");
    assert_eq!(follower.rows(1), ["0: appended|3|4"]);
    let position = follower.stop();

    append(&path("appended.csv"), "ded,4\n");
    fs::rename(path("gone.csv"), path("gone")).unwrap();
    fs::write(path("new"), "n,name\n1,replaced again and again\n").unwrap();
    fs::rename(path("new"), path("replaced.csv")).unwrap();
    fs::write(path("shorter.csv"), "n\n1\n").unwrap();
    // In place and longer: its number in the file system is the same.
    fs::write(path("rewritten.csv"), "n,name\n1,rewritten\n2,rewritten\n3,rewritten\n").unwrap();
    fs::write(path("a new one.csv"), "name,n\nnew,1\n").unwrap();

    let mut follower = Follower::start(folder.path(), position);
    let mut rows = follower.rows(7);
    rows.sort();
    let expected = [
        "0: appended|4|5",
        "2: replaced again and again|1|2",
        "3: rewritten|1|2",
        "3: rewritten|2|3",
        "3: rewritten|3|4",
        "4: |1|2",
        "5: new|1|2",
    ];
    assert_eq!(rows, expected);
    // What was gone comes back, and has its old number; then another file has its name.
    append(&path("gone"), "gone,3\n");
    fs::rename(path("gone"), path("gone.csv")).unwrap();
    assert_eq!(follower.rows(1), ["1: gone|3|4"]);
    let mut follower = follower.restart(folder.path());
    fs::remove_file(path("gone.csv")).unwrap();
    fs::write(path("new"), "name,n\nback,1\n").unwrap();
    fs::rename(path("new"), path("gone.csv")).unwrap();
    assert_eq!(follower.rows(1), ["1: back|1|2"]);
    follower.stop();
}

#[test]
fn partitions_stay_those_of_the_first_start() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("b.csv"), "name,n\nb,1\n").unwrap();
    let mut follower = Follower::start(folder.path(), None);
    follower.rows(1);
    fs::write(folder.path().join("a.csv"), "name,n\na,1\n").unwrap();
    assert_eq!(follower.rows(1), ["1: a|1|2"]);
    let position = follower.stop().unwrap();
    fs::remove_file(folder.path().join("b.csv")).unwrap();
    let mut source = open(folder.path());
    source.go_on(&position).unwrap();
    let names: Vec<String> = source.partitions().into_iter().map(|partition| partition.name).collect();
    assert!(matches!(names.as_slice(), [name] if name.ends_with("b.csv")), "{names:?}");
}

#[test]
fn a_chunk_of_the_journal_is_decoded_as_its_file_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    fs::write(&path, "name,n\none,1\n").unwrap();
    let mut follower = Follower::start(folder.path(), None);
    let chunk = follower.running.chunks.blocking_recv().unwrap();
    let position = chunk.position.clone();
    follower.stop();
    fs::write(&path, "n\n2\n").unwrap();
    let mut follower = Follower::start(folder.path(), position.clone());
    assert_eq!(follower.next(), ["0: |2|2"]);
    let Payload::Bytes { bytes, first_line } = chunk.payload else { panic!("it is text") };
    let again = Chunk { position, ..Chunk::new(Payload::Bytes { bytes, first_line }) };
    assert_eq!(rows(follower.running.decoder.as_ref(), again), ["0: one|1|2"]);
    follower.stop();
}

#[test]
fn a_damaged_position_of_files_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.csv"), "name,n\none,1\n").unwrap();
    let mut follower = Follower::start(folder.path(), None);
    follower.rows(1);
    let mut position = follower.stop().unwrap();
    position[12] ^= 1;
    let error = open(folder.path()).go_on(&position).unwrap_err().to_string();
    assert!(error.contains("\"readings\"") && error.contains("is damaged"), "{error}");
}
