//! Journals on a real disk: the command line, and the files of every version that there was.

use std::fs;
use std::path::{Path, PathBuf};

use lineshaft::engine::journal::{
    Control, Data, DataChunk, DataPayload, Epochs, Gap, Journal, Record, Settings,
};
use lineshaft::engine::source::{Message, Packet};
use tempfile::TempDir;

use crate::support::lineshaft;

/// 2026-01-01T00:00:00Z.
const BEGIN: i64 = 1_767_225_600_000_000;

fn epochs(first: u64) -> Epochs {
    Epochs { first, count: 1, wall_clock: BEGIN + 10_000 * i64::try_from(first).unwrap() }
}

fn data(epoch: u64, payload: DataPayload) -> Record {
    let chunk = DataChunk {
        partition: 2,
        batches: 1,
        near: Some(BEGIN),
        rest: None,
        last: epoch == 3,
        is_loaded: epoch == 0,
        ends_source: false,
        position: None,
        payload,
    };
    Record::Data(Data { source: "readings".into(), epochs: epochs(epoch), chunk })
}

/// One record of every kind, one an epoch.
fn records() -> Vec<Record> {
    let message = |again| Message {
        topic: "plant/pump".into(),
        payload: b"{\"bar\": 4.2}".to_vec(),
        received_at: BEGIN,
        qos: 1,
        retain: true,
        packet: Some(Packet { id: 7, again, settles: false }),
        request: None,
    };
    let plain = Message { packet: None, retain: false, qos: 0, ..message(false) };
    let messages = vec![message(false), message(true), plain];
    vec![
        data(0, DataPayload::Messages(messages)),
        data(1, DataPayload::Bytes { bytes: b"1,2\n3,4\n".to_vec(), first_line: 17 }),
        data(2, DataPayload::Chunk(9)),
        data(3, DataPayload::Rows(vec![255; 700])),
        data(4, DataPayload::Empty),
        data(5, DataPayload::Gap("the broker does not know us".into())),
        Record::Gap(Gap { source: "readings".into(), reason: "full".into(), from: BEGIN, to: BEGIN + 1 }),
        Record::Control(Control { kind: 3, body: b"model 2".to_vec() }),
    ]
}

fn settings(folder: &Path) -> Settings {
    Settings { segment_bytes: 1024, ..Settings::new(folder) }
}

/// A journal of several segments with [`records`].
fn written() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    let (mut writer, _) = Journal::open(settings(&journal)).unwrap();
    for (epoch, record) in (0..).zip(records()) {
        writer.append(&record).unwrap();
        writer.commit(epochs(epoch), 5).unwrap();
    }
    (folder, journal)
}

fn replayed(folder: &Path) -> Vec<Record> {
    let (_, recovered) = Journal::open(settings(folder)).unwrap();
    let records = recovered.replay_from(recovered.first_epoch.unwrap()).unwrap().map(Result::unwrap);
    records.filter(|record| !matches!(record, Record::Commit(_))).collect()
}

#[test]
fn a_journal_of_format_1_can_be_read_for_ever() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/journal-1");
    lineshaft(&fixture, &["journal", "verify", "."]).exits(0);
    let folder = tempfile::tempdir().unwrap();
    for file in fs::read_dir(fixture).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
    }
    assert_eq!(replayed(folder.path()), records());
}

#[test]
fn the_segments_of_a_journal_are_listed_with_their_epochs_and_times() {
    let (folder, _journal) = written();
    let listed = lineshaft(folder.path(), &["journal", "ls", "journal", "--format", "csv"]).exits(0).out;
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines[0], "segment,first_epoch,next_epoch,commits,records,bytes,size,from,to,state");
    assert!(lines.len() >= 3 && lines[1].starts_with("j-00000000000000000000.ljn,0,"), "{listed}");
    assert!(lines[1].contains("2026-01-01T00:00:00") && lines[1].ends_with(",whole"), "{listed}");
    lineshaft(folder.path(), &["journal", "ls", "nowhere"]).exits(1).tells("could not read nowhere");
    fs::create_dir(folder.path().join("empty")).unwrap();
    lineshaft(folder.path(), &["journal", "verify", "empty"]).exits(1).tells("empty has no journal");
}

#[test]
fn a_damaged_journal_is_refused_with_its_place_and_repaired_with_a_gap() {
    let (folder, journal) = written();
    let run = |what: &str| lineshaft(folder.path(), &["journal", what, "journal"]);
    assert_eq!(run("verify").exits(0).out, "whole: 8 commits from epoch 0; epoch 8 is next\n");
    assert_eq!(run("repair").exits(0).out, "whole: there is nothing to repair\n");
    let segment = journal.join("j-00000000000000000000.ljn");
    let mut bytes = fs::read(&segment).unwrap();
    bytes[120] ^= 1;
    fs::write(&segment, &bytes).unwrap();
    let place = "journal/j-00000000000000000000.ljn is damaged at byte 80: the checksum does not match; \
                 `lineshaft journal repair journal` keeps what is whole";
    run("verify").exits(1).tells(place);
    let error = Journal::open(settings(&journal)).unwrap_err().to_string();
    assert!(error.contains("damaged at byte 80"), "{error}");
    assert!(run("ls").exits(0).out.contains("damaged at byte 80"));
    let said = run("repair").exits(0).out;
    assert!(said.contains("lost from epoch 0 on: bytes 80 to") && said.contains(".ljn.damaged"), "{said}");
    assert_eq!(fs::read(segment.with_extension("ljn.damaged")).unwrap(), bytes);
    run("verify").exits(0);
    let kept = replayed(&journal);
    assert!(matches!(&kept[0], Record::Gap(gap) if gap.reason.contains("were damaged")), "{kept:?}");
    assert_eq!(kept[1..], records()[1..]);
}

#[test]
fn a_journal_that_is_written_is_not_repaired() {
    let (folder, journal) = written();
    let open = Journal::open(settings(&journal)).unwrap();
    let repair = || lineshaft(folder.path(), &["journal", "repair", "journal"]);
    repair().exits(1).tells("another engine runs on journal");
    drop(open);
    repair().exits(0);
}
