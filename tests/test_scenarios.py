"""`imflow test --junit`, as a continuous integration reads it."""

import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from harness.server import BINARY

SCENARIOS = Path(__file__).parent / "scenarios"


def test_junit_counts_and_explains(tmp_path):
    results = tmp_path / "results.xml"
    files = ["gateway.toml", "failures.toml"]
    run = subprocess.run([BINARY, "test", *files, "--junit", results], cwd=SCENARIOS, capture_output=True, text=True)
    assert run.returncode == 1, run.stderr
    root = ElementTree.parse(results).getroot()
    suites = {suite.get("name"): suite for suite in root.iter("testsuite")}
    assert list(suites) == files
    assert suites["gateway.toml"].get("failures") == "0"
    failed = suites["failures.toml"]
    assert failed.get("failures") == failed.get("tests") == str(len(failed.findall("testcase/failure")))
    first = failed.find("testcase/failure")
    assert "expected 2" in first.text and "`clients`" in first.get("message")
