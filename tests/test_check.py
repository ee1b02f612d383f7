"""`imflow check` and `imflow explain`: exit codes, and the reports that editors and CI read."""

import json
import subprocess

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


def test_sarif_has_what_the_standard_requires(tmp_path):
    log = json.loads(imflow("check", "--config", broken(tmp_path), "--format", "sarif").stdout)
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    assert run["columnKind"] in ("utf16CodeUnits", "unicodeCodePoints")
    rules = {rule["id"]: rule for rule in run["tool"]["driver"]["rules"]}
    for result in run["results"]:
        assert result["ruleId"] in rules
        assert result["level"] == "error" and result["message"]["text"]
        location = result["locations"][0]["physicalLocation"]
        assert location["artifactLocation"]["uri"].endswith("broken.toml")
        region = location["region"]
        assert region["startLine"] >= 1 and region["startColumn"] >= 1
        assert (region["endLine"], region["endColumn"]) >= (region["startLine"], region["startColumn"])


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
