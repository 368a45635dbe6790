//! What happens where memory goes away under a reader: a file that was truncated leaves pages behind that nobody can read, and
//! whoever does gets SIGBUS, which ends the process.
//!
//! Here that address is looked up among the regions. Where it is in one, zeros are laid over the whole of it and the region is
//! marked, so that the reader goes on and its frame fails. Everything else goes where it went before.

#![allow(
    unsafe_code,
    reason = "signals are asked for, and pages laid over others"
)]

use std::{
    io,
    os::raw::{c_int, c_void},
    ptr,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering, fence},
    },
};

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

use crate::config::SharedMemorySettings;

/// Every region that is mapped. A handler of signals may not wait and may not allocate: a table of fixed size, of atomics.
static PLACES: [Place; SharedMemorySettings::MOST_REGIONS] =
    [const { Place::new() }; SharedMemorySettings::MOST_REGIONS];

/// Who takes and gives back places, not who reads them.
static TAKING: Mutex<()> = Mutex::new(());

/// What was asked when SIGBUS came before us.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

struct Place {
    /// Counts what is told of the place; odd: it is being told.
    version: AtomicUsize,
    /// First address; 0: nobody's.
    start: AtomicUsize,
    len: AtomicUsize,
    writable: AtomicBool,
    broken: AtomicBool,
}

/// A mapping, as a place tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    start: usize,
    len: usize,
    writable: bool,
}

/// A mapping that is watched, until it is dropped: before it is unmapped.
#[derive(Debug)]
pub(super) struct Watch {
    index: usize,
}

impl Place {
    const fn new() -> Self {
        Place {
            version: AtomicUsize::new(0),
            start: AtomicUsize::new(0),
            len: AtomicUsize::new(0),
            writable: AtomicBool::new(false),
            broken: AtomicBool::new(false),
        }
    }

    /// Gives it to a mapping, or to nobody. **Invariant:** whoever calls it holds `TAKING`.
    fn tell(&self, span: Option<Span>) {
        let version = self.version.load(Ordering::Relaxed);
        self.version
            .store(version.wrapping_add(1), Ordering::Relaxed);
        // Whoever reads any of what follows reads the odd version, or a later one, after it.
        fence(Ordering::Release);
        let (start, len, writable) =
            span.map_or((0, 0, false), |span| (span.start, span.len, span.writable));
        self.start.store(start, Ordering::Relaxed);
        self.len.store(len, Ordering::Relaxed);
        self.writable.store(writable, Ordering::Relaxed);
        self.version
            .store(version.wrapping_add(2), Ordering::Release);
    }

    /// Whose it is, of one mapping and never of two. None: nobody's, or it was told anew meanwhile.
    fn span(&self) -> Option<Span> {
        let version = self.version.load(Ordering::Acquire);
        let span = Span {
            start: self.start.load(Ordering::Relaxed),
            len: self.len.load(Ordering::Relaxed),
            writable: self.writable.load(Ordering::Relaxed),
        };
        fence(Ordering::Acquire);
        let is_one = version.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == version;
        (is_one && span.start != 0).then_some(span)
    }

    /// If the address is in it: readers go on with zeros. A place that changes meanwhile is not that of the address: who reads there
    /// was given the mapping after its place was told, and keeps it.
    fn mend(&self, address: usize) -> bool {
        let Some(Span {
            start,
            len,
            writable,
        }) = self.span()
        else {
            return false;
        };
        if len <= address.wrapping_sub(start) {
            return false;
        }
        let mut rights = ProtFlags::READ;
        if writable {
            rights |= ProtFlags::WRITE;
        }
        self.broken.store(true, Ordering::Release);
        let flags = MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE;
        // SAFETY: start and length are of one mapping of ours (`span`), and the address is in it. It is unmapped only after its
        // `Watch` is gone, and that is not gone: who faulted reads there, keeps the mapping, and waits for us. Of anonymous pages any
        // byte can be read. It is a bare system call, which leaves errno alone.
        let laid =
            unsafe { mmap_anonymous(ptr::without_provenance_mut(start), len, rights, flags) };
        laid.is_ok()
    }
}

impl Watch {
    /// Watches `len` bytes from the address `start`, whole pages that were mapped. Errors: every place is taken, or the system
    /// lets us ask for no signals.
    pub(super) fn new(start: usize, len: usize, writable: bool) -> io::Result<Watch> {
        install()?;
        // Nothing is left half done in there.
        let _taking = TAKING.lock().unwrap_or_else(PoisonError::into_inner);
        let free = |place: &Place| place.start.load(Ordering::Acquire) == 0;
        let index = PLACES
            .iter()
            .position(free)
            .ok_or_else(|| io::Error::other("as many regions are mapped as there can be"))?;
        let place = &PLACES[index];
        place.broken.store(false, Ordering::Release);
        place.tell(Some(Span {
            start,
            len,
            writable,
        }));
        Ok(Watch { index })
    }

    /// Whether somebody met a page that was not there any more.
    pub(super) fn is_broken(&self) -> bool {
        PLACES[self.index].broken.load(Ordering::Acquire)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _taking = TAKING.lock().unwrap_or_else(PoisonError::into_inner);
        PLACES[self.index].tell(None);
    }
}

/// Once a process.
fn install() -> io::Result<()> {
    static INSTALLED: OnceLock<Result<(), i32>> = OnceLock::new();
    let installed = INSTALLED.get_or_init(|| {
        // SAFETY: a plain C struct of integers, for which zeros are a value.
        let mut before: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: it only asks; `before` is one sigaction.
        if unsafe { libc::sigaction(libc::SIGBUS, ptr::null(), &raw mut before) } != 0 {
            return Err(errno());
        }
        BEFORE.get_or_init(|| before);
        let mut ours = before;
        ours.sa_sigaction = on_sigbus as *const () as usize;
        // Threads that Rust started have a stack for signals.
        ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        // SAFETY: a set of signals of our own.
        unsafe { libc::sigemptyset(&raw mut ours.sa_mask) };
        // SAFETY: `on_sigbus` is what SA_SIGINFO asks for, and does only what a handler may.
        match unsafe { libc::sigaction(libc::SIGBUS, &raw const ours, ptr::null_mut()) } {
            0 => Ok(()),
            _ => Err(errno()),
        }
    });
    installed.map_err(io::Error::from_raw_os_error)
}

fn errno() -> i32 {
    io::Error::last_os_error()
        .raw_os_error()
        .unwrap_or(libc::EINVAL)
}

/// **Invariant:** it reads atomics and makes system calls, nothing else: no lock, no allocation, no log.
extern "C" fn on_sigbus(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: with SA_SIGINFO the kernel gives a siginfo that lives as long as the handler runs.
    let info_of = unsafe { &*info };
    // SAFETY: a SIGBUS of the kernel carries an address; of others it is some number, at which nothing of ours lies or which is
    // treated as if they had read there.
    let address = unsafe { info_of.si_addr() }.addr();
    let is_fault = info_of.si_code > 0;
    if is_fault && PLACES.iter().any(|place| place.mend(address)) {
        return;
    }
    before(signal, info, context);
}

/// As if we were not there.
fn before(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let Some(before) = BEFORE.get() else {
        return;
    };
    let handler = before.sa_sigaction;
    if handler == libc::SIG_DFL || handler == libc::SIG_IGN {
        // What faulted faults again, and ends the process as it would have; raised, so does what was sent.
        // SAFETY: both are among what a handler may call.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
        // SAFETY: as above.
        unsafe { libc::raise(signal) };
    } else if before.sa_flags & libc::SA_SIGINFO != 0 {
        // SAFETY: whoever installed it with SA_SIGINFO gave a function of this kind.
        let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) =
            unsafe { std::mem::transmute(handler) };
        handler(signal, info, context);
    } else {
        // SAFETY: whoever installed it without SA_SIGINFO gave a function of this kind.
        let handler: extern "C" fn(c_int) = unsafe { std::mem::transmute(handler) };
        handler(signal);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// Somebody else's place changes hands while ours is looked for: what is read of it is of one mapping, or nothing.
    #[test]
    fn a_place_that_changes_hands_is_never_half_of_each() {
        let spans = [(0x1000, 0x1000), (0x10_0000, 0x4000_0000)].map(|(start, len)| Span {
            start,
            len,
            writable: len == 0x1000,
        });
        let place = Place::new();
        let is_over = AtomicBool::new(false);
        let odd = thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    for span in spans {
                        place.tell(Some(span));
                        place.tell(None);
                    }
                }
            });
            let read = (0..2_000_000).filter_map(|_| place.span());
            let odd = { read }.find(|span| !spans.contains(span));
            is_over.store(true, Ordering::Relaxed);
            odd
        });
        assert_eq!(odd, None);
        // At rest it is found.
        place.tell(Some(spans[0]));
        assert_eq!(place.span(), Some(spans[0]));
        place.tell(None);
        assert_eq!(place.span(), None);
    }
}
