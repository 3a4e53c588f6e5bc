"""Writes the requests of this folder. See README.md."""
import json, os
from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

HERE = os.path.dirname(os.path.abspath(__file__))
S = 1_000_000_000
T = 1_700_000_000 * S
START = T - 60 * S


def any_value(value):
    if isinstance(value, bool): return AnyValue(bool_value=value)
    if isinstance(value, int): return AnyValue(int_value=value)
    if isinstance(value, float): return AnyValue(double_value=value)
    if isinstance(value, bytes): return AnyValue(bytes_value=value)
    if isinstance(value, str): return AnyValue(string_value=value)
    out = AnyValue()
    if isinstance(value, list): out.array_value.values.extend(map(any_value, value))
    else: out.kvlist_value.values.extend(pairs(value))
    return out


def pairs(attributes): return [KeyValue(key=k, value=any_value(v)) for k, v in attributes.items()]


request = ExportMetricsServiceRequest()
resource = request.resource_metrics.add(schema_url="https://example.com/schema")
resource.resource.attributes.extend(pairs({
    "service.name": "infer", "service.namespace": "shop", "service.instance.id": "i-1", "service.version": "1.2",
    "host.cpus": 8, "k8s.labels": {"b": True, "a": ["x", 1, 2.5]}}))
resource.resource.dropped_attributes_count = 3
scope = resource.scope_metrics.add(schema_url="https://example.com/scope")
scope.scope.name, scope.scope.version = "lib", "0.1"
scope.scope.attributes.extend(pairs({"team": "ml"}))

metric = scope.metrics.add(name="gpu.utilization", description="Share of time\nin use", unit="1")
for index, value in enumerate((0.25, -1.5e9, float("inf"))):
    metric.gauge.data_points.add(time_unix_nano=T + index * S, as_double=value, attributes=pairs({"gpu": index}))

metric = scope.metrics.add(name="requests", unit="{req}")
metric.sum.aggregation_temporality, metric.sum.is_monotonic = 2, True
point = metric.sum.data_points.add(start_time_unix_nano=START, time_unix_nano=T, as_int=2**53 - 1,
                                   attributes=pairs({"a.b": "1", "a-b": "2", "ok": False, "raw": b"\x00\xff"}))
point.exemplars.add(time_unix_nano=T - S, as_int=7, trace_id=bytes(range(16)), span_id=bytes(range(8)),
                    filtered_attributes=pairs({"user": "u1", "long": "x" * 128}))

metric = scope.metrics.add(name="queue.depth")
metric.sum.aggregation_temporality = 2
metric.sum.data_points.add(start_time_unix_nano=START, time_unix_nano=T, as_int=-3)

metric = scope.metrics.add(name="latency", unit="ms")
metric.histogram.aggregation_temporality = 2
point = metric.histogram.data_points.add(start_time_unix_nano=START, time_unix_nano=T, count=6, sum=61.5, min=0.5, max=40,
                                         bucket_counts=[1, 2, 3], explicit_bounds=[5, 10.5], attributes=pairs({"r": "a"}))
for value in (40.0, 5.0, 7.0):
    point.exemplars.add(time_unix_nano=T, as_double=value, trace_id=b"\x01" * 16)
metric.histogram.data_points.add(time_unix_nano=T, count=2, attributes=pairs({"r": "no bounds"}))
metric.histogram.data_points.add(time_unix_nano=T + S, flags=1, explicit_bounds=[5, 10.5], attributes=pairs({"r": "a"}))

metric = scope.metrics.add(name="size", unit="By")
metric.exponential_histogram.aggregation_temporality = 2
point = metric.exponential_histogram.data_points.add(start_time_unix_nano=START, time_unix_nano=T, count=21, sum=100.5, scale=9,
                                                     zero_count=1, zero_threshold=0.001, min=-1, max=2)
point.positive.offset = -3
point.positive.bucket_counts.extend([1, 2, 0, 300 - 298, 5])
point.negative.offset = 20
point.negative.bucket_counts.extend([10])
metric.exponential_histogram.data_points.add(time_unix_nano=T + S, flags=1)

metric = scope.metrics.add(name="rpc")
point = metric.summary.data_points.add(start_time_unix_nano=START, time_unix_nano=T, count=9, sum=4.5)
for quantile, value in ((0, 0.1), (0.5, 0.5), (1, 2)): point.quantile_values.add(quantile=quantile, value=value)

metric = scope.metrics.add(name="batches")
metric.sum.aggregation_temporality, metric.sum.is_monotonic = 1, True
for second in range(3):
    metric.sum.data_points.add(start_time_unix_nano=T + second * S, time_unix_nano=T + (second + 1) * S, as_int=second + 1)

with open(os.path.join(HERE, "metrics.pb"), "wb") as out: out.write(request.SerializeToString())

import base64


def as_otlp(value, name=""):
    if isinstance(value, dict): return {k: as_otlp(v, k) for k, v in value.items()}
    if isinstance(value, list): return [as_otlp(v) for v in value]
    if name in ("traceId", "spanId"): return base64.b64decode(value).hex()
    return value


text = json_format.MessageToDict(request, use_integers_for_enums=True)
with open(os.path.join(HERE, "metrics.json"), "w") as out: json.dump(as_otlp(text), out, indent=1)
