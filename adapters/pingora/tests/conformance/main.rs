//! What pingora's public traits promise, or what its proxy takes for granted, as one suite for every storage: run against
//! [`EskerStorage`](esker_pingora::EskerStorage) and against pingora's own `MemCache`. Where the two differ, the difference is
//! an expectation here, in [`subject::Traits`], and a row in `docs/behind-pingora.md`.

mod bodies;
mod concurrent;
mod esker_only;
mod failures;
mod purges;
mod ranges;
mod subject;
mod updates;
