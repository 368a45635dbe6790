//! Stub.
use super::{Backend, Description, Lane, LaneError};
use crate::{
    config::EngineSettings,
    model::{ModelFile, ModelSpec},
};
use std::sync::Arc;
/// Stub.
#[derive(Debug)]
pub struct CpuBackend {
    model: Arc<ModelSpec>,
    description: Description,
}
/// Stub.
#[derive(Debug, thiserror::Error)]
#[error("stub")]
pub struct BackendError;
impl CpuBackend {
    /// Stub.
    pub fn new(
        model: ModelFile,
        _settings: &EngineSettings,
        _lanes: usize,
    ) -> Result<CpuBackend, BackendError> {
        Ok(CpuBackend {
            model: Arc::new(model.spec),
            description: Description::default(),
        })
    }
}
impl Backend for CpuBackend {
    fn open_lane(&self) -> Result<Box<dyn Lane>, LaneError> {
        Err(LaneError::Lane("stub".into()))
    }
    fn model(&self) -> &Arc<ModelSpec> {
        &self.model
    }
    fn description(&self) -> &Description {
        &self.description
    }
}
