//! The sink: rows in their order, many in a request, one request at a time.
//!
//! A batch is done when the peer has answered 2xx, or has refused it for good: then it is told, and the next one goes
//! out. The key of a batch is made of the sink, the epoch, the place in it and the rows, so a batch that is sent again
//! has the same key, and two that differ never have.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use arrow::datatypes::{Schema, SchemaRef};
use hyper::body::Bytes;
use hyper::header::HeaderValue;
use lineshaft_engine::declaration::{OptionError, SinkDeclaration};
use lineshaft_engine::hash::stable_hash;
use lineshaft_engine::operator::Snapshot;
use lineshaft_engine::sink::{Run, Sink, SinkFactory, Worker};
use lineshaft_engine::time::EpochHeader;
use lineshaft_engine::{Batch, Error, Result};
use tokio::time::sleep;

use super::options::{SinkFormat, SinkOptions};
use super::peer::{Outcome, Peer};
use super::row::{self, Row};
use crate::format::rows::{JsonObjects, write_csv, write_csv_header};
use crate::outbox::Outbox;
use crate::retry::Retry;
use crate::rows::insertions;

/// How long `end_epoch` waits for room while the peer takes nothing: then the program ends, so that it can be started
/// again where nothing is lost, rather than hang.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long the end of the program waits for the last answers.
const LAST_PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a row that are told when it was refused.
const SHOWN: usize = 500;

/// A sink of batches.
///
/// # Errors
/// All that is wrong with the options.
pub fn sink(declaration: &SinkDeclaration) -> Result<Box<dyn SinkFactory>, Vec<OptionError>> {
    let options = SinkOptions::read(&declaration.options)?;
    let (name, run) = (declaration.name.clone(), Mutex::default());
    Ok(Box::new(HttpSinkFactory { name, options, last_patience: LAST_PATIENCE, run }))
}

/// What is wrong with the declaration of a sink.
pub(crate) fn check_sink(declaration: &SinkDeclaration) -> Vec<OptionError> {
    SinkOptions::read(&declaration.options).err().unwrap_or_default()
}

pub(super) struct HttpSinkFactory {
    pub(super) name: String,
    pub(super) options: SinkOptions,
    pub(super) last_patience: Duration,
    pub(super) run: Mutex<Run>,
}

impl SinkFactory for HttpSinkFactory {
    fn begin(&self, run: &Run) {
        *self.run.lock().unwrap_or_else(PoisonError::into_inner) = run.clone();
    }

    fn open(&self, schema: SchemaRef, _worker: Worker) -> Result<Box<dyn Sink>> {
        Ok(Box::new(HttpSink {
            name: self.name.clone(),
            url: self.options.target.url.clone(),
            format: self.options.format,
            last_patience: self.last_patience,
            rows: Vec::new(),
            is_kept: false,
            run: self.run.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            poster: Poster::start(&self.name, &self.options, &schema)?,
        }))
    }
}

struct HttpSink {
    name: String,
    url: String,
    format: SinkFormat,
    last_patience: Duration,
    /// Those of the epoch so far.
    rows: Vec<Vec<u8>>,
    run: Run,
    poster: Poster,
    /// All that was put so far is part of a checkpoint.
    is_kept: bool,
}

impl HttpSink {
    fn put(&mut self, rows: Vec<Row>, is_restored: bool) -> Result<()> {
        self.is_kept = false;
        let must_not_wait = || is_restored || self.run.is_stopping();
        self.poster.outbox.put(rows, PATIENCE, must_not_wait).map_err(|_| {
            self.failed(format!("{} has taken nothing for 10 minutes and the outbox is full", self.url))
        })
    }

    fn failed(&self, reason: String) -> Error {
        Error::connector("http sink", &self.name, reason)
    }
}

impl Sink for HttpSink {
    fn write(&mut self, batch: &Batch) -> Result<()> {
        let batch = insertions(batch)?;
        let rows = batch.rows();
        if self.format == SinkFormat::Csv {
            for row in 0..rows.num_rows() {
                let mut text = Vec::new();
                write_csv(&rows.slice(row, 1), &mut text)?;
                text.pop();
                self.rows.push(text);
            }
            return Ok(());
        }
        let objects = JsonObjects::new(rows)?;
        self.rows.extend((0..rows.num_rows()).map(|row| {
            let mut text = Vec::new();
            objects.write(row, &mut text);
            text
        }));
        Ok(())
    }

    fn end_epoch(&mut self, header: EpochHeader) -> Result<()> {
        let rows = std::mem::take(&mut self.rows).into_iter().zip(0..);
        self.put(rows.map(|(text, number)| Row { text, header, number }).collect(), false)
    }

    /// What the peer has not taken goes on with the program.
    fn commit(&mut self) -> Result<Snapshot> {
        self.is_kept = true;
        row::snapshot(&self.poster.outbox.left())
    }

    fn restore(&mut self, snapshot: Snapshot) -> Result<()> {
        let left = row::restored(snapshot);
        self.put(left.ok_or_else(|| self.failed("its part of the checkpoint is damaged".into()))?, true)
    }

    fn finish(&mut self) -> Result<()> {
        match self.poster.outbox.wait_until_empty(self.last_patience) {
            _ if self.is_kept => Ok(()),
            0 => Ok(()),
            left => Err(self.failed(format!("{left} rows were not taken by {} and may be lost", self.url))),
        }
    }
}

/// The task of a sink, on a thread of its own; ends with the sink.
struct Poster {
    outbox: Arc<Outbox<Row>>,
    thread: Option<JoinHandle<()>>,
}

impl Poster {
    fn start(name: &str, options: &SinkOptions, schema: &Schema) -> Result<Self> {
        let failed = |error: std::io::Error| Error::connector("http sink", name, error);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let outbox = Arc::new(Outbox::default());
        let mut names = Vec::new();
        write_csv_header(schema, &mut names);
        let task = Task {
            name: name.to_owned(),
            names,
            outbox: Arc::clone(&outbox),
            peer: Peer::new(options.clone()),
            retry: Retry::new(stable_hash(&[name.as_bytes(), options.target.url.as_bytes()])),
            options: options.clone(),
            refused: 0,
        };
        let thread = thread::Builder::new()
            .name(format!("http-{name}"))
            .spawn(move || runtime.block_on(task.run()))
            .map_err(failed)?;
        Ok(Self { outbox, thread: Some(thread) })
    }
}

impl Drop for Poster {
    fn drop(&mut self) {
        self.outbox.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the connection of an http sink panicked");
        }
    }
}

struct Task {
    name: String,
    /// The header of CSV, with its newline.
    names: Vec<u8>,
    outbox: Arc<Outbox<Row>>,
    peer: Peer,
    retry: Retry,
    options: SinkOptions,
    /// Rows that the peer has refused so far.
    refused: usize,
}

impl Task {
    /// Posts batch after batch, until the outbox is closed.
    async fn run(mut self) {
        let outbox = Arc::clone(&self.outbox);
        while let Some(rows) = self.next_batch().await {
            tokio::select! {
                biased;
                // What is left then has been told as lost.
                () = outbox.closed() => return,
                () = self.post(&rows) => outbox.done(rows.len()),
            }
        }
    }

    /// The next rows: as many as a batch may have, or those that have come within the time that the first one waits.
    async fn next_batch(&self) -> Option<Vec<Row>> {
        let mut rows = self.outbox.take(self.options.batch_rows).await?;
        let lingered = sleep(self.options.linger);
        tokio::pin!(lingered);
        while rows.len() < self.options.batch_rows {
            tokio::select! {
                biased;
                more = self.outbox.take(self.options.batch_rows - rows.len()) => rows.extend(more?),
                () = lingered.as_mut() => break,
            }
        }
        Some(rows)
    }

    /// Posts until the peer has the rows, or has refused them.
    async fn post(&mut self, rows: &[Row]) {
        let body = Bytes::from(self.body(rows));
        let key = self.key(rows, &body);
        loop {
            match self.peer.post(body.clone(), &key).await {
                Outcome::Taken => return self.retry.succeeded(),
                Outcome::Refused(reason) => {
                    self.retry.succeeded();
                    return self.tell_refused(rows, &reason);
                }
                Outcome::Again { reason, pause } => {
                    let back_off =
                        self.retry.wait(format!("cannot post to {}", self.options.target.url), reason);
                    sleep(pause).await;
                    back_off.await;
                }
            }
        }
    }

    fn body(&self, rows: &[Row]) -> Vec<u8> {
        let texts: Vec<&[u8]> = rows.iter().map(|row| row.text.as_slice()).collect();
        match self.options.format {
            SinkFormat::Json => [b"[", texts.join(&b","[..]).as_slice(), b"]"].concat(),
            SinkFormat::JsonLines => [texts.join(&b"\n"[..]).as_slice(), b"\n"].concat(),
            SinkFormat::Csv => [&self.names, texts.join(&b"\n"[..]).as_slice(), b"\n"].concat(),
        }
    }

    /// Rows that are gathered otherwise after a crash are another batch and have another key; so have equal rows of
    /// another run, whose epochs have the same numbers and another wall clock.
    fn key(&self, rows: &[Row], body: &[u8]) -> HeaderValue {
        let (epoch, wall_clock, number) = rows
            .first()
            .map_or((0, 0, 0), |first| (first.header.epoch, first.header.wall_clock, first.number));
        let hash = stable_hash(&[self.name.as_bytes(), &wall_clock.to_le_bytes(), body]);
        let text = format!("{epoch}-{number}-{hash:016x}");
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from(hash))
    }

    fn tell_refused(&mut self, rows: &[Row], reason: &str) {
        self.refused += rows.len();
        let first = rows.first().map_or(&b""[..], |row| &row.text[..row.text.len().min(SHOWN)]);
        tracing::error!(
            "sink {:?}: {} does not take {} rows ({} so far), which are lost: {reason}; the first is {}",
            self.name,
            self.options.target.url,
            rows.len(),
            self.refused,
            String::from_utf8_lossy(first)
        );
    }
}
