"""What cannot be done says so, in an exception that says what to do."""

import datetime

import bitkin
import numpy as np
import pytest

ONE = np.zeros((1, 8), np.uint8)


def raises(kind, match, work):
    with pytest.raises(kind, match=match) as caught:
        work()
    return caught.value


def test_exceptions_are_pythons_too():
    pairs = [
        (bitkin.NotFound, KeyError),
        (bitkin.AlreadyExists, ValueError),
        (bitkin.InvalidInput, ValueError),
        (bitkin.ImageError, ValueError),
        (bitkin.ImagesFailed, ValueError),
        (bitkin.EncoderMissing, ImportError),
        (bitkin.EncoderError, RuntimeError),
        (bitkin.Locked, BlockingIOError),
        (bitkin.ReadOnly, PermissionError),
        (bitkin.Closed, ValueError),
        (bitkin.WrongProcess, RuntimeError),
        (bitkin.NotADatabase, OSError),
        (bitkin.UnknownFormat, OSError),
        (bitkin.Corrupt, OSError),
        (bitkin.DiskError, OSError),
    ]
    for ours, pythons in pairs:
        assert issubclass(ours, bitkin.Error) and issubclass(ours, pythons)
        assert ours.__doc__ and ours.__module__ == "bitkin"
    assert str(bitkin.NotFound("as it is")) == "as it is"


@pytest.mark.parametrize(
    "kind, codes, match",
    [
        (TypeError, [[0] * 8], r"uint8, shape \(n, 8\), not list"),
        (TypeError, b"\0" * 8, "not bytes"),
        (TypeError, None, "not NoneType"),
        (TypeError, np.zeros((1, 8), np.int64), r"not of int64, shape \(1, 8\)"),
        (TypeError, np.zeros((1, 8), np.int8), "not of int8"),
        (TypeError, np.zeros((1, 64), bool), "packbits"),
        (ValueError, np.zeros((1, 9), np.uint8), r"64 bits .* not of shape \(1, 9\)"),
        (ValueError, np.zeros((9,), np.uint8), r"not of shape \(9,\)"),
        (ValueError, np.zeros((2, 4, 1), np.uint8), r"not of shape \(2, 4, 1\)"),
        (ValueError, np.zeros((), np.uint8), r"not of shape \(\)"),
    ],
)
def test_codes(col, kind, codes, match):
    for work in [
        lambda: col.insert(None, codes),
        lambda: col.upsert([1], codes),
        lambda: col.search(codes),
        lambda: col.search_radius(codes, 1),
    ]:
        raises(kind, match, work)
    assert len(col) == 0


def test_padding_bits(db):
    col = db.create_collection("twelve", bits=12)
    spoilt = np.array([[0, 0x0F], [0, 0x10]], np.uint8)
    raises(bitkin.InvalidInput, "row 1|code 1", lambda: col.insert(None, spoilt))
    raises(bitkin.InvalidInput, "code 1", lambda: col.search(spoilt))
    raises(bitkin.InvalidInput, "code 0", lambda: col.search(spoilt[1]))


@pytest.mark.parametrize(
    "kind, ids, match",
    [
        (TypeError, 5, "not int"),
        (TypeError, "5", "not str"),
        (TypeError, ["5"], r"ids\[0\] must be a whole number, not str"),
        (TypeError, [5.0], "not float"),
        (TypeError, np.array([5.0]), "not of float64"),
        (ValueError, np.array([[5]], np.uint64), r"not of shape \(1, 1\)"),
        (ValueError, np.array(5, np.uint64), r"not of shape \(\)"),
        (ValueError, [-1], r"ids\[0\] .* not -1"),
        (ValueError, np.array([-1]), r"ids\[0\] .* not -1"),
        (ValueError, [2**64], "2\\*\\*64 - 1"),
        (ValueError, [2**64 - 1], "reserved"),
        (ValueError, [1, 2], "2 ids were given for 1 codes"),
    ],
)
def test_ids(col, kind, ids, match):
    raises(kind, match, lambda: col.insert(ids, ONE))
    raises(kind, match, lambda: col.upsert(ids, ONE))
    assert len(col) == 0


def test_ids_that_are_there(col):
    col.insert([1], ONE)
    raises(bitkin.AlreadyExists, "id 1", lambda: col.insert([1], ONE))
    raises(bitkin.InvalidInput, "twice|id 2", lambda: col.insert([2, 2], np.repeat(ONE, 2, 0)))
    raises(TypeError, "not NoneType", lambda: col.upsert(None, ONE))
    raises(TypeError, "not int", lambda: col.delete(1))
    raises(ValueError, "-1", lambda: col.get(-1))
    raises(TypeError, "id must be a whole number", lambda: col.get("1"))


@pytest.mark.parametrize(
    "kind, payloads, match",
    [
        (TypeError, {"a": 1}, "not dict"),
        (TypeError, "{}", "not str"),
        (TypeError, 5, "not int"),
        (TypeError, [object()], r"payloads\[0\]: .* not JSON serializable"),
        (ValueError, [], "0 payloads for 1 rows"),
        (ValueError, [None, None], "more payloads than the 1 rows"),
        (ValueError, ["no JSON"], "row 0 is not valid JSON"),
        (ValueError, [b'"\xff"'], r"payloads\[0\]: .*utf-8"),
        (ValueError, ['"\ud800"'], r"payloads\[0\]: .*surrogates"),
        (ValueError, [float("nan")], r"payloads\[0\]"),
    ],
)
def test_payloads(col, kind, payloads, match):
    raises(kind, match, lambda: col.insert(None, ONE, payloads))
    raises(kind, match, lambda: col.upsert([1], ONE, payloads))
    assert len(col) == 0


def test_an_exception_of_an_iterator_comes_through(col):
    def broken():
        raise ZeroDivisionError
        yield

    raises(ZeroDivisionError, None, lambda: col.insert(broken(), ONE))
    raises(ZeroDivisionError, None, lambda: col.insert(None, ONE, broken()))


def test_numbers(col, db):
    raises(ValueError, "k must be .* not -1", lambda: col.search(ONE, k=-1))
    raises(TypeError, "k must be a whole number, not float", lambda: col.search(ONE, k=1.0))
    raises(ValueError, "r must be .* not -1", lambda: col.search_radius(ONE, -1))
    raises(ValueError, "threads must be 1 or more", lambda: col.search(ONE, threads=0))
    raises(ValueError, "threads .* not -1", lambda: col.search(ONE, threads=-1))
    raises(MemoryError, "nearest", lambda: col.search(ONE, k=2**62))
    raises(MemoryError, "nearest", lambda: col.search(np.repeat(ONE, 3, 0), k=2**63))
    raises(ValueError, "size must be 1 or more", lambda: col.batches(0))
    raises(TypeError, "id must be a whole number, not str", lambda: "1" in col)
    for bits in [-1, 7, 65_537, 2**40]:
        raises(bitkin.InvalidInput, "bits", lambda: db.create_collection("d", bits=bits))


def test_filters(col):
    raises(bitkin.InvalidInput, "at column 1", lambda: col.search(ONE, filter="= 3"))
    raises(bitkin.InvalidInput, "filter", lambda: col.search_radius(ONE, 1, filter=""))
    raises(TypeError, "filter must be a condition in SQL, a str, not int", lambda: col.search(ONE, filter=5))


def test_collections(db, col):
    error = raises(KeyError, "there is no collection", lambda: db.collection("d"))
    assert str(error) == 'there is no collection "d"; the database has c'
    raises(bitkin.NotFound, "the database has c", lambda: db.drop_collection("d"))
    raises(bitkin.AlreadyExists, "exists", lambda: db.create_collection("c", bits=8))
    raises(bitkin.InvalidInput, "name", lambda: db.create_collection("", bits=8))
    raises(
        bitkin.InvalidInput,
        "int, float, text or bool",
        lambda: db.create_collection("d", bits=8, index={"f": "date"}),
    )
    raises(
        bitkin.InvalidInput, "field", lambda: db.create_collection("d", bits=8, index={"": "int"})
    )
    raises(TypeError, None, lambda: db.create_collection("d", bits=8, index=["f"]))
    raises(TypeError, None, lambda: db.create_collection("d"))
    for kind in [bitkin.Database, bitkin.Collection]:
        raises(TypeError, None, kind)
    assert len(db.collections()) == 1


def test_opening(path, db, tmp_path):
    raises(bitkin.Locked, "open read-only", lambda: bitkin.open(path))
    full = tmp_path / "full"
    full.mkdir()
    (full / "letter").write_text("dear")
    raises(bitkin.NotADatabase, "full", lambda: bitkin.open(full))
    assert [file.name for file in full.iterdir()] == ["letter"]
    missing = tmp_path / "missing"
    raises(bitkin.NotADatabase, "missing", lambda: bitkin.open(missing, read_only=True))
    assert not missing.exists()
    for nothing in [full / "letter", missing]:
        copy = tmp_path / "copy"
        raises(bitkin.NotADatabase, nothing.name, lambda: bitkin.open(nothing, read_only=True))
        raises(bitkin.NotADatabase, nothing.name, lambda: bitkin.verify(nothing))
        raises(bitkin.NotADatabase, nothing.name, lambda: bitkin.backup(nothing, copy))
        raises(bitkin.NotADatabase, nothing.name, lambda: bitkin.repair(nothing, copy))
        assert not copy.exists()
    raises(bitkin.NotADatabase, "letter", lambda: bitkin.open(full / "letter"))
    for inside in [path, path / "copy"]:
        raises(bitkin.InvalidInput, "itself", lambda: db.backup(inside))
        raises(bitkin.InvalidInput, "itself", lambda: bitkin.repair(path, inside))
    raises(TypeError, None, lambda: bitkin.open(5))
    raises(TypeError, None, lambda: bitkin.open(path, True))
    for wrong in ["often", 1, None, datetime.timedelta(-1)]:
        raises(ValueError, "durability", lambda: bitkin.open(missing, durability=wrong))
    raises(ValueError, "memory_limit must be 1 or more", lambda: bitkin.open(missing, memory_limit=0))
    raises(TypeError, "flush_rows", lambda: bitkin.open(missing, flush_rows="many"))
    for option in [dict(durability="none"), dict(memory_limit=1), dict(flush_rows=1)]:
        raises(ValueError, "read_only", lambda: bitkin.open(path, read_only=True, **option))
    assert not missing.exists()


def test_damage(path):
    with bitkin.open(path) as db:
        db.create_collection("c", bits=64).insert(None, np.zeros((1000, 8), np.uint8))
        db.compact()
    (segment,) = (file for file in (path / "segments").iterdir())
    content = bytearray(segment.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(byte ^ 255 for byte in content[middle : middle + 64])
    segment.write_bytes(content)
    with bitkin.open(path) as db:
        error = raises(bitkin.Corrupt, segment.name, lambda: db.collection("c").search(ONE, k=9999))
        assert isinstance(error, OSError)


def test_a_closed_database(path):
    db = bitkin.open(path)
    col = db.create_collection("c", bits=64)
    col.insert([1], ONE)
    db.close()
    db.close()
    for work in [
        lambda: db.create_collection("d", bits=8),
        lambda: db.collection("c"),
        db.collections,
        lambda: db.drop_collection("c"),
        db.compact,
        db.refresh,
        db.__enter__,
        lambda: len(col),
        lambda: col.insert([2], ONE),
        lambda: col.upsert([2], ONE),
        lambda: col.delete([1]),
        lambda: col.get(1),
        lambda: col.search(ONE),
        lambda: col.search(np.repeat(ONE, 3, 0)),
        lambda: col.search_radius(ONE, 1),
        col.stats,
        col.compact,
        col.rows,
        col.batches,
        lambda: col.get_many([1]),
        lambda: 1 in col,
        lambda: col.count("a = 1"),
        lambda: col.delete_where("a = 1"),
        lambda: col.explain(ONE),
        lambda: col.pairs(1),
        lambda: col.groups(1),
        db.stats,
        db.verify,
        db.flush,
        db.sync,
        lambda: db.backup(path.with_name("copy")),
    ]:
        raises(bitkin.Closed, "closed", work)
    assert (col.name, col.bits) == ("c", 64)


def test_with_closes_when_it_fails(path):
    with pytest.raises(ZeroDivisionError):
        with bitkin.open(path) as db:
            1 / 0
    assert db.closed


def test_dropping_the_last_handle_closes(path):
    col = bitkin.open(path).create_collection("c", bits=64)
    col.insert([1], ONE)
    raises(bitkin.Locked, None, lambda: bitkin.open(path))
    del col
    with bitkin.open(path) as db:
        assert len(db.collection("c")) == 1
