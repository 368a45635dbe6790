//! What clients are told of the server and of each model.

use std::{collections::BTreeMap, sync::Arc};

use tonic::Status;

use super::{
    super::{Models, Served},
    frame,
    tensors::Output,
};
use crate::{
    backend::OnGpu,
    inference::{
        self as oip, model_instance_group::Kind, model_metadata_response::TensorMetadata,
        repository_index_response::ModelIndex,
    },
};

/// What a model is, in the protocol's words: not one of a framework's, so that no client takes its tensors for a network's.
const PLATFORM: &str = "cellsegd";

/// Triton's names for what is offered beyond the protocol.
const EXTENSIONS: [&str; 7] = [
    "sequence",
    "model_repository",
    "model_configuration",
    "system_shared_memory",
    "binary_tensor_data",
    "parameters",
    "statistics",
];

/// The model of this name; its version is the number of its reload, and need not be named. Errors: as Triton's.
pub(super) fn served(models: &Models, name: &str, version: &str) -> Result<Arc<Served>, Status> {
    let served = named(models, name)?;
    check_version(&served, version)?;
    Ok(served)
}

/// The model of this name, whatever its version. Errors: as Triton's.
pub(super) fn named(models: &Models, name: &str) -> Result<Arc<Served>, Status> {
    let named = match name.is_empty() {
        true => None,
        false => models.get(name),
    };
    named.ok_or_else(|| {
        let known = models.names();
        Status::not_found(format!(
            "Request for unknown model: '{name}' is not found; there are: {known}"
        ))
    })
}

/// Whether `served` is the version that is asked for. Errors: as Triton's.
pub(super) fn check_version(served: &Served, version: &str) -> Result<(), Status> {
    if version.is_empty() {
        return Ok(());
    }
    let asked: u64 = version.parse().map_err(|_| {
        Status::invalid_argument(format!(
            "model version {version:?}: a number is expected; leave it out for the one that is served"
        ))
    })?;
    match served.generation() {
        now if now == asked => Ok(()),
        now => Err(Status::not_found(format!(
            "Request for unknown model: '{}' version {asked} is not found; version {now} is served",
            served.name()
        ))),
    }
}

pub(super) fn server() -> oip::ServerMetadataResponse {
    oip::ServerMetadataResponse {
        name: "cellsegd".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        extensions: EXTENSIONS.map(str::to_owned).to_vec(),
    }
}

pub(super) fn metadata(served: &Served) -> oip::ModelMetadataResponse {
    let tensor = |name: &str, datatype: &str, shape: &[i64]| TensorMetadata {
        name: name.to_owned(),
        datatype: datatype.to_owned(),
        shape: shape.to_vec(),
    };
    let outputs =
        Output::ALL.map(|output| tensor(output.name(), output.datatype(), output.shape()));
    oip::ModelMetadataResponse {
        name: served.name().to_owned(),
        versions: vec![served.generation().to_string()],
        platform: PLATFORM.to_owned(),
        inputs: vec![tensor(frame::NAME, frame::USUAL, &frame::SHAPE)],
        outputs: outputs.to_vec(),
        properties: properties(served),
    }
}

pub(super) fn config(served: &Served) -> oip::ModelConfig {
    let pool = served.pool();
    let input = oip::ModelInput {
        name: frame::NAME.to_owned(),
        data_type: data_type(frame::USUAL).into(),
        dims: frame::SHAPE.to_vec(),
    };
    let output = Output::ALL.map(|output| oip::ModelOutput {
        name: output.name().to_owned(),
        data_type: data_type(output.datatype()).into(),
        dims: output.shape().to_vec(),
    });
    let lanes = oip::ModelInstanceGroup {
        name: served.name().to_owned(),
        count: i32::try_from(pool.lanes().0).unwrap_or(i32::MAX),
        kind: match pool.description().gpu {
            OnGpu::Yes => Kind::Gpu,
            OnGpu::NotMeant | OnGpu::No => Kind::Cpu,
        }
        .into(),
    };
    let parameters = properties(served).into_iter();
    oip::ModelConfig {
        name: served.name().to_owned(),
        platform: PLATFORM.to_owned(),
        max_batch_size: 0,
        input: vec![input],
        output: output.to_vec(),
        instance_group: vec![lanes],
        parameters: parameters
            .map(|(name, string_value)| (name, oip::ModelParameter { string_value }))
            .collect(),
        backend: PLATFORM.to_owned(),
        model_transaction_policy: Some(oip::ModelTransactionPolicy { decoupled: false }),
    }
}

pub(super) fn listed(served: &Served, ready: bool, reason: String) -> ModelIndex {
    ModelIndex {
        name: served.name().to_owned(),
        version: served.generation().to_string(),
        state: if ready { "READY" } else { "UNAVAILABLE" }.to_owned(),
        reason,
    }
}

/// What the contract's Model says beside names and tensors.
fn properties(served: &Served) -> BTreeMap<String, String> {
    let pool = served.pool();
    let model = pool.model();
    let mut told = BTreeMap::from([
        ("version", model.version.clone()),
        ("classes", model.classes.join(",")),
        ("sha256", model.sha256.clone()),
        ("precision", model.precision.clone()),
        ("backend", pool.description().backend.clone()),
        ("device", pool.description().device.clone()),
        ("frame_datatypes", frame::DATATYPES.join(",")),
        ("frame_shapes", "[H,W],[H,W,3]".to_owned()),
    ]);
    if let Some(scale) = model.trained_um_per_px {
        told.insert("trained_um_per_px", scale.to_string());
    }
    let named = told.into_iter();
    named
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// The configuration's number for a datatype's name.
fn data_type(name: &str) -> oip::DataType {
    let called = match name {
        "BYTES" => "TYPE_STRING".to_owned(),
        name => format!("TYPE_{name}"),
    };
    oip::DataType::from_str_name(&called).unwrap_or(oip::DataType::TypeInvalid)
}
