//! TensorRT's plain types.

use std::mem::MaybeUninit;

use crate::model::Element;

/// `Dims::MAX_DIMS`.
pub(in crate::backend::cuda::trt) const MAX_DIMS: usize = 8;

/// Room for `Dims` of every version: `{int32 nbDims; int64 d[8]}` from TensorRT 10 on, before it `{int32 nbDims; int32 d[8]}`.
///
/// Both are returned through a pointer to room for them (on x86-64 and on aarch64 alike, being longer than 16 bytes), so room
/// for the longer serves both.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub(in crate::backend::cuda::trt) struct RawDims([MaybeUninit<i32>; 2 + 2 * MAX_DIMS]);

impl RawDims {
    /// None: more dimensions than TensorRT can have.
    pub(in crate::backend::cuda::trt) fn new(dims: &[i64], narrow: bool) -> Option<RawDims> {
        if dims.len() > MAX_DIMS {
            return None;
        }
        let mut words = [MaybeUninit::new(0); 2 + 2 * MAX_DIMS];
        words[0] = MaybeUninit::new(dims.len() as i32);
        for (i, &dim) in dims.iter().enumerate() {
            match narrow {
                true => words[1 + i] = MaybeUninit::new(i32::try_from(dim).ok()?),
                false => {
                    // Little-endian, as every machine with an NVIDIA driver is.
                    words[2 + 2 * i] = MaybeUninit::new(dim as i32);
                    words[3 + 2 * i] = MaybeUninit::new((dim >> 32) as i32);
                }
            }
        }
        Some(RawDims(words))
    }

    /// None: TensorRT means "no such tensor" by a negative number of dimensions.
    ///
    /// # Safety
    /// TensorRT returned it, of the width that `narrow` says.
    pub(in crate::backend::cuda::trt) unsafe fn read(&self, narrow: bool) -> Option<Vec<i64>> {
        // SAFETY: `nbDims` is always set.
        let n_dims = unsafe { self.0[0].assume_init() };
        let n_dims = usize::try_from(n_dims).ok().filter(|&n| n <= MAX_DIMS)?;
        // SAFETY: The first `nbDims` of `d` are set (the caller's word), and lie at these places.
        let word = |i: usize| unsafe { self.0[i].assume_init() };
        Some(
            (0..n_dims)
                .map(|i| match narrow {
                    true => i64::from(word(1 + i)),
                    false => {
                        let low = word(2 + 2 * i).cast_unsigned();
                        i64::from(word(3 + 2 * i)) << 32 | i64::from(low)
                    }
                })
                .collect(),
        )
    }
}

/// `DataType`: stable from 8.5 to 11.4 as far as it goes.
pub(in crate::backend::cuda::trt) fn element(data_type: i32) -> Element {
    match data_type {
        0 => Element::F32,
        1 => Element::F16,
        2 => Element::I8,
        3 => Element::I32,
        4 => Element::Bool,
        5 => Element::U8,
        7 => Element::Bf16,
        8 => Element::I64,
        other => Element::Other(other),
    }
}
