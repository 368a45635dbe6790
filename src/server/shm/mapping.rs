//! A region's bytes where they are: mapped, bounded, and read by others while their owner may change them.

#![allow(unsafe_code, reason = "memory of other programs is mapped")]

use std::{
    fmt,
    fs::File,
    io,
    os::unix::fs::FileExt,
    ptr::{self, NonNull},
    slice,
    sync::Arc,
};

use bytes::Bytes;
use rustix::{
    fs::fstat,
    io::Errno,
    mm::{MapFlags, ProtFlags, mmap, munmap},
    param::page_size,
};

use super::{RegionError, error::truncated, fault::Watch, file::Memory, room::Room};

/// A part of a file in memory, mapped until the last frame in it has been answered.
pub(super) struct Mapping {
    /// What its frames call it.
    name: String,
    /// None only while it is dropped.
    pages: Option<Pages>,
    /// Where the region begins in them.
    lead: usize,
    len: usize,
    writable: bool,
    /// None only while it is dropped.
    watch: Option<Watch>,
    file: File,
    /// Where the region ends in the file: it has to be as long.
    end: u64,
    /// Its share of the bounds.
    room: Room,
}

/// What is mapped, until it is dropped: whole pages from this address.
struct Pages {
    start: NonNull<u8>,
    /// Bytes.
    len: usize,
}

// SAFETY: pages are the process's; any thread may read and unmap them.
unsafe impl Send for Pages {}
// SAFETY: this process only reads them, whoever else writes, see `Slot`.
unsafe impl Sync for Pages {}

/// Some bytes of a region: a frame's pixels. Keeps them mapped.
#[derive(Clone, Debug)]
pub(in crate::server) struct Slot {
    mapping: Arc<Mapping>,
    offset: usize,
    len: usize,
}

impl Mapping {
    /// Maps `len` bytes from `offset`; the file was found to be long enough. Errors: the system's, which says why.
    pub(super) fn new(
        name: &str,
        memory: Memory,
        offset: u64,
        len: usize,
        room: Room,
    ) -> io::Result<Mapping> {
        let Memory { file, writable, .. } = memory;
        let lead = (offset % page_size() as u64) as usize;
        let mapped = lead
            .checked_add(len)
            .ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))?;
        let first = offset - lead as u64;
        let map = |rights| {
            let flags = MapFlags::SHARED;
            // SAFETY: the system chooses an address at which nothing is.
            unsafe { mmap(ptr::null_mut(), mapped, rights, flags, &file, first) }
        };
        let (pages, writable) = match writable {
            true => match map(ProtFlags::READ | ProtFlags::WRITE) {
                // Sealed against whoever would write from now on (F_SEAL_FUTURE_WRITE), though its descriptor is for both.
                Err(Errno::PERM) => (map(ProtFlags::READ)?, false),
                pages => (pages?, true),
            },
            false => (map(ProtFlags::READ)?, false),
        };
        let pages = NonNull::new(pages.cast::<u8>())
            .ok_or_else(|| io::Error::other("mapped at address 0"))?;
        let mut mapping = Mapping {
            name: name.to_owned(),
            pages: Some(Pages {
                start: pages,
                len: mapped,
            }),
            lead,
            len,
            writable,
            watch: None,
            file: File::from(file),
            end: offset + len as u64,
            room,
        };
        let whole = mapped.next_multiple_of(page_size());
        let watch = Watch::new(pages.as_ptr().addr(), whole, writable)?;
        mapping.watch = Some(watch);
        Ok(mapping)
    }

    /// Its share of the bounds.
    pub(super) fn room(&self) -> &Room {
        &self.room
    }

    /// Bytes.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether the daemon may write into it.
    pub(super) fn is_writable(&self) -> bool {
        self.writable
    }

    /// Whether all of it is still there, as far as anybody has seen. Errors: it is not.
    pub(super) fn check(&self) -> Result<(), RegionError> {
        let is_read = self.watch.as_ref().is_some_and(|watch| !watch.is_broken());
        // Nobody may have read where it ends.
        let is_long = fstat(&self.file).is_ok_and(|stat| self.end <= stat.st_size as u64);
        match is_read && is_long {
            true => Ok(()),
            false => Err(truncated(&self.name)),
        }
    }

    /// Whether `len` bytes from `offset` lie in it.
    pub(super) fn holds(&self, offset: u64, len: usize) -> bool {
        let end = offset.checked_add(len as u64);
        end.is_some_and(|end| end <= self.len as u64)
    }

    /// Whether its file has no name any more: nobody can open it who has not done so.
    pub(super) fn is_unlinked(&self) -> bool {
        fstat(&self.file).is_ok_and(|stat| stat.st_nlink == 0)
    }

    /// The address of the region's byte `offset`, which is inside.
    fn at(&self, offset: usize) -> *const u8 {
        let pages = self.pages.as_ref().expect("only its drop takes them");
        let start = pages.start.as_ptr().cast_const();
        start.wrapping_add(self.lead + offset)
    }

    /// Writes bytes that lie in the region, which is for writing. By the file and not by the pages: of these a `Slot` may be out as a
    /// `&[u8]`, under which no code of this process may write. What the kernel writes there is what any other process could write,
    /// which a slot's readers bear. Somebody who cuts the file off between the caller's `check` and this finds it as long again, and
    /// is told that it was written: the owner, racing his own request. Errors: the system's; whoever sealed it meanwhile has forbidden
    /// it.
    pub(super) fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let start = self.end - self.len as u64;
        self.file.write_all_at(bytes, start + offset)
    }
}

impl Drop for Mapping {
    /// Giving back the pages of a GiB takes many milliseconds: not where others wait. The last slot may go on any thread, of a lane
    /// too, where no runtime is. Its room is given back at once: who unregisters a region to register another finds it.
    fn drop(&mut self) {
        // Before the address can be somebody else's.
        self.watch.take();
        let pages = self.pages.take();
        rayon::spawn(move || drop(pages));
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: `Mapping::new` mapped them and gave them to nobody else; its drop lets go of them, when nobody has a `Slot` any
        // more. An error would leave them mapped.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mapping({} bytes)", self.len)
    }
}

impl Slot {
    /// None: these bytes are not all in the region.
    pub(super) fn new(mapping: &Arc<Mapping>, offset: u64, len: usize) -> Option<Slot> {
        mapping.holds(offset, len).then(|| Slot {
            mapping: Arc::clone(mapping),
            offset: offset as usize,
            len,
        })
    }

    /// Whether it lies in this one.
    pub(super) fn is_of(&self, mapping: &Arc<Mapping>) -> bool {
        Arc::ptr_eq(&self.mapping, mapping)
    }

    /// The bytes, without a copy.
    pub(in crate::server) fn bytes(&self) -> Bytes {
        Bytes::from_owner(self.clone())
    }

    /// Whether what was read of it was there: asked after it was read, before anybody is told what came of it. Errors: it was not.
    pub(in crate::server) fn check(&self) -> Result<(), RegionError> {
        self.mapping.check()
    }
}

impl AsRef<[u8]> for Slot {
    fn as_ref(&self) -> &[u8] {
        let start = self.mapping.at(self.offset);
        // SAFETY: `Slot::new` saw that they are inside, and the mapping lives as long as the slot. Pages that go away become zeros
        // (`fault`). No code of this process writes there (`Mapping::write`). Other programs may, against the contract, while we
        // read: rows 0 to 2 read each byte as a number that may be any, check no byte in order to trust it later, and index nothing
        // by it that has no place for every value.
        unsafe { slice::from_raw_parts(start, self.len) }
    }
}
