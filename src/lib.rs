//! Esker: a persistent, log-structured segment cache.
pub mod backend;
pub mod clock;
pub mod types;
