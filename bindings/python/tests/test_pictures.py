"""Pictures in, and searches by pictures: with PDQ, which needs no model."""

import json
import os
import sys
import threading

import bitkin
import numpy as np
import pytest


@pytest.fixture
def pics(db):
    return db.create_collection("p", encoder="pdq")


def test_in_and_found(pics, pictures):
    told = []
    ids = pics.insert_images(pictures, progress=lambda done, total: told.append((done, total)))
    assert ids.dtype == np.uint64 and ids.tolist() == list(range(30))
    assert told == [(done, 30) for done in range(1, 31)]
    assert pics.bits == 256 and len(pics.model) == 64
    codes = pics.encode_images(pictures)
    assert codes.dtype == np.uint8 and codes.shape == (30, 32)
    for row in [0, 17]:
        code, payload = pics.get(row)
        np.testing.assert_array_equal(code, codes[row])
        assert payload["source"] == str(pictures[row]) and payload["quality"] > 0
        assert len(payload["sha256"]) == 64
    for found, expected in zip(pics.search_images(pictures, k=3), pics.search(codes, k=3)):
        np.testing.assert_array_equal(found, expected)
    assert pics.search_images(pictures, k=1)[0][:, 0].tolist() == list(range(30))
    _, _, certified = pics.search_images(
        pictures[0], k=2, filter="quality > 0", budget=10**6, threads=1, return_certificate=True
    )
    assert certified.shape == (1,)


def test_pictures_come_in_many_ways(pics, pictures):
    one = pictures[0].read_bytes()
    for image in [pictures[0], str(pictures[0]), one, bytearray(one), memoryview(one)]:
        (row,) = pics.insert_images(image, threads=2**40)
        assert pics.get(row)[1].get("source") == (None if not isinstance(image, (str, os.PathLike)) else str(pictures[0]))
        assert pics.encode_images(image).shape == (1, 32)
    told = []
    stream = (path for path in pictures)
    ids = pics.insert_images(stream, progress=lambda *now: told.append(now))
    assert ids.tolist() == list(range(5, 35)) and told[-1] == (30, None)
    assert pics.insert_images([]).shape == (0,) and pics.encode_images([]).shape == (0, 32)
    assert pics.search_images([], k=3)[0].shape == (0, 3)


def test_ids_and_payloads(pics, pictures):
    ids = np.arange(100, 103, dtype=np.uint64)
    given = [{"label": "cat"}, None, json.dumps({"source": "mine", "n": 2**53})]
    assert pics.insert_images(iter(pictures[:3]), ids, given, threads=1).tolist() == ids.tolist()
    payloads = [payload for _, payload in pics.get_many(ids)]
    assert payloads[0]["label"] == "cat" and payloads[0]["source"] == str(pictures[0])
    assert payloads[1]["source"] == str(pictures[1])
    assert payloads[2]["source"] == "mine" and payloads[2]["n"] == 2**53
    for wrong, error in [
        (dict(ids=[1]), "1 ids were given for 2 pictures"),
        (dict(payloads=[None]), "1 payloads for 2 rows"),
        (dict(payloads=[None, [1]]), r"payloads\[1\] must be a dict"),
        (dict(payloads=[None, "{"]), r"payloads\[1\] must be a dict"),
        (dict(on_error="ignore"), "on_error must be 'raise', 'skip' or a function, not 'ignore'"),
        (dict(threads=0), "threads"),
    ]:
        with pytest.raises(bitkin.InvalidInput, match=error):
            pics.insert_images(pictures[:2], **wrong)
    for wrong in [5, [5], [pictures[0], None]]:
        with pytest.raises(TypeError, match="images"):
            pics.encode_images(wrong)
    with pytest.raises(TypeError, match="images"):
        pics.insert_images(5)
    assert len(pics) == 3


def test_some_fail_and_the_others_go_in(pics, pictures, tmp_path):
    cut = pictures[1].read_bytes()[:100]
    images = [pictures[0], tmp_path / "missing.png", b"no picture", cut, pictures[2], tmp_path, b""]
    with pytest.raises(bitkin.ImagesFailed, match="5 of 7 pictures") as caught:
        pics.insert_images(images)
    error = caught.value
    assert isinstance(error, ValueError) and len(pics) == 2
    assert error.ids.tolist() == [0] + [bitkin.NO_ID] * 3 + [1] + [bitkin.NO_ID] * 2
    assert [failed.position for failed in error.failed] == [1, 2, 3, 5, 6]
    assert [type(failed.error) for failed in error.failed] == [
        FileNotFoundError,
        bitkin.ImageError,
        bitkin.ImageError,
        IsADirectoryError,
        bitkin.ImageError,
    ]
    assert error.failed[0].path == error.failed[0].error.filename == str(tmp_path / "missing.png")
    assert error.failed[1].path is None
    assert "images[2]: not a picture" in str(error) and "missing.png" in str(error)
    ids = pics.insert_images(images, on_error="skip")
    assert ids.tolist() == [2] + [bitkin.NO_ID] * 3 + [3] + [bitkin.NO_ID] * 2
    told = []
    pics.insert_images(images, on_error=told.append)
    assert [failed.position for failed in told] == [1, 2, 3, 5, 6]
    with pytest.raises(bitkin.ImagesFailed) as caught:
        pics.insert_images(pictures[:3], ids=[50, 0, 51])
    (failed,) = caught.value.failed
    assert failed.position == 1 and isinstance(failed.error, bitkin.AlreadyExists)
    assert 50 in pics and 51 in pics


def test_what_cannot_be_searched_for_is_named(pics, pictures, tmp_path):
    with pytest.raises(bitkin.ImageError, match=r"images\[1\]: not a picture"):
        pics.search_images([pictures[0], b"no picture"])
    with pytest.raises(FileNotFoundError) as caught:
        pics.encode_images([tmp_path / "missing.png"] + pictures)
    assert caught.value.filename == str(tmp_path / "missing.png")
    bad = tmp_path / "bad.png"
    bad.write_bytes(pictures[0].read_bytes()[:50])
    with pytest.raises(bitkin.ImageError, match="images.29., .*bad.png: "):
        pics.encode_images(pictures[:29] + [bad], threads=3)


def test_an_exception_ends_it_and_what_was_handed_over_stays(pics, pictures):
    def fails_late():
        yield from pictures[:4]
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        pics.insert_images(fails_late())
    assert len(pics) == 4
    if sys.version_info >= (3, 11):
        assert caught.value.__notes__ == ["4 pictures were inserted before, and stay"]

    def progress(done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pics.insert_images(pictures, progress=progress)
    rows = len(pics) - 4
    assert 3 <= rows <= 30
    assert [payload["source"] for _, _, payload in pics.rows()][4:] == [str(path) for path in pictures[:rows]]


def test_collections_that_take_no_pictures(db, col, path, pictures):
    for work in [
        lambda: col.insert_images(pictures),
        lambda: col.search_images(pictures),
        lambda: col.encode_images(pictures),
        col.load_encoder,
    ]:
        with pytest.raises(bitkin.InvalidInput, match="it takes codes, not pictures"):
            work()
    assert col.model is None
    pics = db.create_collection("p", encoder="pdq")
    assert pics.load_encoder() == pics.load_encoder("cpu") == "cpu"
    with pytest.raises(bitkin.InvalidInput, match="device"):
        pics.load_encoder("tpu")
    with bitkin.open(path, read_only=True) as reader:
        seen = reader.collection("p")
        assert seen.encode_images(pictures).shape == (30, 32)
        with pytest.raises(bitkin.ReadOnly):
            seen.insert_images(pictures)
    db.close()
    for work in [lambda: pics.insert_images(pictures), lambda: pics.search_images(pictures)]:
        with pytest.raises(bitkin.Closed):
            work()


def test_how_collections_of_pictures_are_made(db, pictures, tmp_path):
    for wrong, error, match in [
        (dict(), TypeError, "bits, model or encoder"),
        (dict(bits=8, encoder="pdq"), TypeError, "only one"),
        (dict(encoder="phash"), bitkin.InvalidInput, "'pdq'"),
        (dict(model=pictures[0]), bitkin.InvalidInput, "00.png: .*safetensors"),
        (dict(model=tmp_path / "missing"), bitkin.DiskError, "missing"),
        (dict(model=5), TypeError, None),
    ]:
        with pytest.raises(error, match=match):
            db.create_collection("p", **wrong)
    assert db.collections() == []


def test_many_threads_insert_pictures(pics, pictures):
    failures = []

    def work(number):
        try:
            ids = pics.insert_images(pictures, range(number * 100, number * 100 + 30), threads=2)
            assert pics.search_images(pictures[number], k=1)[1].tolist() == [[0]]
            assert ids.tolist() == list(range(number * 100, number * 100 + 30))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == [] and len(pics) == 120


def test_a_kind_is_found_by_examples(pics, pictures):
    with pytest.raises(bitkin.InvalidInput, match="have the codes of the unlike ones"):
        pics.search_like(pictures[0], pictures[0], bits=8)
    with pytest.raises(bitkin.InvalidInput, match="no unlike examples"):
        pics.search_like(pictures[0])
    pics.insert_images(pictures)
    ids, distances = pics.search_like(pictures[:3], k=30)
    assert ids.shape == (1, 30) and distances[0, -1] <= 64
    for unlike in [pictures[10:20], None]:
        found = pics.search_like(pictures[:3], unlike, bits=8, k=30, return_certificate=True)
        ids, distances, certified = found
        assert ids.shape == distances.shape == (1, 30) and certified.tolist() == [distances[0, -1]]
        away = dict(zip(ids[0].tolist(), distances[0].tolist()))
        assert max(away.values()) <= 8
        assert np.mean([away[id] for id in range(3)]) < np.mean([away[id] for id in range(10, 20)])
    with pytest.raises(bitkin.InvalidInput, match="0 bits cannot be selected"):
        pics.search_like(pictures[0], pictures[1], bits=0)
