"""`imflow check` and `imflow explain`: exit codes, and the reports that editors and CI read."""

import json
import pathlib
import re
import subprocess
from urllib.parse import unquote

import jsonschema

from harness.server import BINARY, REPO


def imflow(*arguments):
    return subprocess.run([BINARY, *arguments], cwd=REPO, capture_output=True, text=True, timeout=60)


def broken(tmp_path):
    path = tmp_path / "broken.toml"
    text = (REPO / "dataflow.toml").read_text()
    path.write_text(text.replace('"7d"', '"7 days"').replace('"allowed.denied"', '"alowed.denied"'))
    return str(path)


def test_a_right_file_ends_with_0_and_a_wrong_one_with_78(tmp_path):
    assert imflow("check").returncode == 0
    wrong = imflow("check", "--config", broken(tmp_path))
    assert wrong.returncode == 78
    assert "error[E009]" in wrong.stderr and "did you mean `allowed`?" in wrong.stderr


def test_json_tells_code_and_place_of_each_mistake(tmp_path):
    path = broken(tmp_path)
    report = imflow("check", "--config", path, "--format", "json")
    assert report.returncode == 78
    mistakes = json.loads(report.stdout)["mistakes"]
    lines = open(path, encoding="utf-8").read().splitlines()
    for mistake in mistakes:
        at = mistake["at"]
        assert at["file"] == path
        assert lines[at["line"] - 1][at["column"] - 1 : at["endColumn"] - 1] in ('"7 days"', '"alowed.denied"')
    assert {mistake["code"] for mistake in mistakes} == {"E005", "E009"}
    assert json.loads(imflow("check", "--format", "json").stdout) == {"mistakes": []}


def test_sarif_is_what_its_schema_says(tmp_path):
    # The schema that Microsoft ships with its own matchers (npm: @microsoft/jest-sarif 1.0.0-beta.0, MIT).
    schema = json.loads((pathlib.Path(__file__).parent / "schemas/sarif-2.1.0-rtm.5.json").read_text())
    validator = jsonschema.Draft4Validator(schema)
    odd = tmp_path / "a b: ü.toml"
    odd.write_text(pathlib.Path(broken(tmp_path)).read_text())
    logs = [
        imflow("check", "--config", broken(tmp_path), "--format", "sarif"),
        imflow("check", "--config", str(odd), "--set", "service.workers=many", "--format", "sarif"),
        imflow("check", "--format", "sarif"),
    ]
    assert [log.returncode for log in logs] == [78, 78, 0]
    for log in map(lambda log: json.loads(log.stdout), logs):
        assert [error.message for error in validator.iter_errors(log)] == []
        (run,) = log["runs"]
        assert run["columnKind"] in ("utf16CodeUnits", "unicodeCodePoints")
        rules = {rule["id"] for rule in run["tool"]["driver"]["rules"]}
        for result in run["results"]:
            assert result["ruleId"] in rules
            location = result["locations"][0]["physicalLocation"]
            assert re.fullmatch(r"[A-Za-z0-9._~/%-]+", location["artifactLocation"]["uri"])
            region = location["region"]
            assert (region["endLine"], region["endColumn"]) >= (region["startLine"], region["startColumn"])
    uris = {r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for r in json.loads(logs[1].stdout)["runs"][0]["results"]}
    assert {unquote(uri) for uri in uris} == {str(odd), "--set"}


def test_every_profile_is_checked_and_each_mistake_told_once(tmp_path):
    path = tmp_path / "profiles.toml"
    profiles = """
        [profiles.dev.operators.online]
        debounce = "soon"
        [profiles.prod.operators.online]
        debonce = "1s"
        [profiles.fine.operators.online]
        debounce = "1s"
    """
    path.write_text((REPO / "dataflow.toml").read_text() + profiles)
    wrong = imflow("check", "--config", str(path))
    assert wrong.returncode == 78 and "2 mistakes found" in wrong.stderr
    assert "(under the profile `dev`)" in wrong.stderr and "(under the profile `prod`)" in wrong.stderr
    assert imflow("check", "--config", str(path), "--profile", "fine").returncode == 0
    path.write_text(path.read_text().replace('"7d"', '"7 days"'))
    assert "3 mistakes found" in imflow("check", "--config", str(path)).stderr


def test_github_gets_one_annotation_a_mistake(tmp_path):
    report = imflow("check", "--config", broken(tmp_path), "--format", "github")
    annotations = [line for line in report.stdout.splitlines() if line.startswith("::error ")]
    assert len(annotations) == 3


def test_explain_tells_a_code_with_both_examples():
    page = imflow("explain", "e019")
    assert page.returncode == 0
    assert "Wrong" in page.stdout and "Right" in page.stdout and "TIMEOUT" in page.stdout
    assert imflow("explain", "E999").returncode == 2


def test_expanded_prints_a_file_that_means_the_same(tmp_path):
    path = tmp_path / "expanded.toml"
    path.write_text(imflow("check", "--expanded").stdout)
    assert imflow("check", "--config", str(path)).stdout.split(":")[-1] == imflow("check").stdout.split(":")[-1]
