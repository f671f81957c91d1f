//! Lineshaft.
