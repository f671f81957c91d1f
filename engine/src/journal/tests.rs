use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::disk::{Fault, Random, SimulatedDisk};
use crate::source::{Message, Packet};

const QUERIES: u128 = 7;
const SEGMENT: u64 = 2048;
/// What the work cuts before.
const CUT: u64 = 4;

/// The folder of the journal on a simulated disk.
const FOLDER: &str = "simulated";

fn settings(disk: &SimulatedDisk) -> Settings {
    let disk = Arc::new(disk.clone());
    Settings { disk, segment_bytes: SEGMENT, reserve_bytes: 0, ..Settings::new(FOLDER) }
}

fn open(disk: &SimulatedDisk) -> Result<(Journal, Recovered)> {
    Journal::open_as(&Journal::lock(settings(disk))?, 42, 0)
}

fn folder(disk: &SimulatedDisk) -> Folder {
    Folder::lock(Arc::new(disk.clone()), Path::new(FOLDER)).unwrap()
}

fn file(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name)
}

/// A record of `source` for one epoch; sizes differ, and one in three has zeros of more than a sector.
fn data(source: &str, epoch: u64) -> Record {
    let payload = match epoch % 3 {
        0 => vec![0; 600],
        _ => format!("reading {epoch}").repeat(usize::try_from(epoch % 20).unwrap()).into_bytes(),
    };
    let packet = Some(Packet { id: 9, again: epoch.is_multiple_of(2), settles: false });
    let message = Message {
        topic: "plant/pump".into(),
        payload,
        received_at: 5,
        qos: 1,
        retain: true,
        packet,
        request: None,
    };
    let chunk = DataChunk {
        partition: 0,
        batches: 1,
        near: None,
        rest: Some(3),
        last: false,
        is_loaded: true,
        ends_source: false,
        position: None,
        payload: DataPayload::Messages(vec![message]),
    };
    let epochs = Epochs { first: epoch, count: 1, wall_clock: wall_clock(epoch) };
    Record::Data(Data { source: source.into(), epochs, chunk })
}

fn wall_clock(epoch: u64) -> i64 {
    1_000 * i64::try_from(epoch).unwrap()
}

/// Commits the epoch with two records of two sources, one of which may be left out.
fn commit(journal: &mut Journal, epoch: u64) -> Result<()> {
    for record in records(epoch) {
        journal.append(&record)?;
    }
    journal.commit(Epochs { first: epoch, count: 1, wall_clock: wall_clock(epoch) }, QUERIES)
}

fn records(epoch: u64) -> Vec<Record> {
    let all = [data("a", epoch), data("b", epoch)];
    all.into_iter().take(1 + usize::try_from(epoch % 2).unwrap()).collect()
}

fn replayed(recovered: &Recovered, from: u64) -> Result<Vec<Record>> {
    recovered.replay_from(from)?.filter(|record| !matches!(record, Ok(Record::Commit(_)))).collect()
}

fn expected(epochs: std::ops::Range<u64>) -> Vec<Record> {
    epochs.flat_map(records).collect()
}

/// Fails unless all is there that was acknowledged and not cut, and at most the commit that was on its way. Returns the
/// next epoch.
#[track_caller]
fn assert_has(recovered: &Recovered, acknowledged: u64) -> u64 {
    let next = recovered.next_epoch;
    assert!(next == acknowledged || next == acknowledged + 1, "{next} instead of {acknowledged}");
    let first = recovered.first_epoch.unwrap_or(0);
    assert!(first <= CUT, "{first} was cut");
    assert_eq!(replayed(recovered, first).unwrap(), expected(first..next));
    next
}

/// Twelve epochs with a cut in the middle, until something fails. Returns how many were acknowledged.
fn work(disk: &SimulatedDisk) -> u64 {
    let Ok((mut journal, _)) = open(disk) else { return 0 };
    for epoch in 0..12 {
        if commit(&mut journal, epoch).is_err() || epoch == 8 && journal.cut(CUT).is_err() {
            return epoch + u64::from(journal.next_epoch() > epoch);
        }
    }
    12
}

/// Opens after a crash, checks what is there, goes on for three epochs, and opens again.
#[track_caller]
fn assert_goes_on(disk: &SimulatedDisk, acknowledged: u64) {
    let (mut journal, recovered) = open(disk).unwrap();
    let next = assert_has(&recovered, acknowledged);
    if let Some(last) = journal.segments.last() {
        assert!(
            folder(disk).read(&last.name).unwrap()[last.end..].iter().all(|byte| *byte == 0),
            "nothing torn is left"
        );
    }
    for epoch in next..next + 3 {
        commit(&mut journal, epoch).unwrap();
    }
    drop(journal);
    assert_has(&open(disk).unwrap().1, next + 3);
}

fn calls_of_the_work() -> usize {
    let disk = SimulatedDisk::default();
    assert_eq!(work(&disk), 12);
    disk.calls()
}

#[test]
fn a_process_that_dies_at_any_call_loses_nothing_that_was_acknowledged() {
    let calls = calls_of_the_work();
    assert!(calls > 40, "{calls}");
    for call in 0..calls {
        let disk = SimulatedDisk::default();
        disk.fail_at(call, Fault::Crash);
        let acknowledged = work(&disk);
        disk.restart();
        assert_goes_on(&disk, acknowledged);
    }
}

#[test]
fn power_that_fails_at_any_call_loses_nothing_that_was_acknowledged() {
    for call in 0..calls_of_the_work() {
        for seed in 0..20 {
            let disk = SimulatedDisk::default();
            disk.fail_at(call, Fault::Crash);
            let acknowledged = work(&disk);
            disk.power_cut(seed);
            assert_goes_on(&disk, acknowledged);
        }
    }
}

#[test]
fn power_may_fail_again_at_any_call_of_a_start() {
    for call in 0..calls_of_the_work() {
        for again in 0..8 {
            let disk = SimulatedDisk::default();
            disk.fail_at(call, Fault::Crash);
            let acknowledged = work(&disk);
            disk.power_cut(again);
            let next = disk.calls() + usize::try_from(again).unwrap();
            disk.fail_at(next, Fault::Crash);
            drop(open(&disk));
            disk.power_cut(again + 100);
            assert_goes_on(&disk, acknowledged);
        }
    }
}

#[test]
fn a_disk_that_fails_ends_the_journal_with_the_first_cause() {
    for call in 0..calls_of_the_work() {
        let disk = SimulatedDisk::default();
        disk.fail_at(call, Fault::Error(ErrorKind::Other));
        let Ok((mut journal, _)) = open(&disk) else { continue };
        let mut acknowledged = 0;
        let failed = (0..12).find_map(|epoch| {
            let cut = |journal: &mut Journal| if epoch == 8 { journal.cut(CUT) } else { Ok(()) };
            let done = commit(&mut journal, epoch);
            acknowledged += u64::from(done.is_ok());
            done.and_then(|()| cut(&mut journal)).err()
        });
        let failed = failed.expect("a call of the work fails").to_string();
        assert!(failed.starts_with("could not"), "{failed}");
        disk.restart();
        assert_eq!(commit(&mut journal, 20).unwrap_err().to_string(), failed);
        assert_eq!(journal.append(&data("a", 20)).unwrap_err().to_string(), failed);
        assert_eq!(journal.cut(1).unwrap_err().to_string(), failed);
        drop(journal);
        assert_goes_on(&disk, acknowledged);
    }
}

#[test]
fn after_a_sync_that_failed_a_start_trusts_the_disk_and_not_the_memory() {
    let disk = SimulatedDisk::default();
    let (mut journal, _) = open(&disk).unwrap();
    commit(&mut journal, 0).unwrap();
    disk.fail_at(disk.calls() + 1, Fault::Error(ErrorKind::Other));
    commit(&mut journal, 1).unwrap_err();
    disk.restart();
    let (_, recovered) = open(&disk).unwrap();
    assert_eq!(recovered.next_epoch, 1, "what the system still shows was never written");
}

#[test]
fn a_commit_without_room_is_tried_again_and_nothing_is_harmed() {
    for call in 0..calls_of_the_work() {
        let disk = SimulatedDisk::default();
        let Ok((mut journal, _)) = open(&disk) else { continue };
        disk.fail_at(call.max(disk.calls()), Fault::Error(ErrorKind::StorageFull));
        let (mut full, mut failed) = (0, false);
        for epoch in 0..12 {
            records(epoch).iter().for_each(|record| journal.append(record).unwrap());
            let epochs = Epochs { first: epoch, count: 1, wall_clock: wall_clock(epoch) };
            match journal.commit(epochs, QUERIES) {
                Ok(()) => continue,
                Err(JournalError::Full { .. }) => full += 1,
                // A sync without room is as bad as any that fails.
                Err(_) => failed = true,
            }
            if failed {
                break;
            }
            journal.commit(epochs, QUERIES).unwrap();
        }
        assert!(full <= 1 && (full == 0 || !failed));
        let acknowledged = journal.next_epoch();
        drop(journal);
        disk.restart();
        assert_goes_on(&disk, acknowledged);
    }
}

#[test]
fn more_may_be_added_to_a_commit_that_had_no_room() {
    let disk = SimulatedDisk::default();
    let (mut journal, _) = open(&disk).unwrap();
    commit(&mut journal, 0).unwrap();
    journal.append(&data("a", 1)).unwrap();
    disk.fail_at(disk.calls(), Fault::Error(ErrorKind::StorageFull));
    let epochs = Epochs { first: 1, count: 2, wall_clock: 0 };
    assert!(matches!(journal.commit(epochs, QUERIES), Err(JournalError::Full { .. })));
    // Now it does not fit into the segment, in which a half of it has been left.
    let large: Vec<Record> = (0..4).map(|_| data("a", 3)).collect();
    large.iter().for_each(|record| journal.append(record).unwrap());
    journal.commit(epochs, QUERIES).unwrap();
    assert_eq!(journal.segments.len(), 2);
    let (_, recovered) = open(&disk).unwrap();
    let all = [records(0), vec![data("a", 1)], large].concat();
    assert_eq!(replayed(&recovered, 0).unwrap(), all);
}

#[test]
fn the_limit_of_the_settings_is_kept_and_a_cut_makes_room() {
    let disk = SimulatedDisk::default();
    let limited = Settings { max_bytes: 2 * SEGMENT, ..settings(&disk) };
    let (mut journal, _) = Journal::open_as(&Journal::lock(limited).unwrap(), 42, 0).unwrap();
    let full = (0..).find_map(|epoch| commit(&mut journal, epoch).err().map(|error| (epoch, error)));
    let (epoch, error) = full.unwrap();
    assert!(matches!(error, JournalError::Full { needed: SEGMENT, .. }), "{error}");
    assert_eq!(journal.size(), 2 * SEGMENT);
    journal.cut(epoch).unwrap();
    assert_eq!(journal.size(), SEGMENT, "the last segment stays");
    // What was appended before is still there; what was refused is not.
    let waiting = journal.waiting.frames.len();
    let kept = if waiting == 0 { 0 } else { 1 };
    records(epoch)[kept..].iter().for_each(|record| journal.append(record).unwrap());
    journal.commit(Epochs { first: epoch, count: 1, wall_clock: 0 }, QUERIES).unwrap();
    drop(journal);
    let (_, recovered) = open(&disk).unwrap();
    let first = recovered.first_epoch.unwrap();
    assert!(first > 0);
    assert_eq!(replayed(&recovered, first).unwrap(), expected(first..epoch + 1));
    let missing = recovered.replay_from(0).unwrap_err();
    assert!(missing.to_string().contains("epoch 0 is needed"), "{missing}");
}

/// The same work with each segment made ahead.
fn work_ahead(disk: &SimulatedDisk) -> u64 {
    let Ok((mut journal, _)) = open(disk) else { return 0 };
    for epoch in 0..12 {
        if commit(&mut journal, epoch).is_err() {
            return epoch + u64::from(journal.next_epoch() > epoch);
        }
        if let Some(maker) = journal.wants_spare() {
            journal.keep_spare(maker.make());
        }
    }
    12
}

#[test]
fn a_segment_that_is_made_ahead_is_as_good_as_another_and_a_crash_in_it_does_no_harm() {
    let disk = SimulatedDisk::default();
    assert_eq!(work_ahead(&disk), 12);
    assert!(open(&disk).unwrap().0.segments.len() > 3);
    for call in 0..disk.calls() {
        for seed in 0..10 {
            let disk = SimulatedDisk::default();
            disk.fail_at(call, Fault::Crash);
            let acknowledged = work_ahead(&disk);
            disk.power_cut(seed);
            assert_goes_on(&disk, acknowledged);
        }
    }
}

#[test]
fn a_segment_is_made_ahead_once_and_a_larger_group_does_not_take_it() {
    let disk = SimulatedDisk::default();
    let (mut journal, _) = open(&disk).unwrap();
    assert!(journal.wants_spare().is_none(), "there is none before it yet");
    let mut epochs = 0..;
    let maker = epochs.find_map(|epoch| {
        commit(&mut journal, epoch).unwrap();
        journal.wants_spare()
    });
    assert!(journal.wants_spare().is_none(), "it is being made");
    journal.keep_spare(maker.unwrap().make());
    let (first, before) = (journal.next_epoch(), journal.segments.len());
    (0..40).for_each(|_| journal.append(&data("a", 0)).unwrap());
    journal.commit(Epochs { first, count: 1, wall_clock: 0 }, QUERIES).unwrap();
    assert_eq!(journal.segments.len(), before + 1);
    assert!(journal.wants_spare().is_none(), "it is still there");
    let name = format!("next{}", super::folder::TEMPORARY);
    assert!(folder(&disk).read(&name).is_ok());
    commit(&mut journal, first + 1).unwrap();
    assert_eq!(journal.segments.last().unwrap().size, SEGMENT);
    assert!(folder(&disk).read(&name).is_err(), "it is the segment now");
    drop(journal);
    let (_, recovered) = open(&disk).unwrap();
    assert_eq!(recovered.next_epoch, first + 2);
}

#[test]
fn a_start_reads_only_what_is_needed_and_what_it_did_not_read_is_checked_when_it_is_read() {
    let open_from =
        |disk: &SimulatedDisk, needed| Journal::open_as(&Journal::lock(settings(disk)).unwrap(), 42, needed);
    let read_all = |journal: &Journal| {
        let (mut reader, mut all) = (journal.reader(0).unwrap(), Vec::new());
        loop {
            let groups = journal.read(&mut reader)?;
            if groups.is_empty() {
                return Ok::<_, JournalError>(all);
            }
            all.extend(groups.into_iter().flat_map(|group| group.records));
        }
    };
    let (disk, names, all) = whole();
    let (mut journal, recovered) = open_from(&disk, 11).unwrap();
    assert_eq!((recovered.first_epoch, recovered.next_epoch), (Some(0), 12));
    assert!(journal.segments.iter().filter(|segment| !segment.is_read).count() > 2);
    assert_eq!(read_all(&journal).unwrap(), all);
    commit(&mut journal, 12).unwrap();
    journal.cut(CUT).unwrap();
    assert!(journal.segments[0].header.number <= CUT && journal.segments.len() < names.len());

    let (disk, names, _) = whole();
    disk.edit(folder(&disk).path(&names[1]), |file| file[HEADER + 30] ^= 1);
    let (journal, _) = open_from(&disk, 11).unwrap();
    let error = read_all(&journal).unwrap_err().to_string();
    assert!(error.contains(&format!("{} is damaged at byte {HEADER}", names[1])), "{error}");
    drop(journal);
    disk.edit(folder(&disk).path(&names[1]), |file| file[20] ^= 1);
    assert!(open_from(&disk, 11).unwrap_err().to_string().contains("is damaged"), "a header is always read");
}

#[test]
fn a_replay_begins_at_the_epoch_that_is_asked_for() {
    let disk = SimulatedDisk::default();
    work(&disk);
    let (mut journal, recovered) = open(&disk).unwrap();
    assert_eq!((recovered.incarnation, journal.incarnation()), (2, 2));
    let first = recovered.first_epoch.unwrap();
    for from in first..14 {
        assert_eq!(replayed(&recovered, from).unwrap(), expected(from..12.max(from)));
    }
    let past = journal.commit(Epochs { first: 11, count: 1, wall_clock: 0 }, QUERIES).unwrap_err();
    assert!(matches!(past, JournalError::Order { epoch: 11, next: 12 }));
    commit(&mut journal, 12).unwrap();
    assert_eq!(recovered.wall_clock, Some(wall_clock(11)));
    let commits = recovered.replay_from(first).unwrap().filter_map(|record| match record.unwrap() {
        Record::Commit(commit) => Some((commit.epochs.first, commit.incarnation, commit.queries)),
        _ => None,
    });
    assert_eq!(commits.last(), Some((11, 1, QUERIES)));
}

#[test]
fn a_group_larger_than_a_segment_gets_one_of_its_size() {
    let disk = SimulatedDisk::default();
    let (mut journal, _) = open(&disk).unwrap();
    let large: Vec<Record> = (0..40).map(|_| data("a", 0)).collect();
    large.iter().for_each(|record| journal.append(record).unwrap());
    journal.commit(Epochs { first: 0, count: 1, wall_clock: 0 }, QUERIES).unwrap();
    assert!(journal.size() > 10 * SEGMENT);
    commit(&mut journal, 1).unwrap();
    assert_eq!(replayed(&open(&disk).unwrap().1, 0).unwrap(), [large, records(1)].concat());
}

/// A journal of several segments, and what is in it.
fn whole() -> (SimulatedDisk, Vec<String>, Vec<Record>) {
    let disk = SimulatedDisk::default();
    let (mut journal, _) = open(&disk).unwrap();
    (0..12).for_each(|epoch| commit(&mut journal, epoch).unwrap());
    let names = journal.segments.iter().map(|segment| segment.name.clone()).collect();
    (disk, names, expected(0..12))
}

/// What a start makes of a journal somebody has changed: it is refused with a place, or gives records of the beginning.
fn assert_never_wrong(disk: &SimulatedDisk, all: &[Record], what: &str) -> Option<usize> {
    match open(disk) {
        Err(error @ (JournalError::Damaged { .. } | JournalError::Format { .. })) => {
            assert!(error.to_string().contains("simulated/"), "{error}");
            None
        }
        Err(error) => panic!("{what}: {error}"),
        Ok((_, recovered)) => {
            let found = replayed(&recovered, 0).unwrap();
            assert!(all.starts_with(&found), "{what}: other records");
            Some(found.len())
        }
    }
}

#[test]
fn of_ten_thousand_changed_bytes_none_makes_a_wrong_record() {
    let (disk, names, all) = whole();
    let files: Vec<(String, Vec<u8>)> =
        names.iter().map(|name| (name.clone(), folder(&disk).read(name).unwrap())).collect();
    let last_group = records(11).len();
    let (mut random, mut refused) = (Random(1), 0);
    for _ in 0..10_000 {
        let (name, bytes) = &files[random.below(files.len())];
        let (at, bit) = (random.below(bytes.len()), random.below(8));
        disk.edit(file(name), |file| file[at] ^= 1 << bit);
        let found = assert_never_wrong(&disk, &all, &format!("{name} byte {at} bit {bit}"));
        let is_last = *name == names[names.len() - 1];
        match found {
            None => refused += 1,
            // In the zeros at the end, or so that the last write looks like one that was not finished.
            Some(found) => assert!(is_last && found >= all.len() - last_group, "{name} byte {at}: {found}"),
        }
        disk.edit(file(name), |file| file.clone_from(bytes));
    }
    assert!(refused > 6_000, "{refused}");
}

#[test]
fn a_file_that_was_cut_short_is_refused() {
    let (_, names, _) = whole();
    for (name, length) in names.iter().flat_map(|name| (0..2048).step_by(31).map(move |at| (name, at))) {
        let (disk, _, all) = whole();
        disk.edit(file(name), |file| file.truncate(length));
        let found = assert_never_wrong(&disk, &all, &format!("{name} cut at {length}"));
        assert_eq!(found, None, "{name} cut at {length}");
    }
}

#[test]
fn a_group_counts_only_where_it_was_written() {
    let disk = SimulatedDisk::default();
    let (mut journal, _) = open(&disk).unwrap();
    commit(&mut journal, 1).unwrap();
    let (name, end) = (journal.segments[0].name.clone(), journal.segments[0].end);
    disk.edit(file(&name), |file| file.copy_within(HEADER..end, end));
    let error = open(&disk).unwrap_err().to_string();
    assert!(error.contains(&format!("damaged at byte {end}")), "{error}");
}

#[test]
fn a_segment_that_is_missing_or_of_another_journal_is_refused() {
    let (disk, names, _) = whole();
    folder(&disk).remove(&names[1]).unwrap();
    let error = open(&disk).unwrap_err().to_string();
    assert!(error.contains(&names[2]) && error.contains("before it is missing"), "{error}");
    let other = SimulatedDisk::default();
    let (mut journal, _) = Journal::open_as(&Journal::lock(settings(&other)).unwrap(), 43, 0).unwrap();
    commit(&mut journal, 0).unwrap();
    let foreign = folder(&other).read(&names[0]).unwrap();
    let (disk, ..) = whole();
    disk.edit(file(&names[0]), |file| *file = foreign);
    let error = open(&disk).unwrap_err().to_string();
    assert!(error.contains("of another journal"), "{error}");
    let (disk, ..) = whole();
    disk.edit(file(&names[1]), |file| file[8] = 2);
    let error = open(&disk).unwrap_err().to_string();
    assert!(error.contains("has format 2"), "{error}");
    let (disk, ..) = whole();
    folder(&disk).remove(identity::FILE).unwrap();
    assert!(open(&disk).unwrap_err().to_string().contains("incarnation"), "its number would begin anew");
}

/// What a repaired journal has: the records of whole groups, and how many gaps.
fn repaired(disk: &SimulatedDisk) -> (Vec<Record>, usize) {
    let (_, recovered) = open(disk).unwrap();
    let first = recovered.first_epoch.unwrap_or(0);
    let (gaps, rest): (Vec<_>, Vec<_>) = replayed(&recovered, first)
        .unwrap()
        .into_iter()
        .partition(|record| matches!(record, Record::Gap(gap) if gap.reason.contains("damaged") || gap.reason.contains("missing")));
    (rest, gaps.len())
}

#[test]
fn a_repair_keeps_all_but_the_damaged_group_and_leaves_a_gap() {
    let (_, names, all) = whole();
    let mut random = Random(3);
    for round in 0..300 {
        let (disk, ..) = whole();
        let name = &names[random.below(names.len())];
        let used = folder(&disk).read(name).unwrap().iter().rposition(|byte| *byte != 0).unwrap();
        let at = random.below(used);
        disk.edit(file(name), |file| file[at] ^= 0x10);
        let damaged = folder(&disk).read(name).unwrap();
        // A version is no damage, and the last write may look as if it had not been finished.
        if !matches!(open(&disk), Err(JournalError::Damaged { .. })) {
            continue;
        }
        let lost = repair::repair_on(&folder(&disk)).unwrap();
        assert_eq!(lost.len(), 1, "round {round}");
        let (records, gaps) = repaired(&disk);
        let missing = all.iter().filter(|record| !records.contains(record)).count();
        assert!(gaps == 1 && missing <= 2, "round {round}: {gaps} gaps, {missing} records are missing");
        assert!(records.iter().all(|record| all.contains(record)));
        assert_eq!(folder(&disk).read(&format!("{name}.damaged")).unwrap(), damaged);
        assert!(repair::repair_on(&folder(&disk)).unwrap().is_empty(), "there is nothing more to do");
        assert!(inspect::verify_on(Arc::new(folder(&disk))).is_ok());
    }
}

#[test]
fn a_repair_goes_on_without_what_is_missing() {
    let (disk, names, all) = whole();
    folder(&disk).remove(&names[1]).unwrap();
    folder(&disk).remove(identity::FILE).unwrap();
    disk.edit(file(&names[3]), |file| file.truncate(HEADER + 10));
    let incarnations = repair::repair_on(&folder(&disk)).unwrap().len();
    assert_eq!(incarnations, 3, "the identity, a segment, and the groups of another");
    let (mut journal, recovered) = open(&disk).unwrap();
    assert_eq!(recovered.incarnation, 2);
    let (records, gaps) = repaired(&disk);
    assert_eq!(gaps, 2);
    assert!(records.len() < all.len() && records.iter().all(|record| all.contains(record)));
    commit(&mut journal, 12).unwrap();
}

#[test]
fn a_repair_that_loses_power_can_be_tried_again() {
    for call in 0..20 {
        let (disk, names, all) = whole();
        disk.edit(file(&names[1]), |file| file[HEADER + 30] ^= 1);
        disk.fail_at(disk.calls() + call, Fault::Crash);
        drop(repair::repair_on(&folder(&disk)));
        disk.power_cut(call as u64);
        repair::repair_on(&folder(&disk)).unwrap();
        let (records, gaps) = repaired(&disk);
        assert!(gaps == 1 && records.len() + 2 >= all.len(), "call {call}");
    }
}

#[test]
fn a_list_tells_what_each_segment_has() {
    let (disk, names, _) = whole();
    disk.edit(file(&names[1]), |file| file[HEADER + 30] ^= 1);
    let list = inspect::list_on(&folder(&disk)).unwrap();
    assert_eq!(list.len(), names.len());
    let first = &list[0];
    assert_eq!((first.epochs.unwrap().0, first.state.as_str(), first.size), (0, "whole", SEGMENT));
    assert_eq!(first.times.unwrap().0, 0);
    assert_eq!(list[1].state, format!("damaged at byte {HEADER}: the checksum does not match"));
    let error = inspect::verify_on(Arc::new(folder(&disk))).unwrap_err().to_string();
    assert!(error.contains(&format!("{} is damaged at byte {HEADER}", names[1])), "{error}");
    let empty = inspect::verify_on(Arc::new(folder(&SimulatedDisk::default()))).unwrap_err();
    assert!(matches!(empty, JournalError::Absent { .. }));
}

#[test]
fn a_second_engine_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { segment_bytes: SEGMENT, ..Settings::new(folder.path().join("journal")) };
    let (mut journal, recovered) = Journal::open(settings.clone()).unwrap();
    let refused = Journal::open(settings.clone()).unwrap_err();
    assert!(refused.to_string().contains("another engine runs on"), "{refused}");
    (0..12).for_each(|epoch| commit(&mut journal, epoch).unwrap());
    drop((journal, recovered));
    let (mut journal, recovered) = Journal::open(settings).unwrap();
    assert_eq!(replayed(&recovered, 0).unwrap(), expected(0..12));
    commit(&mut journal, 12).unwrap();
}

#[test]
fn a_journal_can_be_given_to_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<Journal>();
    is_send::<Replay>();
}
