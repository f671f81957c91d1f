//! Sources that run to their end, or are stopped for the tests of where they go on.

use std::sync::Arc;
use std::thread::JoinHandle;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use lineshaft_engine::Result;
use lineshaft_engine::source::{Chunk, ChunkSender, Decoder, Payload, Source};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

/// A source that runs, as the engine would run it.
pub(crate) struct Running {
    pub(crate) chunks: mpsc::Receiver<Chunk>,
    pub(crate) decoder: Arc<dyn Decoder>,
    thread: JoinHandle<Result<()>>,
    _runtime: Runtime,
}

impl Running {
    /// Goes on from a position, if there is one.
    pub(crate) fn start(mut source: Box<dyn Source>, position: Option<&[u8]>) -> Self {
        if let Some(position) = position {
            source.go_on(position).unwrap();
        }
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (sender, chunks) = ChunkSender::channel();
        let (decoder, handle) = (source.decoder(), runtime.handle().clone());
        let thread = std::thread::spawn(move || source.run(sender, handle));
        Self { chunks, decoder, thread, _runtime: runtime }
    }

    /// Takes no more of it; gives how it ended.
    pub(crate) fn stop(self) -> Result<()> {
        drop(self.chunks);
        self.thread.join().unwrap()
    }
}

/// All rows of a source that ends.
pub(crate) fn all_rows(source: Box<dyn Source>) -> RecordBatch {
    let mut running = Running::start(source, None);
    let decoder = Arc::clone(&running.decoder);
    let mut rows = Vec::new();
    while let Some(chunk) = running.chunks.blocking_recv() {
        rows.extend(decoder.decode(chunk).unwrap().map(|decoded| decoded.unwrap().rows));
    }
    running.stop().unwrap();
    concat_batches(&decoder.schema(), &rows).unwrap()
}

/// The rows of the first chunks of a source, and where it stands after them.
pub(crate) fn take(source: Box<dyn Source>, chunks: usize) -> (Vec<RecordBatch>, Vec<u8>) {
    let mut running = Running::start(source, None);
    let taken: Vec<Chunk> = (0..chunks).map(|_| running.chunks.blocking_recv().unwrap()).collect();
    running.stop().unwrap();
    let position = taken.last().unwrap().position.clone().unwrap();
    let rows = taken.into_iter().map(|chunk| match chunk.payload {
        Payload::Rows(rows) => rows,
        other => panic!("{other:?}"),
    });
    (rows.collect(), position)
}
