"""The terminal's table of rows: every interval shown, missing rows told with their reason."""

from __future__ import annotations

import json
from importlib.resources import files

import jsonschema

from keuos_hil.environment import host_environment
from keuos_hil.results import Results
from keuos_hil.rows_table import missing_lines, rows_table, with_interval
from tests.row_results import estimate, recorded

SCHEMA = json.loads(files("keuos_hil").joinpath("schema/results.schema.json").read_text())


def test_rows_stand_by_their_ratio_with_every_interval():
    results = recorded()
    table = rows_table(results.measurements, results.samples, "linux")
    assert table is not None
    cells = {str(column.header): list(column.cells) for column in table.columns}
    assert cells["row"] == ["ring-56:pause", "pipe:pause"]
    assert cells["stratum"] == ["near", "near"]
    assert cells["article"] == ["", "610"]
    assert cells["to floor [95 %]"] == ["1.060 [1.039..1.081]", "300 [294..306]"]
    assert cells["p99.9 [95 %]"][0] == "too few"
    assert cells["rounds"] == ["30/5", "30/5"]
    assert cells["rejected"] == ["2", "2"]
    histograms = list(table.columns[-1].cells)
    assert str(histograms[0]).index("█") < str(histograms[1]).index("█"), "rows share one axis"


def test_without_rows_there_is_no_table():
    assert rows_table([], {}, "linux") is None
    assert rows_table(recorded().measurements, {}, "another") is None


def test_missing_rows_of_one_reason_are_one_line():
    assert missing_lines(recorded().missing) == [
        "missing, linux.round_trip on linux: Function not implemented: mq:sleep:same, mq:busy:same"
    ]


def test_a_figure_without_an_interval_says_so():
    assert with_interval(estimate(1234.5), 0) == "1,234 [no interval]"


def test_rows_are_written_as_the_schema_says_and_survive_a_worker_s_hands(tmp_path):
    together = Results()
    together.merge(recorded().to_text())
    environment = host_environment() | {"seed": 1, "timebases": {}, "commands": {}}
    document = json.loads(together.write(tmp_path, environment).read_text())
    jsonschema.validate(document, SCHEMA)
    assert document["measurements"][1]["ratio"]["value"] == 1.06
    assert len(document["missing"]) == 2
