//! The C interface, called as another language would call it.

mod common;

use std::ffi::{CStr, c_char};
use std::ptr::{null, null_mut};

use bitkin::encoder::Encoder;
use bitkin_encoder::capi::{
    ABI, bitkin_encoder_abi, bitkin_encoder_close, bitkin_encoder_describe, bitkin_encoder_encode,
    bitkin_encoder_open,
};
use bitkin_encoder::device::DeviceChoice;
use bitkin_encoder::encoder::TorchEncoder;

fn text(buffer: &[c_char]) -> String {
    // SAFETY: every test starts with a zeroed buffer, and the interface ends what it writes.
    unsafe { CStr::from_ptr(buffer.as_ptr()) }
        .to_string_lossy()
        .into_owned()
}

#[test]
fn opens_describes_encodes_and_closes() {
    let file = common::tiny_model(20);
    let direct = TorchEncoder::load(&file, DeviceChoice::Cpu).unwrap();
    assert_eq!(bitkin_encoder_abi(), ABI);
    let mut handle = null_mut();
    let mut err = [0 as c_char; 200];
    let bytes = file.bytes();
    // SAFETY: every pointer is to memory of the length given with it.
    let opened = unsafe {
        let (err, len) = (err.as_mut_ptr(), err.len());
        bitkin_encoder_open(bytes.as_ptr(), bytes.len(), 0, &mut handle, err, len)
    };
    assert_eq!((opened, text(&err)), (0, String::new()));

    let mut json = [0 as c_char; 1000];
    // SAFETY: the handle is open; a null buffer asks for the length alone.
    let needed = unsafe { bitkin_encoder_describe(handle, null_mut(), 0) };
    // SAFETY: as above, with a buffer of the length given.
    let written = unsafe { bitkin_encoder_describe(handle, json.as_mut_ptr(), json.len()) };
    assert_eq!(needed, written);
    let json: serde_json::Value = serde_json::from_str(&text(&json)).unwrap();
    assert_eq!(json["bits"], 20);
    assert_eq!(json["fingerprint"], file.fingerprint().to_string());
    assert_eq!(json["input"]["width"], common::SIDE);
    assert_eq!(json["device"], "cpu");

    let pixels: Vec<u8> = (0..3 * direct.input().bytes())
        .map(|i| (i * i / 7) as u8)
        .collect();
    let (mut expected, mut codes) = ([0; 9], [0xff; 9]);
    direct.encode(&pixels, &mut expected).unwrap();
    // SAFETY: three pictures and three codes of three bytes.
    let encoded = unsafe {
        let (err, len) = (err.as_mut_ptr(), err.len());
        bitkin_encoder_encode(handle, pixels.as_ptr(), 3, codes.as_mut_ptr(), err, len)
    };
    assert_eq!((encoded, codes), (0, expected));
    // SAFETY: opened above, closed once.
    unsafe { bitkin_encoder_close(handle) };
}

#[test]
fn what_is_wrong_is_said_in_the_buffer_that_is_there() {
    let junk = b"this is no safetensors file";
    let mut handle = null_mut();
    let mut err = [0 as c_char; 200];
    // SAFETY: every pointer is to memory of the length given with it.
    let opened = unsafe {
        let (err, len) = (err.as_mut_ptr(), err.len());
        bitkin_encoder_open(junk.as_ptr(), junk.len(), -1, &mut handle, err, len)
    };
    assert!(opened != 0 && handle.is_null());
    assert!(text(&err).contains("safetensors"), "{}", text(&err));

    let mut short = [0x55 as c_char; 6];
    // SAFETY: as above; the message must be cut to five bytes and a zero.
    let opened = unsafe {
        bitkin_encoder_open(
            junk.as_ptr(),
            junk.len(),
            0,
            &mut handle,
            short.as_mut_ptr(),
            6,
        )
    };
    assert!(opened != 0);
    assert_eq!((text(&short).len(), short[5]), (5, 0));

    // SAFETY: null pointers are refused before they are used.
    unsafe {
        assert_ne!(
            bitkin_encoder_open(null(), 0, 0, &mut handle, null_mut(), 0),
            0
        );
        assert_ne!(
            bitkin_encoder_encode(null(), null(), 1, null_mut(), null_mut(), 0),
            0
        );
        assert!(bitkin_encoder_describe(null(), null_mut(), 0) < 0);
        bitkin_encoder_close(null_mut());
    }
}
