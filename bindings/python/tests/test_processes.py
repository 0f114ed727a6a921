"""Threads, a reader beside a writer, and processes that were forked off."""

import os
import subprocess
import sys
import textwrap
import threading
import time

import bitkin
import numpy as np
import pytest


def python(code, *arguments):
    """Runs a program in a process of its own; what it prints."""
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_reader_in_another_process(path, db, col):
    col.insert(None, np.zeros((3, 8), np.uint8))
    reader = """
        import sys, bitkin, numpy as np
        db = bitkin.open(sys.argv[1], read_only=True)
        col = db.collection("c")
        print(len(col), col.search(np.zeros(8, np.uint8), k=1)[0][0, 0])
        for write in [lambda: col.insert(None, np.zeros((1, 8), np.uint8)), col.compact,
                      lambda: col.upsert([1], np.zeros((1, 8), np.uint8)),
                      lambda: col.delete([1]), lambda: db.drop_collection("c"), db.compact,
                      lambda: db.create_collection("d", bits=8)]:
            try:
                write()
            except bitkin.ReadOnly as error:
                assert isinstance(error, PermissionError)
                print(str(error).split()[-1])
        try:
            bitkin.open(sys.argv[1])
        except bitkin.Locked:
            print("locked")
    """
    assert python(reader, path) == ["3", "0"] + ["read-only"] * 7 + ["locked"]


def test_a_reader_sees_the_moment_of_its_refresh(path, db, col):
    reader = bitkin.open(path, read_only=True)
    seen = reader.collection("c")
    writer = """
        import sys, bitkin, numpy as np
        with bitkin.open(sys.argv[1]) as db:
            db.collection("c").insert(None, np.zeros((5, 8), np.uint8))
    """
    assert reader.read_only and reader.refresh() is False
    db.close()
    python(writer, path)
    assert len(seen) == 0
    assert reader.refresh() is True
    assert len(seen) == 5
    assert reader.refresh() is False


def test_many_threads(col, random):
    codes = random.integers(0, 256, (4000, 8), dtype=np.uint8)
    failures = []

    def work(number):
        try:
            mine = range(number * 1000, (number + 1) * 1000)
            for start in range(0, 1000, 100):
                rows = mine[start : start + 100]
                col.insert(rows, codes[rows.start : rows.stop], [{"by": number}] * 100)
                ids, distances = col.search(codes[rows.start : rows.stop], k=1, threads=1)
                assert (distances == 0).all()
                assert col.get(rows[5])[1] == {"by": number}
                assert len(col) >= start + 100
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(col) == 4000


def test_other_threads_run_during_a_search(col, random):
    col.insert(None, random.integers(0, 256, (100_000, 8), dtype=np.uint8))
    times = []
    for queries in [100, 400, 1600, 6400]:
        queries = random.integers(0, 256, (queries, 8), dtype=np.uint8)

        def search():
            begun = time.monotonic()
            col.search(queries, k=1, threads=1)
            times[:] = begun, time.monotonic()

        thread = threading.Thread(target=search)
        ticks = []
        thread.start()
        while thread.is_alive():
            ticks.append(time.monotonic())
            time.sleep(0.001)
        thread.join()
        begun, ended = times
        # The margin is for ticks of before the call and after it.
        if sum(begun + 0.005 < tick < ended - 0.005 for tick in ticks) >= 5:
            return
    pytest.fail("no other thread ran while a search did")


def test_closing_while_others_search(path, random):
    db = bitkin.open(path)
    col = db.create_collection("c", bits=64)
    codes = random.integers(0, 256, (20_000, 8), dtype=np.uint8)
    col.insert(None, codes)
    ends = []

    def work():
        try:
            while True:
                assert col.search(codes[:50], k=1)[0][:, 0].tolist() == list(range(50))
        except BaseException as error:
            ends.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    db.close()
    for thread in threads:
        thread.join()
    assert [type(error) for error in ends] == [bitkin.Closed] * 3


def test_ctrl_c_ends_a_long_call(path, pictures):
    """Each call would take minutes; the time limit of the process is what fails otherwise."""
    code = """
        import itertools, signal, sys, bitkin, numpy as np
        random = np.random.default_rng(1)
        db = bitkin.open(sys.argv[1], durability="none")
        col = db.create_collection("c", bits=256)
        col.insert(None, random.integers(0, 256, (200_000, 32), dtype=np.uint8))
        pics = db.create_collection("p", encoder="pdq")
        queries = random.integers(0, 256, (1_000_000, 32), dtype=np.uint8)
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        for work in [lambda: col.search(queries, k=1), lambda: col.search(queries, k=1, threads=1),
                     lambda: col.search_radius(queries, 5, threads=1),
                     lambda: col.pairs(110), lambda: col.groups(110, threads=1),
                     lambda: pics.insert_images(itertools.cycle(sys.argv[2:])),
                     lambda: pics.encode_images(sys.argv[2:] * 20_000, threads=1)]:
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            try:
                work()
                print("done")
            except KeyboardInterrupt:
                print("ended")
        # Nothing is the worse for it, and what went in is there.
        assert len(col) == 200_000 and len(pics) > 0
        assert col.search(queries[:5], k=1)[0].shape == (5, 1)
        assert [row for row, _, _ in pics.rows()] == list(range(len(pics)))
        db.close()
    """
    assert python(code, path, *pictures) == ["ended"] * 7


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@needs_fork
def test_a_forked_process_cannot_use_the_handles(path):
    code = """
        import gc, os, sys, bitkin, numpy as np
        one = np.zeros((1, 8), np.uint8)
        db = bitkin.open(sys.argv[1])
        col = db.create_collection("c", bits=64)
        col.insert([1], one)
        batches = col.batches()
        pics = db.create_collection("p", encoder="pdq")
        pics.load_encoder()
        child = os.fork()
        if child == 0:
            for use in [db.stats, col.batches, lambda: next(batches), lambda: col.get_many([1]),
                        lambda: col.groups(1), lambda: 1 in col, lambda: pics.insert_images([b""]),
                        lambda: pics.encode_images([b""]), pics.load_encoder, lambda: pics.model,
                        db.collections, lambda: db.collection("c"), db.compact, db.refresh,
                        lambda: db.create_collection("d", bits=8), lambda: db.closed,
                        lambda: db.drop_collection("c"), db.__enter__,
                        lambda: len(col), lambda: col.search(one),
                        lambda: col.search_radius(one, 1),
                        lambda: col.insert(None, one), lambda: col.upsert([1], one),
                        lambda: col.delete([1]), lambda: col.get(1), col.stats, col.compact,
                        lambda: col.name]:
                try:
                    use()
                    os._exit(3)
                except bitkin.WrongProcess as error:
                    assert "forked" in str(error)
            assert "another process" in repr(db) and "another process" in repr(col)
            db.close()
            with bitkin.open(sys.argv[1], read_only=True) as mine:
                assert len(mine.collection("c")) == 1
            del db, col
            gc.collect()
            sys.exit(0)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0, status
        # The child neither closed nor unlocked what is the parent's.
        try:
            bitkin.open(sys.argv[1])
            sys.exit(4)
        except bitkin.Locked:
            pass
        col.insert([2], one)
        assert len(col) == 2
        db.close()
        print("well")
    """
    assert python(code, path) == ["well"]


@needs_fork
def test_a_fork_during_work(path):
    """Locks may be held at the fork by threads that the child does not have."""
    code = """
        import os, sys, threading, bitkin, numpy as np
        db = bitkin.open(sys.argv[1])
        col = db.create_collection("c", bits=64)
        done = threading.Event()
        def work():
            while not done.is_set():
                col.insert(None, np.zeros((10, 8), np.uint8))
                db.collections()
        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for _ in range(20):
            child = os.fork()
            if child == 0:
                repr(db), repr(col)
                db.close()
                del db, col
                os._exit(0)
            _, status = os.waitpid(child, 0)
            assert status == 0, status
        done.set()
        for thread in threads:
            thread.join()
        db.close()
        # A child that lives on does not hold the lock of a database that its parent closed.
        with bitkin.open(sys.argv[1]) as db:
            col = db.collection("c")
            child = os.fork()
            if child == 0:
                import time
                time.sleep(60)
                os._exit(0)
        bitkin.open(sys.argv[1]).close()
        os.kill(child, 9)
        os.waitpid(child, 0)
        print("well")
    """
    assert python(code, path) == ["well"]


def test_an_open_database_at_the_end_of_a_program(path):
    code = """
        import sys, bitkin, numpy as np
        db = bitkin.open(sys.argv[1])
        col = db.create_collection("c", bits=64)
        col.insert(None, np.zeros((7, 8), np.uint8))
    """
    python(code, path)
    with bitkin.open(path) as db:
        assert len(db.collection("c")) == 7
