//! TensorRT's objects as the C++ compiler laid them out: which virtual function lies where, and how one is called.
//!
//! An object is two words: its own table of virtual functions (the destructors first) and a pointer to its implementation,
//! whose table holds the methods. Parsers and their errors are the exception: their methods lie in their own table.
//! Within a major version tables only grow at the end; from one to the next they shift, so there is one column of numbers
//! for each (`slots`), and a version without a column is refused.

mod object;
#[cfg(test)]
mod slot_tests;
mod slots;
#[cfg(test)]
mod tests;
mod types;

use super::{Flavour, TrtError, Version};

pub(super) use self::{
    object::Object,
    slots::Slots,
    types::{RawDims, element},
};

/// What differs from one major version to the next.
#[derive(Debug)]
pub(super) struct Abi {
    /// For errors.
    pub name: &'static str,
    pub slots: Slots,
    /// Dimensions are 32 bits wide, as before TensorRT 10.
    pub narrow_dims: bool,
    pub logger: LoggerTable,
    pub flags: Flags,
}

/// The tables of one library: its methods are called through them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tables {
    pub abi: &'static Abi,
    /// Decides which of the newer methods are there.
    pub version: Version,
}

/// Where an `ILogger`'s `log` lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoggerTable {
    /// `[log, D1, D0]`: until TensorRT 10.
    Bare,
    /// `[getAPILanguage, getInterfaceInfo, D1, D0, log]`: an `IVersionedInterface`.
    Versioned,
}

/// Numbers of `BuilderFlag` and bits of `NetworkDefinitionCreationFlags`; None: not there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flags {
    pub fp16: Option<i32>,
    pub int8: Option<i32>,
    pub version_compatible: Option<i32>,
    /// For `createNetworkV2`.
    pub network: u32,
    /// Types are those of the ONNX file; no flag changes them.
    pub strongly_typed: bool,
}

/// TensorRT 8.5 and 8.6: NvInfer.h 8.5.3, 8.6.1. `kVERSION_COMPATIBLE` is there from 8.6 on, its number was not verified.
static V8: Abi = Abi {
    name: "TensorRT 8",
    slots: slots::V8,
    narrow_dims: true,
    logger: LoggerTable::Bare,
    flags: Flags {
        fp16: Some(0),
        int8: Some(1),
        version_compatible: None,
        network: 1, // kEXPLICIT_BATCH = 0
        strongly_typed: false,
    },
};

/// TensorRT 10: NvInfer.h 10.0 to 10.16.
static V10: Abi = Abi {
    name: "TensorRT 10",
    slots: slots::V10,
    narrow_dims: false,
    logger: LoggerTable::Bare,
    flags: Flags {
        fp16: Some(0),
        int8: Some(1),
        version_compatible: Some(13),
        network: 0, // Explicit batch is the only kind.
        strongly_typed: false,
    },
};

/// TensorRT 11: NvInfer.h 11.4.
static V11: Abi = Abi {
    name: "TensorRT 11",
    slots: slots::V11,
    narrow_dims: false,
    logger: LoggerTable::Versioned,
    flags: Flags {
        fp16: None,
        int8: None,
        version_compatible: Some(12),
        network: 1, // kSTRONGLY_TYPED = 0
        strongly_typed: true,
    },
};

/// TensorRT-RTX 1.3 and 1.4: their NvInfer.h lies between those of TensorRT 10 and 11.
static RTX_1_3: Abi = Abi {
    name: "TensorRT-RTX 1.3",
    slots: slots::RTX_1_3,
    narrow_dims: false,
    logger: LoggerTable::Bare,
    flags: Flags {
        fp16: None,
        int8: None,
        version_compatible: None,
        network: 2, // kSTRONGLY_TYPED = 1
        strongly_typed: true,
    },
};

/// TensorRT-RTX 1.5 to 1.7: NvInfer.h 1.5, 1.7.
static RTX_1_5: Abi = Abi {
    name: "TensorRT-RTX 1.5",
    slots: slots::RTX_1_5,
    narrow_dims: false,
    logger: LoggerTable::Versioned,
    flags: Flags {
        fp16: None,
        int8: None,
        version_compatible: None,
        network: 1, // kSTRONGLY_TYPED = 0
        strongly_typed: true,
    },
};

impl Abi {
    /// The tables of a library, if they are known.
    pub(super) fn of(flavour: Flavour, version: Version) -> Result<&'static Abi, TrtError> {
        match (flavour, version.major, version.minor) {
            (Flavour::Rtx, 1, 3 | 4) => Ok(&RTX_1_3),
            (Flavour::Rtx, 1, 5..=7) => Ok(&RTX_1_5),
            (Flavour::Rtx, ..) => Err(unknown(flavour, version)),
            (_, 8, 5 | 6) => Ok(&V8),
            (_, 10, _) => Ok(&V10),
            (_, 11, _) => Ok(&V11),
            _ => Err(unknown(flavour, version)),
        }
    }
}

fn unknown(flavour: Flavour, version: Version) -> TrtError {
    TrtError::Library(format!(
        "{flavour} {version} is not known to cellsegd, which knows TensorRT 8.5, 8.6, 10 and 11, and TensorRT-RTX 1.3 \
         to 1.7"
    ))
}
