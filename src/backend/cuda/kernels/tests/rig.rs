//! A lane's memory and launches on the host.

use std::{
    ffi::{CString, c_char, c_int, c_uint, c_void},
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::SystemTime,
};

use libloading::Library;

use super::super::{
    Addresses, Answer, LaneArgs, Launch, Sizes, after_engine, before_engine, fill, fill_pixels,
    read,
};
use crate::{
    decode::Bounds,
    frame::Frame,
    model::{ModelSpec, Storage},
    params::Params,
};

/// Orders in which threads run; none may show.
pub(super) const ORDERS: [c_int; 3] = [0, 1, 2];

/// The kernels as g++ compiles them.
pub(super) struct Kernels {
    library: Library,
    launch: unsafe extern "C" fn(*const c_char, c_uint, c_uint, *const c_void, c_int),
}

/// None, and why is said, where this machine has no compiler.
pub(super) fn kernels() -> Option<&'static Kernels> {
    static KERNELS: OnceLock<Option<Kernels>> = OnceLock::new();
    KERNELS
        .get_or_init(|| {
            if Command::new("g++").arg("--version").output().is_err() {
                skip("no g++: the kernels are not compared with their meaning");
                return None;
            }
            let path = build();
            // SAFETY: our own library, which runs nothing when it is loaded.
            let library = unsafe { Library::new(path) }.unwrap();
            // SAFETY: the signature in host.cpp.
            let launch = unsafe { library.get(b"cellsegd_host_launch_in_order\0") };
            let launch = *launch.unwrap();
            Some(Kernels { library, launch })
        })
        .as_ref()
}

#[expect(clippy::print_stderr, reason = "says why a test did not run")]
fn skip(why: &str) {
    assert!(
        std::env::var_os("CELLSEGD_REQUIRE_ALL").is_none_or(|value| value != "1"),
        "{why}"
    );
    eprintln!("skipped: {why}");
}

/// The library, made anew if a source is younger. Tests run at once, each in a process of its own: one of them builds.
fn build() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("target/fake_gpu/libcellsegd_kernels.so");
    fs::create_dir_all(root.join("target/fake_gpu")).unwrap();
    let lock = File::create(root.join("target/fake_gpu/kernels.lock")).unwrap();
    lock.lock().unwrap();
    let changed = |path: &Path| {
        fs::metadata(path).map_or(SystemTime::UNIX_EPOCH, |data| data.modified().unwrap())
    };
    let sources = fs::read_dir(root.join("src/backend/cuda/kernels")).unwrap();
    let recipe = root.join("tools/host-kernels");
    let mut sources = sources
        .map(|entry| entry.unwrap().path())
        .chain([recipe.clone()]);
    if sources.any(|source| changed(&source) > changed(&path)) {
        let built = Command::new(recipe).arg(&path).output().unwrap();
        let said = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "{said}");
    }
    path
}

impl Kernels {
    /// A function of the library.
    pub(super) fn function<F: Copy>(&self, name: &str) -> F {
        let name = CString::new(name).unwrap();
        // SAFETY: the caller gives the signature in host.cpp.
        let function = unsafe { self.library.get::<F>(name.as_bytes_with_nul()) };
        *function.unwrap()
    }

    fn launch(&self, launch: &Launch, sizes: &Sizes, args: &LaneArgs, order: c_int) {
        let name = CString::new(launch.name).unwrap();
        for _ in 0..launch.times {
            let args: *const LaneArgs = args;
            // SAFETY: the rig's buffers are as large as the sizes that the arguments were made of say.
            unsafe {
                (self.launch)(
                    name.as_ptr(),
                    launch.grid(sizes),
                    launch.threads,
                    args.cast(),
                    order,
                );
            }
        }
    }
}

/// What `cuMemAlloc` gives: aligned, and full of what was there before. Its end is guarded.
pub(super) struct Memory {
    units: Vec<Unit>,
    bytes: usize,
}

#[derive(Clone, Copy)]
#[repr(align(256))]
struct Unit(#[expect(dead_code, reason = "read through pointers")] [u8; 256]);

const RUBBISH: u8 = 0xa5;

impl Memory {
    fn new(bytes: usize) -> Self {
        Memory {
            units: vec![Unit([RUBBISH; 256]); bytes.div_ceil(256) + 1],
            bytes,
        }
    }

    fn address(&mut self) -> u64 {
        self.units.as_mut_ptr() as u64
    }

    fn all(&self) -> &[u8] {
        // SAFETY: units are bytes without padding.
        unsafe { std::slice::from_raw_parts(self.units.as_ptr().cast(), self.units.len() * 256) }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.all()[..self.bytes]
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: units are bytes without padding, at least as many as were asked for.
        unsafe { std::slice::from_raw_parts_mut(self.units.as_mut_ptr().cast(), self.bytes) }
    }

    pub(super) fn write<const N: usize>(&mut self, values: impl IntoIterator<Item = [u8; N]>) {
        let (places, rest) = self.bytes_mut().as_chunks_mut();
        assert!(rest.is_empty());
        let mut n = 0;
        places.iter_mut().zip(values).for_each(|(place, value)| {
            *place = value;
            n += 1;
        });
        assert_eq!(n, places.len(), "values for the whole tensor");
    }

    fn check_guard(&self) {
        let guard = &self.all()[self.bytes..];
        assert!(
            guard.iter().all(|&byte| byte == RUBBISH),
            "written past the end"
        );
    }
}

/// Where numbers of the answer's header lie.
pub(super) mod header {
    use std::mem::offset_of;

    use super::super::super::layout::Header;

    pub(in super::super) const N_FOUND: usize = offset_of!(Header, n_found);
    pub(in super::super) const N_WORDS: usize = offset_of!(Header, n_words);
    pub(in super::super) const N_CELLS: usize = offset_of!(Header, n_cells);
    pub(in super::super) const N_UNSETTLED: usize = offset_of!(Header, n_unsettled);
}

/// A lane without a device.
pub(super) struct Rig<'a> {
    kernels: &'static Kernels,
    pub model: &'a ModelSpec,
    pub sizes: Sizes,
    args: LaneArgs,
    pub upload: Memory,
    pub input: Memory,
    pub detections: Memory,
    pub prototypes: Memory,
    pub workspace: Memory,
    pub answer: Memory,
    sequence: u64,
    pub order: c_int,
}

impl<'a> Rig<'a> {
    /// None: no compiler.
    pub(super) fn new(model: &'a ModelSpec, storage: &Storage, bounds: &Bounds) -> Option<Self> {
        let kernels = kernels()?;
        let sizes = Sizes::new(model, storage, bounds, 16 << 20, 1);
        let [mut upload, mut input, mut detections] =
            [sizes.upload, sizes.input, sizes.detections].map(Memory::new);
        let [mut prototypes, mut workspace, mut answer] =
            [sizes.prototypes, sizes.workspace, sizes.answer].map(Memory::new);
        let addresses = Addresses {
            upload: upload.address(),
            input: input.address(),
            detections: detections.address(),
            prototypes: prototypes.address(),
            workspace: workspace.address(),
            answer: answer.address(),
        };
        Some(Rig {
            kernels,
            model,
            args: LaneArgs::new(&sizes, &addresses),
            sizes,
            upload,
            input,
            detections,
            prototypes,
            workspace,
            answer,
            sequence: 0,
            order: 0,
        })
    }

    /// As far as the engine's input.
    pub(super) fn before(&mut self, frame: &Frame, params: &Params) {
        self.sequence += 1;
        let upload = self.upload.bytes_mut();
        let pixels = fill(
            upload,
            &self.sizes,
            self.sequence,
            frame,
            params,
            self.model,
        )
        .unwrap();
        assert!(pixels.end <= self.sizes.upload);
        fill_pixels(&mut self.upload.bytes_mut()[pixels], frame);
        self.run(before_engine(&self.model.head));
    }

    /// From the engine's outputs to the answer.
    pub(super) fn after(&mut self, frame: &Frame, params: &Params) -> Answer {
        self.run(after_engine(&self.model.head));
        let answer = self.answer.bytes();
        read(
            answer,
            &self.sizes,
            self.sequence,
            frame,
            params,
            self.model,
        )
        .unwrap()
    }

    fn run(&self, launches: &[Launch]) {
        for launch in launches {
            self.kernels
                .launch(launch, &self.sizes, &self.args, self.order);
        }
        for memory in [
            &self.upload,
            &self.input,
            &self.detections,
            &self.prototypes,
            &self.workspace,
            &self.answer,
        ] {
            memory.check_guard();
        }
    }

    /// A 32-bit number of the answer's header.
    pub(super) fn header(&self, at: usize) -> u32 {
        u32::from_ne_bytes(*self.answer.bytes()[at..].first_chunk().unwrap())
    }
}
