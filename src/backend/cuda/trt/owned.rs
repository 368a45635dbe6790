//! An object that TensorRT made and we must end.

use std::{ffi::c_void, sync::Arc};

use super::{
    Library, TrtError,
    abi::{Object, Tables},
};

/// Ends its object when dropped; keeps the library until then. What else must outlive it is its owner's to keep.
pub(super) struct Owned {
    object: Object,
    delete: Delete,
    library: Arc<Library>,
}

enum Delete {
    Destructor,
    /// Parsers have their own way, and their own slot for it.
    Parser,
}

impl Owned {
    /// What a function of nvinfer1 returned; `what` was asked for when the logger stood at `mark`.
    pub(super) fn new(
        library: &Arc<Library>,
        address: *mut c_void,
        what: &str,
        mark: u64,
    ) -> Result<Owned, TrtError> {
        Owned::checked(
            library,
            Object::new(address),
            Delete::Destructor,
            what,
            mark,
        )
    }

    /// What the parser's library returned.
    pub(super) fn parser(
        library: &Arc<Library>,
        address: *mut c_void,
        mark: u64,
    ) -> Result<Owned, TrtError> {
        let parser = Object::of_parser(address);
        Owned::checked(library, parser, Delete::Parser, "creating a parser", mark)
    }

    fn checked(
        library: &Arc<Library>,
        object: Option<Object>,
        delete: Delete,
        what: &str,
        mark: u64,
    ) -> Result<Owned, TrtError> {
        Ok(Owned {
            object: object.ok_or_else(|| library.failed(what, mark))?,
            delete,
            library: library.clone(),
        })
    }

    /// Alive as long as `self`.
    pub(super) fn object(&self) -> Object {
        self.object
    }

    pub(super) fn as_ptr(&self) -> *mut c_void {
        self.object.as_ptr()
    }

    pub(super) fn library(&self) -> &Arc<Library> {
        &self.library
    }

    pub(super) fn tables(&self) -> Tables {
        self.library.tables()
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        match self.delete {
            Delete::Destructor => {
                // SAFETY: Only `self` owns it, TensorRT made it to be deleted, and its library is still open.
                unsafe { self.object.delete() }
            }
            Delete::Parser => {
                // SAFETY: As above; nothing uses it afterwards.
                let deleted = unsafe { self.tables().parser_delete(self.object) };
                deleted.expect("every column has the parser's destructor");
            }
        }
    }
}
