"""Turns a Hamming data set of ann-benchmarks into rows.npy and queries.npy.

    python convert.py sift-256-hamming.hdf5 DIR

Such a file holds `train` and `test`: either bits as truth values, or bytes of packed bits.
"""

import os
import sys

import h5py
import numpy as np


def codes(array):
    array = np.asarray(array)
    if array.ndim != 2:
        raise SystemExit(f"expected two dimensions, found {array.shape}")
    # Bytes that are all 0 or 1 are bits, each in a byte of its own.
    if array.dtype == bool or array.max(initial=0) <= 1:
        return np.packbits(array.astype(bool), axis=1, bitorder="little")
    if array.dtype == np.uint8:
        return array
    raise SystemExit(f"expected bits or bytes, found {array.dtype}")


def main(file, folder):
    with h5py.File(file) as data:
        for name, part in (("rows", "train"), ("queries", "test")):
            if part not in data:
                raise SystemExit(f"{file} has no {part}: it is not laid out as ann-benchmarks does")
            np.save(os.path.join(folder, name + ".npy"), codes(data[part]))


if __name__ == "__main__":
    main(*sys.argv[1:])
