//! `cellseg.v1.SharedMemory`: which regions there are.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::{
    super::{Peer, Shared},
    About, Registration, register,
};
use crate::proto::{self as pb, shared_memory_server::SharedMemory};

/// Answers controllers.
pub(in crate::server) struct Controllers {
    shared: Arc<Shared>,
}

impl Controllers {
    pub(in crate::server) fn new(shared: &Arc<Shared>) -> Self {
        Controllers {
            shared: Arc::clone(shared),
        }
    }
}

#[tonic::async_trait]
impl SharedMemory for Controllers {
    async fn register(
        &self,
        request: Request<pb::RegisterRegion>,
    ) -> Result<Response<pb::MemoryRegion>, Status> {
        let peer = Peer::of(&request)?;
        let wanted = request.get_ref();
        let registration = Registration {
            name: &wanted.name,
            key: &wanted.key,
            offset: wanted.offset,
            byte_size: wanted.byte_size,
        };
        let about = register(&self.shared, &peer, &registration).await?;
        Ok(Response::new(told(about)))
    }

    async fn unregister(
        &self,
        request: Request<pb::UnregisterRegion>,
    ) -> Result<Response<pb::UnregisterReply>, Status> {
        let peer = Peer::of(&request)?;
        let regions = &self.shared.regions;
        let forgotten = match &*request.get_ref().name {
            "" => regions.unregister_all(&peer)? as u32,
            name => regions.unregister(&peer, name).map(|()| 1)?,
        };
        Ok(Response::new(pb::UnregisterReply { forgotten }))
    }

    async fn list_regions(
        &self,
        request: Request<pb::ListRegionsRequest>,
    ) -> Result<Response<pb::ListRegionsReply>, Status> {
        let peer = Peer::of(&request)?;
        let regions = &self.shared.regions;
        let listed = regions.list(&peer)?;
        let socket = regions.settings.socket.as_ref();
        Ok(Response::new(pb::ListRegionsReply {
            regions: listed.into_iter().map(told).collect(),
            keys: regions.keys(),
            socket: socket.map_or_else(String::new, |path| path.display().to_string()),
        }))
    }
}

fn told(about: About) -> pb::MemoryRegion {
    let About {
        name,
        key,
        offset,
        byte_size,
        writable,
    } = about;
    pb::MemoryRegion {
        name,
        key,
        offset,
        byte_size,
        writable,
    }
}
