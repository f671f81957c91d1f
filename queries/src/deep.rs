//! A stack that is deep enough: a planner goes down an expression by recursion, a level for each operator in a row.

use std::panic::resume_unwind;
use std::thread::{Builder, scope};

/// Bytes of it; what is not used takes no memory. The longest chain of operators takes 8 KiB a level in a debug build.
const STACK: usize = 64 << 20;

/// What `work` gives, on a thread with such a stack. The caller may have one of 2 MiB, as threads have.
pub(crate) fn deep<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    scope(|scope| {
        let builder = Builder::new().name("lineshaft-plan".into()).stack_size(STACK);
        let thread = builder.spawn_scoped(scope, work).expect("the system has room for a thread");
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}
