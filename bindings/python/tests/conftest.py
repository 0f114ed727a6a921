"""Collections and pictures to test with, and the obvious way to search."""

import struct
import zlib

import bitkin
import numpy as np
import pytest


@pytest.fixture
def random():
    return np.random.default_rng(1)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "test.bitkin"


@pytest.fixture
def db(path):
    with bitkin.open(path) as database:
        yield database


@pytest.fixture
def col(db):
    return db.create_collection("c", bits=64)


class Oracle:
    """What a collection must hold, and what must be found in it."""

    def __init__(self, ids, codes):
        order = np.argsort(ids)
        self.ids = np.asarray(ids, dtype=np.uint64)[order]
        self.codes = codes[order]

    def ranked(self, query):
        """Ids and distances of all rows by (distance, id)."""
        distances = np.unpackbits(self.codes ^ query, axis=1).sum(axis=1, dtype=np.uint32)
        order = np.lexsort((self.ids, distances))
        return self.ids[order], distances[order]

    def nearest(self, queries, k):
        ids = np.full((len(queries), k), bitkin.NO_ID, dtype=np.uint64)
        distances = np.full((len(queries), k), bitkin.NO_DISTANCE, dtype=np.uint32)
        for row, query in enumerate(queries):
            found, away = self.ranked(query)
            ids[row, : len(found[:k])] = found[:k]
            distances[row, : len(found[:k])] = away[:k]
        return ids, distances

    def within(self, queries, r):
        lists = [self.ranked(query) for query in queries]
        lists = [(ids[distances <= r], distances[distances <= r]) for ids, distances in lists]
        offsets = np.cumsum([0] + [len(ids) for ids, _ in lists])
        return (
            np.concatenate([ids for ids, _ in lists]),
            np.concatenate([distances for _, distances in lists]),
            offsets,
        )


@pytest.fixture
def oracle():
    return Oracle


def png(random, side=64):
    """The bytes of a picture: a coarse random pattern, of which PDQ has something to see."""
    coarse = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    pixels = np.kron(coarse, np.ones((side // 8, side // 8, 1), np.uint8))
    lines = b"".join(b"\0" + line.tobytes() for line in pixels)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(lines))
        + chunk(b"IEND", b"")
    )


@pytest.fixture
def pictures(tmp_path, random):
    """Paths of 30 pictures."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    paths = [folder / f"{number:02}.png" for number in range(30)]
    for path in paths:
        path.write_bytes(png(random))
    return paths
