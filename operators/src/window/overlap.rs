//! Windows that share panes: what [`super::WindowAggregate`] asks of the way in which complete panes become windows.

use lineshaft_engine::Result;

use super::arguments::Aggregates;
use super::groups::Results;
use super::pieces::Piece;

/// Kinds of parts of a snapshot: a pane that may still get rows.
pub(super) const OPEN: i64 = 0;
/// A complete pane.
pub(super) const COMPLETE: i64 = 1;
/// From a pane to the end of its block.
pub(super) const SUFFIX: i64 = 2;
/// From the beginning of a block to a pane.
pub(super) const PREFIX: i64 = 3;

/// Kind, pane and some of its partial results.
pub(super) type Part = (i64, i64, Piece);

/// Complete panes on their way into windows.
pub(super) trait Overlap {
    /// Adds a pane that is complete.
    fn add(&mut self, pane: i64, pieces: Vec<Piece>);

    /// The next window, if all its panes are before `end`; that window is then to be evaluated.
    fn close_next(&mut self, end: i64) -> Option<i64>;

    /// The first pane of a window and the number of its panes.
    fn span(&self, window: i64) -> (i64, i64);

    /// Slots and results of a window.
    ///
    /// # Errors
    /// If a result cannot be computed.
    fn evaluate(&mut self, window: i64, of: &Aggregates, slot_count: usize) -> Result<Vec<Results>>;

    /// All that is kept; what is needed last comes first.
    fn pieces(&mut self) -> Box<dyn Iterator<Item = &mut Piece> + '_>;

    /// Windows before this one have been evaluated.
    fn next(&self) -> i64;

    /// Puts back what [`Overlap::next`] gave.
    fn restart_at(&mut self, next: i64);

    /// What is kept.
    fn parts(&self) -> Vec<Part>;

    /// Puts back one of [`Overlap::parts`].
    fn restore(&mut self, part: Part);
}
