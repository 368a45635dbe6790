//! How far a build is, as TensorRT 10 and later tell.

use std::{
    ffi::{CStr, c_char, c_void},
    marker::PhantomData,
    panic::{self, AssertUnwindSafe},
};

use super::logger::InterfaceInfo;

/// Something that a build has begun or done. Phases lie within phases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Started { phase: String, steps: u32 },
    Step { phase: String, done: u32 },
    Finished { phase: String },
}

/// To TensorRT an `IProgressMonitor`.
#[repr(C)]
pub(super) struct Monitor<'a> {
    /// What a C++ object begins with.
    table: &'static Functions,
    report: &'a (dyn Fn(Event) + Sync),
    report_lives: PhantomData<&'a ()>,
}

/// `[getAPILanguage, getInterfaceInfo, D1, D0, phaseStart, stepComplete, phaseFinish]`: slots 4, 5 and 6 in every header.
#[repr(C)]
struct Functions {
    language: extern "C" fn(*const c_void) -> i32,
    info: extern "C" fn(*const c_void) -> InterfaceInfo,
    destructors: [extern "C" fn(*const c_void); 2],
    start: unsafe extern "C" fn(*const Monitor<'_>, *const c_char, *const c_char, i32),
    step: unsafe extern "C" fn(*const Monitor<'_>, *const c_char, i32) -> bool,
    finish: unsafe extern "C" fn(*const Monitor<'_>, *const c_char),
}

/// With the two words before it that a table has.
#[repr(C)]
struct Table {
    offset_to_top: isize,
    type_info: usize,
    functions: Functions,
}

static TABLE: Table = Table {
    offset_to_top: 0,
    type_info: 0,
    functions: Functions {
        language,
        info,
        destructors: [never_deleted; 2],
        start,
        step,
        finish,
    },
};

impl<'a> Monitor<'a> {
    pub(super) fn new(report: &'a (dyn Fn(Event) + Sync)) -> Self {
        Monitor {
            table: &TABLE.functions,
            report,
            report_lives: PhantomData,
        }
    }

    pub(super) fn as_ptr(&self) -> *const c_void {
        std::ptr::from_ref(self).cast()
    }
}

/// Nothing may unwind into C++.
///
/// # Safety
/// `monitor` is alive; `phase` is null or a C string.
unsafe fn tell(
    monitor: *const Monitor<'_>,
    phase: *const c_char,
    event: impl FnOnce(String) -> Event,
) {
    if monitor.is_null() || phase.is_null() {
        return;
    }
    // SAFETY: The caller's word.
    let monitor = unsafe { &*monitor };
    // SAFETY: The caller's word.
    let phase = unsafe { CStr::from_ptr(phase) };
    let told = panic::catch_unwind(AssertUnwindSafe(|| {
        (monitor.report)(event(phase.to_string_lossy().into_owned()));
    }));
    // A bar that panics is no reason to stop the build.
    drop(told);
}

/// # Safety
/// As TensorRT calls it during a build.
unsafe extern "C" fn start(
    monitor: *const Monitor<'_>,
    phase: *const c_char,
    _parent: *const c_char,
    steps: i32,
) {
    let steps = u32::try_from(steps).unwrap_or(0);
    // SAFETY: The monitor outlives the build.
    unsafe { tell(monitor, phase, |phase| Event::Started { phase, steps }) }
}

/// # Safety
/// As TensorRT calls it during a build.
unsafe extern "C" fn step(monitor: *const Monitor<'_>, phase: *const c_char, step: i32) -> bool {
    let done = u32::try_from(step).map_or(0, |step| step + 1);
    // SAFETY: The monitor outlives the build.
    unsafe { tell(monitor, phase, |phase| Event::Step { phase, done }) };
    // Go on.
    true
}

/// # Safety
/// As TensorRT calls it during a build.
unsafe extern "C" fn finish(monitor: *const Monitor<'_>, phase: *const c_char) {
    // SAFETY: The monitor outlives the build.
    unsafe { tell(monitor, phase, |phase| Event::Finished { phase }) }
}

/// `APILanguage::kCPP`.
extern "C" fn language(_: *const c_void) -> i32 {
    0
}

extern "C" fn info(_: *const c_void) -> InterfaceInfo {
    InterfaceInfo {
        kind: c"IProgressMonitor".as_ptr(),
        major: 1,
        minor: 0,
    }
}

extern "C" fn never_deleted(_: *const c_void) {}
