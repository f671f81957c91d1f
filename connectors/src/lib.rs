//! Connectors of Lineshaft: where rows enter and where they leave.
