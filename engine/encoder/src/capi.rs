//! The C interface of the shared library, by which programs that do not link libtorch load the
//! encoder stage when the first picture must be encoded.
//!
//! Version 1. Handles are opaque; a function that fails returns a non-zero number and writes a
//! message, cut to the buffer and always ended by a zero byte, to `err`. No panic leaves it.

use std::ffi::c_char;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bitkin::encoder::Encoder;
use bitkin::model::ModelFile;

use crate::device::DeviceChoice;
use crate::encoder::TorchEncoder;

/// Version of this interface; a caller refuses any other.
pub const ABI: u32 = 1;

/// Returns [`ABI`].
#[unsafe(no_mangle)]
pub extern "C" fn bitkin_encoder_abi() -> u32 {
    ABI
}

/// Opens a self-contained model file given as bytes; `device` is −1 for automatic, 0 for the
/// CPU, 1 for CUDA. On success writes a handle to `out`, for [`bitkin_encoder_close`].
///
/// # Safety
/// `model` must be readable for `len` bytes, `out` writable for a pointer, and `err` writable
/// for `err_len` bytes or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_encoder_open(
    model: *const u8,
    len: usize,
    device: i32,
    out: *mut *mut TorchEncoder,
    err: *mut c_char,
    err_len: usize,
) -> i32 {
    if model.is_null() || out.is_null() {
        // SAFETY: `err` is as this function's own contract says.
        return unsafe { fail("a null pointer was given", err, err_len) };
    }
    // SAFETY: the caller vouches for `model` and `len`; the slice is copied before returning.
    let bytes = unsafe { std::slice::from_raw_parts(model, len) };
    let device = match device {
        0 => DeviceChoice::Cpu,
        1 => DeviceChoice::Cuda,
        -1 => DeviceChoice::Auto,
        // SAFETY: `err` is as this function's own contract says.
        _ => return unsafe { fail("the device must be -1, 0 or 1", err, err_len) },
    };
    let opened = guarded(|| {
        let file = ModelFile::from_bytes(bytes.to_vec()).map_err(|e| e.to_string())?;
        TorchEncoder::load(&file, device).map_err(|e| e.to_string())
    });
    match opened {
        Ok(encoder) => {
            // SAFETY: the caller vouches for `out`.
            unsafe { out.write(Box::into_raw(Box::new(encoder))) };
            0
        }
        // SAFETY: `err` is as this function's own contract says.
        Err(message) => unsafe { fail(&message, err, err_len) },
    }
}

/// Writes a JSON object with `bits`, `input`, `fingerprint`, `preferred_batch` and `device`,
/// ended by a zero byte, and returns its length without that byte. When `json_len` is not more
/// than that length, nothing is written. Negative on failure.
///
/// # Safety
/// `handle` must come from [`bitkin_encoder_open`] and not be closed; `json` must be writable
/// for `json_len` bytes or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_encoder_describe(
    handle: *const TorchEncoder,
    json: *mut c_char,
    json_len: usize,
) -> i32 {
    // SAFETY: the caller vouches for the handle.
    let Some(encoder) = (unsafe { handle.as_ref() }) else {
        return -1;
    };
    let text = serde_json::json!({
        "bits": encoder.bits(),
        "input": encoder.input(),
        "fingerprint": encoder.fingerprint(),
        "preferred_batch": encoder.preferred_batch(),
        "device": encoder.device(),
    })
    .to_string();
    if !json.is_null() && json_len > text.len() {
        // SAFETY: `json` is writable for `json_len` bytes, which is more than the text's length.
        unsafe {
            json.copy_from_nonoverlapping(text.as_ptr().cast(), text.len());
            json.add(text.len()).write(0);
        }
    }
    text.len() as i32
}

/// Encodes `n` pictures: `pixels` has `n` × the bytes of the model's input, `codes` receives
/// `n` × ceil(bits / 8) bytes. May be called from several threads at once.
///
/// # Safety
/// `handle` must come from [`bitkin_encoder_open`] and not be closed; the two buffers must have
/// those sizes and not overlap, and `err` must be writable for `err_len` bytes or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_encoder_encode(
    handle: *const TorchEncoder,
    pixels: *const u8,
    n: usize,
    codes: *mut u8,
    err: *mut c_char,
    err_len: usize,
) -> i32 {
    // SAFETY: the caller vouches for the handle.
    let encoder = unsafe { handle.as_ref() };
    let (Some(encoder), false, false) = (encoder, pixels.is_null(), codes.is_null()) else {
        // SAFETY: `err` is as this function's own contract says.
        return unsafe { fail("a null pointer was given", err, err_len) };
    };
    let picture = encoder.input().bytes();
    let code = encoder.bits().div_ceil(8) as usize;
    let (Some(pixel_bytes), Some(code_bytes)) = (n.checked_mul(picture), n.checked_mul(code))
    else {
        // SAFETY: `err` is as this function's own contract says.
        return unsafe { fail("the number of pictures is too large", err, err_len) };
    };
    // SAFETY: the caller vouches for both buffers and that they do not overlap.
    let (pixels, codes) = unsafe {
        (
            std::slice::from_raw_parts(pixels, pixel_bytes),
            std::slice::from_raw_parts_mut(codes, code_bytes),
        )
    };
    match guarded(|| encoder.encode(pixels, codes).map_err(|e| e.to_string())) {
        Ok(()) => 0,
        // SAFETY: `err` is as this function's own contract says.
        Err(message) => unsafe { fail(&message, err, err_len) },
    }
}

/// Frees a handle; null is nothing to free.
///
/// # Safety
/// `handle` must come from [`bitkin_encoder_open`], be closed once only, and no other call on it
/// be under way.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_encoder_close(handle: *mut TorchEncoder) {
    if !handle.is_null() {
        // SAFETY: the pointer came from `Box::into_raw`, and the caller gives it up.
        let encoder = unsafe { Box::from_raw(handle) };
        // A panic in freeing has nobody to be told to; it must only not cross the border.
        drop(guarded(|| {
            drop(encoder);
            Ok(())
        }));
    }
}

fn guarded<T>(f: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|panic| {
        let message = panic.downcast_ref::<String>().map(String::as_str);
        let message = message.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!(
            "internal fault in the encoder: {}",
            message.unwrap_or("unknown")
        ))
    })
}

/// # Safety
/// `err` must be writable for `err_len` bytes or null.
unsafe fn fail(message: &str, err: *mut c_char, err_len: usize) -> i32 {
    if !err.is_null() && err_len > 0 {
        let length = message.floor_char_boundary(err_len - 1);
        // SAFETY: `length` + 1 is at most `err_len`, for which the caller vouches.
        unsafe {
            err.copy_from_nonoverlapping(message.as_ptr().cast(), length);
            err.add(length).write(0);
        }
    }
    1
}
