//! `Plan`: the graph that the `queries` crate builds and the engine runs. It is data: sources, nodes and sinks, and
//! which output goes to which input. Each node makes its operator once per worker.
//!
//! ```text
//! SourceNode --rows------> Node -> Node --> SinkNode
//!            --late------> ...
//!            --quarantine> ...
//! ```

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::batch::TIMESTAMP;
use crate::changelog::ChangelogOperator;
use crate::error::Result;
use crate::metrics::Counter;
use crate::operator::Operator;
use crate::sink::Worker;
use crate::source::Rejected;
use crate::time::EventTime;

/// A program, ready to run.
#[derive(Debug, Default)]
pub struct Plan {
    /// Where rows enter. Connectors are attached by position.
    pub sources: Vec<SourceNode>,
    /// Steps, each after the ones it reads.
    pub nodes: Vec<Node>,
    /// Where rows leave. Connectors are attached by position.
    pub sinks: Vec<SinkNode>,
    /// Counts the rows that could not be computed.
    pub failed: Arc<Counter>,
}

/// Where the rows of an input come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// The rows of a source that are neither late nor bad.
    Source(usize),
    /// `<source>.late`: rows that came after their watermark.
    Late(usize),
    /// `<source>.quarantine`: records that did not decode, or come from the future.
    Quarantine(usize),
    /// An output port of a node.
    Node(usize, usize),
}

/// A source or table, as far as time is concerned.
#[derive(Clone, Debug)]
pub struct SourceNode {
    /// Its name in the query file.
    pub name: String,
    /// Columns of its rows, as its decoder gives them.
    pub schema: SchemaRef,
    /// How its watermark is made; `None` if it declares none.
    pub watermark: Option<WatermarkRule>,
    /// Rows that came before are dropped.
    pub deduplicate: Option<DeduplicateRule>,
    /// A table is loaded before the first row of any stream.
    pub is_table: bool,
    /// Its rows have weights: a table that is read again takes back what is gone. It has no watermark.
    pub is_changelog: bool,
    /// What happens when it comes faster than it is worked on.
    pub overload: Overload,
}

/// What becomes of the input of a live source that comes faster than it is worked on: the option `on_overload`. Without a
/// journal a source waits, whatever it says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Overload {
    /// The source waits: it is not read.
    Block,
    /// It is read on, and what comes waits in the journal.
    #[default]
    Spill,
    /// Of what waits only the newest row of each key is worked on.
    Latest {
        /// Columns of the rows.
        keys: Vec<usize>,
    },
    /// One message in so many is kept, the others are given up.
    Sample {
        /// At least one.
        one_in: u64,
    },
    /// When more than this waits the oldest is given up.
    DropOldest {
        /// Bytes of raw input.
        limit: u64,
    },
}

impl Overload {
    /// The text of the option.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Spill => "spill",
            Self::Latest { .. } => "latest",
            Self::Sample { .. } => "sample",
            Self::DropOldest { .. } => "drop_oldest",
        }
    }
}

/// `WATERMARK FOR column AS column - disorder [PER keys]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatermarkRule {
    /// The column of event time.
    pub column: usize,
    /// How far rows may be out of order, microseconds.
    pub disorder: i64,
    /// A row that is below the watermark by no more than this (microseconds) is passed on as if it were not late: who
    /// cares waits for so long, or corrects what it gave.
    pub allowed_lateness: i64,
    /// Columns of the key that has a watermark of its own; empty: one watermark for all rows of a partition.
    pub per_key: Vec<usize>,
    /// A partition or key that is silent for so long (wall clock, microseconds) no longer holds the watermark back.
    pub idle_after: Option<i64>,
    /// A row whose event time is further than this ahead of its arrival (microseconds) is kept aside.
    pub max_future: Option<i64>,
}

/// `DEDUPLICATE BY (keys) WITHIN interval`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeduplicateRule {
    /// Columns whose values together name a row.
    pub keys: Vec<usize>,
    /// The column of event time.
    pub time: usize,
    /// How far a repetition may be from its row in event time, microseconds.
    pub within: i64,
}

/// A step of the plan.
pub struct Node {
    /// For messages and `explain`: the kind of operator and the view it belongs to.
    pub name: String,
    /// Its inputs.
    pub inputs: Vec<Input>,
    /// Columns of each output port.
    pub outputs: Vec<SchemaRef>,
    /// Rows pass through one by one, in order, and nothing is remembered: the node need not wait for the end of an
    /// epoch.
    pub is_stateless: bool,
    /// Its rows have weights: what it gave before may be taken back.
    pub is_changelog: bool,
    /// The order of the rows of an epoch does not matter to it, so they need not be sorted.
    pub takes_any_order: bool,
    /// Each batch of the first input comes out at once and in its place, after all rows that the other inputs have in
    /// the epoch. So the order of the first input is that of the output.
    pub keeps_order: bool,
    /// What it does.
    pub work: Work,
}

/// What a node does.
#[derive(Clone)]
pub enum Work {
    /// An operator on batches, made once per worker.
    Operator(MakeOperator),
    /// A changelog operator on differential dataflow.
    Changelog(Arc<dyn ChangelogOperator>),
}

/// Makes the operator of one worker.
pub type MakeOperator = Arc<dyn Fn(Worker) -> Result<Box<dyn Operator>> + Send + Sync>;

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("name", &self.name).field("inputs", &self.inputs).finish_non_exhaustive()
    }
}

/// An input of a node or sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Where its rows come from.
    pub from: Origin,
    /// Which worker gets which rows.
    pub route: Route,
}

/// Which worker gets which rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// Rows stay where they are.
    Local,
    /// Rows with equal values of these columns meet on one worker.
    ByKey(Vec<usize>),
    /// All rows go to the first worker.
    Gather,
    /// Every worker gets every row.
    Broadcast,
}

/// Where rows leave.
#[derive(Clone, Debug)]
pub struct SinkNode {
    /// Its name in the query file.
    pub name: String,
    /// Where its rows come from.
    pub from: Origin,
    /// Columns of its rows.
    pub schema: SchemaRef,
}

impl Plan {
    /// The columns of the rows from `origin`.
    pub fn schema(&self, origin: Origin) -> SchemaRef {
        match origin {
            Origin::Source(source) | Origin::Late(source) => Arc::clone(&self.sources[source].schema),
            Origin::Quarantine(_) => quarantine_schema(),
            Origin::Node(node, port) => Arc::clone(&self.nodes[node].outputs[port]),
        }
    }

    /// True if the rows of `origin` may be taken back: they have weights.
    pub fn is_changelog(&self, origin: Origin) -> bool {
        match origin {
            Origin::Source(source) => self.sources[source].is_changelog,
            Origin::Node(node, _) => self.nodes[node].is_changelog,
            Origin::Late(_) | Origin::Quarantine(_) => false,
        }
    }

    /// True if the rows of `origin` come from tables without event time only: they hold no watermark back.
    pub fn is_timeless(&self, origin: Origin) -> bool {
        match origin {
            Origin::Source(source) | Origin::Late(source) | Origin::Quarantine(source) => {
                let source = &self.sources[source];
                source.is_table && source.watermark.is_none()
            }
            Origin::Node(node, _) => self.nodes[node].inputs.iter().all(|input| self.is_timeless(input.from)),
        }
    }

    /// True if the rows of `origin` within an epoch are in an order that does not depend on the number of workers.
    /// Otherwise whoever cares for order sorts them.
    pub fn is_ordered(&self, origin: Origin) -> bool {
        match origin {
            Origin::Source(_) | Origin::Late(_) | Origin::Quarantine(_) => true,
            Origin::Node(node, _) => {
                let node = &self.nodes[node];
                if matches!(node.work, Work::Changelog(_)) {
                    return false;
                }
                if node.is_stateless
                    || node.inputs.len() > 1 && node.inputs.iter().all(|i| i.route == Route::Local)
                {
                    return node.inputs.iter().all(|input| self.is_ordered(input.from));
                }
                if node.keeps_order {
                    return self.is_ordered(node.inputs[0].from);
                }
                node.inputs.iter().all(|input| input.route == Route::Gather)
            }
        }
    }
}

/// Columns of `<source>.quarantine`: when and where the record came from, why it is bad, and the record.
pub fn quarantine_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("received_at", TIMESTAMP, false),
        Field::new("origin", DataType::Utf8, false),
        Field::new("line", DataType::Int64, true),
        Field::new("reason", DataType::Utf8, false),
        Field::new("detail", DataType::Utf8, false),
        Field::new("raw", DataType::Utf8, false),
    ]))
}

/// Rejected records as rows of `<source>.quarantine`. Bytes that are no text are shown as replacement characters.
///
/// # Errors
/// Never for records within Arrow's limits (2 GiB of text in a batch).
pub fn quarantine_rows(rejected: &[Rejected], received_at: EventTime) -> Result<RecordBatch> {
    let text = |of: &dyn Fn(&Rejected) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rejected.iter().map(of)))
    };
    let lines = rejected.iter().map(|r| r.line.and_then(|line| i64::try_from(line).ok()));
    Ok(RecordBatch::try_new(
        quarantine_schema(),
        vec![
            Arc::new(TimestampMicrosecondArray::from(vec![received_at; rejected.len()])),
            text(&|r| r.origin.clone()),
            Arc::new(lines.collect::<Int64Array>()),
            text(&|r| r.reason.to_owned()),
            text(&|r| r.detail.clone()),
            text(&|r| String::from_utf8_lossy(&r.raw).into_owned()),
        ],
    )?)
}
