"""Types of the package `bitkin`. A test compares the docstrings with those of the module."""

import os
import pathlib
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from types import TracebackType
from typing import Any, Final, Literal, NamedTuple, final, overload

import numpy
from numpy.typing import NDArray

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

__version__: Final[str]

NO_ID: Final[int]
"""The id that stands where a search found fewer than k rows: 2**64 - 1, which no row can have."""

NO_DISTANCE: Final[int]
"""The distance that stands there: 2**32 - 1."""

_Ids = NDArray[numpy.integer[Any]] | Iterable[int]
_Codes = NDArray[numpy.uint8]
_Payloads = Iterable[Any]
_Budget = int | timedelta
_Path = str | os.PathLike[str]
_Row = tuple[NDArray[numpy.uint8], Any]
_Image = str | os.PathLike[str] | bytes | bytearray | memoryview
_Images = _Image | Iterable[_Image]

def open(
    path: _Path,
    *,
    read_only: bool = False,
    durability: Literal["sync", "none"] | timedelta = "sync",
    memory_limit: int | None = None,
    flush_rows: int | None = None,
) -> Database:
    """Opens the database in the directory `path`; makes one if the directory is not there or empty.

    One process writes a database. Any number may read it beside, with `read_only=True`: they see
    the moment of opening, or of the last `refresh`, and nothing is made where nothing is.

    What a writer may choose: durability says when what was written is on disk for certain: "sync",
    when the call that wrote it returns; a datetime.timedelta, at most so long after; "none", when the
    system pleases, or after `sync`. With any, nothing is lost when only the process dies. memory_limit:
    bytes of rows kept in memory before they are written into segments; None for 64 MiB. flush_rows:
    the same in rows, in the background; None for 65,536.

    Raises InvalidInput, Locked, NotADatabase, UnknownFormat, Corrupt, DiskError.
    """

def backup(path: _Path, dest: _Path) -> BackupReport:
    """Copies the database in the directory `path`, as of one moment, into the directory `dest`, which must
    be new or empty; also while another process writes it. Returns a BackupReport.

    Files that never change are hard-linked where the system can, which takes no space; but damage to
    the bytes of one is then damage to both. If Ctrl-C or an error ends it, nothing is left in `dest`.

    Raises NotADatabase, also if there is something in `dest`, UnknownFormat, Corrupt, DiskError.
    """

def verify(path: _Path) -> list[str]:
    """Reads and checks all that the database in the directory `path` holds on disk, without opening it: a
    list of what is wrong, in words, which is empty if nothing is.

    Raises NotADatabase, DiskError.
    """

def repair(path: _Path, dest: _Path) -> RepairReport:
    """Saves what is whole of the database in the directory `path`, which nobody may be writing, into a new
    database in the directory `dest`, which must be new or empty. Nothing in `path` is changed. Returns
    a RepairReport, which lists what is lost. If Ctrl-C or an error ends it, nothing is left in `dest`.

    Raises NotADatabase if nothing of one is there, or something is in `dest`; Locked, DiskError.
    """

@final
class Database:
    """An open database, made by `open`: a directory with collections of binary codes.

    Close it with `close` or a `with` statement. Dropping the database and its collections closes it
    too, and loses nothing that was written.
    """

    @property
    def path(self) -> pathlib.Path:
        """The directory that was given to `open`."""
    @property
    def read_only(self) -> bool:
        """Whether it was opened read-only."""
    @property
    def closed(self) -> bool:
        """Whether it was closed."""
    def create_collection(
        self,
        name: str,
        *,
        bits: int | None = None,
        model: _Path | None = None,
        encoder: Literal["pdq"] | None = None,
        index: dict[str, Literal["int", "float", "text", "bool"]] | None = None,
        planes: bool = False,
    ) -> Collection:
        """Makes a collection, durably: of codes of `bits` bits, 8 to 65,536; or of pictures, whose codes
        are made by a model, or by an encoder that needs none. One of the three must be given.

        model: a file of safetensors, as `bitkin train` writes it; the database keeps a copy. Encoding
        takes the package `bitkin-encoder`. encoder: `"pdq"`, the perceptual hash of 256 bits.
        index: declares payload fields for fast filtering: a dict from the field's name (`a.b` is the
        key `b` of the object `a`) to `"int"`, `"float"`, `"text"` or `"bool"`. planes: stores the codes once
        more, bit by bit, so that searches with a mask read its bits and no others: for wide codes.

        Raises AlreadyExists, InvalidInput, ReadOnly.
        """
    def collection(self, name: str) -> Collection:
        """The collection of that name.

        Raises NotFound, which names those that there are.
        """
    def collections(self) -> list[Collection]:
        """All collections, a list in the order of their creation."""
    def drop_collection(self, name: str) -> None:
        """Takes a collection away with all its rows, durably.

        Raises NotFound, ReadOnly.
        """
    def compact(self) -> None:
        """Writes all collections anew without their deleted rows: what was deleted is in no file of
        the database any more. Reads and writes go on meanwhile. Ctrl-C ends it, and leaves what it has not
        finished as it was.

        Raises ReadOnly.
        """
    def sync(self) -> None:
        """Returns once everything that was written before is on disk for certain. With the default, every
        call that writes does that itself.

        Raises ReadOnly, DiskError.
        """
    def flush(self) -> None:
        """Writes the rows in memory into segments, with their search tables. That happens by itself, soon.

        Raises ReadOnly, DiskError.
        """
    def backup(self, path: _Path) -> BackupReport:
        """Copies the database as it is at this moment into the directory `path`, which must be new or
        empty, while others write. Returns a BackupReport; see the function `backup`.

        Raises NotADatabase if there is something in the directory, DiskError.
        """
    def stats(self) -> dict[str, Any]:
        """Sizes of the database: a dict with sequence (number of the last commit), rows, memory_bytes
        (of rows not yet in a segment), cut_bytes (of a last write that was interrupted, cut off when
        it was opened), logs, log_bytes, manifest_bytes, segment_bytes, background_error (what a flush
        or merge could not do, in words, or None), and collections, a list of what `Collection.stats`
        gives for each.
        """
    def verify(self) -> list[str]:
        """Reads and checks all that the database holds on disk: a list of what is wrong, in words, which
        is empty if nothing is.

        Raises DiskError.
        """
    def refresh(self) -> bool:
        """In a database opened with `read_only=True`: looks for newer commits, and says whether
        there were any. A writer sees its own at once; its answer is False.
        """
    def close(self) -> None:
        """Closes the database. It and its collections raise Closed from then on. A second time, and
        in a child process that was forked off, it does nothing. Ctrl-C makes it leave rows in the log that it
        would have written into segments: the next opening does that.

        Raises DiskError for last writes that failed; the database is closed all the same.
        """
    def __enter__(self) -> Database: ...
    def __exit__(
        self,
        *_exception: type[BaseException] | BaseException | TracebackType | None,
    ) -> None: ...

@final
class Collection:
    """A collection of codes of one width, by id, made by a `Database`.

    `len` of it is the number of its rows, and takes no time; `id in` it says whether there is a row.
    """

    @property
    def name(self) -> str:
        """The collection's name."""
    @property
    def bits(self) -> int:
        """Width of its codes in bits."""
    @property
    def model(self) -> str | None:
        """What makes the codes of its pictures, a text that differs for each model and built-in encoder;
        None if it takes codes alone.
        """
    @property
    def has_planes(self) -> bool:
        """Whether its codes are stored bit by bit, too, for searches with masks."""
    @property
    def index(self) -> dict[str, str]:
        """The payload fields declared for fast filtering, as `create_collection` took them."""
    def __len__(self) -> int: ...
    def __contains__(self, id: int, /) -> bool: ...
    def insert(
        self, ids: _Ids | None, codes: _Codes, payloads: _Payloads | None = None
    ) -> NDArray[numpy.uint64]:
        """Inserts rows, all or none, and returns their ids, uint64 of shape (n,): `ids` itself, if it is such.

        ids: uint64 of shape (n,), or any whole numbers, new to the collection, in any order; None
        assigns those that follow the largest one. codes: uint8 of shape (n, ceil(bits / 8)).
        payloads: for each row a dict, None, or JSON as str or bytes.

        Raises AlreadyExists, InvalidInput, ReadOnly.
        """
    def upsert(self, ids: _Ids, codes: _Codes, payloads: _Payloads | None = None) -> int:
        """Inserts rows in place of those that have the same ids, all or none, and returns how many
        were replaced. Those lose their payloads.

        ids, codes and payloads are as for `insert`, but ids must be given.

        Raises InvalidInput, ReadOnly.
        """
    def delete(self, ids: _Ids) -> int:
        """Deletes the rows of these ids, all or none, and returns how many there were.

        ids: uint64 of shape (n,), or any whole numbers. Those that are not there are passed over.

        Raises ReadOnly.
        """
    def get(self, id: int) -> _Row | None:
        """The code of a row, uint8 of shape (ceil(bits / 8),), and its payload, None if it has none;
        or None if there is no row of that id.
        """
    def get_many(self, ids: _Ids) -> list[_Row | None]:
        """The rows of these ids, a list of what `get` gives for each, all of one moment.

        ids: uint64 of shape (n,), or any whole numbers.
        """
    def rows(
        self, *, filter: str | None = None
    ) -> Iterator[tuple[int, NDArray[numpy.uint8], Any]]:
        """The rows by ascending id, as they are at this moment: an iterator of ids, codes, uint8 of shape
        (ceil(bits / 8),), and payloads, None for a row without. It may be shared by threads.

        filter: a condition in SQL on the payloads of the rows that are wanted.

        Raises InvalidInput, Corrupt.
        """
    @overload
    def batches(
        self, size: int = 10_000, *, filter: str | None = None, payloads: Literal[True] = True
    ) -> Iterator[tuple[NDArray[numpy.uint64], NDArray[numpy.uint8], list[Any]]]:
        """The rows by ascending id, as they are at this moment, `size` at a time: an iterator of ids, uint64
        of shape (n,), codes, uint8 of shape (n, ceil(bits / 8)), and payloads, a list of length n. It
        may be shared by threads. Memory does not grow with the number of rows.

        filter: a condition in SQL on the payloads of the rows that are wanted. payloads: False leaves
        them unread; there is None in place of each list.

        Raises InvalidInput, Corrupt.
        """
    @overload
    def batches(
        self, size: int = 10_000, *, filter: str | None = None, payloads: Literal[False]
    ) -> Iterator[tuple[NDArray[numpy.uint64], NDArray[numpy.uint8], None]]: ...
    def count(self, filter: str) -> int:
        """The number of rows that pass filter, a condition in SQL on their payloads.

        Raises InvalidInput, Corrupt.
        """
    def delete_where(self, filter: str) -> int:
        """Deletes the rows that pass filter, a condition in SQL on their payloads, all or none, and
        returns how many there were.

        Raises InvalidInput, ReadOnly, Corrupt.
        """
    @overload
    def search(
        self,
        queries: _Codes,
        k: int = 10,
        *,
        mask: _Codes | None = None,
        filter: str | None = None,
        budget: _Budget | None = None,
        threads: int | None = None,
        return_certificate: Literal[False] = False,
    ) -> tuple[NDArray[numpy.uint64], NDArray[numpy.uint32]]:
        """Finds the k rows nearest to each query, exactly: their ids, uint64 of shape (nq, k), and
        distances in bits, uint32 of shape (nq, k), by (distance, id).

        Where there are fewer than k rows, ids are 2**64 - 1 and distances 2**32 - 1 at the end.
        queries: uint8 of shape (nq, ceil(bits / 8)), or of shape (ceil(bits / 8),) for one. mask: the bits
        that count, laid out as a code, uint8 of shape (ceil(bits / 8),), or (nq, ceil(bits / 8)) for one a
        query; None for all bits. filter: a condition in SQL on the payloads of the rows that may be found. budget: ends each
        query when about so many rows were compared, or after so long, a datetime.timedelta; what was
        found by then is the answer. threads: how many share the work of one call; None for as many as
        there are cores. return_certificate: adds the certified radius of each query, int64 of shape
        (nq,): every row at that distance or nearer is among the hits or ranks after the k-th; -1 if
        nothing is proven.

        Raises InvalidInput, Corrupt.
        """
    @overload
    def search(
        self,
        queries: _Codes,
        k: int = 10,
        *,
        mask: _Codes | None = None,
        filter: str | None = None,
        budget: _Budget | None = None,
        threads: int | None = None,
        return_certificate: Literal[True],
    ) -> tuple[NDArray[numpy.uint64], NDArray[numpy.uint32], NDArray[numpy.int64]]: ...
    @overload
    def search_radius(
        self,
        queries: _Codes,
        r: int,
        *,
        mask: _Codes | None = None,
        filter: str | None = None,
        budget: _Budget | None = None,
        threads: int | None = None,
        return_certificate: Literal[False] = False,
    ) -> RadiusHits:
        """Finds all rows within distance r of each query, exactly: a RadiusHits of ids, uint64,
        distances in bits, uint32, and offsets, int64 of shape (nq + 1,).

        The hits of query i are `offsets[i]:offsets[i + 1]` of ids and distances, by (distance, id).
        queries, mask, filter, budget and threads are as for `search`. return_certificate: returns a tuple
        of the hits and the certified radius of each query, int64 of shape (nq,): every row at that
        distance or nearer is among the hits; -1 if nothing is proven.

        Raises InvalidInput, Corrupt.
        """
    @overload
    def search_radius(
        self,
        queries: _Codes,
        r: int,
        *,
        mask: _Codes | None = None,
        filter: str | None = None,
        budget: _Budget | None = None,
        threads: int | None = None,
        return_certificate: Literal[True],
    ) -> tuple[RadiusHits, NDArray[numpy.int64]]: ...
    def select_bits(
        self, like: _Codes, unlike: _Codes | None = None, *, bits: int | None = None
    ) -> tuple[NDArray[numpy.uint8], NDArray[numpy.uint8]]:
        """Selects bits by examples of what is sought, for `search(query, mask=mask)`: query and mask, each uint8 of
        shape (ceil(bits / 8),).

        like: codes of what is sought. unlike: codes of what is not; rows of the collection say what else there
        is. bits: how many; None for as many as add something, at most 64.

        Raises InvalidInput, Corrupt.
        """
    def explain(
        self,
        query: _Codes,
        k: int = 10,
        *,
        r: int | None = None,
        mask: _Codes | None = None,
        filter: str | None = None,
        budget: _Budget | None = None,
        threads: int | None = None,
    ) -> dict[str, Any]:
        """Searches for one query as `search` does, or, if r is given, as `search_radius`, and tells how
        the answer was found: a dict with ids, distances, certified_radius (None if nothing is proven),
        exact, and parts, a list with a dict for each segment and for the rows in memory, in the order
        in which they were searched: rows, visible (of those), in_memory, tables (how many it has), way
        ("scan", "tables", "tables, then scan" or "planes"), predicted_scan_us, predicted_tables_us (None if they
        were not asked), took_us, shells, buckets, candidates (rows that were compared), bytes (that
        were read for it) and covered_radius (to which nothing of the part is missing).

        Raises InvalidInput, Corrupt.
        """
    def pairs(
        self, r: int, *, filter: str | None = None, threads: int | None = None
    ) -> tuple[NDArray[numpy.uint64], NDArray[numpy.uint64], NDArray[numpy.uint32]]:
        """Finds all pairs of rows within distance r of each other, each once: the smaller ids, uint64, the
        larger ids, uint64, and the distances in bits, uint32, each of shape (n,), by (distance, a, b).

        filter: both rows must pass it. threads: how many share the work; None for as many as there
        are cores. Ctrl-C ends it.

        Raises InvalidInput, Corrupt.
        """
    def groups(
        self, r: int, *, filter: str | None = None, threads: int | None = None
    ) -> Groups:
        """Gathers rows within distance r of each other around some that are kept: a Groups of kept, uint64 of
        shape (g,), ids, uint64 of shape (n,), distances in bits, uint32 of shape (n,), and offsets,
        int64 of shape (g + 1,).

        Going through the rows by id, one is kept if none that is kept is within r of it; otherwise it
        is a duplicate of the nearest such row. Those of `kept[i]` are `offsets[i]:offsets[i + 1]` of
        ids, with their distances from it. Rows that are near no other are in no group. So
        `col.delete(col.groups(r).ids)` leaves no two rows within r, and takes none away that is far
        from all that stay.

        filter: all rows must pass it. threads: how many share the work; None for as many as there
        are cores. Ctrl-C ends it.

        Raises InvalidInput, Corrupt.
        """
    def insert_images(
        self,
        images: _Images,
        ids: _Ids | None = None,
        payloads: _Payloads | None = None,
        *,
        on_error: Literal["raise", "skip"] | Callable[[FailedImage], object] = "raise",
        progress: Callable[[int, int | None], object] | None = None,
        threads: int | None = None,
    ) -> NDArray[numpy.uint64]:
        """Inserts pictures, which are decoded by several threads and encoded and committed in batches, in
        their order; returns their ids, uint64 of shape (n,).

        images: paths, or the bytes of picture files, any mixture of them, or a single one. ids: as for
        `insert`, one a picture. payloads: for each picture a dict, None, or JSON of an object; `source`
        (the path, unless it is given), `sha256` of the file, and `quality` where the encoder judges it
        are added.
        on_error: what becomes of the others when a picture cannot be inserted: they are all inserted.
        "raise" raises ImagesFailed at the end, with the ids that went in and what failed. With "skip"
        the id of such a picture is 2**64 - 1; so it is with a function, which is called with each
        FailedImage. progress: a function that is called with the number of pictures that are done with,
        and of all, None if that is not known. threads: how many decode; None for as many as there are
        cores.

        When Ctrl-C ends it, or an exception of one of the functions, what was handed over goes in and stays.

        Raises ImagesFailed, EncoderMissing, EncoderError, InvalidInput, ReadOnly.
        """
    @overload
    def search_images(
        self,
        images: _Images,
        k: int = 10,
        *,
        mask: _Codes | None = None,
        filter: str | None = None,
        budget: _Budget | None = None,
        threads: int | None = None,
        return_certificate: Literal[False] = False,
    ) -> tuple[NDArray[numpy.uint64], NDArray[numpy.uint32]]:
        """Finds the k rows nearest to each picture, as `search` does to codes, and returns the same.

        images: paths, or the bytes of picture files, any mixture of them, or a single one.

        Raises ImageError, OSError for a file that cannot be read, EncoderMissing, EncoderError,
        InvalidInput, Corrupt.
        """
    @overload
    def search_images(
        self,
        images: _Images,
        k: int = 10,
        *,
        mask: _Codes | None = None,
        filter: str | None = None,
        budget: _Budget | None = None,
        threads: int | None = None,
        return_certificate: Literal[True],
    ) -> tuple[NDArray[numpy.uint64], NDArray[numpy.uint32], NDArray[numpy.int64]]: ...
    @overload
    def search_like(
        self,
        like: _Images,
        unlike: _Images | None = None,
        *,
        bits: int | None = None,
        k: int = 10,
        filter: str | None = None,
        budget: _Budget | None = None,
        threads: int | None = None,
        return_certificate: Literal[False] = False,
    ) -> tuple[NDArray[numpy.uint64], NDArray[numpy.uint32]]:
        """Finds the k rows that are most like some pictures, of a category made up on the spot, and returns what
        `search` returns for one query.

        Selects the `bits` bits that best tell the pictures `like` from those of `unlike`, if any, and from rows of
        the collection; the distance of a row is the number of these bits in which it is not as the examples
        are. bits: None for as many as add something, at most 64. like, unlike: paths, or the bytes of picture
        files, any mixture of them, or a single one. Collections with planes are searched fastest so.

        Raises ImageError, OSError for a file that cannot be read, EncoderMissing, EncoderError,
        InvalidInput, Corrupt.
        """
    @overload
    def search_like(
        self,
        like: _Images,
        unlike: _Images | None = None,
        *,
        bits: int | None = None,
        k: int = 10,
        filter: str | None = None,
        budget: _Budget | None = None,
        threads: int | None = None,
        return_certificate: Literal[True],
    ) -> tuple[NDArray[numpy.uint64], NDArray[numpy.uint32], NDArray[numpy.int64]]: ...
    def encode_images(
        self, images: _Images, *, threads: int | None = None
    ) -> NDArray[numpy.uint8]:
        """The codes of pictures, uint8 of shape (n, ceil(bits / 8)), which go nowhere.

        images: paths, or the bytes of picture files, any mixture of them, or a single one. threads: how
        many share the work; None for as many as there are cores.

        Raises ImageError, OSError for a file that cannot be read, EncoderMissing, EncoderError,
        InvalidInput.
        """
    def load_encoder(self, device: Literal["auto", "cpu"] = "auto") -> str:
        """Opens the encoder of the collection's pictures ahead of their coming, which else the first picture
        waits for; the database keeps it until it is dropped. Returns what it runs on.

        device: "auto", which is the GPU if there is one, or "cpu".

        Raises EncoderMissing, EncoderError, InvalidInput.
        """
    def stats(self) -> dict[str, Any]:
        """Sizes of the collection: a dict with name, bits, rows, deleted_rows (still in segments),
        memory_rows (not yet in a segment), segments, and bytes, a dict of what the segments take on
        disk: ids, codes, payloads, indexes, overhead and their total.
        """
    def compact(self) -> None:
        """Writes the collection anew without its deleted rows: what was deleted is in no file of
        the database any more. Reads and writes go on meanwhile. Ctrl-C ends it, and leaves what it has not
        finished as it was.

        Raises ReadOnly.
        """

class RadiusHits(NamedTuple):
    """The hits of a radius search. Those of query i are ``offsets[i]:offsets[i + 1]`` of ``ids``
    and ``distances``, by (distance, id).
    """

    ids: NDArray[numpy.uint64]
    distances: NDArray[numpy.uint32]
    offsets: NDArray[numpy.int64]

class Groups(NamedTuple):
    """Rows that are kept, and those near them. The duplicates of ``kept[i]`` are
    ``offsets[i]:offsets[i + 1]`` of ``ids``, with their ``distances`` from it.
    """

    kept: NDArray[numpy.uint64]
    ids: NDArray[numpy.uint64]
    distances: NDArray[numpy.uint32]
    offsets: NDArray[numpy.int64]

class BackupReport(NamedTuple):
    """What a backup holds: the number of the last commit, how many files, how many of them share
    their bytes with the database as hard links, and the bytes of the others, which were copied.
    """

    sequence: int
    files: int
    linked: int
    copied_bytes: int

class RepairReport(NamedTuple):
    """What was saved, the rows of each collection by its name, and what is lost or in doubt, in words."""

    collections: dict[str, int]
    lost: list[str]

class FailedImage(NamedTuple):
    """A picture that could not be inserted: its place among those given, from 0, its path if it was
    given as one, and the exception that says why.
    """

    position: int
    path: str | None
    error: Exception

class Error(Exception):
    """What the database reports. Unless it says otherwise, nothing was changed."""

class NotFound(Error, KeyError):
    """There is no collection of that name, or no more."""

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

    failed: list[FailedImage]
    ids: NDArray[numpy.uint64]
    def __init__(
        self,
        message: str,
        failed: Iterable[FailedImage] = (),
        ids: NDArray[numpy.uint64] | None = None,
    ) -> None: ...

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
