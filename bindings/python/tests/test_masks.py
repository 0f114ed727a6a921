"""Searches that count some of the bits."""

import bitkin
import numpy as np
import pytest


def apart(queries, codes, masks):
    different = (queries[:, None] ^ codes[None]) & masks[:, None]
    return np.unpackbits(different, axis=2).sum(axis=2, dtype=np.uint32)


@pytest.mark.parametrize("planes", [False, True])
def test_as_brute_force(db, random, planes):
    col = db.create_collection("c", bits=1001, planes=planes)
    assert col.has_planes is planes
    values = random.integers(0, 2, (5000, 1001), dtype=np.uint8)
    codes = np.packbits(values, axis=1, bitorder="little")
    col.insert(None, codes[:4500])
    col.compact()
    col.insert(None, codes[4500:])
    bits = random.random((6, 1001)) < [[0.01], [0.02], [0.1], [0.5], [1], [0.05]]
    masks = np.packbits(bits, axis=1, bitorder="little")
    queries = codes[random.integers(0, 5000, 6)]
    for mask, each in [(masks[1], masks[[1] * 6]), (masks, masks)]:
        distances = apart(queries, codes, each)
        order = np.lexsort((np.broadcast_to(np.arange(5000), distances.shape), distances))[:, :20]
        ids, found, certified = col.search(queries, k=20, mask=mask, return_certificate=True)
        np.testing.assert_array_equal(ids, order)
        np.testing.assert_array_equal(found, np.take_along_axis(distances, order, axis=1))
        np.testing.assert_array_equal(certified, found[:, -1])
        hits = col.search_radius(queries, 4, mask=mask)
        assert len(hits.ids) == (distances <= 4).sum()
    ids, _ = col.search(queries[2], k=20, mask=masks[2])
    told = col.explain(queries[2], k=20, mask=masks[2])
    assert told["ids"].tolist() == ids[0].tolist()
    assert [part["way"] for part in told["parts"]][:1] == ["planes" if planes else "scan"]


def test_masks_that_cannot_be_are_refused(db):
    col = db.create_collection("c", bits=12)
    query = np.zeros((2, 2), np.uint8)
    for mask in [np.zeros(2, np.uint8), np.array([0, 16], np.uint8), np.ones((3, 2), np.uint8)]:
        with pytest.raises(bitkin.InvalidInput, match="mask"):
            col.search(query, mask=mask)
    with pytest.raises(bitkin.InvalidInput, match="mask of 12 bits"):
        col.search(query, mask=np.ones(3, np.uint8))
    with pytest.raises(TypeError, match="packs bits"):
        col.search(query, mask=np.ones(12, bool))


def test_bits_are_selected_by_examples(db, random):
    col = db.create_collection("c", bits=300)
    values = random.integers(0, 2, (2000, 300), dtype=np.uint8)
    values[:200, 40:50] = 1
    values[200:, 40:50] &= random.integers(0, 2, (1800, 10), dtype=np.uint8)
    codes = np.packbits(values, axis=1, bitorder="little")
    col.insert(None, codes)
    query, mask = col.select_bits(codes[:20], bits=10)
    chosen = np.flatnonzero(np.unpackbits(mask, bitorder="little"))
    assert len(chosen) == 10 and np.isin(chosen, range(40, 50)).sum() > 7
    assert not np.any(query & ~mask)
    ids, _ = col.search(query, k=200, mask=mask)
    assert (ids < 200).mean() > 0.9
    _, mask = col.select_bits(codes[0], codes[200:210])
    assert 0 < np.unpackbits(mask).sum() <= 64
    with pytest.raises(bitkin.InvalidInput, match="301 bits cannot be selected"):
        col.select_bits(codes[:5], bits=301)
    with pytest.raises(bitkin.InvalidInput, match="like of 300 bits"):
        col.select_bits(np.zeros(3, np.uint8))
    with pytest.raises(bitkin.InvalidInput, match="no like examples"):
        col.select_bits(codes[:0])
