"""Rows in, rows out; collections; what a database says of itself."""

import os
import pathlib

import bitkin
import numpy as np
import pytest


def codes_of(*values):
    return np.array([[value] + [0] * 7 for value in values], np.uint8)


def test_open_creates_and_finds_again(path):
    db = bitkin.open(str(path))
    col = db.create_collection("c", bits=64)
    col.insert([1, 2], codes_of(1, 2), [{"a": 1}, None])
    db.close()
    for given in [path, str(path)]:
        with bitkin.open(given) as db:
            assert [c.name for c in db.collections()] == ["c"]
            assert len(db.collection("c")) == 2
            assert pathlib.Path(db.path) == path
    path.with_name("empty").mkdir()
    bitkin.open(path.with_name("empty")).close()


def test_a_relative_path_outlives_chdir(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with bitkin.open("here.bitkin") as db:
        (tmp_path / "elsewhere").mkdir()
        os.chdir("elsewhere")
        col = db.create_collection("c", bits=64)
        col.insert(None, codes_of(1))
        db.compact()
        assert str(db.path) == "here.bitkin"
    assert os.listdir() == []
    assert os.path.isdir(tmp_path / "here.bitkin")


def test_collections(db):
    assert db.collections() == []
    wide = db.create_collection("wide", bits=1000, index={"year": "int", "o.s": "text"})
    db.create_collection("narrow", bits=8)
    assert [c.name for c in db.collections()] == ["wide", "narrow"]
    assert (wide.bits, db.collection("narrow").bits) == (1000, 8)
    assert db.collection("wide").index == {"year": "int", "o.s": "text"}
    assert list(wide.index) == ["year", "o.s"]
    assert db.collection("narrow").index == {}
    for kind in ["float", "bool"]:
        assert db.create_collection(kind, bits=8, index={"f": kind}).index == {"f": kind}
    db.drop_collection("wide")
    assert "wide" not in [c.name for c in db.collections()]
    for use in [lambda: len(wide), wide.stats, wide.compact, lambda: wide.get(1)]:
        with pytest.raises(bitkin.NotFound):
            use()
    code = np.zeros((1, 125), np.uint8)
    for use in [
        lambda: wide.search(code),
        lambda: wide.insert(None, code),
        lambda: wide.delete([1]),
    ]:
        with pytest.raises(bitkin.NotFound):
            use()
    assert "dropped" in repr(wide)


def test_ids(col):
    assigned = col.insert(None, codes_of(1, 2))
    assert assigned.tolist() == [0, 1] and assigned.dtype == np.uint64
    given = np.array([2**64 - 2, 7], np.uint64)
    returned = col.insert(given, codes_of(3, 4))
    assert returned.tolist() == given.tolist() and returned.dtype == np.uint64
    assert col.get(2**64 - 2)[0][0] == 3
    assert len(col) == 4
    with pytest.raises(bitkin.InvalidInput, match="name ids explicitly"):
        col.insert(None, codes_of(5, 6))


@pytest.mark.parametrize(
    "ids",
    [
        [10, 11],
        (10, 11),
        range(10, 12),
        iter([10, 11]),
        [np.int64(10), np.uint8(11)],
        np.array([10, 11]),
        np.array([10, 11], np.uint8),
        np.array([10, 11], ">u8"),
        np.array([10, 0, 11, 0], np.uint64)[::2],
        np.frombuffer(b"\0" + np.array([10, 11], np.uint64).tobytes(), np.uint8)[1:].view("u8"),
    ],
)
def test_ids_of_any_kind(col, ids):
    assert col.insert(ids, codes_of(1, 2)).tolist() == [10, 11]
    assert col.get(np.uint64(11))[0][0] == 2


def test_empty_batches(col):
    none = np.zeros((0, 8), np.uint8)
    assert col.insert(None, none).tolist() == []
    assert col.insert([], none, []).tolist() == []
    assert col.insert(np.array([]), none).dtype == np.uint64
    assert col.upsert([], none) == 0
    assert col.delete([]) == 0
    assert len(col) == 0


def test_one_code_is_one_row(col):
    assert col.insert([5], codes_of(9)[0]).tolist() == [5]
    assert col.get(5)[0][0] == 9


def test_the_array_stays_the_callers(col):
    codes, ids = codes_of(1, 2), np.array([1, 2], np.uint64)
    returned = col.insert(ids, codes)
    codes[:], ids[:], returned[:] = 255, 0, 0
    assert col.get(1)[0].tolist() == [1] + [0] * 7
    code, _ = col.get(2)
    code[:] = 255
    assert col.get(2)[0][0] == 2


def test_upsert(col):
    col.insert([1, 2], codes_of(1, 2), [{"a": 1}, {"a": 2}])
    assert col.upsert([2, 3], codes_of(20, 30), [{"b": 1}, None]) == 1
    assert col.get(2)[1] == {"b": 1}
    assert col.upsert(np.array([1], np.uint64), codes_of(10)) == 1
    code, payload = col.get(1)
    assert code[0] == 10 and payload is None
    assert len(col) == 3


def test_delete(col):
    col.insert([1, 2, 3], codes_of(1, 2, 3))
    assert col.delete([2, 2, 99]) == 1
    assert len(col) == 2
    assert col.get(2) is None
    assert col.delete(np.array([1, 3], np.uint64)) == 2
    assert len(col) == 0


def test_payloads(col):
    payloads = [
        {"label": "größer", "n": [1, 2.5, None, True], "o": {"deep": {}}, "big": 2**64 - 1},
        None,
        '{"text": "\\u00e9"}',
        b'{"bytes": "\xc3\xa9"}',
        bytearray(b"[1, 2]"),
        [1, "two"],
        7,
        {1: "keys become texts"},
    ]
    expected = payloads[:2] + [{"text": "é"}, {"bytes": "é"}, [1, 2], [1, "two"], 7]
    expected.append({"1": "keys become texts"})
    ids = col.insert(None, codes_of(*range(8)), payloads)
    for _ in range(2):
        assert [col.get(int(id))[1] for id in ids] == expected
        col.compact()
    tuples = col.insert(None, codes_of(1, 2), (None, {"a": 1}))
    assert col.get(tuples[1])[1] == {"a": 1}
    generated = col.insert(None, codes_of(1, 2), ({"g": i} for i in range(2)))
    assert col.get(generated[1])[1] == {"g": 1}


def test_get(col):
    assert col.get(0) is None
    col.insert([4], codes_of(7), [{"a": 1}])
    code, payload = col.get(4)
    assert code.dtype == np.uint8 and code.shape == (8,)
    assert code.tolist() == [7] + [0] * 7 and payload == {"a": 1}
    assert col.get(id=2**64 - 1) is None


def test_stats_and_compact(col):
    col.insert(range(100), np.zeros((100, 8), np.uint8))
    assert col.stats()["memory_rows"] == 100
    col.compact()
    col.delete(range(10))
    stats = col.stats()
    sizes = stats.pop("bytes")
    assert stats == {
        "name": "c",
        "bits": 64,
        "rows": 90,
        "deleted_rows": 10,
        "memory_rows": 0,
        "segments": 1,
    }
    assert sizes["ids"] == sizes["codes"] == 800
    assert sizes.pop("total") == sum(sizes.values())
    assert set(sizes) == {"ids", "codes", "payloads", "indexes", "overhead"}
    col.compact()
    assert col.stats()["deleted_rows"] == 0


def test_what_things_look_like(path):
    db = bitkin.open(path)
    col = db.create_collection("c", bits=64)
    assert repr(db) == f"<bitkin.Database '{path}', open>"
    assert repr(col) == '<bitkin.Collection "c", 64 bits, 0 rows>'
    assert "read-only" in repr(bitkin.open(path, read_only=True))
    assert not db.read_only and not db.closed
    db.close()
    assert db.closed
    assert repr(db) == f"<bitkin.Database '{path}', closed>"
    assert repr(col) == '<bitkin.Collection "c", 64 bits, closed>'
    assert bitkin.__version__.count(".") == 2
