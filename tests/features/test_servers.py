"""Online features on servers: equal to offline, and a server that leaves while rows are pushed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from tests.features.tables import HOUR
from tests.features.test_online import Bench, both, some_weather, stamped, temp, temps, weather
from tests.stores.online.proxy import Proxy, own_prefix, proxy_of

from tidemill.core.errors import NotReady, Unavailable
from tidemill.core.specs import aggregates as agg
from tidemill.core.specs.features import FeatureService, FeatureView
from tidemill.core.specs.sources import Source
from tidemill.stores.online.buffered import BufferedOnline
from tidemill.stores.online.open import open_online

pytest.importorskip("redis")
pytestmark = pytest.mark.service

landings = Source("landings", time="at", id="number")
landed = FeatureView(
    None, source=landings, keys="place", name="landed",
    aggregates=[agg.count("late", over=[5 * HOUR, None]), agg.sum("late", over=5 * HOUR)],
)  # fmt: skip
of_landings = FeatureService([landed], name="of_landings")


def some_landings(numbers: list[int], first: int) -> pl.DataFrame:
    rows = {"place": ["a"] * len(numbers), "number": numbers, "late": [1.0] * len(numbers)}
    return stamped(rows, [HOUR * number for number in numbers], first=first)


@pytest.fixture
def proxy(redis_url: str) -> Iterator[Proxy]:
    with proxy_of(redis_url) as proxy:
        yield proxy


@pytest.fixture
def url(redis_url: str, proxy: Proxy) -> Iterator[str]:
    """The Redis behind the proxy, with a prefix of this test's own."""
    with own_prefix(redis_url) as prefix:
        yield f"redis://127.0.0.1:{proxy.port}{urlsplit(redis_url).path}?prefix={prefix}"


def opened(url: str, home: Path) -> Bench:
    store = open_online(url, home)
    assert isinstance(store, BufferedOnline)
    store._pause = 0  # the test does not wait
    return Bench(store)


ROWS = pl.DataFrame({"place": ["a", "b", "c"]})
AT = [4 * HOUR] * 3


def answers(bench: Bench, service: FeatureService) -> pl.DataFrame:
    return bench.online.lookup(service, ROWS, np.array(AT))


def test_rows_pushed_while_the_server_is_away_are_there_when_it_is_back(url: str, proxy: Proxy, tmp_path: Path) -> None:
    bench = opened(url, tmp_path)
    views = [temp, temps, landed]
    for source, rows in ((weather, some_weather()), (landings, some_landings([1, 2], first=1))):
        bench.add(source, rows)
    bench.online.materialize(views)
    proxy.close()
    with pytest.raises(Unavailable, match="does not answer"):
        answers(bench, both)
    with pytest.raises(Unavailable, match="does not answer"):
        bench.online.vector(both, {"place": "a"}, 4 * HOUR)
    for source, rows in (
        (weather, stamped({"place": ["b"], "temp": [9.0]}, [3 * HOUR], first=4)),
        (landings, some_landings([2, 3], first=3)),  # the second landing is reported again
        (landings, some_landings([3], first=5)),  # and the third, all while the server is away
    ):
        bench.add(source, rows)
        assert bench.online.apply_rows(views, source, rows)
    proxy.reopen()
    for service in (both, of_landings):
        assert_frame_equal(answers(bench, service), bench.offline(service, ROWS, AT))
    bench.online.materialize(views)  # meets the pushed rows again
    for service in (both, of_landings):
        assert_frame_equal(answers(bench, service), bench.offline(service, ROWS, AT))
    assert [fresh.rows for fresh in bench.online.freshness([temp])] == [4]
    bench.store.close()


def test_a_push_to_a_view_this_process_never_met_is_an_error_while_the_server_is_away(
    url: str, proxy: Proxy, tmp_path: Path
) -> None:
    bench = opened(url, tmp_path)
    bench.add(weather, some_weather())
    bench.online.materialize([temp])
    bench.restart()
    proxy.close()
    with pytest.raises(Unavailable):  # the row is in the table: the next materialize brings it
        bench.online.apply_rows([temp], weather, some_weather(first=4))
    proxy.reopen()
    bench.store.close()


def test_null_values_while_the_server_is_away(url: str, proxy: Proxy, tmp_path: Path) -> None:
    bench = opened(f"{url}&away=null", tmp_path)
    bench.add(weather, some_weather())
    bench.online.materialize([temp, temps])
    there = answers(bench, both)
    proxy.close()
    nothing = answers(bench, both)
    assert nothing.schema == there.schema
    assert nothing.rows() == [(None, None, None)] * 3
    proxy.reopen()
    assert_frame_equal(answers(bench, both), there)
    bench.store.close()


def test_a_second_store_answers_while_the_server_is_away(url: str, proxy: Proxy, tmp_path: Path) -> None:
    bench = opened(f"{url}&away=second&second=lmdb:second", tmp_path)
    bench.add(weather, some_weather())
    bench.online.materialize([temp, temps])
    proxy.close()
    more = stamped({"place": ["c"], "temp": [5.0]}, [3 * HOUR], first=4)
    bench.add(weather, more)
    bench.online.apply_rows([temp, temps], weather, more)
    bench.restart()
    assert_frame_equal(answers(bench, both), bench.offline(both, ROWS, AT))
    proxy.reopen()
    assert_frame_equal(answers(bench, both), bench.offline(both, ROWS, AT))
    bench.store.close()


def test_a_service_reads_the_generation_that_answers(url: str, tmp_path: Path) -> None:
    bench = opened(url, tmp_path)
    with pytest.raises(NotReady, match="not in the online store yet"):
        answers(bench, both)
    bench.add(weather, some_weather())
    bench.online.materialize([temp, temps])
    first = answers(bench, both)
    bench.online.materialize([temp, temps], full=True)  # the generation that was read is dropped
    assert_frame_equal(answers(bench, both), first)
    bench.online.remove([temps])
    with pytest.raises(NotReady, match="not in the online store yet"):
        answers(bench, both)
    bench.store.close()
