//! `follow = true`: what is appended, files that are replaced or begun anew, and new files.

use std::fs;
use std::path::Path;
use std::time::Duration;

use lineshaft_engine::Result;
use lineshaft_engine::source::ChunkSender;
use tokio::runtime::Handle;

use super::blocks::Blocks;
use super::paths::find_again;
use super::source::{Reader, TextFile, TextSource};

/// How often files are looked at.
const POLL: Duration = Duration::from_millis(200);

/// Reads on until the program stops.
pub(super) fn go_on(
    source: &mut TextSource,
    path: &str,
    folder: &Path,
    chunks: &ChunkSender,
    runtime: &Handle,
) -> Result<()> {
    while !stops_within(POLL, chunks, runtime) {
        poll(source, path, folder, chunks)?;
    }
    Ok(())
}

pub(super) fn stops_within(time: Duration, chunks: &ChunkSender, runtime: &Handle) -> bool {
    runtime.block_on(async { tokio::time::timeout(time, chunks.stopped()).await.is_ok() })
}

fn poll(source: &mut TextSource, path: &str, folder: &Path, chunks: &ChunkSender) -> Result<()> {
    let replaced: Vec<usize> = source
        .files
        .iter()
        .enumerate()
        .filter(|(_, file)| is_replaced(file))
        .map(|(partition, _)| partition)
        .collect();
    source.files.iter_mut().for_each(resume);
    // A file that was replaced is first read to its end: we still hold it open.
    source.read_in_step(chunks)?;
    for partition in replaced {
        let rest = match &mut source.files[partition].reader {
            Reader::Waiting(Some(blocks)) => blocks.finish(),
            _ => None,
        };
        if let Some(block) = rest {
            source.send(partition, block, false, chunks)?;
        }
        source.files[partition].begin_anew();
    }
    add_new(source, path, folder);
    source.read_in_step(chunks)
}

fn resume(file: &mut TextFile) {
    file.reader = match std::mem::replace(&mut file.reader, Reader::NotBegun) {
        Reader::Waiting(Some(blocks)) => Reader::Open(blocks),
        Reader::Waiting(None) if file.path.is_file() => Reader::NotBegun,
        other => other,
    };
}

impl TextFile {
    /// Another file has its name.
    pub(super) fn begin_anew(&mut self) {
        tracing::info!("{} was replaced: it is read from its beginning", self.path.display());
        (self.reader, self.place) = (Reader::NotBegun, None);
    }
}

fn add_new(source: &mut TextSource, path: &str, folder: &Path) {
    for path in find_again(path, folder) {
        if source.files.iter().any(|file| file.path == path) {
            continue;
        }
        if let Err(error) = source.add(&path) {
            tracing::error!("source {}: {error}; the file is left out", source.decoder.name);
            source.files.push(TextFile::new(path, Reader::Done));
        }
    }
}

/// True if another file has taken its name, or it has become shorter than what was read.
fn is_replaced(file: &TextFile) -> bool {
    let (Reader::Waiting(Some(blocks)), Ok(metadata)) = (&file.reader, fs::metadata(&file.path)) else {
        return false;
    };
    metadata.len() < blocks.position() || Blocks::identity(&metadata) != blocks.opened()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use lineshaft_engine::source::ChunkSender;

    use crate::file::source::tests::source;
    use crate::format::testing::lines;

    #[test]
    fn appended_rows_replaced_files_and_new_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        std::fs::write(&path, "").unwrap();
        let source =
            source(folder.path(), "name TEXT, n INT", &[("follow", "true"), ("path", "*.csv")]).unwrap();
        assert!(!source.is_bounded());
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
        let (sender, mut receiver) = ChunkSender::channel();
        let (decoder, handle) = (source.decoder(), runtime.handle().clone());
        let thread = std::thread::spawn(move || source.run(sender, handle));
        let mut next = || {
            let chunk = receiver.blocking_recv().unwrap();
            let partition = chunk.partition;
            let decoded = decoder.decode(chunk).unwrap().next().unwrap().unwrap();
            (partition, lines(&decoded.rows))
        };
        let append = |path: &std::path::Path, text: &str| {
            let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        };
        append(&path, "n,name\n1,one\n2,t");
        assert_eq!(next(), (0, vec!["one|1".to_owned()]));
        append(&path, "wo\n");
        assert_eq!(next(), (0, vec!["two|2".to_owned()]));
        std::fs::rename(&path, folder.path().join("a.old")).unwrap();
        append(&path, "name,n\nthree,3\n");
        assert_eq!(next(), (0, vec!["three|3".to_owned()]));
        std::fs::write(&path, "n\n4\n").unwrap();
        assert_eq!(next(), (0, vec!["|4".to_owned()]));
        append(&folder.path().join("b.csv"), "n\n5\n");
        assert_eq!(next(), (1, vec!["|5".to_owned()]));
        drop(receiver);
        thread.join().unwrap().unwrap();
    }
}
