//! One of TensorRT's C++ objects, and how its virtual functions are reached.

use std::{ffi::c_void, ptr::NonNull};

/// The lowest page is never mapped. TensorRT's lean runtime was seen to answer 0x228 where it meant "no".
const LOWEST: usize = 4096;

/// Points to a C++ object. It owns nothing: see [`super::super::owned::Owned`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::backend::cuda::trt) struct Object {
    address: NonNull<Words>,
    methods: Methods,
}

/// What every such object begins with.
#[repr(C)]
struct Words {
    table: *const *const c_void,
    /// Of objects with [`Methods::OfImplementation`].
    implementation: *mut Words,
}

/// Where an object's methods lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Methods {
    /// In the table of what its second word points to: all of nvinfer1.
    OfImplementation,
    /// In its own table: all of nvonnxparser.
    Own,
}

impl Object {
    /// What a function of nvinfer1 returned. None: null, or no address at all.
    pub(in crate::backend::cuda::trt) fn new(address: *mut c_void) -> Option<Object> {
        Object::checked(address, Methods::OfImplementation)
    }

    /// What a function of nvonnxparser returned.
    pub(in crate::backend::cuda::trt) fn of_parser(address: *mut c_void) -> Option<Object> {
        Object::checked(address, Methods::Own)
    }

    fn checked(address: *mut c_void, methods: Methods) -> Option<Object> {
        let plausible =
            LOWEST <= address.addr() && address.addr().is_multiple_of(align_of::<Words>());
        let address = NonNull::new(address.cast::<Words>()).filter(|_| plausible)?;
        Some(Object { address, methods })
    }

    /// To be handed back to TensorRT.
    pub(in crate::backend::cuda::trt) fn as_ptr(self) -> *mut c_void {
        self.address.as_ptr().cast()
    }

    /// The receiver of a method and the function in slot `place` of its table.
    ///
    /// # Safety
    /// The object is alive, of a class whose table has that slot.
    pub(super) unsafe fn method(self, place: u16) -> (*mut c_void, *const c_void) {
        let receiver = match self.methods {
            Methods::Own => self.address.as_ptr(),
            Methods::OfImplementation => {
                // SAFETY: It is alive (the caller's word), and its second word is the pointer to its implementation.
                unsafe { (*self.address.as_ptr()).implementation }
            }
        };
        // SAFETY: `receiver` is the object or its implementation, both alive; each begins with its table.
        let table = unsafe { (*receiver).table };
        // SAFETY: The table has that slot (the caller's word).
        let entry = unsafe { table.add(usize::from(place)) };
        // SAFETY: As above; C++ never writes to a table.
        (receiver.cast(), unsafe { *entry })
    }

    /// Ends the object as C++'s `delete` does: the deleting destructor, slot 1 of its own table.
    ///
    /// # Safety
    /// An object of nvinfer1, alive, and not used afterwards.
    pub(in crate::backend::cuda::trt) unsafe fn delete(self) {
        // SAFETY: It is alive (the caller's word) and begins with its table.
        let table = unsafe { (*self.address.as_ptr()).table };
        // SAFETY: Every class of nvinfer1 derives from one whose first virtual functions are its two destructors.
        let entry = unsafe { table.add(1) };
        // SAFETY: As above.
        let function = unsafe { *entry };
        // SAFETY: A destructor takes the object and returns nothing.
        let delete: unsafe extern "C" fn(*mut c_void) = unsafe { std::mem::transmute(function) };
        // SAFETY: The caller gives the object up.
        unsafe { delete(self.as_ptr()) }
    }
}
