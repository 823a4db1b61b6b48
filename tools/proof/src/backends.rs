//! The backends that can run here.

use esker::BackendKind;
use esker::backend::probe;

/// Those of this build that this kernel lets run.
pub fn available() -> Vec<BackendKind> {
    let all = [BackendKind::Uring, BackendKind::TokioFs, BackendKind::TokioUring];
    all.into_iter().filter(|kind| probe::choose(*kind).is_ok()).collect()
}

/// The backend of this name.
pub fn named(name: &str) -> Option<BackendKind> {
    available().into_iter().find(|kind| kind.to_string() == name)
}
