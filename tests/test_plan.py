"""`imflow plan`: a change is told before it is applied, against a file and against what runs."""

import json

from harness.wire import REPO

SHIPPED = (REPO / "dataflow.toml").read_text()


def test_the_same_file_has_nothing_to_do_against_what_runs(server):
    ran = server.run("plan")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "nothing to do" in ran.stdout


def test_a_change_is_told_with_its_effect_on_state_and_clients(server, tmp_path):
    new = tmp_path / "new.toml"
    longer = SHIPPED.replace('debounce = "3s"', 'debounce = "5s"')
    text = longer.replace('    "online",\n', "")
    assert SHIPPED != longer != text
    new.write_text(text)
    ran = server.run("plan", new, "--format", "json")
    assert ran.returncode == 2, ran.stdout + ran.stderr
    changes = json.loads(ran.stdout)
    nodes = {node["name"]: node for node in changes["nodes"]}
    assert nodes.keys() == {"online", "push"}
    assert nodes["online"]["settings"] == [{"name": "debounce", "old": '"3s"', "new": '"5s"'}]
    assert nodes["online"]["state"] == {"fate": "kept"}
    assert [(wire["from"], wire["added"]) for wire in nodes["push"]["wires"]] == [("online", False)]
    assert any("presence notices" in notice for notice in changes["clients"])

    against_file = server.run("plan", new, "--against", REPO / "dataflow.toml", "--format", "json")
    assert against_file.returncode == 2 and json.loads(against_file.stdout) == changes


def test_secrets_of_the_environment_are_not_told(make_server, tmp_path):
    config = tmp_path / "secret.toml"
    config.write_text(SHIPPED + '\n[sinks.mirror]\nkind = "file"\ninputs = ["store.committed"]\npath = "${MIRROR}"\n'
        + '\n[operators.marked]\nkind = "map"\ninputs = ["store.committed"]\nset = { mark = "${MARK}" }\n'
        + '\n[sinks.marks]\nkind = "file"\ninputs = ["marked"]\npath = "marks.ndjson"\n')
    server = make_server(config=config, env={"MIRROR": "s3cret.ndjson", "MARK": "'s3cret'"})
    status, topology = server.http("GET", "/v1/topology")
    assert status == 200
    mirror = next(node for node in topology["nodes"] if node["name"] == "mirror")
    marked = next(node for node in topology["nodes"] if node["name"] == "marked")
    assert marked["options"]["set"] == '{ mark = "${MARK}" }'
    assert mirror["options"]["path"] == '"${MIRROR}"' and "s3cret" not in json.dumps(topology)


def test_a_service_that_does_not_run_or_does_not_know_the_key_is_told(server, make_server):
    nobody = make_server(start=False)
    ran = nobody.run("plan")
    assert ran.returncode == 1 and "cannot be asked" in ran.stderr and "--against" in ran.stderr
    ran = nobody.run("plan", "--against", f"http://127.0.0.1:{server.port}")
    assert ran.returncode == 1 and "does not take the key" in ran.stderr
    assert server.http("GET", "/v1/topology", key="")[0] == 401
