"""A server that goes away for a while: writes are kept and replayed in order, reads fall back as declared."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.stores.online.proxy import Proxy, own_prefix, proxy_of

from tidemill.core.errors import InvalidArgument, NotFound, Unavailable
from tidemill.stores.online.buffered import BufferedOnline
from tidemill.stores.online.memory import MemoryOnline, MemoryReader
from tidemill.stores.online.open import open_online
from tidemill.stores.online.pending import Pending
from tidemill.stores.online.protocol import Entries, Latest, OnlineStore, Position, Range, Stats
from tidemill.testing.online_suite import WIDTH, OnlineSuite, entries, payload


class Leaving(MemoryOnline):
    """A store that can be away."""

    def __init__(self) -> None:
        super().__init__()
        self.gone = False

    def check(self) -> None:
        if self.gone:
            raise Unavailable("the server has left")

    @contextmanager
    def read(self) -> Iterator[MemoryReader]:
        self.check()
        with super().read() as reader:
            yield reader

    def declare(self, view: str, *, width: int | None) -> None:
        self.check()
        super().declare(view, width=width)

    def append(self, view: str, entries: Entries, *, positions: Any = None) -> int:
        self.check()
        return super().append(view, entries, positions=positions)

    def trim(self, view: str, before: int) -> int:
        self.check()
        return super().trim(view, before)

    def drop(self, view: str) -> None:
        self.check()
        super().drop(view)


def content(store: OnlineStore) -> dict[str, Any]:
    """All there is."""
    keys = [b"a", b"b", b"c"]
    with store.read() as reader:
        return {
            view: (
                reader.stats(view),
                reader.position(view, "table"),
                [
                    (one.words.tolist(), [bytes(payload) for payload in one.payloads])
                    for one in reader.range(view, keys, [-(2**63)] * 3, [2**63 - 1] * 3)
                ],
            )
            for view in reader.views()
        }


class TestBufferedOnline(OnlineSuite):
    """With a server that is there, nothing is different."""

    @pytest.fixture
    def online(self, tmp_path: Path) -> Iterator[BufferedOnline]:
        store = BufferedOnline(MemoryOnline(), Pending(tmp_path, "server"))
        yield store
        store.close()


_rows = st.lists(
    st.tuples(
        st.sampled_from([b"a", b"b", b"c"]), st.tuples(*[st.integers(0, 4)] * 3), st.integers(0, 99).map(payload)
    ),
    max_size=6,
)
_steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.sampled_from(["v", "w"]), _rows, st.integers(0, 9)),
        st.tuples(st.just("trim"), st.sampled_from(["v", "w"]), st.integers(0, 5)),
        st.tuples(st.just("drop"), st.sampled_from(["v", "w"])),
        st.tuples(st.sampled_from(["leave", "return", "restart", "read"])),
    ),
    max_size=25,
)


@pytest.mark.parametrize("fixed", [True, False])
@given(steps=_steps)
def test_whenever_the_server_leaves_it_ends_up_as_if_it_had_stayed(fixed: bool, steps: list[tuple[Any, ...]]) -> None:
    server, oracle = Leaving(), MemoryOnline()
    with TemporaryDirectory() as folder:
        store = BufferedOnline(server, Pending(Path(folder), "server"), pause=0)
        for kind, *rest in steps:
            if kind in ("leave", "return"):
                server.gone = kind == "leave"
            elif kind == "restart":
                store.close()
                store = BufferedOnline(server, Pending(Path(folder), "server"), pause=0)
            elif kind == "read" and not server.gone:
                assert content(store) == content(oracle)
            elif kind != "read":
                for target in (store, oracle):
                    do(target, kind, rest, fixed)
        server.gone = False
        assert content(store) == content(oracle)
        assert store.condition() is None
        store.close()


def do(store: OnlineStore, kind: str, arguments: Sequence[Any], fixed: bool) -> None:
    view, *rest = arguments
    if kind == "drop":
        store.drop(view)
        return
    store.declare(view, width=WIDTH if fixed else None)
    if kind == "append":
        store.append(view, entries(rest[0], fixed=fixed), positions={"table": rest[1]})
    else:
        store.trim(view, rest[0])


def one(step: int) -> Entries:
    return entries([(b"a", (step, step, step), payload(step))], fixed=True)


def test_a_write_that_can_never_be_done_is_put_aside_and_the_rest_goes_on(tmp_path: Path) -> None:
    server = Leaving()
    store = BufferedOnline(server, Pending(tmp_path, "server"), pause=0)
    store.declare("v", width=WIDTH)
    server.gone = True
    assert store.append("elsewhere", one(1)) == 1
    store.append("v", one(2))
    assert store.condition() == "the server has left.; 2 writes waiting for it"
    server.gone = False
    with store.read() as reader:
        assert reader.stats("v").rows == 1
    assert store.condition() == "1 write that could not be carried out"
    store.close()


QUESTIONS = [Position("v", "table"), Latest("v", [b"a", None], [9, 9]), Range("v", [b"a"], [0], [9]), Stats("v")]


def filled(server: OnlineStore, folder: Path, **options: Any) -> BufferedOnline:
    store = BufferedOnline(server, Pending(folder, "server"), pause=0, **options)
    store.declare("v", width=WIDTH)
    store.append("v", one(1), positions={"table": 7})
    return store


def test_reads_of_a_server_that_left_are_an_error(tmp_path: Path) -> None:
    server = Leaving()
    store = filled(server, tmp_path)
    with store.read() as reader:
        server.gone = True
    with store.read() as reader, pytest.raises(Unavailable, match="has left"):
        reader.answer(QUESTIONS)
    with store.read() as reader, pytest.raises(Unavailable, match="has left"):
        reader.latest("v", [b"a"], [9])
    store.close()


def test_services_may_be_answered_with_nulls(tmp_path: Path) -> None:
    server = Leaving()
    store = filled(server, tmp_path, nulls=True)
    server.gone = True
    with store.read() as reader, pytest.raises(Unavailable):
        reader.answer(QUESTIONS)  # never answered before: nobody knows the generation
    server.gone = False
    with store.read() as reader:
        reader.answer(QUESTIONS)
    server.gone = True
    with store.read() as reader:
        position, latest, blocks, stats = reader.answer(QUESTIONS)
        assert (position, latest, stats) == (7, [None, None], (0, None))
        assert [block.words.shape for block in blocks] == [(0, 3 + WIDTH // 8)]
        with pytest.raises(Unavailable):  # writes depend on it: nothing is made up
            reader.position("v", "table")
    store.close()


def test_a_second_store_answers_with_all_that_was_written(tmp_path: Path) -> None:
    server, second = Leaving(), MemoryOnline()
    store = filled(server, tmp_path, second=second)
    server.gone = True
    assert store.append("v", entries([(b"a", (t, t, t), payload(t)) for t in (1, 2)], fixed=True)) == 1
    with store.read() as reader:
        assert reader.stats("v").rows == 2
        assert reader.answer([Stats("v"), Position("v", "table")]) == [(2, 2), 7]
    server.gone = False
    assert content(store) == content(second)
    store.close()


def test_a_second_store_that_came_later_takes_what_it_knows(tmp_path: Path) -> None:
    server = Leaving()
    filled(server, tmp_path).close()
    store = BufferedOnline(server, Pending(tmp_path, "server"), pause=0, second=MemoryOnline())
    store.append("v", one(2))
    server.gone = True
    with store.read() as reader, pytest.raises(NotFound):
        reader.stats("v")
    store.close()


def test_a_write_of_another_process_that_waits_comes_first(tmp_path: Path) -> None:
    server = Leaving()
    idle, other = (BufferedOnline(server, Pending(tmp_path, "server"), pause=0) for _ in range(2))
    idle.declare("v", width=WIDTH)
    server.gone = True
    other.drop("v")
    other.declare("v", width=WIDTH)
    server.gone = False
    idle.append("v", one(1))  # it never met the server away: the drop must not come after it
    with idle.read() as reader:
        assert reader.stats("v").rows == 1
    assert len(Pending(tmp_path, "server")) == 0
    for store in (idle, other):
        store.close()


# -- a real server -----------------------------------------------------------------------------------------------------


@pytest.fixture
def proxy(redis_url: str) -> Iterator[Proxy]:
    with proxy_of(redis_url) as proxy:
        yield proxy


@pytest.fixture
def away_url(redis_url: str, proxy: Proxy) -> Iterator[str]:
    """The Redis behind the proxy, with a prefix of this test's own."""
    with own_prefix(redis_url) as prefix:
        yield f"redis://127.0.0.1:{proxy.port}{urlsplit(redis_url).path}?prefix={prefix}"


def opened(url: str, home: Path, **options: Any) -> BufferedOnline:
    store = open_online(url, home)
    assert isinstance(store, BufferedOnline)
    store._pause = 0  # the test does not wait
    return store


@pytest.mark.service
def test_redis_gone_and_back(away_url: str, proxy: Proxy, tmp_path: Path) -> None:
    store, expected = opened(away_url, tmp_path), MemoryOnline()
    for step in range(30):
        if step == 10:
            proxy.close()
        if step == 20:
            with store.read() as reader, pytest.raises(Unavailable, match="does not answer"):
                reader.latest("v", [b"a"], [99])
            assert "30 writes waiting" in str(store.condition())  # declared and appended, 15 of them twice
            proxy.reopen()
        for target in (store, expected):
            target.declare("v", width=WIDTH)
            target.append("v", one(step), positions={"table": step})
            if step in (12, 13, 14, 15, 16):  # delivered again
                target.declare("v", width=WIDTH)
                target.append("v", one(step), positions={"table": step})
    assert content(store) == content(expected)
    assert store.condition() is None
    store.close()


KEEPER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from tests.stores.online.test_buffered import one
from tidemill.stores.online.open import open_online
store = open_online(sys.argv[1], Path(sys.argv[2]))
step = 0
while True:
    step += 1
    store.append("v", one(step), positions={"table": step})
    print(step, flush=True)
"""


@pytest.mark.service
def test_a_killed_process_leaves_the_writes_it_acknowledged(away_url: str, proxy: Proxy, tmp_path: Path) -> None:
    store = opened(away_url, tmp_path)
    store.declare("v", width=WIDTH)
    proxy.close()
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", KEEPER, away_url, str(tmp_path), str(root)]
    keeper = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert keeper.stdout is not None
    acknowledged = 0
    for _ in range(50):
        acknowledged = int(keeper.stdout.readline())
    keeper.send_signal(signal.SIGKILL)
    rest, _ = keeper.communicate()
    acknowledged = max([acknowledged, *map(int, rest.split("\n")[:-1])])
    proxy.reopen()
    store.close()
    again = opened(away_url, tmp_path)
    with again.read() as reader:
        rows, position = reader.stats("v").rows, reader.position("v", "table")
    assert rows == position
    assert rows in (acknowledged, acknowledged + 1)
    again.close()


@pytest.mark.parametrize(
    ("options", "words"),
    [("away=never", "error, null, second"), ("away=second", "come together"), ("second=lmdb:", "come together")],
)
def test_what_is_declared_for_a_server_that_is_away_is_checked(options: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=words):
        open_online(f"redis://127.0.0.1:1/0?{options}", tmp_path)
