"""Ctrl-C in long calls: each ends, and nothing is lost."""

import _thread
import collections
import functools
import shutil
import signal
import threading

import bitkin
import numpy as np
import pytest

# From so many rows on a filter is asked on a thread of its own.
ROWS = 70_000


@pytest.fixture
def ctrl_c():
    """Calls a function of the extension module with Ctrl-C pressed, and heard by nobody before it: no line of
    Python runs between the two.
    """

    def call(function, *arguments):
        calls = [functools.partial(_thread.interrupt_main), functools.partial(function, *arguments)]
        with pytest.raises(KeyboardInterrupt):
            collections.deque(map(functools.partial.__call__, calls), maxlen=0)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield call
    signal.signal(signal.SIGINT, before)


def attempts():
    """Whether the work or Ctrl-C is quicker nobody knows: not that work is always quicker."""
    yield from range(100)
    pytest.fail("no call was ended in its middle")


@pytest.fixture
def codes(random):
    return random.integers(0, 256, (ROWS, 8), dtype=np.uint8)


@pytest.fixture
def filled(db, codes):
    col = db.create_collection("filled", bits=64)
    col.insert(None, codes, [b'{"n": %d}' % (row % 10) for row in range(ROWS)])
    db.flush()
    return col


def holds(database, codes):
    """Whether the database is whole, and has these rows."""
    (batch,) = database.collection("filled").batches(ROWS)
    assert batch[0].tolist() == list(range(len(codes)))
    np.testing.assert_array_equal(batch[1], codes)
    assert database.verify() == []
    return True


@pytest.mark.parametrize("whole", [True, False])
def test_compact(db, filled, codes, ctrl_c, whole):
    kept = ROWS
    for _ in attempts():
        kept -= 1
        filled.delete([kept])
        ctrl_c(db.compact if whole else filled.compact)
        assert holds(db, codes[:kept])
        if filled.stats()["deleted_rows"]:
            break
    assert filled.insert(None, codes[-1:]).tolist() == [ROWS]
    db.compact()
    assert filled.stats()["deleted_rows"] == 0 and len(filled) == kept + 1


def test_backup_and_repair(db, filled, codes, path, tmp_path, ctrl_c):
    def ends_without_a_trace(function, *arguments):
        dest = tmp_path / "copy"
        for _ in attempts():
            ctrl_c(function, *arguments, str(dest))
            if not dest.exists():
                return
            # It was done before: then it is whole.
            with bitkin.open(dest) as copy:
                assert holds(copy, codes)
            shutil.rmtree(dest)

    ends_without_a_trace(db.backup)
    ends_without_a_trace(bitkin.backup, str(path))
    db.close()
    ends_without_a_trace(bitkin.repair, str(path))
    assert bitkin.repair(path, tmp_path / "copy").lost == []
    with bitkin.open(path) as again:
        assert holds(again, codes)


def test_verify_and_flush(db, filled, codes, path, ctrl_c):
    ctrl_c(db.verify)
    ctrl_c(bitkin.verify, str(path))
    filled.upsert(np.arange(ROWS), codes)
    ctrl_c(db.flush)
    assert holds(db, codes)
    db.flush()
    assert db.stats()["memory_bytes"] == 0


def test_close(db, filled, codes, path, ctrl_c):
    filled.upsert(np.arange(ROWS), codes)
    ctrl_c(db.close)
    assert db.closed
    with bitkin.open(path) as again:
        assert holds(again, codes)


def test_filters(db, filled, codes, ctrl_c):
    for work in [
        functools.partial(filled.count, "n = 3"),
        functools.partial(filled.search, codes[0], filter="n = 3"),
        functools.partial(filled.search, codes[:5], filter="n = 3"),
        functools.partial(filled.search_radius, codes[0], 3, filter="n = 3"),
        functools.partial(filled.explain, codes[0], filter="n = 3"),
        functools.partial(filled.pairs, 3, filter="n = 3"),
        functools.partial(filled.groups, 3, filter="n = 3"),
        functools.partial(filled.rows, filter="n = 3"),
    ]:
        ctrl_c(work)
    assert filled.count("n = 3") == ROWS // 10
    expected = filled.search(codes[3], k=1, filter="n = 3")
    assert expected[0].tolist() == [[3]]
    left = ROWS
    for n in attempts():
        ctrl_c(filled.delete_where, f"n = {n % 10}")
        # All of them, or none.
        if len(filled) == left:
            break
        left -= ROWS // 10
        assert len(filled) == left
    assert db.verify() == []


def test_threads_beside_go_on(db, filled, codes):
    """A call of another thread hears no Ctrl-C, and ends no call of the main one."""
    counts = []
    work = [db.compact, filled.compact, lambda: counts.append(filled.count("n = 3"))]
    threads = [threading.Thread(target=one) for one in work]
    for thread in threads:
        thread.start()
    assert db.verify() == []
    for thread in threads:
        thread.join()
    assert counts == [ROWS // 10] and holds(db, codes)
