"""Codes of pictures by a model are the same from Python as from the command line.

BITKIN_DEMO names the folder that `cargo xtask demo --out` has made: it holds such a database, and the pictures.
"""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import bitkin
import bitkin_encoder
import numpy as np
import pytest

DEMO = Path(os.environ["BITKIN_DEMO"])


def test_the_same_codes_as_from_the_command_line(tmp_path, monkeypatch):
    assert Path(bitkin_encoder.library_path()).is_file()
    monkeypatch.delenv("BITKIN_ENCODER", raising=False)
    # The sources of its rows are relative to where it was made.
    monkeypatch.chdir(DEMO.parent)
    with bitkin.open(DEMO / "demo.bitkin", read_only=True) as db:
        col = next(col for col in db.collections() if col.model is not None)
        rows = [(code, payload["source"]) for _, code, payload in col.rows()][:100]
        assert rows
        codes = col.encode_images([path for _, path in rows])
        np.testing.assert_array_equal(codes, np.array([code for code, _ in rows]))
        assert col.search_images(rows[0][1], k=1)[1].tolist() == [[0]]
        expected = col.model
    with bitkin.open(tmp_path / "db") as db:
        col = db.create_collection("new", model=DEMO / "model.safetensors")
        assert col.model == expected and col.load_encoder("cpu") == "cpu"
        assert col.insert_images([path for _, path in rows]).tolist() == list(range(len(rows)))
        stored = np.concatenate([codes for _, codes, _ in col.batches()])
        np.testing.assert_array_equal(stored, codes)


def in_process(code, *paths):
    """Runs a program that finds the packages in `paths` first."""
    surroundings = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, env=surroundings, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def fake_torch(folder, version, library=None):
    """A package `torch` that is none."""
    (folder / "torch" / "lib").mkdir(parents=True)
    (folder / "torch" / "__init__.py").write_text("")
    facts = folder / f"torch-{version}.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")
    if library is not None:
        (folder / "torch" / "lib" / "libtorch_cpu.so").write_bytes(library)
    return folder


@pytest.mark.parametrize("version, outcome", [("2.11.0", "True"), ("2.11.3+cu130", "True"), ("2.1.1", "False")])
def test_the_libtorch_of_the_right_version_is_taken(tmp_path, version, outcome):
    code = "import bitkin_encoder, sys; print(bitkin_encoder.load_libtorch()); assert 'torch' not in sys.modules"
    assert in_process(code, fake_torch(tmp_path, version)) == outcome


def test_torch_of_another_version_in_the_process_is_an_error(tmp_path):
    code = """
        import torch, bitkin_encoder
        try:
            bitkin_encoder.load_libtorch()
        except ImportError as error:
            print(error)
    """
    told = in_process(code, fake_torch(tmp_path, "2.13.0"))
    assert "needs torch 2.11, and torch 2.13.0 was imported" in told


def test_a_broken_torch_is_an_error(tmp_path):
    code = """
        import bitkin_encoder
        try:
            bitkin_encoder.load_libtorch()
        except ImportError as error:
            print(error)
    """
    told = in_process(code, fake_torch(tmp_path, "2.11.0", b"no library"))
    assert "libtorch of the package torch cannot be loaded" in told
