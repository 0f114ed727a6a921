//! Where libtorch computes.

use std::sync::Once;

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
