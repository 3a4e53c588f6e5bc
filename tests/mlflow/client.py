"""Logs with the unmodified MLflow client and reads everything back, exactly.

usage: client.py URL
"""

import json
import math
import os
import struct
import sys
import tempfile
import urllib.parse
import urllib.request

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["DO_NOT_TRACK"] = "true"
os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "1"

import mlflow  # noqa: E402
from mlflow import MlflowClient  # noqa: E402
from mlflow.entities import Metric, Param, RunTag, ViewType  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402

url = sys.argv[1]
mlflow.set_tracking_uri(url)
mlflow.set_registry_uri(url)
client = MlflowClient()


def equal(found, wanted, what):
    assert found == wanted, f"{what}: {found!r}, wanted {wanted!r}"


def refused(code, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except MlflowException as error:
        equal(error.error_code, code, f"{call.__name__}{args}")
        return str(error)
    raise AssertionError(f"{call.__name__}{args} was not refused")


def bits(value):
    return "nan" if math.isnan(value) else struct.pack(">d", value)


def ask(path, **params):
    with urllib.request.urlopen(f"{url}/api/v1/{path}?" + urllib.parse.urlencode(params)) as answer:
        return json.load(answer)["data"]["result"]


# Experiments and runs.
experiment = mlflow.set_experiment("exact").experiment_id
refused("RESOURCE_ALREADY_EXISTS", client.create_experiment, "exact")
start = 1_700_000_000_000
with mlflow.start_run(run_name="first") as run:
    mlflow.log_params({"lr": 0.1, "opt": "adam"})
    for step in range(20):
        mlflow.log_metric("loss", 1 / (step + 1), step=step, timestamp=start + step // 2 * 1000)
    mlflow.log_metrics({f"m/{index}": index / 7 for index in range(1500)}, step=3)
    mlflow.set_tag("team", "vision")
run_id = run.info.run_id
found = client.get_run(run_id)
equal(found.info.status, "FINISHED", "status")
equal(found.data.params, {"lr": "0.1", "opt": "adam"}, "params")
equal(len(found.data.metrics), 1501, "metrics")
equal(found.data.metrics["loss"], 1 / 20, "the latest loss")
history = [(m.timestamp, m.step, m.value) for m in client.get_metric_history(run_id, "loss")]
equal(history, [(start + s // 2 * 1000, s, 1 / (s + 1)) for s in range(20)], "history")

# Points that other stores lose: special values, steps that go back, several in a millisecond, repetitions.
odd = [
    (0, 0, 0.0), (0, 0, -0.0), (5, -3, math.inf), (5, -3, -math.inf), (5, 7, math.nan), (4, 9, 5e-324),
    (9, 2**53 - 1, 1.7976931348623157e308), (9, 1, 0.1), (9, 1, 0.1),
]
other = client.create_run(experiment, run_name="odd", start_time=start).info.run_id
for _ in range(2):
    client.log_batch(other, metrics=[Metric("odd", value, time, step) for time, step, value in odd])
found = [(m.timestamp, m.step, bits(m.value)) for m in client.get_metric_history(other, "odd")]
wanted = sorted(set((time, step, bits(value)) for time, step, value in odd))
equal(sorted(found, key=str), sorted(wanted, key=str), "odd points, each once")
equal(found[0][:2] + found[-1][:2], (0, 0, 9, 2**53 - 1), "their order")
equal(client.get_run(other).data.metrics["odd"], 1.7976931348623157e308, "the latest odd point")

# What is refused, and leaves nothing.
refused("INVALID_PARAMETER_VALUE", client.log_param, run_id, "lr", "0.2")
refused("INVALID_PARAMETER_VALUE", client.log_batch, other, metrics=[Metric("a//b", 1, 1, 0)])
refused("INVALID_PARAMETER_VALUE", client.log_batch, other, params=[Param("p", "1"), Param("p", "2")])
refused("INVALID_PARAMETER_VALUE", client.search_runs, [experiment], "metrics.loss > 'x'")
refused("RESOURCE_DOES_NOT_EXIST", client.get_run, "0" * 32)
refused("RESOURCE_DOES_NOT_EXIST", client.delete_tag, run_id, "none")
equal(client.get_run(other).data.params, {}, "refused params")
client.log_batch(other, params=[Param("lr", "0.5")], tags=[RunTag("team", "nlp")])

# Searching.
def search(text, **more):
    return [r.info.run_name for r in client.search_runs([experiment], text, **more)]


equal(search("metrics.loss < 0.06 and params.opt = 'adam'"), ["first"], "search by metric and param")
equal(search("tags.team LIKE 'n%' and attributes.run_name != 'first'"), ["odd"], "search by tag and name")
equal(search("params.opt IS NULL"), ["odd"], "search for a missing param")
equal(search("", order_by=["params.lr DESC"]), ["odd", "first"], "order by a param")
equal(search("", order_by=["metrics.loss ASC"]), ["first", "odd"], "runs without a metric come last")
page = client.search_runs([experiment], max_results=1)
second = client.search_runs([experiment], max_results=1, page_token=page.token)
equal(len({page[0].info.run_id, second[0].info.run_id}), 2, "two pages")
client.delete_run(other)
message = refused("INVALID_PARAMETER_VALUE", client.log_metric, other, "loss", 1.0)
assert "active" in message, message
equal(search("", run_view_type=ViewType.DELETED_ONLY), ["odd"], "deleted runs")
client.restore_run(other)

# Artifacts, one of several pieces.
with tempfile.TemporaryDirectory() as folder:
    content = os.urandom(3 << 20) + b"\x00\r\n"
    path = os.path.join(folder, "large file.bin")
    with open(path, "wb") as file:
        file.write(content)
    client.log_artifact(run_id, path, "deep/er")
    listed = client.list_artifacts(run_id, "deep/er")
    equal([(f.path, f.file_size) for f in listed], [("deep/er/large file.bin", len(content))], "artifacts")
    with open(client.download_artifacts(run_id, "deep/er/large file.bin", folder), "rb") as file:
        assert file.read() == content, "an artifact changed"
for path in ["../x", "%2e%2e/x", "a/%2e%2e/%2e%2e/x", "/etc/passwd"]:
    request = urllib.request.Request(f"{url}/api/2.0/mlflow-artifacts/artifacts/{path}", data=b"x", method="PUT")
    try:
        urllib.request.urlopen(request)
        raise AssertionError(f"{path} was accepted")
    except urllib.error.HTTPError as error:
        assert error.code in (400, 404), (path, error.code)

# The registry.
client.create_registered_model("classifier", tags={"a": "b"})
version = client.create_model_version("classifier", f"runs:/{run_id}/model", run_id)
equal(version.version, "1", "the first version")
client.set_registered_model_alias("classifier", "champion", "1")
equal(client.get_model_version_by_alias("classifier", "champion").run_id, run_id, "the alias")
equal([m.name for m in client.search_registered_models("name LIKE 'class%'")], ["classifier"], "registered models")
client.delete_registered_model("classifier")
refused("RESOURCE_DOES_NOT_EXIST", client.get_registered_model, "classifier")

# PromQL, by time and by step.
selector = f'{{__name__="loss",run_id="{run_id}"}}'
series = ask("query", query=f"{selector}[100]", time=19, axis="step")
equal([(int(t), float(v)) for t, v in series[0]["values"]], [(s, 1 / (s + 1)) for s in range(20)], "steps")
equal((series[0]["metric"]["run_name"], series[0]["metric"]["experiment"]), ("first", "exact"), "joined labels")
client.update_run(run_id, name="renamed")
equal(len(ask("query", query='loss{run_name="renamed",__axis__="latest"}')), 1, "the latest value, by the new name")
joined = ask("query", query='loss{__axis__="latest"} * on (run_id) group_left (param_lr) run_info')
equal([(r["metric"]["param_lr"], float(r["value"][1])) for r in joined], [("0.1", 1 / 20)], "run_info")
late = ask("query_range", query=selector, start=10, end=30, step=1, axis="step")
equal(len(late[0]["values"]), 10, "nothing after the last step")
print("all held")
