//! The operators of Lineshaft: windows, joins, signal features, models, decisions.
