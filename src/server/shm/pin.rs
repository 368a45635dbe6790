//! Regions that a GPU copies from without a copy in between.

use std::{any::Any, sync::Arc};

use tokio::task::spawn_blocking;

use super::{
    super::{Peer, Shared},
    About, Owner, RegionError, Regions, Registration, Slot,
};

/// What a device needs to copy straight from a region; given back when it is dropped.
pub(super) type Pin = Box<dyn Any + Send + Sync>;

/// [`Regions::register`], and where the settings want it the region is registered with the GPU of the models that are served now.
/// Without one, or where that fails, frames in it are copied as any other.
pub(in crate::server) async fn register(
    shared: &Arc<Shared>,
    peer: &Peer,
    wanted: &Registration<'_>,
) -> Result<About, RegionError> {
    let about = shared.regions.register(peer, wanted)?;
    pin(shared, peer, &about).await;
    Ok(about)
}

/// The same for a region that is there already.
pub(super) async fn pin(shared: &Arc<Shared>, peer: &Peer, about: &About) {
    let regions = &shared.regions;
    if !regions.settings.register_with_cuda {
        return;
    }
    // It may be gone again.
    let Ok(whole) = regions.slot(peer, &about.name, 0, about.byte_size as usize) else {
        return;
    };
    let models = shared.models.all();
    let (memory, is_writable) = (whole.bytes(), about.writable);
    let pinned = spawn_blocking(move || {
        let mut pools = models.iter().map(|served| served.pool());
        pools.find_map(|pool| pool.pin(&memory, is_writable))
    });
    if let Ok(Some(pin)) = pinned.await {
        regions.keep(peer, &about.name, &whole, pin);
    }
}

impl Regions {
    /// Keeps the pin with the region, if that is still the one that it was made for.
    fn keep(&self, peer: &Peer, name: &str, whole: &Slot, pin: Pin) {
        let Ok(owner) = Owner::of(peer) else {
            return;
        };
        let mut held = self.lock();
        let held = &mut *held;
        let own = held.own.get_mut(&owner);
        let own = own.and_then(|own| own.regions.get_mut(name));
        let region = match own {
            Some(own) => Some(own),
            None => held.passed.get_mut(name).map(|passed| &mut passed.region),
        };
        if let Some(region) = region
            && whole.is_of(&region.mapping)
        {
            region.pin = Some(pin);
        }
    }
}
