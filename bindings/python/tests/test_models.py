"""Collections whose codes are made by a model, with an encoder library that stands in for the real one.

Its code of a picture has a bit for each of 16 pixels: whether that is bright in red.
"""

import json
import os
import shutil
import subprocess
import sys

import bitkin
import numpy as np
import pytest

LIBRARY = r"""
#include <stdint.h>
#include <stdio.h>
#include <string.h>
static int handle, opened;
uint32_t bitkin_encoder_abi(void) { return ABI; }
int32_t bitkin_encoder_open(const uint8_t* model, size_t len, int32_t device, void** out, char* err,
                            size_t err_len) {
    if (device == 0) { snprintf(err, err_len, "no processor"); return 1; }
    if (opened++) { snprintf(err, err_len, "opened twice"); return 1; }
    *out = &handle;
    return 0;
}
int32_t bitkin_encoder_describe(void* h, char* json, size_t len) {
    return snprintf(json, len,
        "{\"bits\":16,\"input\":{\"width\":4,\"height\":4,\"resize\":\"stretch\"},"
        "\"fingerprint\":\"%s\",\"preferred_batch\":4,\"device\":\"abacus\"}", FINGERPRINT);
}
int32_t bitkin_encoder_encode(void* h, const uint8_t* pixels, size_t n, uint8_t* codes, char* err,
                              size_t err_len) {
    for (size_t i = 0; i < n; i++) {
        codes[2 * i] = codes[2 * i + 1] = 0;
        for (size_t p = 0; p < 16; p++)
            if (pixels[(i * 16 + p) * 3] > 127) codes[2 * i + p / 8] |= 1 << p % 8;
        if (codes[2 * i] == 0xff && codes[2 * i + 1] == 0xff) {
            snprintf(err, err_len, "dazzled");
            return 1;
        }
    }
    return 0;
}
void bitkin_encoder_close(void* h) { (void)h; }
"""

PACKAGE = """
import os
loaded = []
def load_libtorch():
    loaded.append(1)
def library_path():
    return os.path.join(os.path.dirname(__file__), "libbitkin_encoder.so")
"""


@pytest.fixture
def model(tmp_path):
    facts = {
        "format": 1,
        "kind": "hash",
        "method": "test",
        "bits": 16,
        "arithmetic": "f32",
        "input": {"width": 4, "height": 4, "resize": "stretch"},
        "salt": str(tmp_path),
    }
    head = json.dumps({"__metadata__": {"bitkin": json.dumps(facts)}}).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(head).to_bytes(8, "little") + head)
    return path


@pytest.fixture
def col(db, model):
    return db.create_collection("m", model=model)


@pytest.fixture
def no_library(monkeypatch):
    monkeypatch.delenv("BITKIN_ENCODER", raising=False)
    monkeypatch.setitem(sys.modules, "bitkin_encoder", None)


@pytest.fixture
def package(no_library, monkeypatch, tmp_path, col):
    """An installed package `bitkin_encoder`."""
    return install(monkeypatch, tmp_path, ["-DABI=1", f'-DFINGERPRINT="{col.model}"'])


def install(monkeypatch, tmp_path, flags):
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        pytest.skip("there is no C compiler")
    home = tmp_path / "site" / "bitkin_encoder"
    home.mkdir(parents=True)
    (home / "__init__.py").write_text(PACKAGE)
    (tmp_path / "library.c").write_text(LIBRARY)
    library = home / "libbitkin_encoder.so"
    command = [compiler, "-shared", "-fPIC", "-o", library, tmp_path / "library.c"]
    subprocess.run(command + flags, check=True)
    monkeypatch.delitem(sys.modules, "bitkin_encoder")
    monkeypatch.syspath_prepend(str(home.parent))
    return library


def test_without_the_package_its_name_is_told(no_library, db, col, pictures):
    assert col.bits == 16 and len(col.model) == 64
    for work in [
        lambda: col.insert_images(pictures),
        lambda: col.search_images(pictures),
        lambda: col.encode_images(pictures),
        col.load_encoder,
    ]:
        with pytest.raises(bitkin.EncoderMissing, match="package bitkin-encoder.*BITKIN_ENCODER") as caught:
            work()
        assert isinstance(caught.value, ImportError)
    # Codes come and go all the same.
    col.insert(None, np.array([[1, 2]], np.uint8))
    assert col.search(np.array([1, 2], np.uint8), k=1)[1].tolist() == [[0]]


def test_with_the_package(package, db, col, pictures):
    assert col.insert_images(pictures).tolist() == list(range(30))
    codes = col.encode_images(pictures)
    assert codes.shape == (30, 2)
    for row in range(30):
        np.testing.assert_array_equal(col.get(row)[0], codes[row])
    # Another handle has the same encoder, which was opened once.
    again = db.collection("m")
    assert again.search_images(pictures[7], k=1)[1].tolist() == [[0]]
    assert sys.modules["bitkin_encoder"].loaded == [1]


def test_a_library_that_is_named_wins(package, col, pictures, monkeypatch):
    monkeypatch.setenv("BITKIN_ENCODER", str(package))
    package.with_name("__init__.py").write_text("def load_libtorch(): pass\ndef library_path(): return '/nowhere/x'")
    assert col.load_encoder() == "abacus"
    monkeypatch.setenv("BITKIN_ENCODER", "/nowhere")
    assert col.encode_images(pictures).shape == (30, 2)


def test_what_the_encoder_refuses(package, col, pictures):
    with pytest.raises(bitkin.EncoderError, match="no processor"):
        col.load_encoder("cpu")
    white = picture_of(255)
    with pytest.raises(bitkin.EncoderError, match="dazzled"):
        col.encode_images([pictures[0], white])
    with pytest.raises(bitkin.ImagesFailed, match="1 of 3") as caught:
        col.insert_images([pictures[0], white, pictures[1]])
    assert caught.value.ids.tolist() == [0, bitkin.NO_ID, 1]
    assert isinstance(caught.value.failed[0].error, bitkin.EncoderError)


def picture_of(grey):
    """A picture in PPM, which needs no package to be made."""
    return b"P6 8 8 255\n" + bytes([grey]) * 192


def test_libraries_that_do_not_fit(no_library, monkeypatch, tmp_path, col):
    library = install(monkeypatch, tmp_path, ["-DABI=7", '-DFINGERPRINT=""'])
    with pytest.raises(bitkin.EncoderError, match="version 7"):
        col.load_encoder()
    library.with_name("other.so").write_bytes(b"no library")
    monkeypatch.setenv("BITKIN_ENCODER", str(library.with_name("other.so")))
    with pytest.raises(bitkin.EncoderError, match="cannot be loaded"):
        col.load_encoder()


def test_an_exception_of_the_package_comes_through(package, col):
    package.with_name("__init__.py").write_text("def load_libtorch(): raise ImportError('torch 2.11, please')")
    with pytest.raises(ImportError, match="torch 2.11, please"):
        col.load_encoder()
