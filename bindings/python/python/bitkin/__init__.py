"""Bitkin: an embedded database that finds the nearest binary codes by Hamming distance, exactly.

::

    db = bitkin.open("codes.bitkin")
    col = db.create_collection("c", bits=256)
    col.insert(ids, codes)                    # uint64[n], uint8[n, 32]
    ids, distances = col.search(queries, k=10)

A code of b bits is ``ceil(b / 8)`` bytes; bit i is bit ``i % 8`` of byte ``i // 8``, as
``numpy.packbits(bits, axis=-1, bitorder="little")`` makes them. Padding bits are zero. Many codes
are a C-contiguous ``uint8`` array of shape ``(n, ceil(b / 8))``.

Arrays are copied before the engine sees them, so changing them from another thread during a call
harms nothing. All methods may be called from many threads at once. A handle belongs to the process
that opened it: in a child that was forked off it raises ``WrongProcess``.
"""

from typing import NamedTuple as _NamedTuple
from typing import Optional as _Optional

import numpy as _numpy

from ._bitkin import Collection, Database, __version__, backup, open, repair, verify

__all__ = [
    "NO_DISTANCE",
    "NO_ID",
    "AlreadyExists",
    "BackupReport",
    "Closed",
    "Collection",
    "Corrupt",
    "Database",
    "DiskError",
    "EncoderError",
    "EncoderMissing",
    "Error",
    "FailedImage",
    "Groups",
    "ImageError",
    "ImagesFailed",
    "InvalidInput",
    "Locked",
    "NotADatabase",
    "NotFound",
    "RadiusHits",
    "ReadOnly",
    "RepairReport",
    "UnknownFormat",
    "WrongProcess",
    "__version__",
    "backup",
    "open",
    "repair",
    "verify",
]

NO_ID = 2**64 - 1
NO_DISTANCE = 2**32 - 1


class RadiusHits(_NamedTuple):
    """The hits of a radius search. Those of query i are ``offsets[i]:offsets[i + 1]`` of ``ids``
    and ``distances``, by (distance, id).
    """

    ids: _numpy.ndarray
    distances: _numpy.ndarray
    offsets: _numpy.ndarray


class Groups(_NamedTuple):
    """Rows that are kept, and those near them. The duplicates of ``kept[i]`` are
    ``offsets[i]:offsets[i + 1]`` of ``ids``, with their ``distances`` from it.
    """

    kept: _numpy.ndarray
    ids: _numpy.ndarray
    distances: _numpy.ndarray
    offsets: _numpy.ndarray


class BackupReport(_NamedTuple):
    """What a backup holds: the number of the last commit, how many files, how many of them share
    their bytes with the database as hard links, and the bytes of the others, which were copied.
    """

    sequence: int
    files: int
    linked: int
    copied_bytes: int


class RepairReport(_NamedTuple):
    """What was saved, the rows of each collection by its name, and what is lost or in doubt, in words."""

    collections: dict
    lost: list


class FailedImage(_NamedTuple):
    """A picture that could not be inserted: its place among those given, from 0, its path if it was
    given as one, and the exception that says why.
    """

    position: int
    path: _Optional[str]
    error: Exception


class Error(Exception):
    """What the database reports. Unless it says otherwise, nothing was changed."""


class NotFound(Error, KeyError):
    """There is no collection of that name, or no more."""

    # That of KeyError puts the message in quotes.
    __str__ = Exception.__str__


class AlreadyExists(Error, ValueError):
    """There is a collection of that name, or a row of that id, already."""


class InvalidInput(Error, ValueError):
    """A value cannot be used: a shape, a width, an id, a payload, a filter."""


class ImageError(Error, ValueError):
    """A picture cannot be used: no known format, cut short, too large, too small."""


class ImagesFailed(Error, ValueError):
    """Some pictures could not be inserted; the others were. ``failed`` lists them, each a FailedImage,
    and ``ids`` are the ids of all, uint64 of shape (n,), 2**64 - 1 for those that failed.
    """

    def __init__(self, message, failed=(), ids=None):
        super().__init__(message, failed, ids)
        self.failed = list(failed)
        self.ids = ids

    def __str__(self):
        return self.args[0]


class EncoderMissing(Error, ImportError):
    """The collection's model needs the package ``bitkin-encoder``, which is not installed."""


class EncoderError(Error, RuntimeError):
    """The encoder cannot be loaded, cannot use the model, or failed."""


class Locked(Error, BlockingIOError):
    """The database is open for writing elsewhere. Opening it read-only is possible."""


class ReadOnly(Error, PermissionError):
    """The database is open read-only."""


class Closed(Error, ValueError):
    """The database was closed."""


class WrongProcess(Error, RuntimeError):
    """The handle was made before this process was forked off. Open the database anew."""


class NotADatabase(Error, OSError):
    """The directory holds no database, or something else."""


class UnknownFormat(Error, OSError):
    """The database was written by a version of Bitkin that this one does not know."""


class Corrupt(Error, OSError):
    """Bytes on disk are not what was written. ``bitkin repair`` saves what is whole."""


class DiskError(Error, OSError):
    """The system refused to read or write a file; ``errno`` says why, where it is known."""
