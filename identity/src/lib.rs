//! Node keys.
