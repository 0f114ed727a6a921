//! Where libtorch computes.

use std::ops::Range;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use tch::Device;

/// Which device to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first CUDA device if there is one, otherwise the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The first CUDA device; an error if there is none.
    Cuda,
}

/// The device for a choice; `None` when CUDA was asked for and there is none.
pub fn resolve(choice: DeviceChoice) -> Option<Device> {
    if choice == DeviceChoice::Cpu {
        return Some(Device::Cpu);
    }
    load_cuda();
    let available = tch::Cuda::is_available();
    match (choice, available) {
        (_, true) => Some(Device::Cuda(0)),
        (DeviceChoice::Cuda, false) => None,
        (_, false) => Some(Device::Cpu),
    }
}

/// Brings libtorch's CUDA part into the process, if it is within reach of the loader. The linker
/// drops it from programs that name no symbol of it, and without it no CUDA device is seen.
fn load_cuda() {
    static LOADED: Once = Once::new();
    LOADED.call_once(|| {
        use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
        // SAFETY: the library's initialisers register its kernels with the libtorch that is
        // already in the process; it is libtorch's own, and is never unloaded.
        let library = unsafe { Library::open(Some("libtorch_cuda.so"), RTLD_NOW | RTLD_GLOBAL) };
        // Without the library there is simply no CUDA here.
        if let Ok(library) = library {
            std::mem::forget(library);
        }
    });
}

/// Makes libtorch compute on this thread alone, from here on. Pictures are spread over threads, not
/// the loops inside of one; so results do not depend on the number of cores, and small matrices
/// do not wait for threads that other programs keep from running.
pub(crate) fn use_one_thread() {
    thread_local! {
        static ONE: () = tch::set_num_threads(1);
    }
    ONE.with(|()| ());
}

/// Batches on a device that may fail: half as many pictures at once when it has no memory for more, and the
/// processor in its place when that does not help or anything else is wrong with it.
pub(crate) struct Fallback {
    /// Pictures at once; 0 when the device was given up.
    batch: AtomicUsize,
    trouble: Mutex<Option<String>>,
}

impl Fallback {
    pub(crate) fn new(batch: usize) -> Fallback {
        Fallback {
            batch: AtomicUsize::new(batch),
            trouble: Mutex::new(None),
        }
    }

    /// Does `0..n` by `on_device`, which is told a range and the size that its batch is filled up to, and what
    /// is left when the device is given up by `otherwise`. Results follow in order.
    pub(crate) fn run<T, E: std::fmt::Display>(
        &self,
        n: usize,
        mut on_device: impl FnMut(Range<usize>, usize) -> Result<Vec<T>, E>,
        otherwise: impl FnOnce(Range<usize>) -> Result<Vec<T>, E>,
    ) -> Result<Vec<T>, E> {
        let mut results = Vec::new();
        let mut start = 0;
        while start < n {
            let batch = self.batch.load(Ordering::Relaxed);
            if batch == 0 {
                results.extend(otherwise(start..n)?);
                break;
            }
            let end = n.min(start + batch);
            match on_device(start..end, batch) {
                Ok(more) => {
                    results.extend(more);
                    start = end;
                }
                Err(error) => self.give_way(batch, &error.to_string()),
            }
        }
        Ok(results)
    }

    fn give_way(&self, batch: usize, error: &str) {
        let fewer = match error.contains("out of memory") {
            true => batch / 2,
            false => 0,
        };
        // Another thread may have met the same, and have given way already.
        self.batch.fetch_min(fewer, Ordering::Relaxed);
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.get_or_insert_with(|| error.lines().next().unwrap_or_default().to_owned());
    }

    /// What became of a device of this name, for people to read.
    pub(crate) fn told(&self, device: &str) -> String {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*trouble, self.batch.load(Ordering::Relaxed)) {
            (None, _) => device.to_owned(),
            (Some(trouble), 0) => format!("cpu, since {device} failed: {trouble}"),
            (Some(trouble), batch) => {
                format!("{device}, {batch} pictures at a time since it failed with more: {trouble}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device that has memory for so many pictures at once, and the processor; each gives its pictures'
    /// numbers, the processor's negative.
    fn run(fallback: &Fallback, n: i64, memory: usize, error: &str) -> Vec<i64> {
        let numbers = |range: Range<usize>| range.map(|i| i as i64);
        let device = |range: Range<usize>, batch: usize| match batch <= memory {
            true => Ok(numbers(range).collect()),
            false => Err(error.to_owned()),
        };
        let done = fallback.run(n as usize, device, |range| {
            Ok(numbers(range).map(|i| -i).collect())
        });
        done.unwrap()
    }

    #[test]
    fn a_device_without_memory_gets_fewer_pictures_at_once() {
        let fallback = Fallback::new(64);
        assert_eq!(run(&fallback, 100, 64, ""), (0..100).collect::<Vec<_>>());
        assert_eq!(fallback.told("cuda"), "cuda");
        let error = "CUDA out of memory. Tried to allocate 2 GiB\nstack";
        assert_eq!(run(&fallback, 100, 20, error), (0..100).collect::<Vec<_>>());
        assert_eq!(
            fallback.told("cuda"),
            "cuda, 16 pictures at a time since it failed with more: CUDA out of memory. Tried to \
             allocate 2 GiB"
        );
        // It stays so, and ends with the processor.
        assert_eq!(run(&fallback, 3, 16, error), [0, 1, 2]);
        assert_eq!(run(&fallback, 3, 0, error), [0, -1, -2]);
        assert!(
            fallback
                .told("cuda")
                .starts_with("cpu, since cuda failed: CUDA out of memory")
        );
    }

    #[test]
    fn a_device_that_breaks_is_given_up_where_it_stopped() {
        let fallback = Fallback::new(4);
        let mut calls = 0;
        let device = |range: Range<usize>, _| {
            calls += 1;
            match calls {
                1 => Ok(range.map(|i| i as i64).collect()),
                _ => Err("an illegal memory access was encountered"),
            }
        };
        let done = fallback.run(10, device, |range| Ok(range.map(|i| -(i as i64)).collect()));
        assert_eq!(done.unwrap(), [0, 1, 2, 3, -4, -5, -6, -7, -8, -9]);
        assert_eq!(
            fallback.told("cuda"),
            "cpu, since cuda failed: an illegal memory access was encountered"
        );
        // An error of the processor is one of the caller.
        let failed = fallback.run(1, |_, _| Ok(vec![0]), |_| Err("no"));
        assert_eq!(failed, Err("no"));
    }
}
