//! Frames in shared memory: read where they are, bounded, and survived when their memory goes away.

mod going_away;
mod passed;
mod refused;

use std::{
    fs::{self, File},
    os::unix::fs::{FileExt, PermissionsExt},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
};

use cellsegd::{
    backend::fake::{self, FakeBackend},
    config::{Settings, SharedMemorySettings},
    proto::{
        self as pb, failed::Code as FailedCode, frame::Pixels, frame_reply::Outcome,
        shared_memory_client::SharedMemoryClient, stream_request::Request,
    },
    server::{Found, Loader, Outlook},
};
use tonic::{Code, transport::Channel};

use crate::{
    client::{Session, frame, outcome},
    daemon::{Daemon, Gate, PATIENCE, skipped},
    operations::get,
};

const SLOT: usize = 32 * 24;

/// Shared memory of a test, gone with it.
pub(crate) struct Memory {
    key: String,
    path: PathBuf,
    file: File,
}

impl Memory {
    /// Of so many bytes, which everybody may read.
    pub(crate) fn new(bytes: usize) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let key = format!("/cellsegd-it-{}-{next}", std::process::id());
        let path = PathBuf::from(format!("/dev/shm{key}"));
        let options = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path);
        let file = options.unwrap();
        file.set_permissions(fs::Permissions::from_mode(0o644))
            .unwrap();
        file.set_len(bytes as u64).unwrap();
        Memory { key, path, file }
    }

    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) {
        self.file.write_all_at(bytes, offset as u64).unwrap();
    }

    /// All of it goes.
    pub(crate) fn truncate(&self) {
        self.file.set_len(0).unwrap();
    }

    pub(crate) fn registration(&self, name: &str, bytes: usize) -> pb::RegisterRegion {
        pb::RegisterRegion {
            name: name.to_owned(),
            key: self.key.clone(),
            offset: 0,
            byte_size: bytes as u64,
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// True: this machine has no place for shared memory, and that was said.
pub(crate) fn has_none() -> bool {
    let has = fs::metadata("/dev/shm").is_ok_and(|folder| folder.is_dir());
    if !has {
        skipped("this machine has no /dev/shm");
    }
    !has
}

fn allowing(keys: &[&str]) -> Settings {
    let keys = keys.iter().map(|&key| key.to_owned()).collect();
    Settings {
        shared_memory: SharedMemorySettings {
            keys,
            regions_per_peer: 4,
            bytes_per_peer: 1 << 20,
            ..SharedMemorySettings::default()
        },
        ..Settings::default()
    }
}

fn ours() -> Settings {
    allowing(&["/cellsegd-it-*"])
}

/// Lanes that find as many cells as the first pixel says, and tell where they read.
fn counting() -> (FakeBackend, mpsc::Receiver<usize>) {
    let (told, addresses) = mpsc::channel();
    let told = Mutex::new(told);
    let backend = FakeBackend::new(move |frame, _, _| {
        // The test may be over.
        let _ = told.lock().unwrap().send(frame.data().as_ptr().addr());
        Ok(fake::cells(frame, frame.data()[0].into(), 4))
    });
    (backend, addresses)
}

async fn controller(daemon: &Daemon) -> SharedMemoryClient<Channel> {
    let connected = SharedMemoryClient::connect(daemon.address.clone()).await;
    connected.expect("the daemon listens")
}

/// 32x24 Mono8 in a region.
pub(crate) fn slot(id: u64, region: &str, offset: u64) -> pb::Frame {
    in_slot(id, region, offset, |_| {})
}

fn in_slot(
    id: u64,
    region: &str,
    offset: u64,
    change: impl FnOnce(&mut pb::RawPixels),
) -> pb::Frame {
    let mut layout = pb::RawPixels {
        format: pb::PixelFormat::Mono8.into(),
        width: 32,
        height: 24,
        ..Default::default()
    };
    change(&mut layout);
    pb::Frame {
        id,
        pixels: Some(Pixels::Shared(pb::SharedSlot {
            region: region.to_owned(),
            offset,
            layout: Some(layout),
        })),
        ..Default::default()
    }
}

async fn answer(session: &mut Session, frame: pb::Frame) -> pb::FrameReply {
    session.send(Request::Frame(frame)).await;
    session.frame_reply().await
}

fn failure(reply: &pb::FrameReply) -> (FailedCode, &str) {
    match reply.outcome.as_ref().unwrap() {
        Outcome::Failed(failed) => (failed.code(), &failed.message),
        other => panic!("not failed: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_reads_the_controllers_own_memory() {
    if has_none() {
        return;
    }
    let (backend, addresses) = counting();
    let daemon = Daemon::start(ours(), backend, 1);
    let memory = Memory::new(4 * SLOT + 5);
    // Where a slot begins need not be aligned.
    let slots = [0, SLOT + 1, 2 * SLOT + 3, 3 * SLOT + 5];
    for (offset, cells) in slots.into_iter().zip(1..) {
        memory.write(offset, &[cells]);
    }
    let mut controller = controller(&daemon).await;
    let wanted = memory.registration("cam", 4 * SLOT + 5);
    let region = controller.register(wanted).await.unwrap().into_inner();
    assert_eq!((region.name.as_str(), region.writable), ("cam", false));
    let (mut session, _) = Session::open(&daemon, Default::default()).await;
    addresses.try_iter().for_each(drop);
    for (id, offset) in slots.into_iter().enumerate() {
        let reply = answer(&mut session, slot(id as u64, "cam", offset as u64)).await;
        assert_eq!(outcome(&reply), format!("{} cells", id + 1));
        let address = addresses.recv_timeout(PATIENCE).unwrap();
        assert!(
            is_mapped_from(address, &memory.path),
            "frame {id} was copied"
        );
    }
    // What the other ways of sending say of it, it says too.
    let flipped = pb::Frame {
        flip_horizontal: true,
        ..slot(9, "cam", 0)
    };
    assert_eq!(outcome(&answer(&mut session, flipped).await), "0 cells");
    let closed = session.close().await;
    assert_eq!((closed.frames, closed.segmented), (5, 5));
    let listed = controller
        .list_regions(pb::ListRegionsRequest {})
        .await
        .unwrap();
    let listed = listed.into_inner();
    assert_eq!(listed.regions, [region]);
    assert_eq!(listed.keys, ["/cellsegd-it-*"]);
    assert_eq!(listed.socket, "");
}

fn is_mapped_from(address: usize, path: &std::path::Path) -> bool {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().any(|line| {
        let range = line.split(' ').next().unwrap();
        let (first, end) = range.split_once('-').unwrap();
        let [first, end] = [first, end].map(|hex| usize::from_str_radix(hex, 16).unwrap());
        first <= address && address < end && line.ends_with(path.to_str().unwrap())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn regions_are_bounded_replaced_and_forgotten() {
    if has_none() {
        return;
    }
    let (gate, backend) = Gate::new();
    let daemon = Daemon::start(ours(), backend, 1);
    let memory = Memory::new(1 << 20);
    let mut controller = controller(&daemon).await;
    for name in ["a", "b", "c", "d"] {
        let wanted = memory.registration(name, SLOT);
        controller.register(wanted).await.unwrap();
    }
    let refused = controller.register(memory.registration("e", SLOT)).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("4 regions"), "{refused}");
    // One of the same name takes its place; where that fails, it stays.
    let wanted = memory.registration("a", 2 * SLOT);
    controller.register(wanted).await.unwrap();
    let too_much = memory.registration("a", 1 << 20);
    let refused = controller.register(too_much).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    let (mut session, _) = Session::open(&daemon, Default::default()).await;
    session
        .send(Request::Frame(slot(1, "a", SLOT as u64)))
        .await;
    let started = gate.started().await;
    // It is forgotten, and the frame in it goes on.
    let one = pb::UnregisterRegion {
        name: "a".to_owned(),
    };
    controller.unregister(one.clone()).await.unwrap();
    let again = controller.unregister(one).await.unwrap_err();
    assert_eq!(again.code(), Code::NotFound);
    // It counts while it is read.
    let refused = controller.register(memory.registration("e", SLOT)).await;
    assert_eq!(refused.unwrap_err().code(), Code::ResourceExhausted);
    assert_eq!(started.frame.data().len(), SLOT);
    started.answer(2);
    assert_eq!(outcome(&session.frame_reply().await), "2 cells");
    let gone = answer(&mut session, slot(2, "a", 0)).await;
    assert!(failure(&gone).1.contains("no region"), "{gone:?}");
    let all = pb::UnregisterRegion::default();
    let forgotten = controller.unregister(all.clone()).await.unwrap();
    assert_eq!(forgotten.into_inner().forgotten, 3);
    let forgotten = controller.unregister(all).await.unwrap();
    assert_eq!(forgotten.into_inner().forgotten, 0);
    let wanted = memory.registration("e", (1 << 20) - 2 * SLOT);
    controller.register(wanted).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_whose_file_is_gone_makes_room_for_others() {
    if has_none() {
        return;
    }
    let (gate, backend) = Gate::new();
    let daemon = Daemon::start(ours(), backend, 1);
    let (gone, other) = (Memory::new(SLOT), Memory::new(SLOT));
    let mut controller = controller(&daemon).await;
    for name in ["a", "b", "c"] {
        let wanted = gone.registration(name, SLOT);
        controller.register(wanted).await.unwrap();
    }
    controller
        .register(other.registration("d", SLOT))
        .await
        .unwrap();
    let told = get(&daemon, "/metrics").await.body;
    assert!(
        told.contains("cellsegd_shared_memory_regions 4.0"),
        "{told}"
    );
    let bytes = format!("cellsegd_shared_memory_bytes {}.0", 4 * SLOT);
    assert!(told.contains(&bytes), "{told}");
    // While the file is there nobody else takes its place.
    let refused = controller.register(other.registration("e", SLOT)).await;
    assert_eq!(refused.unwrap_err().code(), Code::ResourceExhausted);
    let (mut session, _) = Session::open(&daemon, Default::default()).await;
    session.send(Request::Frame(slot(1, "b", 0))).await;
    let started = gate.started().await;
    drop(gone);
    // It is used as before while there is room.
    let listed = controller.list_regions(pb::ListRegionsRequest {}).await;
    assert_eq!(names(&listed.unwrap().into_inner()), ["a", "b", "c", "d"]);
    controller
        .register(other.registration("e", SLOT))
        .await
        .unwrap();
    let listed = controller.list_regions(pb::ListRegionsRequest {}).await;
    assert_eq!(names(&listed.unwrap().into_inner()), ["b", "d", "e"]);
    assert_eq!(started.frame.data().len(), SLOT);
    started.answer(2);
    assert_eq!(outcome(&session.frame_reply().await), "2 cells");
}

fn names(listed: &pb::ListRegionsReply) -> Vec<&str> {
    let regions = listed.regions.iter();
    regions.map(|region| &*region.name).collect()
}

/// Settings that the test changes, and no models.
struct Keys(Arc<Mutex<Vec<String>>>);

impl Loader for Keys {
    fn settings(&self) -> Result<Settings, String> {
        let mut settings = ours();
        settings.shared_memory.keys = self.0.lock().unwrap().clone();
        Ok(settings)
    }

    fn look(&self, _: &Settings) -> Result<Outlook, String> {
        Ok(Outlook {
            needs_restart: Vec::new(),
            models: vec![Found {
                name: "fake".to_owned(),
                identity: Ok(String::new()),
                load: Box::new(|| Err("it is the same".to_owned())),
            }],
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_read_again_on_reload() {
    if has_none() {
        return;
    }
    let keys = Arc::new(Mutex::new(vec!["/cellsegd-it-*".to_owned()]));
    let loader = Arc::new(Keys(Arc::clone(&keys)));
    let pool = cellsegd::pool::LanePool::start(Arc::new(counting().0), 1).unwrap();
    let daemon = Daemon::reloading(ours(), vec![pool], loader);
    let memory = Memory::new(SLOT);
    let mut controller = controller(&daemon).await;
    let wanted = memory.registration("cam", SLOT);
    controller.register(wanted.clone()).await.unwrap();
    *keys.lock().unwrap() = vec!["/other".to_owned()];
    daemon.control.reload().await;
    let refused = controller.register(wanted).await.unwrap_err();
    assert!(refused.message().contains("allow /other"), "{refused}");
    // What was registered stays.
    let (mut session, _) = Session::open(&daemon, Default::default()).await;
    let reply = answer(&mut session, slot(1, "cam", 0)).await;
    assert_eq!(outcome(&reply), "0 cells");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_is_no_other_peers() {
    if has_none() {
        return;
    }
    let daemon = Daemon::start(ours(), counting().0, 1);
    let memory = Memory::new(SLOT);
    let mut here = controller(&daemon).await;
    here.register(memory.registration("cam", SLOT))
        .await
        .unwrap();
    // Another address of this machine is another peer.
    let port = daemon.address.rsplit(':').next().unwrap();
    let local: std::net::IpAddr = [127, 0, 0, 9].into();
    let channel = tonic::transport::Endpoint::from_shared(format!("http://127.0.0.1:{port}"))
        .unwrap()
        .local_address(Some(local))
        .connect()
        .await
        .unwrap();
    let mut there = SharedMemoryClient::new(channel.clone());
    let listed = there.list_regions(pb::ListRegionsRequest {}).await.unwrap();
    assert_eq!(listed.into_inner().regions, []);
    let cam = pb::UnregisterRegion {
        name: "cam".to_owned(),
    };
    let refused = there.unregister(cam).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    let client = pb::segmenter_client::SegmenterClient::new(channel);
    let mut session = Session::on(client).await;
    session.send(Request::Open(Default::default())).await;
    session.reply().await;
    let reply = answer(&mut session, slot(1, "cam", 0)).await;
    assert!(failure(&reply).1.contains("no region"), "{reply:?}");
    assert_eq!(outcome(&answer(&mut session, frame(2)).await), "20 cells");
}
