//! Which backend runs: what was asked for, or the best that this build and this kernel offer.

use std::sync::Arc;

use super::Backend;
use super::tokio_fs::TokioFs;
use crate::error::{Error, Result};
use crate::types::BackendKind;

/// Makes a backend of this kind. `Auto` takes `Uring` if its ring can be built and answers, else `TokioFs`, and says
/// why in the log.
///
/// # Errors
/// `BackendUnavailable` if a kind asked for by name cannot run here. `Auto` and `TokioFs` always run.
pub fn choose(kind: BackendKind) -> Result<Arc<dyn Backend>> {
    let made = match kind {
        BackendKind::Auto => return Ok(best()),
        BackendKind::TokioFs => return Ok(Arc::new(TokioFs)),
        BackendKind::Uring => uring(),
        BackendKind::TokioUring => tokio_uring(),
        BackendKind::Sim => Err("the simulated disk has no place of its own: pass it with `backend_with`".to_owned()),
    };
    made.map_err(|why| Error::BackendUnavailable { kind, why })
}

fn best() -> Arc<dyn Backend> {
    uring().unwrap_or_else(|why| {
        if cfg!(has_uring) {
            tracing::warn!(%why, "backend uring cannot run here, using tokio_fs");
        } else {
            tracing::info!(%why, "using backend tokio_fs");
        }
        Arc::new(TokioFs)
    })
}

#[cfg(has_uring)]
fn uring() -> Result<Arc<dyn Backend>, String> {
    let ring = super::uring::Uring::new().map_err(|e| refusal(&e))?;
    Ok(Arc::new(ring))
}

#[cfg(not(has_uring))]
fn uring() -> Result<Arc<dyn Backend>, String> {
    Err("it needs Linux, a processor that the crate `io-uring` knows, and the Cargo feature `io-uring`".to_owned())
}

#[cfg(has_tokio_uring)]
fn tokio_uring() -> Result<Arc<dyn Backend>, String> {
    let ring = super::tokio_uring::TokioUring::new().map_err(|e| refusal(&e))?;
    Ok(Arc::new(ring))
}

#[cfg(not(has_tokio_uring))]
fn tokio_uring() -> Result<Arc<dyn Backend>, String> {
    Err("it needs Linux, a processor that the crate `io-uring` knows, and the Cargo feature `tokio-uring`".to_owned())
}

#[cfg(any(has_uring, has_tokio_uring))]
fn refusal(e: &std::io::Error) -> String {
    use std::io::ErrorKind;
    let hint = match e.kind() {
        ErrorKind::PermissionDenied => " (a seccomp profile or the sysctl kernel.io_uring_disabled forbids it)",
        ErrorKind::Unsupported => " (the kernel is too old, or a seccomp profile hides io_uring)",
        ErrorKind::OutOfMemory => " (raise the memlock limit)",
        _ => "",
    };
    format!("the kernel refuses a ring: {e}{hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fallback_always_runs_and_auto_is_never_an_answer() -> Result<()> {
        assert_eq!(choose(BackendKind::TokioFs)?.kind(), BackendKind::TokioFs);
        assert!(matches!(choose(BackendKind::Auto)?.kind(), BackendKind::Uring | BackendKind::TokioFs));
        Ok(())
    }

    #[test]
    fn the_simulated_disk_is_not_chosen_by_name() {
        let refused = choose(BackendKind::Sim).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(refused.contains("backend_with"), "{refused}");
    }
}
