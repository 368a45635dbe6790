//! The logger that TensorRT talks to: its words go to the log, and into the error of the call that failed.

use std::{
    collections::VecDeque,
    ffi::{CStr, c_char, c_void},
    panic,
    sync::{Mutex, PoisonError},
    thread::{self, ThreadId},
};

use tracing::Level;

use super::abi::LoggerTable;

/// Warnings and errors that are kept.
const KEPT: usize = 64;
/// Of one message.
const MAX_CHARS: usize = 1000;

/// To TensorRT an `ILogger`; made once a library and never dropped: TensorRT keeps the first it sees for good.
#[repr(C)]
pub(super) struct Logger {
    /// What a C++ object begins with.
    table: &'static Table,
    heard: Mutex<Heard>,
}

#[derive(Default)]
struct Heard {
    /// Ever, so that a mark stays valid.
    n: u64,
    last: VecDeque<Message>,
}

struct Message {
    thread: ThreadId,
    severity: i32,
    text: String,
}

/// `ILogger::Severity`.
mod severity {
    pub(super) const INTERNAL_ERROR: i32 = 0;
    pub(super) const ERROR: i32 = 1;
    pub(super) const WARNING: i32 = 2;
    pub(super) const INFO: i32 = 3;
}

impl Logger {
    pub(super) fn leak(table: LoggerTable) -> &'static Logger {
        Box::leak(Box::new(Logger {
            table: match table {
                LoggerTable::Bare => &BARE.table,
                LoggerTable::Versioned => &VERSIONED.table,
            },
            heard: Mutex::default(),
        }))
    }

    pub(super) fn as_ptr(&'static self) -> *mut c_void {
        std::ptr::from_ref(self).cast_mut().cast()
    }

    /// To be given to [`Logger::since`].
    pub(super) fn mark(&self) -> u64 {
        self.heard().n
    }

    /// What TensorRT said since then: errors, else warnings; by this thread, else by any.
    pub(super) fn since(&self, mark: u64) -> String {
        let heard = self.heard();
        let first = heard.n - heard.last.len() as u64;
        let new = || (first..).zip(&heard.last).filter(|(i, _)| mark <= *i);
        let said = |own: bool, severities: std::ops::RangeInclusive<i32>| {
            let texts: Vec<&str> = new()
                .filter(|(_, m)| severities.contains(&m.severity))
                .filter(|(_, m)| !own || m.thread == thread::current().id())
                .map(|(_, m)| m.text.as_str())
                .collect();
            (!texts.is_empty()).then(|| texts.join("; "))
        };
        let errors = severity::INTERNAL_ERROR..=severity::ERROR;
        let warnings = severity::WARNING..=severity::WARNING;
        said(true, errors.clone())
            .or_else(|| said(false, errors))
            .or_else(|| said(true, warnings.clone()))
            .or_else(|| said(false, warnings))
            .unwrap_or_else(|| "TensorRT did not say why".to_owned())
    }

    fn hear(&self, severity: i32, text: String) {
        match severity {
            severity::INTERNAL_ERROR | severity::ERROR => {
                tracing::error!(target: "tensorrt", "{text}");
            }
            severity::WARNING => tracing::warn!(target: "tensorrt", "{text}"),
            // TensorRT's news are about itself; ours are about the daemon.
            severity::INFO => tracing::debug!(target: "tensorrt", "{text}"),
            _ => tracing::trace!(target: "tensorrt", "{text}"),
        }
        if severity <= severity::WARNING {
            let mut heard = self.heard();
            if heard.last.len() == KEPT {
                heard.last.pop_front();
            }
            heard.n += 1;
            heard.last.push_back(Message {
                thread: thread::current().id(),
                severity,
                text,
            });
        }
    }

    fn heard(&self) -> std::sync::MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the table pointer of an object points to: its first function. Two words lie before it.
#[repr(C)]
struct Table([usize; 0]);

type Log = unsafe extern "C" fn(*const Logger, i32, *const c_char);
type Destructor = extern "C" fn(*const Logger);

#[repr(C)]
struct Bare {
    offset_to_top: isize,
    type_info: usize,
    table: Table,
    log: Log,
    destructors: [Destructor; 2],
}

#[repr(C)]
struct Versioned {
    offset_to_top: isize,
    type_info: usize,
    table: Table,
    language: extern "C" fn(*const Logger) -> i32,
    info: extern "C" fn(*const Logger) -> InterfaceInfo,
    destructors: [Destructor; 2],
    log: Log,
}

/// `InterfaceInfo`: two registers, as C returns it.
#[repr(C)]
pub(super) struct InterfaceInfo {
    pub kind: *const c_char,
    pub major: i32,
    pub minor: i32,
}

static BARE: Bare = Bare {
    offset_to_top: 0,
    type_info: 0,
    table: Table([]),
    log,
    destructors: [never_deleted; 2],
};

static VERSIONED: Versioned = Versioned {
    offset_to_top: 0,
    type_info: 0,
    table: Table([]),
    language,
    info,
    destructors: [never_deleted; 2],
    log,
};

/// Called from any thread. Nothing may unwind into C++.
///
/// # Safety
/// `logger` is what [`Logger::leak`] made; `text` is null or a C string.
unsafe extern "C" fn log(logger: *const Logger, severity: i32, text: *const c_char) {
    let heard = panic::catch_unwind(|| {
        if logger.is_null() || text.is_null() {
            return;
        }
        // A build has news by the hundred thousand.
        if severity::INFO <= severity && !tracing::enabled!(target: "tensorrt", Level::DEBUG) {
            return;
        }
        // SAFETY: TensorRT hands over the logger it was given, which is never dropped.
        let logger = unsafe { &*logger };
        // SAFETY: TensorRT's messages are C strings that live as long as the call.
        let text = unsafe { CStr::from_ptr(text) };
        let text: String = text
            .to_string_lossy()
            .trim()
            .chars()
            .take(MAX_CHARS)
            .collect();
        logger.hear(severity, text);
    });
    // A log that panics is no reason to stop TensorRT.
    drop(heard);
}

/// `APILanguage::kCPP`.
extern "C" fn language(_: *const Logger) -> i32 {
    0
}

extern "C" fn info(_: *const Logger) -> InterfaceInfo {
    InterfaceInfo {
        kind: c"ILogger".as_ptr(),
        major: 1,
        minor: 0,
    }
}

extern "C" fn never_deleted(_: *const Logger) {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says `text` as C++ would, through slot `place` of the object's table.
    fn say(logger: &'static Logger, place: usize, severity: i32, text: &CStr) {
        let object = logger.as_ptr().cast::<*const Log>();
        // SAFETY: A logger begins with the address of its table.
        let table = unsafe { *object };
        // SAFETY: `log` lies at that place in it.
        let entry = unsafe { table.add(place) };
        // SAFETY: As above.
        let log = unsafe { *entry };
        // SAFETY: Both are alive.
        unsafe { log(logger, severity, text.as_ptr()) }
    }

    #[test]
    fn either_table_reaches_log() {
        for (table, place) in [(LoggerTable::Bare, 0), (LoggerTable::Versioned, 4)] {
            let logger = Logger::leak(table);
            let mark = logger.mark();
            assert_eq!(logger.since(mark), "TensorRT did not say why");
            say(logger, place, severity::WARNING, c"odd");
            say(logger, place, severity::INFO, c"news");
            assert_eq!(logger.since(mark), "odd");
            say(logger, place, severity::ERROR, c" wrong\n");
            thread::spawn(move || say(logger, place, severity::ERROR, c"elsewhere"))
                .join()
                .unwrap();
            assert_eq!(logger.since(mark), "wrong");
            let later = logger.mark();
            assert_eq!(logger.since(later), "TensorRT did not say why");
            thread::spawn(move || say(logger, place, severity::ERROR, c"again"))
                .join()
                .unwrap();
            assert_eq!(logger.since(later), "again");
        }
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let logger = Logger::leak(LoggerTable::Bare);
        let mark = logger.mark();
        for _ in 0..1000 {
            say(logger, 0, severity::ERROR, c"x");
        }
        assert_eq!(logger.since(mark).matches('x').count(), KEPT);
    }
}
