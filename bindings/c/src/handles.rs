//! Handles: numbers in the shape of pointers, which nobody follows.

use std::collections::BTreeMap;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::status::{Failure, bitkin_status};

/// The next handle. None is given twice, of whatever kind: one that was freed stays free.
static NEXT: AtomicUsize = AtomicUsize::new(1);

/// What C sees of a kind of handles: a type of its own, so that compilers tell them apart.
pub(crate) trait Handle: Sized {
    /// What it stands for.
    type Value: Send + Sync + 'static;
    /// What it is called in messages.
    const NAME: &'static str;

    /// All that there are.
    fn all() -> &'static Handles<Self::Value>;

    /// Makes one.
    fn new(value: Self::Value) -> *mut Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut live = Self::all()
            .0
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        live.insert(number, Arc::new(value));
        ptr::without_provenance_mut(number)
    }

    /// What it stands for; that stays alive as long as it is in use, whoever frees the handle meanwhile.
    ///
    /// # Errors
    /// For anything that is no live handle of this kind.
    fn get(handle: *const Self) -> Result<Arc<Self::Value>, Failure> {
        let live = Self::all().0.read().unwrap_or_else(PoisonError::into_inner);
        let found = live.get(&handle.addr()).map(Arc::clone);
        found.ok_or_else(|| Self::bad(handle))
    }

    /// Ends it, and returns what it stood for; `None` for NULL.
    ///
    /// # Errors
    /// As [`Handle::get`].
    fn take(handle: *mut Self) -> Result<Option<Arc<Self::Value>>, Failure> {
        if handle.is_null() {
            return Ok(None);
        }
        let mut live = Self::all()
            .0
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let taken = live.remove(&handle.addr());
        taken.map(Some).ok_or_else(|| Self::bad(handle))
    }

    /// The error of a handle that is none.
    fn bad(handle: *const Self) -> Failure {
        let name = Self::NAME;
        Failure {
            status: bitkin_status::BITKIN_BAD_HANDLE,
            message: match handle.is_null() {
                true => format!("the {name} is NULL"),
                false => format!("there is no such {name}: was it freed?"),
            },
        }
    }
}

/// All live handles of a kind.
pub(crate) struct Handles<T>(RwLock<BTreeMap<usize, Arc<T>>>);

impl<T> Handles<T> {
    pub(crate) const fn new() -> Self {
        Handles(RwLock::new(BTreeMap::new()))
    }
}
