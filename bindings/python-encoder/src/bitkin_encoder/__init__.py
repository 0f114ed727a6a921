"""The encoder library of Bitkin, which makes codes of pictures by a model. The package `bitkin` finds it.

It computes with libtorch 2.11: that of the package `torch` of this environment, if it has that version,
or else the one that it was built with.
"""

import ctypes
import importlib.metadata
import importlib.util
import os
import sys
from pathlib import Path

__all__ = ["load_libtorch", "library_path"]

_TORCH = "2.11"


def library_path() -> str:
    """The file of the library."""
    return str(Path(__file__).with_name("libbitkin_encoder.so"))


def load_libtorch() -> bool:
    """Loads libtorch from the package `torch` of this environment, without importing that, so that the
    encoder library computes with it; False if there is none of the right version.

    Raises ImportError if another version of `torch` was imported: two cannot be in one process.
    """
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return False
    version = importlib.metadata.version("torch")
    if not f"{version}.".startswith(f"{_TORCH}."):
        if "torch" in sys.modules:
            raise ImportError(
                f"bitkin-encoder needs torch {_TORCH}, and torch {version} was imported: install "
                f"torch=={_TORCH}.*, or encode pictures in a process that does not import torch"
            )
        return False
    folder = Path(spec.origin).with_name("lib")
    # What the library asks for by these names is found in the process then. The last one adds the GPU.
    for name in ["libc10.so", "libtorch_cpu.so", "libtorch_cuda.so"]:
        library = folder / name
        if library.exists():
            try:
                ctypes.CDLL(os.fspath(library))
            except OSError as error:
                raise ImportError(f"libtorch of the package torch cannot be loaded: {error}") from error
    return True
