"""What a user gets wrong: a sentence that says what was found, what was expected and what to do; nothing half-written."""

from __future__ import annotations

import csv
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tidemill as tm


def rewrite(folder, change):
    """Write parcels.csv again with every row changed; None drops the row, and the row's number comes second."""
    path = folder / "parcels.csv"
    with path.open(newline="") as file:
        rows = [dict(row) for row in csv.DictReader(file)]
    changed = [new for number, row in enumerate(rows) if (new := change(dict(row), number)) is not None]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(changed[0]))
        writer.writeheader()
        writer.writerows(changed)


def edit(folder, before, after):
    text = (folder / "post.py").read_text()
    assert before in text
    (folder / "post.py").write_text(text.replace(before, after))


def refused(done, code, *parts):
    """The command failed with this code, and its one line for people holds these words."""
    assert done.code == code, f"{done.code}: {done.err}"
    assert done.out == ""
    assert done.err.startswith("Error: ")
    assert done.err.count("\n") == 1
    assert "Traceback" not in done.err
    for part in parts:
        assert part in done.err


def nothing_there(invoke):
    assert invoke("sources", "--json").data == []


# -- files ---------------------------------------------------------------------------------------------------------


def test_a_missing_file(invoke, folder):
    (folder / "parcels.csv").unlink()
    refused(invoke("ingest", "parcels"), 3, "parcels.csv", "Check the url= of the source")
    refused(invoke("ingest", "parcels", "--url", "pracels.csv"), 3, "pracels.csv")
    nothing_there(invoke)


def test_another_delimiter(invoke, folder):
    path = folder / "parcels.csv"
    path.write_text(path.read_text().replace(",", ";"))
    refused(invoke("ingest", "parcels"), 5, "divided by a semicolon", "Expected columns divided by a comma")
    nothing_there(invoke)


@pytest.mark.parametrize(("text", "words"), [("", "is empty"), ("parcel,shipped_at,km\n", "a header and no rows")])
def test_an_empty_source(invoke, folder, text, words):
    (folder / "parcels.csv").write_text(text)
    refused(invoke("ingest", "parcels"), 5, words, "Expected")
    nothing_there(invoke)


# -- columns and values --------------------------------------------------------------------------------------------


def test_a_column_that_vanished(invoke, folder):
    assert invoke("ingest", "parcels").code == 0
    before = invoke("sources", "--json").data
    rewrite(folder, lambda row, number: {name: value for name, value in row.items() if name != "km"})
    refused(invoke("ingest", "parcels"), 5, "lacks the column 'km'", "Nothing was written", "clean=")
    assert invoke("sources", "--json").data == before


def test_a_time_column_that_is_not_there(invoke, folder):
    rewrite(folder, lambda row, number: {name: value for name, value in row.items() if name != "shipped_at"})
    refused(invoke("ingest", "parcels"), 3, "There is no column 'shipped_at'", "Known: carrier,", "source 'parcels'")
    nothing_there(invoke)


def test_mixed_types(invoke, folder):
    rewrite(folder, lambda row, number: {**row, "km": "far"} if number == 5 else row)
    refused(invoke("ingest", "parcels"), 5, "column 'km'", "'far' in row 6", "types={'km': 'float64'}")
    nothing_there(invoke)


def test_mixed_types_in_a_later_delivery_go_to_quarantine(invoke, folder):
    assert invoke("ingest", "parcels").code == 0
    rewrite(folder, lambda row, number: {**row, "parcel": f"x{number}", "km": "far" if number == 5 else row["km"]})
    (arrival,) = invoke("ingest", "parcels", "--json").data
    assert (arrival["rows"], arrival["quarantined"]) == (498, 2)
    assert "'far' in column 'km' is not of type Int64" in invoke("quarantine", "parcels").out
    rewrite(folder, lambda row, number: {**row, "parcel": f"y{number}"})
    refused(invoke("ingest", "parcels", "--strict"), 5, "2 rows of source 'parcels' fail", "Nothing was written")


def test_duplicated_ids(invoke, folder):
    rewrite(folder, lambda row, number: {**row, "parcel": "p1"} if number == 2 else row)
    (arrival,) = invoke("ingest", "parcels", "--json").data
    assert (arrival["rows"], arrival["quarantined"]) == (498, 2)
    assert {row["reason"] for row in invoke("quarantine", "parcels", "--json").data} >= {"repeated id"}


def test_a_time_in_the_future(invoke, folder):
    rewrite(folder, lambda row, number: {**row, "shipped_at": "2999-01-01T00:00:00Z"} if number == 9 else row)
    assert invoke("ingest").code == 0
    assert "in the future" in invoke("quarantine", "parcels").out
    row = ["lateness_facts", "carrier=snail", "km=1"]
    refused(invoke("features", "get", *row, "--at", "2999-01-01"), 2, "2999-01-01T00:00:00Z is in the future")


def test_a_naive_time_means_utc(invoke, folder):
    assert invoke("ingest", "parcels").code == 0
    newest = invoke("sources", "--json").data[0]["newest"]
    shutil.rmtree(folder / ".tidemill")
    rewrite(folder, lambda row, number: {**row, "shipped_at": row["shipped_at"].replace("+00:00", "")})
    assert invoke("ingest", "parcels").code == 0
    assert invoke("sources", "--json").data[0]["newest"] == newest


def test_what_is_no_time(invoke):
    assert invoke("ingest").code == 0
    row = ["lateness_facts", "carrier=snail", "km=1"]
    refused(invoke("features", "get", *row, "--at", "yesterday"), 2, "'yesterday' is not a time", "ISO-8601")
    refused(invoke("run", "parcel_pipeline", "until=yesterday"), 2, "'yesterday' is not a time")


# -- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "found", "hint"),
    [
        (["ingest", "parsels"], "no source 'parsels'", "Did you mean 'parcels'?"),
        (["quarantine", "parsels"], "no source 'parsels'", "Known: deliveries, parcels"),
        (["features", "materialize", "carier_delays"], "no feature view", "Did you mean 'carrier_delays'?"),
        (["features", "get", "lateness", "km=1"], "no feature service 'lateness'", "Known: lateness_facts"),
        (["run", "parcel_pipelin"], "no pipeline", "Did you mean 'parcel_pipeline'?"),
        (["runs", "show", "0123456789"], "0123456789", "tidemill runs"),
        (["models", "history", "parcels"], "no model 'parcels'", ""),
        (["models", "alias", "parcels", "champion", "3"], "no model 'parcels'", ""),
        (["plan", "--project", "nowhere"], "nowhere is no folder", "tidemill.toml"),
    ],
)
def test_an_unknown_name(invoke, words, found, hint):
    refused(invoke(*words), 3, found, hint)


@pytest.mark.parametrize(
    ("words", "found", "expected"),
    [
        (["run", "parcel_pipeline", "untill=2024-02-01"], "'untill'", "Known: until"),
        (["run", "parcel_pipeline", "tomorrow"], "'tomorrow' is not NAME=VALUE", "until=2013-04-01"),
        (["features", "get", "lateness_facts", "carrier"], "'carrier' is not COLUMN=VALUE", "carrier=UA"),
        (["runs", "list", "--filter", "nonsense > 0"], "no attribute 'nonsense'", "metrics.NAME"),
        (["runs", "show", "zz"], "'zz' is not the id of a run", "at least four"),
        (["ingest", "--url", "parcels.csv"], "--url says where one source is read from", "one source"),
        (["init", "elsewhere", "--name", "My Project"], "'My Project' is not a project name", "lower-case"),
    ],
)
def test_a_wrong_argument(invoke, folder, words, found, expected):
    refused(invoke(*words), 2, found, expected)
    assert not (folder / "elsewhere").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ingets"], "Did you mean 'ingest'"),
        (["ingest", "--stict"], "--strict"),
        (["features", "materialise"], "Did you mean 'materialize'"),
        (["up", "--port", "78789"], "--port"),
        (["serve", "--workers", "none"], "--workers"),
        (["models", "alias", "parcels", "champion", "three"], "version"),
        (["run"], "pipeline"),
    ],
)
def test_a_misspelled_command_or_option_is_a_misuse(invoke, words, said):
    done = invoke(*words)
    assert done.code == 2
    assert done.out == ""
    assert "Usage: tidemill" in done.err
    assert said in done.err


def test_init_leaves_a_project_that_is_there(invoke, folder):
    before = (folder / "tidemill.toml").read_text()
    refused(invoke("init"), 4, "tidemill.toml exists already")
    refused(invoke("init", "post.py"), 4, "post.py is a file")
    assert (folder / "tidemill.toml").read_text() == before


# -- definitions and settings --------------------------------------------------------------------------------------


def test_a_feature_over_a_column_that_is_not_there(invoke, folder):
    assert invoke("ingest").code == 0
    edit(folder, 'keys="carrier"', 'keys="carier"')
    refused(invoke("apply"), 3, "'carrier_delays'", "Did you mean 'carrier'?")
    edit(folder, 'keys="carier"', 'keys="carrier"')
    edit(folder, 'late=pl.col("hours")', 'late=pl.col("hour")')
    refused(invoke("apply"), 11, "'carrier_delays'", 'unable to find column "hour"', "Known: parcel,")
    assert {row["change"] for row in invoke("plan", "--json").data} == {"new"}


def test_a_project_file_that_does_not_import(invoke, folder):
    edit(folder, "@tm.step", "@tm.stpe")
    refused(invoke("apply"), 11, "importing post.py failed", "'stpe'", "step")
    (folder / "post.py").unlink()
    refused(invoke("apply"), 3, "post.py is listed in tidemill.toml", "Correct files")


def test_a_metric_that_is_not_there(invoke, folder):
    edit(folder, 'maximize="roc_auc"', 'maximize="auc"')
    assert invoke("ingest").code == 0
    refused(invoke("run", "parcel_pipeline"), 3, "no metric 'auc'", "roc_auc")
    assert invoke("models", "list", "--json").data == []


def test_a_pipeline_without_data(invoke):
    refused(invoke("run", "parcel_pipeline"), 6, "source 'parcels' has no rows yet", "tidemill ingest parcels")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('projct = "x"\n', "`projct`"),
        ("project =\n", "is not valid TOML"),
        ('project = "x"\n[serve]\nport = "many"\n', "serve.port"),
        ('project = "x"\nmetadata = "oracle://u:geheim@h/d"\n', "Known: sqlite:"),
        ('project = "A B"\n', "'A B' is not a project name"),
    ],
)
def test_wrong_settings(invoke, folder, text, said):
    (folder / "tidemill.toml").write_text(text)
    done = invoke("plan")
    refused(done, 2, said)
    assert "geheim" not in done.err


def test_no_project(invoke, folder):
    (folder / "tidemill.toml").unlink()
    refused(invoke("plan"), 3, "no tidemill.toml", "Run `tidemill init`")


# -- addresses -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("program", ["serve", "up"])
def test_a_port_that_is_in_use(invoke, program):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = invoke(program, "--port", str(port))
    assert done.code in (4, 6)
    refused(done, done.code, f"port {port} of 127.0.0.1", "choose another with --port")


@pytest.mark.parametrize("program", ["serve", "up"])
@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::"])
def test_an_address_that_others_can_reach(invoke, program, host):
    refused(invoke(program, "--host", host), 8, host, "no accounts yet", "127.0.0.1")


# -- the disk ------------------------------------------------------------------------------------------------------

FILL = """
import sys
sys.path.insert(0, sys.argv[2])
import conftest
from pathlib import Path
folder = conftest.make_project(Path(sys.argv[1]) / "post")
conftest.write_csv(folder / "parcels.csv", conftest.parcel_rows(9000))
full = conftest.invoke_in(folder, "ingest", "parcels")
print(full.code, full.err.strip())
print(conftest.invoke_in(folder, "sources", "--json").data)
conftest.write_csv(folder / "parcels.csv", conftest.parcel_rows(200))
print(conftest.invoke_in(folder, "ingest", "parcels", "--json").data[0]["rows"])
"""


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("unshare") is None, reason="needs Linux namespaces")
def test_a_full_disk_leaves_nothing_behind_and_work_goes_on_once_there_is_room(tmp_path):
    script = 'mount -t tmpfs -o size=1m none "$1" && exec "$0" -c "$2" "$1" "$3"'
    if subprocess.run(["unshare", "-rm", "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine does not allow namespaces")
    words = [sys.executable, str(tmp_path), FILL, str(Path(__file__).parent)]
    done = subprocess.run(["unshare", "-rm", "sh", "-c", script, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said, empty, rows = done.stdout.splitlines()
    assert said.startswith("7 Error: no room left on the disk")
    assert (empty, rows) == ("[]", "199")


# -- a model that does not fit -------------------------------------------------------------------------------------


def test_a_model_whose_signature_does_not_fit_the_service_is_not_served(trained, tmp_path, command, invoke):
    folder = shutil.copytree(trained, tmp_path / "misfit")
    edit(folder, "FeatureService([carrier_delays, parcel_facts])", "FeatureService([parcel_facts])")
    assert invoke("apply", "--project", folder).code == 0
    process = command("serve", "--port", "0", "--workers", "1", "--project", str(folder))
    for line in process.stderr:
        if "needs carrier_delays__late_mean_14d, which graph 'parcels' does not give it" in line:
            break
    else:
        pytest.fail("the server ended without a word")
    with tm.open(folder) as platform:
        ends = time.monotonic() + 30
        while (states := [one.state for one in platform.serving.generations("parcels")]) != ["failed"]:
            assert time.monotonic() < ends, states
            time.sleep(0.1)
    process.terminate()
    assert process.wait(60) == 0
