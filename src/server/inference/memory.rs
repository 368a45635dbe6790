//! Triton's calls for shared memory, over the same regions as the contract's.

use std::sync::Arc;

use tonic::Status;

use super::super::{
    Peer, Shared,
    shm::{self, Regions, Registration},
};
use crate::inference::{self as oip, system_shared_memory_status_response::RegionStatus as Listed};

/// The caller's regions; of one, if it is named. Errors: none of that name.
pub(super) fn status(
    regions: &Regions,
    peer: &Peer,
    name: &str,
) -> Result<oip::SystemSharedMemoryStatusResponse, Status> {
    let listed = regions.list(peer)?;
    let asked = listed
        .into_iter()
        .filter(|region| name.is_empty() || region.name == name);
    let regions: std::collections::BTreeMap<_, _> = asked
        .map(|region| {
            let listed = Listed {
                name: region.name.clone(),
                key: region.key,
                offset: region.offset,
                byte_size: region.byte_size,
            };
            (region.name, listed)
        })
        .collect();
    if regions.is_empty() && !name.is_empty() {
        return Err(unknown(name));
    }
    Ok(oip::SystemSharedMemoryStatusResponse { regions })
}

/// Registers a region for the caller. Errors: it has one of that name already, and what [`shm::register`] refuses.
pub(super) async fn register(
    shared: &Arc<Shared>,
    peer: &Peer,
    wanted: &oip::SystemSharedMemoryRegisterRequest,
) -> Result<oip::SystemSharedMemoryRegisterResponse, Status> {
    let oip::SystemSharedMemoryRegisterRequest {
        name,
        key,
        offset,
        byte_size,
    } = wanted;
    let listed = shared.regions.list(peer)?;
    if listed.iter().any(|region| region.name == *name) {
        return Err(Status::already_exists(format!(
            "shared memory region {name:?} is registered already: unregister it first"
        )));
    }
    let registration = Registration {
        name,
        key,
        offset: *offset,
        byte_size: *byte_size,
    };
    shm::register(shared, peer, &registration).await?;
    Ok(oip::SystemSharedMemoryRegisterResponse {})
}

/// Gives up a region of the caller's; without a name all of them. One that is not there is no error, as Triton has it.
pub(super) fn unregister(
    regions: &Regions,
    peer: &Peer,
    name: &str,
) -> Result<oip::SystemSharedMemoryUnregisterResponse, Status> {
    if name.is_empty() {
        regions.unregister_all(peer)?;
    } else if regions.list(peer)?.iter().any(|region| region.name == name) {
        regions.unregister(peer, name)?;
    }
    Ok(oip::SystemSharedMemoryUnregisterResponse {})
}

/// Regions on the GPU, of which there are none. Errors: one is named.
pub(super) fn status_on_the_gpu(name: &str) -> Result<oip::CudaSharedMemoryStatusResponse, Status> {
    match name {
        "" => Ok(oip::CudaSharedMemoryStatusResponse::default()),
        name => Err(Status::not_found(format!(
            "Unable to find cuda shared memory region: '{name}'"
        ))),
    }
}

/// For who asks for a region that is not there.
pub(super) fn unknown(name: &str) -> Status {
    Status::not_found(format!(
        "Unable to find system shared memory region: '{name}'"
    ))
}

pub(super) fn not_on_the_gpu() -> Status {
    Status::unimplemented(
        "memory of a GPU cannot be shared: register system shared memory, or send the frames",
    )
}
