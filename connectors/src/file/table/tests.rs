use std::fs;

use lineshaft_engine::declaration::TableDeclaration;

use super::*;
use crate::format::testing::{declaration, lines, reasons};
use crate::position::testing::Running;

/// A table `machine TEXT, n INT` of `path`, which has been loaded.
struct Table {
    running: Running,
    /// Of the last chunk.
    position: Vec<u8>,
}

impl Table {
    fn open(folder: &Path, path: &str, primary_key: Vec<usize>) -> Self {
        Self::go_on(folder, path, TableDeclaration { primary_key, ..TableDeclaration::default() }, None)
    }

    fn go_on(folder: &Path, path: &str, table: TableDeclaration, position: Option<&[u8]>) -> Self {
        let mut declared = declaration("machine TEXT, n INT");
        declared.folder = folder.to_owned();
        declared.options = [("path".to_owned(), path.to_owned())].into();
        declared.table = Some(TableDeclaration { reads_again: true, ..table });
        let source = super::super::source(&declared).unwrap();
        assert!(source.is_bounded() && source.loads() && !source.repeats());
        Self { running: Running::start(source, position), position: Vec::new() }
    }

    /// The rows of the next chunk with their weights, what is bad, and whether it is the last of the load.
    fn next(&mut self) -> (Vec<String>, Vec<String>, bool) {
        let mut chunk = self.running.chunks.blocking_recv().unwrap();
        self.position = chunk.position.take().unwrap();
        let is_loaded = chunk.is_loaded;
        let decoded = self.running.decoder.decode(chunk).unwrap().next().unwrap().unwrap();
        let weights = decoded.weights.iter().flat_map(|weights| weights.values().to_vec());
        let mut weights = weights.map(|weight| format!("{weight:+} "));
        let rows = lines(&decoded.rows).into_iter();
        let rows = rows.map(|row| weights.next().unwrap_or_default() + &row).collect();
        (rows, reasons(&decoded.rejected), is_loaded)
    }

    /// The changes of the next chunk.
    fn changes(&mut self) -> Vec<String> {
        self.next().0
    }

    /// Stops; gives the position of the last chunk.
    fn stop(self) -> Vec<u8> {
        self.running.stop().unwrap();
        self.position
    }
}

#[test]
fn what_is_new_and_what_is_gone_comes_in_one_chunk() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    fs::write(&path, "machine,n\na,1\na,1\nb,2\nb,x\n").unwrap();
    let mut table = Table::open(folder.path(), "a.csv", vec![]);
    let bad = "5 type: column \"n\": found \"x\", expected INT".to_owned();
    let rows = ["a|1", "a|1", "b|2"].map(String::from).to_vec();
    assert_eq!(table.next(), (rows, vec![bad], true));
    fs::write(&path, "n,machine\n2,b\nx,b\n1,a\n3,c\n").unwrap();
    let added = ["-1 a|1", "+1 c|3"].map(String::from).to_vec();
    let bad = "3 type: column \"n\": found \"x\", expected INT".to_owned();
    assert_eq!(table.next(), (added, vec![bad], false), "the record is written otherwise");
    // Without a header it is not a table yet; the same rows in another order are no change.
    fs::write(&path, "").unwrap();
    std::thread::sleep(POLL * 3);
    fs::write(&path, "n,machine\n3,c\n1,a\nx,b\n2,b\n").unwrap();
    std::thread::sleep(POLL * 3);
    fs::write(&path, "n,machine\n3,c\n1,a\n2,b\n4,b\n").unwrap();
    assert_eq!(table.changes(), ["+1 b|4"]);
    table.stop();
}

#[test]
fn the_last_row_of_a_key_counts_over_all_files() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("1.csv"), "machine,n\na,1\nb,1\n").unwrap();
    fs::write(folder.path().join("2.csv"), "machine,n\na,2\n").unwrap();
    let mut table = Table::open(folder.path(), "*.csv", vec![0]);
    assert_eq!(table.changes(), ["b|1", "a|2"]);
    fs::remove_file(folder.path().join("2.csv")).unwrap();
    assert_eq!(table.changes(), ["-1 a|2", "+1 a|1"]);
    fs::write(folder.path().join("3.csv"), "machine,n\nb,3\n").unwrap();
    assert_eq!(table.changes(), ["-1 b|1", "+1 b|3"]);
    table.stop();
}

#[test]
fn a_table_that_cannot_be_read_at_first_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut declared = declaration("machine TEXT, n INT");
    declared.folder = folder.path().to_owned();
    declared.options = [("path".to_owned(), "a.csv".to_owned())].into();
    declared.table = Some(TableDeclaration { reads_again: true, ..TableDeclaration::default() });
    let error = super::super::source(&declared).err().unwrap();
    assert!(error[0].message.contains("no file"), "{}", error[0]);
}

#[test]
fn a_table_that_goes_on_gives_the_difference_in_one_load() {
    let folder = tempfile::tempdir().unwrap();
    let (path, table) = (folder.path().join("a.csv"), TableDeclaration::default);
    fs::write(&path, "machine,n\na,1\na,1\nb,2\nb,x\nc,3\n").unwrap();
    let mut first = Table::open(folder.path(), "a.csv", vec![]);
    assert!(first.next().2);
    fs::write(&path, "machine,n\na,1\na,1\nb,2\nb,x\nd,4\n").unwrap();
    assert_eq!(first.changes(), ["-1 c|3", "+1 d|4"]);
    let position = first.stop();

    let mut unchanged = Table::go_on(folder.path(), "a.csv", table(), Some(&position));
    assert_eq!(unchanged.next(), (vec![], vec![], true), "the bad record was told, too");
    let position = unchanged.stop();

    fs::write(&path, "machine,n\nb,y\nb,x\na,1\nb,5\nd,4\nd,4\n").unwrap();
    let mut changed = Table::go_on(folder.path(), "a.csv", table(), Some(&position));
    let (rows, bad, is_loaded) = changed.next();
    assert_eq!(rows, ["-1 a|1", "-1 b|2", "+1 b|5", "+1 d|4"]);
    assert_eq!((bad.len(), is_loaded), (1, true), "{bad:?}");
    fs::write(&path, "machine,n\nb,5\n").unwrap();
    assert_eq!(changed.changes(), ["-1 a|1", "-1 d|4", "-1 d|4"]);
    changed.stop();
}

#[test]
fn a_table_without_its_header_at_a_restart_stays_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    fs::write(&path, "machine,n\na,1\nb,2\n").unwrap();
    let mut first = Table::open(folder.path(), "a.csv", vec![0]);
    first.next();
    let position = first.stop();
    fs::write(&path, "").unwrap();
    let table = TableDeclaration { primary_key: vec![0], ..TableDeclaration::default() };
    let mut second = Table::go_on(folder.path(), "a.csv", table, Some(&position));
    assert_eq!(second.next(), (vec![], vec![], true));
    assert_eq!(second.position, position);
    fs::write(&path, "machine,n\nb,2\na,3\n").unwrap();
    assert_eq!(second.changes(), ["-1 a|1", "+1 a|3"]);
    second.stop();
}

#[test]
fn versions_are_given_once_over_all_runs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    let table = || TableDeclaration { keeps_versions: true, ..TableDeclaration::default() };
    fs::write(&path, "machine,n\na,1\nb,2\n").unwrap();
    let mut first = Table::go_on(folder.path(), "a.csv", table(), None);
    assert_eq!(first.changes(), ["a|1", "b|2"]);
    let position = first.stop();
    fs::write(&path, "machine,n\nb,2\nb,3\n").unwrap();
    let mut second = Table::go_on(folder.path(), "a.csv", table(), Some(&position));
    assert_eq!(second.changes(), ["b|3"]);
    second.stop();
}

#[test]
fn a_load_is_one_chunk_however_many_rows_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let rows: String = (0..100_000).map(|n| format!("a,{n}\n")).collect();
    fs::write(folder.path().join("a.csv"), format!("machine,n\n{rows}")).unwrap();
    let mut table = Table::open(folder.path(), "a.csv", vec![1]);
    let (rows, _, is_loaded) = table.next();
    assert_eq!((rows.len(), is_loaded), (100_000, true));
    table.stop();
}

#[test]
fn a_position_of_another_table_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.csv"), "machine,n\na,1\n").unwrap();
    let mut table = Table::open(folder.path(), "a.csv", vec![]);
    table.next();
    let position = table.stop();
    let error = |columns: &str, position: &[u8]| {
        let mut declared = declaration(columns);
        declared.folder = folder.path().to_owned();
        declared.options = [("path".to_owned(), "a.csv".to_owned())].into();
        declared.table = Some(TableDeclaration { reads_again: true, ..TableDeclaration::default() });
        super::super::source(&declared).unwrap().go_on(position).unwrap_err().to_string()
    };
    assert!(error("machine TEXT, n BIGINT", &position).contains("has other columns"));
    assert!(error("machine TEXT, n INT", &position[1..]).contains("is damaged"));
}
