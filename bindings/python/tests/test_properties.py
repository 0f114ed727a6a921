"""Whatever is done to a collection, it holds and finds what arrays and dicts do."""

import shutil
import tempfile

import bitkin
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

# The same examples each time: a change is to blame when a test fails, and not the day.
QUICK = settings(
    max_examples=25,
    stateful_step_count=30,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)

# Few values, so that ids and codes meet.
IDS = st.integers(0, 40) | st.sampled_from([2**32, 2**63, 2**64 - 2])
WIDTHS = st.sampled_from([8, 13, 64, 72, 256])
PAYLOADS = st.none() | st.fixed_dictionaries({"n": st.integers(0, 5)}, optional={"s": st.text(max_size=3)})
FILTERS = {
    None: lambda payload: True,
    "n >= 3": lambda payload: payload is not None and payload["n"] >= 3,
    "not n = 1": lambda payload: payload is not None and payload["n"] != 1,
    "s is null": lambda payload: payload is None or "s" not in payload,
}


@st.composite
def codes_of(draw, bits, rows):
    """Codes that differ in few bits, with their padding bits zero."""
    chosen = draw(arrays.arrays(bool, (rows, min(bits, 9))))
    values = np.zeros((rows, bits), bool)
    values[:, -chosen.shape[1] :] = chosen
    return np.packbits(values, axis=1, bitorder="little")


def distances_of(codes, query):
    return np.unpackbits(codes ^ query, axis=1).sum(axis=1, dtype=np.uint32)


class Life(RuleBasedStateMachine):
    """A collection beside a dict from ids to codes and payloads."""

    @initialize(bits=WIDTHS, flush_rows=st.sampled_from([1, 65_536]))
    def begin(self, bits, flush_rows):
        self.folder = tempfile.mkdtemp()
        self.bits, self.flush_rows, self.rows = bits, flush_rows, {}
        # Whether there ever was a row of the last id, which none can follow.
        self.was_last = False
        self.open()
        self.col = self.db.create_collection("c", bits=bits, index={"n": "int"})

    def open(self):
        self.db = bitkin.open(f"{self.folder}/db", durability="none", flush_rows=self.flush_rows)

    def teardown(self):
        if hasattr(self, "db"):
            self.db.close()
            shutil.rmtree(self.folder)

    def draw_rows(self, data, ids):
        codes = data.draw(codes_of(self.bits, len(ids)))
        payloads = data.draw(st.lists(PAYLOADS, min_size=len(ids), max_size=len(ids)) | st.none())
        return codes, payloads

    def remember(self, ids, codes, payloads):
        payloads = payloads or [None] * len(ids)
        self.was_last |= 2**64 - 2 in ids
        for row, code, payload in zip(ids, codes, payloads):
            self.rows[row] = (code.tolist(), payload)

    @rule(data=st.data(), ids=st.lists(IDS, max_size=8))
    def insert(self, data, ids):
        codes, payloads = self.draw_rows(data, ids)
        try:
            assert self.col.insert(ids, codes, payloads).tolist() == ids
            assert len(set(ids)) == len(ids) and not set(ids) & set(self.rows)
            self.remember(ids, codes, payloads)
        except bitkin.AlreadyExists:
            assert set(ids) & set(self.rows)
        except bitkin.InvalidInput:
            assert len(set(ids)) < len(ids)

    @rule(data=st.data(), count=st.integers(0, 8))
    def append(self, data, count):
        codes, payloads = self.draw_rows(data, range(count))
        try:
            ids = self.col.insert(None, codes, payloads).tolist()
        except bitkin.InvalidInput:
            assert self.was_last
            return
        assert len(ids) == count and not set(ids) & set(self.rows)
        assert all(row > known for row in ids for known in self.rows)
        self.remember(ids, codes, payloads)

    @rule(data=st.data(), ids=st.lists(IDS, max_size=8, unique=True))
    def upsert(self, data, ids):
        codes, payloads = self.draw_rows(data, ids)
        replaced = self.col.upsert(np.array(ids, np.uint64), codes, payloads)
        assert replaced == len(set(ids) & set(self.rows))
        self.remember(ids, codes, payloads)

    @rule(ids=st.lists(IDS, max_size=8))
    def delete(self, ids):
        assert self.col.delete(ids) == len(set(ids) & set(self.rows))
        for row in ids:
            self.rows.pop(row, None)

    @rule(text=st.sampled_from([text for text in FILTERS if text]))
    def delete_where(self, text):
        gone = [row for row, (_, payload) in self.rows.items() if FILTERS[text](payload)]
        assert self.col.count(text) == len(gone)
        assert self.col.delete_where(text) == len(gone)
        for row in gone:
            del self.rows[row]

    @rule(what=st.sampled_from(["flush", "compact", "sync"]))
    def upkeep(self, what):
        getattr(self.db, what)()

    @rule()
    def open_again(self):
        self.db.close()
        self.open()
        self.col = self.db.collection("c")

    def passing(self, text):
        ids = sorted(row for row, (_, payload) in self.rows.items() if FILTERS[text](payload))
        codes = np.array([self.rows[row][0] for row in ids], np.uint8)
        return np.array(ids, np.uint64), codes.reshape(len(ids), -(-self.bits // 8))

    @rule(data=st.data(), count=st.integers(1, 3), k=st.integers(0, 60), text=st.sampled_from(list(FILTERS)))
    def search(self, data, count, k, text):
        queries = data.draw(codes_of(self.bits, count))
        ids, codes = self.passing(text)
        found, away, certified = self.col.search(queries, k, filter=text, return_certificate=True)
        for query, found, away, certified in zip(queries, found, away, certified):
            distances = distances_of(codes, query)
            order = np.lexsort((ids, distances))[:k]
            hits = len(order)
            assert found[:hits].tolist() == ids[order].tolist()
            assert away[:hits].tolist() == distances[order].tolist()
            assert (found[hits:] == bitkin.NO_ID).all() and (away[hits:] == bitkin.NO_DISTANCE).all()
            if k:
                assert certified == (away[k - 1] if hits == k else self.bits)

    @rule(data=st.data(), r=st.integers(0, 12), text=st.sampled_from(list(FILTERS)))
    def search_radius(self, data, r, text):
        queries = data.draw(codes_of(self.bits, 2))
        ids, codes = self.passing(text)
        hits = self.col.search_radius(queries, r, filter=text)
        for number, query in enumerate(queries):
            distances = distances_of(codes, query)
            order = np.lexsort((ids, distances))
            order = order[distances[order] <= r]
            mine = slice(*hits.offsets[number : number + 2])
            assert hits.ids[mine].tolist() == ids[order].tolist()
            assert hits.distances[mine].tolist() == distances[order].tolist()

    @rule(r=st.integers(0, 4), text=st.sampled_from(list(FILTERS)))
    def pairs_and_groups(self, r, text):
        ids, codes = self.passing(text)
        near = [
            (int(distance), int(ids[a]), int(b))
            for a in range(len(ids))
            for b, distance in zip(ids[a + 1 :], distances_of(codes[a + 1 :], codes[a]))
            if distance <= r
        ]
        a, b, distances = self.col.pairs(r, filter=text)
        assert list(zip(distances.tolist(), a.tolist(), b.tolist())) == sorted(near)
        groups = self.col.groups(r, filter=text)
        left = sorted(set(ids.tolist()) - set(groups.ids.tolist()))
        stays = codes[np.isin(ids, np.array(left, np.uint64))]
        for number, code in enumerate(stays):
            assert (distances_of(stays[number + 1 :], code) > r).all()
        code_of = dict(zip(ids.tolist(), codes))
        for number, kept in enumerate(groups.kept.tolist()):
            mine = slice(*groups.offsets[number : number + 2])
            assert kept in left and len(groups.ids[mine])
            for row, distance in zip(groups.ids[mine].tolist(), groups.distances[mine]):
                assert distances_of(code_of[row][None], code_of[kept])[0] == distance <= r

    @precondition(lambda self: hasattr(self, "col"))
    @invariant()
    def holds_the_same_rows(self):
        assert len(self.col) == len(self.rows)

    @rule(size=st.integers(1, 50), text=st.sampled_from(list(FILTERS)))
    def gives_the_same_rows(self, size, text):
        expected = [
            (row, *self.rows[row]) for row in sorted(self.rows) if FILTERS[text](self.rows[row][1])
        ]
        rows = [(row, code.tolist(), payload) for row, code, payload in self.col.rows(filter=text)]
        assert rows == expected
        batched = []
        for ids, codes, payloads in self.col.batches(size, filter=text):
            assert 0 < len(ids) <= size
            batched.extend(zip(ids.tolist(), codes.tolist(), payloads))
        assert batched == expected
        ids = list(range(0, 50, 7))
        for row, found in zip(ids, self.col.get_many(ids)):
            assert (found is not None) == (row in self.rows) == (row in self.col)
            if found is not None:
                assert (found[0].tolist(), found[1]) == self.rows[row]


TestLife = Life.TestCase
TestLife.settings = QUICK


@QUICK
@given(data=st.data(), bits=WIDTHS, rows=st.integers(0, 20))
def test_any_layout_of_the_same_codes(tmp_path_factory, data, bits, rows):
    codes = data.draw(codes_of(bits, rows))
    stride = codes.shape[1]
    wide = np.zeros((rows * 2, stride * 3), np.uint8)
    wide[::2, stride : 2 * stride] = codes
    layouts = [codes, np.asfortranarray(codes), wide[::2, stride : 2 * stride], codes[::-1].copy()[::-1]]
    with bitkin.open(tmp_path_factory.mktemp("db"), durability="none") as db:
        for number, layout in enumerate(layouts):
            layout.flags.writeable = False
            col = db.create_collection(f"c{number}", bits=bits)
            col.insert(None, layout)
            stored = [codes for _, codes, _ in col.batches(payloads=False)]
            assert np.concatenate([*stored, codes[:0]]).tolist() == codes.tolist()
            if rows:
                assert (col.search(layout, k=1)[1] == 0).all()
