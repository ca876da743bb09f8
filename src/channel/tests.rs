//! The channel as a whole.
