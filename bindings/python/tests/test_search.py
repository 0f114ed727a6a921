"""Searches find what a sort of all distances finds."""

import bitkin
import numpy as np
import pytest


def codes_of(random, bits, n):
    """Codes with their padding bits zero, and duplicates among them."""
    values = random.integers(0, 2, (n, bits), dtype=np.uint8)
    values[n // 2 :] = values[: n - n // 2]
    return np.packbits(values, axis=1, bitorder="little")


def same(found, expected):
    for array, other in zip(found, expected):
        assert array.dtype == other.dtype
        np.testing.assert_array_equal(array, other)


@pytest.mark.parametrize("bits", [8, 12, 64, 104, 256, 1000])
def test_as_brute_force(db, random, oracle, bits):
    col = db.create_collection("c", bits=bits)
    codes, ids = codes_of(random, bits, 3000), random.permutation(5000)[:3000].astype(np.uint64)
    col.insert(ids, codes)
    expected = oracle(ids, codes)
    queries = codes_of(random, bits, 40)
    for k in [1, 10, 3000]:
        same(col.search(queries, k=k), expected.nearest(queries, k))
        same(col.search(queries[7], k=k), expected.nearest(queries[7:8], k))
    for r in [0, bits // 3, bits // 2, bits]:
        same(col.search_radius(queries, r), expected.within(queries, r))
    deleted = ids[:1000]
    assert col.delete(deleted) == 1000
    expected = oracle(ids[1000:], codes[1000:])
    same(col.search(queries, k=20), expected.nearest(queries, 20))
    col.compact()
    same(col.search(queries, k=20), expected.nearest(queries, 20))
    same(col.search_radius(queries, bits // 3), expected.within(queries, bits // 3))


def test_short_of_k_is_filled_up(col):
    col.insert([3], np.zeros((1, 8), np.uint8))
    ids, distances = col.search(np.full((2, 8), 255, np.uint8), k=3)
    assert ids.shape == distances.shape == (2, 3)
    assert ids.dtype == np.uint64 and distances.dtype == np.uint32
    assert ids.tolist() == [[3, 2**64 - 1, 2**64 - 1]] * 2
    assert distances.tolist() == [[64, 2**32 - 1, 2**32 - 1]] * 2
    assert (bitkin.NO_ID, bitkin.NO_DISTANCE) == (2**64 - 1, 2**32 - 1)


def test_nothing_to_find(col):
    queries = np.zeros((2, 8), np.uint8)
    ids, distances = col.search(queries)
    assert (ids == bitkin.NO_ID).all() and ids.shape == (2, 10)
    assert (distances == bitkin.NO_DISTANCE).all()
    assert col.search(queries, k=0)[0].shape == (2, 0)
    assert col.search(queries[:0])[0].shape == (0, 10)
    hits = col.search_radius(queries, 64)
    assert [len(array) for array in hits] == [0, 0, 3]
    assert col.search_radius(queries[:0], 64).offsets.tolist() == [0]


def test_one_code_is_one_query(col, random):
    codes = random.integers(0, 256, (50, 8), dtype=np.uint8)
    col.insert(None, codes)
    ids, distances = col.search(codes[4], k=1)
    assert ids.tolist() == [[4]] and distances.tolist() == [[0]]
    assert col.search_radius(codes[4], 0).ids.tolist() == [4]


def test_radius_hits_have_names(col):
    col.insert([1, 2], np.array([[0] * 8, [255] * 8], np.uint8))
    hits = col.search_radius(np.array([[0] * 8, [1] + [0] * 7], np.uint8), 1)
    assert isinstance(hits, bitkin.RadiusHits)
    ids, distances, offsets = hits
    assert hits.ids is ids and hits.distances is distances and hits.offsets is offsets
    assert ids.tolist() == [1, 1] and distances.tolist() == [0, 1]
    assert offsets.tolist() == [0, 1, 2] and offsets.dtype == np.int64
    # Any radius from the width up is all rows.
    assert col.search_radius(np.zeros((1, 8), np.uint8), 2**40).ids.tolist() == [1, 2]


def test_arrays_of_any_layout(col, random, oracle):
    wide = random.integers(0, 256, (200, 24), dtype=np.uint8)
    layouts = [
        wide[:, 8:16],
        wide[::-2, :8],
        np.asfortranarray(wide[:, :8]),
        wide[:, 7::-1],
        np.frombuffer(wide.tobytes(), np.uint8).reshape(-1, 8),  # not writable
    ]
    for number, codes in enumerate(layouts):
        ids = np.arange(len(codes) * 2, dtype=np.uint64)[::2] + np.uint64(number * 10_000)
        col.insert(ids, codes)
        for row in [0, 1, len(codes) - 1]:
            assert col.get(int(ids[row]))[0].tolist() == codes[row].tolist()
        col.delete(ids)
    ids = np.arange(len(wide), dtype=np.uint64)
    col.insert(ids, wide[:, :8])
    queries = np.asfortranarray(wide[:20, 8:16])
    same(col.search(queries, k=5), oracle(ids, wide[:, :8]).nearest(queries, 5))


def test_filters(db, random, oracle):
    col = db.create_collection("filtered", bits=64, index={"year": "int"})
    codes = random.integers(0, 256, (600, 8), dtype=np.uint8)
    ids = np.arange(600, dtype=np.uint64)
    labels = ["cat", "dog", "owl"]
    payloads = [{"label": labels[i % 3], "year": 2000 + i % 20} for i in range(600)]
    col.insert(ids, codes, payloads)
    cats = (ids % 3 == 0) & (ids % 20 >= 10)
    expected = oracle(ids[cats], codes[cats])
    queries = random.integers(0, 256, (5, 8), dtype=np.uint8)
    text = "label = 'cat' and year >= 2010"
    for _ in range(2):
        same(col.search(queries, k=7, filter=text), expected.nearest(queries, 7))
        same(col.search(queries[0], k=7, filter=text), expected.nearest(queries[:1], 7))
        same(col.search_radius(queries, 30, filter=text), expected.within(queries, 30))
        db.compact()
    assert (col.search(queries, k=1, filter="label = 'emu'")[0] == bitkin.NO_ID).all()


def test_the_answer_does_not_depend_on_threads(col, random):
    codes = random.integers(0, 256, (2000, 8), dtype=np.uint8)
    col.insert(None, codes)
    queries = random.integers(0, 256, (200, 8), dtype=np.uint8)
    expected = col.search(queries)
    lists = col.search_radius(queries, 20)
    for threads in [1, 2, 7, 1000]:
        same(col.search(queries, threads=threads), expected)
        same(col.search_radius(queries, 20, threads=threads), lists)
    same(col.search(queries, threads=None), expected)
