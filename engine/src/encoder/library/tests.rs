//! The loader, against a small library of the same interface written in C: no libtorch needed.

use super::*;
use std::io::Write;
use std::process::Command;

/// Its model is text: the first byte is the bits; codes are the first byte of each picture.
const FAKE: &str = r#"
#include <stdint.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifndef ABI
#define ABI 1
#endif
static int opened = 0;
uint32_t bitkin_encoder_abi(void) { return ABI; }
int32_t bitkin_encoder_open(const uint8_t* model, size_t len, int32_t device, void** out,
                            char* err, size_t err_len) {
    if (len < 4 || memcmp(model, "good", 4) != 0) {
        snprintf(err, err_len, "%zu bytes that are no model (device %d)", len, device);
        return 1;
    }
    int* handle = malloc(sizeof *handle);
    *handle = ++opened;
    *out = handle;
    return 0;
}
int32_t bitkin_encoder_describe(void* h, char* json, size_t json_len) {
    (void)h;
    char text[4096];
    memset(text, ' ', sizeof text);
    int n = snprintf(text, sizeof text,
        "{\"bits\":16,\"input\":{\"width\":2,\"height\":1,\"resize\":\"stretch\"},"
        "\"fingerprint\":\"%064d\",\"preferred_batch\":4,\"device\":\"cpu\"}", 7);
#ifdef LONG
    memset(text + n, ' ', sizeof text - n);
    n = sizeof text - 1;
    text[n] = 0;
#endif
    if ((size_t)n < json_len) memcpy(json, text, n + 1);
    return n;
}
int32_t bitkin_encoder_encode(void* h, const uint8_t* pixels, size_t n, uint8_t* codes,
                              char* err, size_t err_len) {
    (void)h;
    for (size_t i = 0; i < n; i++) {
        if (pixels[i * 6] == 255) { snprintf(err, err_len, "picture %zu is too bright", i); return 2; }
        codes[i * 2] = pixels[i * 6];
        codes[i * 2 + 1] = pixels[i * 6 + 5];
    }
    return 0;
}
void bitkin_encoder_close(void* h) { free(h); }
"#;

/// Compiles the fake library; `None` where there is no C compiler, with a word about it.
fn fake(dir: &Path, flags: &[&str]) -> Option<PathBuf> {
    let source = dir.join("fake.c");
    let library = dir.join("libfake.so");
    std::fs::write(&source, FAKE).unwrap();
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    match Command::new(compiler)
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .args(flags)
        .status()
    {
        Ok(status) => {
            assert!(status.success(), "the C compiler failed");
            Some(library)
        }
        Err(_) => {
            writeln!(std::io::stderr(), "not tested: there is no C compiler").unwrap();
            None
        }
    }
}

#[test]
fn a_model_is_opened_and_encodes() {
    let dir = tempfile::tempdir().unwrap();
    let Some(path) = fake(dir.path(), &[]) else {
        return;
    };
    let library = EncoderLibrary::load(&path).unwrap();
    let encoder = library.open_bytes(b"good model", Device::Auto).unwrap();
    assert_eq!(
        (encoder.bits(), encoder.preferred_batch(), encoder.device()),
        (16, 4, "cpu".to_owned())
    );
    assert_eq!(encoder.prepared_bytes(), ImageInput::stretch(2, 1).bytes());
    assert_eq!(encoder.fingerprint().as_bytes()[31], 7);
    let mut codes = [0; 4];
    encoder
        .encode(&[1, 0, 0, 0, 0, 2, 3, 0, 0, 0, 0, 4], &mut codes)
        .unwrap();
    assert_eq!(codes, [1, 2, 3, 4]);
    encoder.encode(&[], &mut []).unwrap();

    let error = encoder
        .encode(&[0, 0, 0, 0, 0, 0, 255, 0, 0, 0, 0, 0], &mut codes)
        .unwrap_err();
    assert!(
        error.to_string().contains("picture 1 is too bright"),
        "{error}"
    );
    // Buffers of the wrong size never reach the library.
    let shape = encoder.encode(&[0; 12], &mut [0; 3]).unwrap_err();
    assert!(matches!(shape, EncodeError::Shape { .. }));
}

#[test]
fn a_description_longer_than_the_first_buffer_is_read_whole() {
    let dir = tempfile::tempdir().unwrap();
    let Some(path) = fake(dir.path(), &["-DLONG"]) else {
        return;
    };
    let encoder = EncoderLibrary::load(&path)
        .unwrap()
        .open_bytes(b"good", Device::Auto)
        .unwrap();
    assert_eq!(encoder.bits(), 16);
}

#[test]
fn the_librarys_own_words_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let Some(path) = fake(dir.path(), &[]) else {
        return;
    };
    let library = EncoderLibrary::load(&path).unwrap();
    let error = library
        .open_bytes(b"bad", Device::Auto)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("3 bytes that are no model (device -1)"),
        "{error}"
    );
}

#[test]
fn another_version_of_the_interface_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let Some(path) = fake(dir.path(), &["-DABI=2"]) else {
        return;
    };
    let error = EncoderLibrary::load(&path).unwrap_err().to_string();
    assert!(
        error.contains("version 2") && error.contains("this program 1"),
        "{error}"
    );
}

#[test]
fn what_is_no_encoder_library_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let junk = dir.path().join("junk.so");
    std::fs::write(&junk, "not a library").unwrap();
    let error = EncoderLibrary::load(&junk).unwrap_err().to_string();
    assert!(
        error.contains("junk.so") && error.contains("cargo build"),
        "{error}"
    );
}

#[test]
fn encoders_can_be_used_from_many_threads() {
    let dir = tempfile::tempdir().unwrap();
    let Some(path) = fake(dir.path(), &[]) else {
        return;
    };
    let encoder = EncoderLibrary::load(&path)
        .unwrap()
        .open_bytes(b"good", Device::Auto)
        .unwrap();
    std::thread::scope(|scope| {
        for value in 0..8 {
            let encoder = &encoder;
            scope.spawn(move || {
                for _ in 0..100 {
                    let mut code = [0; 2];
                    encoder
                        .encode(&[value, 0, 0, 0, 0, value + 1], &mut code)
                        .unwrap();
                    assert_eq!(code, [value, value + 1]);
                }
            });
        }
    });
}

#[test]
fn the_variable_wins_and_is_not_second_guessed() {
    let home = tempfile::tempdir().unwrap();
    let beside = home.path().join("thing");
    std::fs::write(&beside, "").unwrap();
    let name = OsStr::new("thing");
    let folders = || [home.path(), Path::new("deps")].into_iter();
    assert_eq!(look(None, folders(), name), Ok(beside.clone()));
    assert_eq!(
        look(Some(OsStr::new("")), folders(), name),
        Ok(beside.clone())
    );
    assert_eq!(
        look(Some(beside.as_os_str()), [].into_iter(), name),
        Ok(beside)
    );
    let missing = home.path().join("missing");
    assert_eq!(
        look(Some(missing.as_os_str()), folders(), name),
        Err(vec![missing.clone()])
    );
    assert_eq!(
        look(None, folders(), OsStr::new("missing")),
        Err(vec![missing, PathBuf::from("deps/missing")])
    );
}
