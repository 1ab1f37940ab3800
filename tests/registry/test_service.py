from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from tidemill.core.clock import ManualClock
from tidemill.core.errors import InvalidArgument, InvalidData, NotFound, PermissionDenied
from tidemill.core.protocols import AliasMover, ModelRef, ModelSource, ProfileReader
from tidemill.core.records.events import Event, Pin
from tidemill.core.records.models import AliasMove, ModelVersion
from tidemill.core.records.runs import Link
from tidemill.core.uris import ModelUri, parse_model_uri
from tidemill.registry.service import EXAMPLE_ROWS, Registry, ref_of
from tidemill.stores.artifacts.protocol import ArtifactStore
from tidemill.stores.metadata.protocol import MetadataStore
from tidemill.tracking.dataset import Dataset
from tidemill.tracking.service import Tracking

CHAMPION = ModelUri("late", alias="champion")


@pytest.fixture
def model(rows: Dataset) -> Any:
    return HistGradientBoostingClassifier(max_iter=10, random_state=0).fit(rows.X, rows.y)


@pytest.fixture
def two(registry: Registry, rows: Dataset, model: Any) -> Registry:
    """A registry with two versions of `late`."""
    registry.register(model, "late", dataset=rows)
    registry.register(model, "late", dataset=rows)
    return registry


def test_it_is_what_the_others_need(registry: Registry) -> None:
    source: ModelSource = registry
    mover: AliasMover = registry
    profiles: ProfileReader = registry
    assert source is mover is profiles


def test_a_version_is_complete(
    registry: Registry, tracking: Tracking, rows: Dataset, model: Any, metadata: MetadataStore
) -> None:
    with tracking.start("train") as run:
        version = registry.register(
            model, "late", dataset=rows, metrics={"roc_auc": np.float64(0.75)}, params={"depth": 6}, run_id=run.id,
            profile=b'{"rows": 200}',
        )  # fmt: skip
    assert (version.model, version.version, version.format) == ("late", 1, "skops")
    assert version.metrics == {"roc_auc": 0.75}
    assert (version.dataset, version.service, version.trained_until) == (rows.digest, "late_flight", rows.manifest.last)
    assert registry.get("late", 1) == version
    assert registry.reference("late", 1) == b'{"rows": 200}'
    with metadata.read() as reader:
        pins = {pin.target for pin in reader.find(Pin, {"owner": "model/late/1"})}
        assert pins == {f"artifact/{digest}" for digest in (version.artifact, version.profile, version.example)}
        assert reader.find(Link, {"uri": "model/late/1"})[0].run_id == run.id
        assert [event.kind for event in reader.find(Event, {"subject": "model/late"})] == ["version.created"]
    assert f"run/{run.id}" in {node.uri for node in tracking.lineage("model/late/1").nodes}


def test_it_loads_and_answers_as_before(registry: Registry, rows: Dataset, model: Any) -> None:
    ref = ref_of(registry.register(model, "late", dataset=rows))
    loaded = registry.load(ref)
    assert np.array_equal(loaded.predict(rows.frame)["probability"].to_numpy(), model.predict_proba(rows.X)[:, 1])
    example = registry.example(ref)
    assert example is not None
    inputs, answers = example
    assert inputs.height == EXAMPLE_ROWS
    assert inputs.columns == ["carrier", "hour", "wind"]
    assert loaded.predict(inputs).equals(answers)


def test_versions_count_per_model(two: Registry, rows: Dataset, model: Any) -> None:
    assert two.register(model, "other", dataset=rows).version == 1
    assert [version.version for version in two.versions("late")] == [2, 1]
    assert [one.name for one in two.models()] == ["late", "other"]
    assert two.get("late", 1).artifact == two.get("late", 2).artifact


def test_threads_get_numbers_without_gaps(registry: Registry, rows: Dataset, model: Any) -> None:
    threads = [
        threading.Thread(target=registry.register, args=(model, "late"), kwargs={"dataset": rows}) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [version.version for version in registry.versions("late")] == [4, 3, 2, 1]


# -- what is refused


class Forgetful:
    """A model that does not survive being stored."""

    def __init__(self) -> None:
        self.bias = 1.0

    def predict(self, rows: Any) -> Any:
        return np.full(len(rows), self.bias)

    def __getstate__(self) -> dict[str, float]:
        return {"bias": 2.0}


def test_a_model_that_comes_back_different(registry: Registry, rows: Dataset, metadata: MetadataStore) -> None:
    with pytest.raises(InvalidData, match=r"prediction of row 0 was 1\.0 and is 2\.0"):
        registry.register(Forgetful(), "late", dataset=rows, trust=True)
    assert registry.models() == []
    with metadata.read() as reader:
        assert reader.count(ModelVersion) == reader.count(Event, {"kind": "version.created"}) == 0


def test_a_changed_file_is_noticed(two: Registry, artifacts: ArtifactStore) -> None:
    ref = two.resolve(ModelUri("late", version=1))
    assert ref is not None
    path = artifacts.local_path(ref.artifact)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"PK", b"KP", 1))
    with pytest.raises(InvalidData):
        two.load(ref)


def test_another_file_under_a_versions_name(two: Registry) -> None:
    with pytest.raises(InvalidData, match="models:/late/1 is not the file aaaa"):
        two.load(ModelRef("late", 1, "a" * 64))


class Constant:
    def predict(self, rows: Any) -> Any:
        return np.zeros(len(rows))


def test_pickle_needs_trust_to_be_kept(registry: Registry, rows: Dataset) -> None:
    with pytest.raises(InvalidArgument, match="trust=True"):
        registry.register(Constant(), "late", dataset=rows)
    version = registry.register(Constant(), "late", dataset=rows, trust=True)
    assert version.format == "pickle"
    assert registry.load(ref_of(version)).predict(rows.frame)["prediction"].to_list() == [0.0] * len(rows)


def test_a_pickle_from_elsewhere_is_not_loaded(registry: Registry, rows: Dataset, metadata: MetadataStore) -> None:
    version = registry.register(Constant(), "late", dataset=rows, trust=True)
    with metadata.write() as writer:
        writer.put(msgspec.structs.replace(version, environment={}))
    with pytest.raises(PermissionDenied, match="kept as pickle of unknown origin"):
        registry.load(ref_of(version))


@pytest.mark.parametrize("name", ["", "Late", "late flight", "../late", "a" * 129])
def test_names_of_models(registry: Registry, rows: Dataset, model: Any, name: str) -> None:
    with pytest.raises(InvalidArgument, match="is not a name of a model"):
        registry.register(model, name, dataset=rows)


def test_unknown_names(two: Registry) -> None:
    with pytest.raises(NotFound, match=r"model 'lat'.*Did you mean 'late'"):
        two.versions("lat")
    with pytest.raises(NotFound, match=r"version of model 'late' '3'.*Known: 1, 2"):
        two.get("late", 3)
    with pytest.raises(NotFound, match="Known: 1, 2"):
        two.resolve(ModelUri("late", version=3))
    with pytest.raises(NotFound, match="Did you mean 'late'"):
        two.set_alias("lat", "champion", 1, reason="typo")
    with pytest.raises(NotFound):
        two.history("lat")


# -- aliases


def test_an_alias_moves(two: Registry, clock: ManualClock, metadata: MetadataStore) -> None:
    assert two.resolve(CHAMPION) is None
    two.set_alias("late", "champion", 1, reason="first")
    clock.advance(10)
    two.set_alias("late", "champion", 2, reason="better by 0.01")
    assert two.alias("late", "champion") == 2
    assert two.aliases("late") == {"champion": 2}
    ref = two.resolve(parse_model_uri("models:/late@champion"))
    assert ref is not None
    assert (ref.version, ref.service) == (2, "late_flight")
    moves = [(move.before, move.after, move.reason, move.principal) for move in two.history("late", "champion")]
    assert moves == [(None, 1, "first", "ada"), (1, 2, "better by 0.01", "ada")]
    with metadata.read() as reader:
        bodies = [event.body for event in reader.find(Event, {"kind": "alias.moved"})]
    assert bodies[-1] == {"alias": "champion", "before": 1, "after": 2, "reason": "better by 0.01"}


def test_an_alias_at_a_time(two: Registry, clock: ManualClock) -> None:
    start = clock.now()
    two.set_alias("late", "champion", 1, reason="first")
    clock.advance(10)
    two.set_alias("late", "champion", 2, reason="better")
    clock.advance(10)
    two.remove_alias("late", "champion", reason="retired")
    times = [start - 1, start, start + 9, start + 10, start + 19, start + 20, start + 99]
    assert [two.alias_at("late", "champion", at) for at in times] == [None, 1, 1, 2, 2, None, None]


def test_moving_to_where_it_is_changes_nothing(two: Registry) -> None:
    two.set_alias("late", "champion", 1, reason="first")
    two.set_alias("late", "champion", 1, reason="again")
    assert len(two.history("late")) == 1


def test_an_alias_is_removed(two: Registry) -> None:
    two.set_alias("late", "champion", 1, reason="first")
    two.remove_alias("late", "champion", reason="retired")
    assert two.resolve(CHAMPION) is None
    assert two.history("late", "champion")[-1].after is None
    with pytest.raises(NotFound, match="Registered model alias champion not found"):
        two.remove_alias("late", "champion", reason="again")


@pytest.mark.parametrize("alias", ["latest", "v3", "v10", "Champion", "", "a b", "../x"])
def test_names_that_are_no_alias(two: Registry, alias: str) -> None:
    with pytest.raises(InvalidArgument):
        two.set_alias("late", alias, 1, reason="")


def test_an_alias_needs_a_version(two: Registry, metadata: MetadataStore) -> None:
    with pytest.raises(NotFound, match="Known: 1, 2"):
        two.set_alias("late", "champion", 7, reason="")
    with metadata.read() as reader:
        assert reader.count(AliasMove) == 0


def test_descriptions(two: Registry) -> None:
    two.describe("late", description="Will it land late?", tags={"owner": "ada"})
    two.describe("late", tags={"tier": 1})
    assert (two.models()[0].description, two.models()[0].tags) == ("Will it land late?", {"owner": "ada", "tier": 1})


LOADS = """
    import sys
    from pathlib import Path
    from tidemill.core.clock import ManualClock
    from tidemill.core.scope import Scope
    from tidemill.core.uris import parse_model_uri
    from tidemill.registry.service import Registry
    from tidemill.stores.artifacts.open import open_artifacts
    from tidemill.stores.metadata.open import open_metadata

    home = Path(sys.argv[1])
    stores = {"metadata": open_metadata("sqlite:", home), "artifacts": open_artifacts("file:", home)}
    registry = Registry(Scope("bikes", "bob", ManualClock(1_800_000_000_000_000)), **stores)
    ref = registry.resolve(parse_model_uri("models:/late@champion"))
    inputs, answers = registry.example(ref)
    assert registry.load(ref).predict(inputs).equals(answers)
    registry.set_alias("late", "challenger", 1, reason="from another process")
"""


def test_another_process_loads_the_same_model(two: Registry, tmp_path: Path) -> None:
    two.set_alias("late", "champion", 2, reason="first")
    script = [sys.executable, "-c", textwrap.dedent(LOADS), str(tmp_path)]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert two.history("late")[-1].principal == "bob"


def test_rows_to_check_with_can_be_given(registry: Registry, rows: Dataset, model: Any) -> None:
    own = pl.DataFrame({"carrier": ["AA"], "hour": [5], "wind": [None]}, schema_overrides={"wind": pl.Float64})
    version = registry.register(model, "late", dataset=rows, examples=own, trained_until=7)
    example = registry.example(ref_of(version))
    assert example is not None
    assert example[0].equals(own)
    assert version.trained_until == 7
