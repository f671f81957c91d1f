//! SQL text in, Plan out: the parser, planner and functions of Lineshaft.
