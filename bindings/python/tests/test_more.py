"""Budgets and their certificates, explanations, pairs, and going over rows."""

import datetime
import threading

import bitkin
import numpy as np
import pytest


@pytest.fixture
def filled(db, random):
    """20,000 codes around 50 centres, in a segment with tables; and what must be found there."""
    col = db.create_collection("filled", bits=64, index={"n": "int"})
    centres = random.integers(0, 256, (50, 8), dtype=np.uint8)
    codes = centres[random.integers(0, 50, 20_000)]
    flips = random.integers(0, 2, (20_000, 64), dtype=np.uint8) & random.integers(0, 2, (20_000, 64), dtype=np.uint8)
    codes = codes ^ np.packbits(flips & random.integers(0, 2, (20_000, 64), dtype=np.uint8), axis=1, bitorder="little")
    col.insert(None, codes, [{"n": row % 10} for row in range(20_000)])
    col.compact()
    return col, codes


def test_certificates_of_exact_searches(filled, oracle):
    col, codes = filled
    ids, distances, certified = col.search(codes[:20], k=5, return_certificate=True)
    assert certified.dtype == np.int64 and certified.tolist() == distances[:, -1].tolist()
    expected = oracle(np.arange(20_000), codes).nearest(codes[:20], 5)
    np.testing.assert_array_equal(ids, expected[0])
    _, _, certified = col.search(codes[0], k=30_000, return_certificate=True)
    assert certified.tolist() == [64]
    hits, certified = col.search_radius(codes[:3], 7, return_certificate=True)
    assert isinstance(hits, bitkin.RadiusHits) and certified.tolist() == [7, 7, 7]


@pytest.mark.parametrize("budget", [0, 1, 300, 10**9, datetime.timedelta(0), datetime.timedelta(microseconds=5)])
def test_what_a_budget_certifies_is_right(filled, oracle, budget):
    col, codes = filled
    expected, away = oracle(np.arange(20_000), codes).nearest(codes[:50], 10)
    ids, distances, certified = col.search(codes[:50], budget=budget, return_certificate=True)
    assert (certified <= distances[:, -1].astype(np.int64)).all()
    for row in range(50):
        sure = distances[row] <= certified[row]
        np.testing.assert_array_equal(ids[row][sure], expected[row][: sure.sum()])
        # Nothing nearer than it says is missing.
        assert (away[row] <= certified[row]).sum() == sure.sum()
    if budget == 10**9:
        np.testing.assert_array_equal(ids, expected)
    elif isinstance(budget, int) and budget < 10:
        assert (certified < distances[:, -1].astype(np.int64)).any()
    hits, radii = col.search_radius(codes[0], 9, budget=budget, return_certificate=True)
    within, apart, _ = oracle(np.arange(20_000), codes).within(codes[:1], 9)
    assert set(within[apart.astype(np.int64) <= radii[0]]) <= set(hits.ids)


@pytest.mark.parametrize(
    ("budget", "error"),
    [
        (1.5, TypeError),
        (float("nan"), TypeError),
        ("fast", TypeError),
        (-1, bitkin.InvalidInput),
        (datetime.timedelta(seconds=-1), bitkin.InvalidInput),
    ],
)
def test_budgets_that_are_none(filled, budget, error):
    col, codes = filled
    with pytest.raises(error, match="budget"):
        col.search(codes[0], budget=budget)


def test_an_explanation_has_the_answer_and_its_parts(filled):
    col, codes = filled
    col.insert([10**6], codes[:1])
    found = col.explain(codes[0], k=3)
    ids, distances = col.search(codes[0], k=3)
    assert found["ids"].tolist() == ids[0].tolist() and found["distances"].tolist() == distances[0].tolist()
    assert found["exact"] and found["certified_radius"] == distances[0, -1]
    segment, memory = found["parts"]
    assert segment["rows"] == segment["visible"] == 20_000 and segment["tables"] > 0
    assert segment["way"] in ("scan", "tables", "tables, then scan") and segment["candidates"] > 0
    assert memory["in_memory"] and memory["rows"] == 1 and memory["way"] == "scan"
    assert memory["predicted_tables_us"] is None
    confined = col.explain(codes[0], r=5, filter="n = 3", budget=10**9, threads=1)
    assert confined["parts"][0]["visible"] == 2000 and confined["certified_radius"] == 5
    with pytest.raises(bitkin.InvalidInput, match="one code"):
        col.explain(codes[:2])


def test_pairs_as_brute_force(db, random):
    col = db.create_collection("p", bits=64)
    codes = random.integers(0, 2, (800, 8), dtype=np.uint8) * 3
    codes[400:] = codes[:400]
    col.insert(None, codes, [{"n": row % 2} for row in range(800)])
    apart = np.unpackbits(codes[:, None] ^ codes[None], axis=2).sum(axis=2)
    for r in [0, 2, 4]:
        a, b = np.nonzero(np.triu(apart <= r, 1))
        expected = sorted(zip(apart[a, b].tolist(), a.tolist(), b.tolist()))
        found = col.pairs(r)
        assert [column.dtype for column in found] == [np.uint64, np.uint64, np.uint32]
        assert list(zip(found[2].tolist(), found[0].tolist(), found[1].tolist())) == expected
    a, b, _ = col.pairs(2, filter="n = 1", threads=1)
    assert len(a) and (a % 2 == 1).all() and (b % 2 == 1).all()
    col.compact()
    assert len(col.pairs(0)[0]) == len([pair for pair in expected if pair[0] == 0])


def test_rows_in_order_as_they_were(filled):
    col, codes = filled
    rows = col.rows()
    col.delete(range(10))
    row, code, payload = next(rows)
    assert (row, payload) == (0, {"n": 0}) and code.tolist() == codes[0].tolist()
    assert [row for row, _, _ in rows] == list(range(1, 20_000))
    assert [row for row, _, _ in col.rows(filter="n = 3")] == list(range(13, 20_000, 10))
    with pytest.raises(bitkin.InvalidInput):
        col.rows(filter="n = ")


def test_threads_share_the_rows(filled):
    col, _ = filled
    rows, taken = col.rows(), []

    def take():
        taken.extend(row for row, _, _ in rows)

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(20_000))


def test_counting_and_deleting_by_filter(filled):
    col, _ = filled
    assert col.count("n < 3") == 6000
    assert col.delete_where("n = 2") == 2000
    assert col.count("n < 3") == 4000 and len(col) == 18_000
    with pytest.raises(bitkin.InvalidInput):
        col.delete_where("n <")


def test_a_copy_is_a_database(filled, db, tmp_path):
    col, codes = filled
    db.sync()
    db.flush()
    assert db.verify() == []
    db.backup(tmp_path / "copy.bitkin")
    with bitkin.open(tmp_path / "copy.bitkin", read_only=True) as copy:
        assert len(copy.collection("filled")) == 20_000
    with pytest.raises(bitkin.NotADatabase):
        db.backup(tmp_path / "copy.bitkin")


def test_batches_of_rows(filled):
    col, codes = filled
    batches = col.batches(7_000)
    col.delete(range(10))
    sizes, seen = [], []
    for ids, some, payloads in batches:
        assert ids.dtype == np.uint64 and some.dtype == np.uint8 and some.flags.c_contiguous
        np.testing.assert_array_equal(some, codes[ids])
        assert payloads == [{"n": int(row) % 10} for row in ids]
        sizes.append(len(ids))
        seen.extend(ids.tolist())
    assert sizes == [7000, 7000, 6000] and seen == list(range(20_000))
    assert next(batches, None) is None
    ids, some, payloads = next(col.batches(2**64 - 1, filter="n = 3", payloads=False))
    assert ids.tolist() == list(range(13, 20_000, 10)) and payloads is None


def test_many_rows_by_their_ids(filled):
    col, codes = filled
    found = col.get_many(np.array([5, 10**9, 5, 19_999]))
    assert found[1] is None and [payload for _, payload in found[:1] + found[2:]] == [{"n": 5}, {"n": 5}, {"n": 9}]
    np.testing.assert_array_equal(found[3][0], codes[19_999])
    assert col.get_many([]) == []


def test_deduplication(db):
    col = db.create_collection("d", bits=8)
    col.insert([7, 3, 5, 9], np.array([[0], [1], [255], [3]], np.uint8), [{"a": 1}, None, None, None])
    groups = col.groups(1)
    assert isinstance(groups, bitkin.Groups)
    assert [array.dtype for array in groups] == [np.uint64, np.uint64, np.uint32, np.int64]
    assert [array.tolist() for array in groups] == [[3], [7, 9], [1, 1], [0, 2]]
    assert [array.tolist() for array in col.groups(2, filter="a is null")] == [[3], [9], [1], [0, 1]]
    assert col.delete(groups.ids) == 2 and [len(array) for array in col.groups(1)] == [0, 0, 0, 1]


@pytest.mark.parametrize(
    "options",
    [
        dict(durability="sync"),
        dict(durability="none", memory_limit=100_000, flush_rows=10),
        dict(durability=datetime.timedelta(milliseconds=5)),
        dict(memory_limit=2**64 - 1, flush_rows=2**64 - 1),
    ],
)
def test_options_of_writers(path, options):
    with bitkin.open(path, **options) as db:
        db.create_collection("c", bits=8).insert(None, np.zeros((1000, 1), np.uint8))
    # The second time it is there.
    with bitkin.open(path, **options) as db:
        assert len(db.collection("c")) == 1000


def test_functions_on_databases_that_are_not_open(filled, db, path, tmp_path):
    report = bitkin.backup(path, tmp_path / "copy.bitkin")
    assert isinstance(report, bitkin.BackupReport) and report.files > 0
    assert bitkin.verify(str(tmp_path / "copy.bitkin")) == bitkin.verify(path) == []
    sizes = db.stats()
    assert sizes["rows"] == 20_000 and sizes["background_error"] is None
    assert sizes["collections"] == [filled[0].stats()]
    with pytest.raises(bitkin.Locked):
        bitkin.repair(path, tmp_path / "saved.bitkin")
    db.close()
    report = bitkin.repair(path, tmp_path / "saved.bitkin")
    assert report == ({"filled": 20_000}, []) and isinstance(report, bitkin.RepairReport)
    (segment, *_) = sorted((tmp_path / "saved.bitkin" / "segments").iterdir())
    content = bytearray(segment.read_bytes())
    for place in range(4096, len(content), 20_000):
        content[place] ^= 255
    segment.write_bytes(content)
    (problem, *_) = bitkin.verify(tmp_path / "saved.bitkin")
    assert segment.name in problem
    report = bitkin.repair(tmp_path / "saved.bitkin", tmp_path / "again.bitkin")
    assert report.lost
    for work in [bitkin.verify, lambda missing: bitkin.backup(missing, tmp_path / "x")]:
        with pytest.raises(bitkin.NotADatabase):
            work(tmp_path / "missing")
    with pytest.raises(bitkin.NotADatabase):
        bitkin.backup(path, tmp_path / "copy.bitkin")
