//! Esker's errors as pingora's.

use pingora_error::{Error, ErrorType};

pub(crate) fn cannot_read(error: esker::Error) -> Box<Error> {
    Error::because(ErrorType::FileReadError, "cannot read from the cache", error)
}

pub(crate) fn cannot_write(error: esker::Error) -> Box<Error> {
    Error::because(ErrorType::FileWriteError, "cannot write to the cache", error)
}
