"""The stub is what the module is, and serves programs that are checked."""

import importlib.util
import pathlib
import subprocess
import sys

import pytest

PROGRAM = pathlib.Path(__file__).with_name("typed.py")


def check(tool, *arguments, folder=PROGRAM.parent):
    if importlib.util.find_spec(tool.split(".")[0]) is None:
        pytest.skip(f"{tool} is not installed")
    command = [sys.executable, "-m", tool, *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_stub_is_of_this_module(tmp_path):
    # scikit-learn has no types, and need not be there.
    config = tmp_path / "mypy.ini"
    config.write_text("[mypy]\nignore_missing_imports = true\n")
    check("mypy.stubtest", "bitkin", "--mypy-config-file", config, folder=tmp_path)


def test_mypy(tmp_path):
    check("mypy", "--strict", "--warn-unused-ignores", "--cache-dir", tmp_path, PROGRAM)


def test_pyright():
    check("pyright", "--pythonpath", sys.executable, PROGRAM)
