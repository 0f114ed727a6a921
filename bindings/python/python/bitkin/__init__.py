"""Bitkin: an embedded database that finds the nearest binary codes by Hamming distance, exactly.

A code of b bits is ``ceil(b / 8)`` bytes; bit i is bit ``i % 8`` of byte ``i // 8``, as
``numpy.packbits(bits, axis=-1, bitorder="little")`` makes them. Padding bits are zero. Many codes
are a C-contiguous ``uint8`` array of shape ``(n, ceil(b / 8))``.

Arrays are copied before the engine sees them, so changing them from another thread during a call
harms nothing. All methods may be called from many threads at once. A handle belongs to the process
that opened it: in a child that was forked off it raises ``WrongProcess``.
"""

from typing import NamedTuple as _NamedTuple

import numpy as _numpy

from ._bitkin import Collection, Database, __version__, open

__all__ = [
    "NO_DISTANCE",
    "NO_ID",
    "AlreadyExists",
    "Closed",
    "Collection",
    "Corrupt",
    "Database",
    "DiskError",
    "Error",
    "InvalidInput",
    "Locked",
    "NotADatabase",
    "NotFound",
    "RadiusHits",
    "ReadOnly",
    "UnknownFormat",
    "WrongProcess",
    "__version__",
    "open",
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
