//! The only crossroads.
use std::path::Path;
use std::sync::Arc;
use bytes::Bytes;
use crate::api::*;
use crate::backend::Backend;
use crate::clock::Clock;
use crate::config::Config;
use crate::error::Result;
use crate::stats::*;
use crate::types::*;
pub struct Parts { pub clock: Arc<dyn Clock>, pub backend: Option<Arc<dyn Backend>>, pub seed: Option<[u8; 16]> }
pub struct Engine {}
impl Engine {
    pub async fn open(_dir: &Path, _config: Config, _parts: Parts) -> Result<Arc<Self>> { todo!() }
    pub async fn get(&self, _key: &[u8]) -> Result<Option<Hit>> { todo!() }
    pub async fn peek(&self, _key: &[u8]) -> Result<Option<Hit>> { todo!() }
    pub async fn set(&self, _key: &[u8], _value: Bytes, _o: SetOptions, _wait: bool) -> Result<SetOutcome> { todo!() }
    pub async fn delete(&self, _key: &[u8]) -> Result<bool> { todo!() }
    pub async fn clear(&self) -> Result<()> { todo!() }
    pub async fn flush(&self) -> Result<()> { todo!() }
    pub async fn sync(&self) -> Result<()> { todo!() }
    pub async fn close(&self) -> Result<()> { todo!() }
    pub fn stats(&self) -> Stats { todo!() }
    pub fn recovery_report(&self) -> RecoveryReport { todo!() }
    pub fn backend_kind(&self) -> BackendKind { todo!() }
}
