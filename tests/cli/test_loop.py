"""A model's life through the command line: the same facts as tables for people and as JSON for scripts."""

from __future__ import annotations

import re


def table(done):
    """The rows below the title and the header of a printed table."""
    assert done.code == 0, done.err
    return [line.split() for line in done.out.splitlines()[2:]]


def test_init_writes_a_project_that_doctor_can_examine(invoke, folder):
    (folder / "tidemill.toml").unlink()
    done = invoke("init", ".", "--name", "mail")
    assert done.code == 0, done.err
    assert "It lists post.py; then run `tidemill apply`" in done.out
    assert (folder / ".gitignore").read_text() == ".tidemill/\n"
    assert 'project = "mail"\nfiles = ["post.py"]' in (folder / "tidemill.toml").read_text()
    found = {row["what"]: row for row in invoke("doctor", "--json").data}
    assert found["project"]["configured"] == "mail"
    assert found["definitions"]["detail"] == "10 definitions"


def test_init_makes_a_name_of_the_folder_s_and_leaves_files_that_are_there(invoke, folder):
    (folder / "My Flights 2").mkdir()
    (folder / "My Flights 2" / ".gitignore").write_text("data/\n")
    assert invoke("init", "My Flights 2").code == 0
    assert 'project = "my-flights-2"' in (folder / "My Flights 2" / "tidemill.toml").read_text()
    assert (folder / "My Flights 2" / ".gitignore").read_text() == "data/\n"


def test_plan_shows_what_apply_then_does(invoke, folder):
    assert {row["change"] for row in invoke("plan", "--json").data} == {"new"}
    applied = {(row["kind"], row["name"]): row for row in invoke("apply", "--json").data}
    assert applied["feature_view", "carrier_delays"]["used_by"][0] == "feature_service/lateness_facts"
    assert len(applied) == 10
    assert {row[2] for row in table(invoke("plan"))} == {"same"}
    changed = (folder / "post.py").read_text().replace('over="14d"', 'over="7d"')
    (folder / "post.py").write_text(changed)
    again = {(row["kind"], row["name"]): row["change"] for row in invoke("plan", "--json").data}
    assert (again["feature_view", "carrier_delays"], again["source", "parcels"]) == ("changed", "same")


def test_ingest_tells_rows_and_what_went_to_quarantine(ask):
    arrived = ask("ingest", "--json").data
    assert {row["source"]: (row["rows"], row["quarantined"]) for row in arrived} == {
        "parcels": (499, 1),
        "deliveries": (500, 0),
    }
    assert arrived[0]["table"] == "sources/parcels@0"
    assert [row[:3] for row in table(ask("ingest", "deliveries"))] == [["deliveries", "500", "0"]]


def test_sources_and_quarantine(ask):
    listed = {row["source"]: row for row in ask("sources", "--json").data}
    assert listed["parcels"]["newest"] == "2024-02-21T23:30:00Z"
    assert [row[0] for row in table(ask("sources"))] == ["deliveries", "parcels"]
    (bad,) = ask("quarantine", "parcels", "--json").data
    assert (bad["id"], bad["reason"]) == ("p3", "km.between(0, 5000)")
    assert "km.between(0, 5000)" in ask("quarantine", "parcels").out
    assert ask("quarantine", "deliveries").out == "No row is in quarantine.\n"


def test_features_are_listed_brought_up_to_date_and_looked_up(ask):
    view, service = ask("features", "list", "--json").data
    assert (view["name"], view["rows"], view["newest"]) == ("carrier_delays", 500, "2024-02-24T07:36:00Z")
    assert view["lag_seconds"] > 0
    assert (view["kind"], view["version"], view["edited"]) == ("view", 1, False)
    assert (service["name"], service["uses"], service["rows"]) == (
        "lateness_facts",
        ["carrier_delays", "parcel_facts"],
        None,
    )
    assert [row[0] for row in table(ask("features", "list"))] == ["carrier_delays", "lateness_facts"]
    assert [row["name"] for row in ask("features", "search", "KM", "--json").data] == ["lateness_facts"]
    assert ask("features", "search", "moon").out == "Nothing says 'moon'. See all: tidemill features list\n"
    assert ask("features", "list", "--tag", "x").out.startswith("Nothing has the tags x.")
    assert {row["action"] for row in ask("features", "plan", "--json").data} == {"same"}
    shown = ask("features", "show", "carrier_delays", "--json").data
    used = {"feature_service/lateness_facts", "graph/parcels", "monitor/watch", "pipeline/parcel_pipeline"}
    versions = [one["version"] for one in ask("models", "list", "--json").data]
    assert set(shown["consumers"]) == used | {f"model/parcels/{max(versions)}"}
    assert shown["statistics"][0]["rows"] == 500
    assert 0 < shown["statistics"][0]["mean"] < 1
    said = ask("features", "show", "lateness_facts").out
    assert "carrier_delays__late_mean_14d" in said
    assert "snail" in said
    assert ask("features", "materialize", "carrier_delays", "--json").data[0]["rows"] == 0
    row = ["lateness_facts", "carrier=snail", "km=100", "--at", "2024-02-20T00:00:00Z"]
    vector = ask("features", "get", *row, "--json").data
    assert vector["carrier_delays__late_mean_14d"] > 0.5
    assert vector["km"] == 100
    shown = dict(table(ask("features", "get", *row)))
    assert shown["carrier_delays__late_mean_14d"] == f"{vector['carrier_delays__late_mean_14d']:.4g}"


def test_a_pipeline_is_planned_and_run(ask):
    planned = {row["node"]: row["cache"] for row in ask("run", "parcel_pipeline", "--plan", "--json").data}
    assert list(planned) == ["training_set", "split", "search", "promote"]
    assert [row[0] for row in table(ask("run", "parcel_pipeline", "--plan"))] == list(planned)
    done = ask("run", "parcel_pipeline", "until=2024-02-20", "--json").data
    assert (done["pipeline"], done["status"], len(done["steps"])) == ("parcel_pipeline", "finished", 4)
    shown = ask("run", "parcel_pipeline", "until=2024-02-20")
    assert shown.code == 0
    assert "romoted: " in shown.out


def test_runs_are_listed_filtered_and_shown(ask):
    trials = ask("runs", "list", "--filter", "kind = 'trial' AND metrics.roc_auc > 0", "--json").data
    assert len(trials) >= 2
    assert len(table(ask("runs", "list", "--limit", "2"))) == 2
    detail = ask("runs", "show", trials[0]["run"], "--json").data
    assert detail["id"] == trials[0]["run"]
    assert detail["params"]["depth"] in ("2", "4", 2, 4)
    assert "roc_auc" in detail["metrics"]
    end = trials[0]["run"][-12:]
    shown = ask("runs", "show", end).out
    assert f"Run {end}" in shown
    assert re.search(r"started_at +20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ\b", shown)
    assert re.search(r"peak_memory_bytes [\d.]+ [MG]B", shown)


def test_models_versions_aliases_and_their_history(ask):
    versions = ask("models", "list", "--json").data
    assert versions[0]["model"] == "parcels"
    assert any("champion" in row["aliases"] for row in versions)
    moved = ask("models", "alias", "parcels", "stable", "1", "--reason", "a look back", "--json").data
    assert moved == {"model": "parcels", "alias": "stable", "version": 1}
    assert ask("models", "alias", "parcels", "stable", "1").out == "parcels@stable is version 1.\n"
    (move, *_) = ask("models", "history", "parcels", "stable", "--json").data
    assert (move["from"], move["to"], move["reason"]) == (None, 1, "a look back")
    assert "stable" in ask("models", "history", "parcels", "stable").out


def test_monitors_alerts_and_decisions_say_so_when_nothing_happened(ask):
    for command, empty in [("monitor", "No window is complete yet."), ("alerts", "Nothing fired.")]:
        assert ask(command).out == f"{empty}\n"
        assert ask(command, "--json").data == []
    decided = ask("decisions", "--json").data
    assert all(row["reason"] for row in decided)
    assert ask("decisions").code == 0


def test_a_failed_run_is_resumed(invoke, folder):
    whole = (folder / "post.py").read_text()
    (folder / "post.py").write_text(
        whole.replace("    from sklearn", "    raise OSError('no licence')\n    from sklearn")
    )
    assert invoke("ingest").code == 0
    failed = invoke("run", "parcel_pipeline")
    assert failed.code == 11
    assert "no licence" in failed.err
    (folder / "post.py").write_text(whole)
    (run,) = invoke("runs", "list", "--filter", "kind = 'pipeline'", "--json").data
    assert run["status"] == "failed"
    done = invoke("resume", run["run"], "--json").data
    assert done["status"] == "finished"
