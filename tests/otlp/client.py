"""An application with the real OpenTelemetry SDK: sends metrics to the address on the command line, and ends.

What it sends is what main.rs asks for. The exporters are those of OTLP over HTTP, with gzip and without.
"""

import sys

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

DELTA = {Counter: AggregationTemporality.DELTA, Histogram: AggregationTemporality.DELTA}
LATENCIES = (3.0, 20.0, 60.0, 180.0, 400.0)


def provider(url, instance, gzip=False, **options):
    """A meter provider that exports when it is told to."""
    resource = Resource.create(
        {
            "service.name": "ml-inference",
            "service.namespace": "shop",
            "service.instance.id": instance,
            "service.version": "1.2.3",
        }
    )
    compression = Compression.Gzip if gzip else Compression.NoCompression
    exporter = OTLPMetricExporter(endpoint=url, compression=compression, **options)
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=600_000)
    return MeterProvider(resource=resource, metric_readers=[reader])


def cumulative(url):
    """All instruments with the SDK's defaults, in two exports, with exemplars of a sampled span."""
    meters = provider(url, "cumulative", gzip=True)
    meter = meters.get_meter("demo", "0.1")
    predictions = meter.create_counter("predictions", description="Number of predictions made")
    latency = meter.create_histogram("prediction_latency", description="Prediction latency in ms")
    rpc = meter.create_histogram("rpc.server.duration", unit="s", explicit_bucket_boundaries_advisory=[0.1, 0.5, 1.0])
    queue = meter.create_up_down_counter("queue.depth", unit="{item}")
    utilization = meter.create_gauge("gpu.utilization", unit="1")
    memory = meter.create_gauge("gpu.memory", unit="By")
    disk = meter.create_counter("disk.io", unit="By/s")
    tracer = TracerProvider().get_tracer("demo")
    for export in range(2):
        with tracer.start_as_current_span("prediction"):
            print(f"trace {trace.get_current_span().get_span_context().trace_id:032x}")
            for value in LATENCIES * 4:
                predictions.add(1, {"model": "bert", "gpu.ids": [0, 1]})
                latency.record(value)
                rpc.record(value / 1000)
        queue.add(5)
        queue.add(-2)
        utilization.set(0.25 * (export + 1))
        memory.set(30e9)
        disk.add(100)
        meters.force_flush()
    meters.shutdown()


def exponential(url):
    """An exponential histogram, which begins with the finest scale and coarsens."""
    meters = provider(url, "exponential", preferred_aggregation={Histogram: ExponentialBucketHistogramAggregation()})
    histogram = meters.get_meter("demo").create_histogram("size", unit="By")
    for exponent in range(100):
        histogram.record(0.5 * 1.1**exponent)
    histogram.record(0.0)
    meters.shutdown()


def delta(url):
    """Three exports of differences."""
    exponential_too = {Histogram: ExponentialBucketHistogramAggregation()}
    for instance, aggregation in (("delta", None), ("delta-exponential", exponential_too)):
        meters = provider(url, instance, preferred_temporality=DELTA, preferred_aggregation=aggregation)
        batches = meters.get_meter("demo").create_counter("batches")
        sizes = meters.get_meter("demo").create_histogram("batch.size")
        for count in (3, 4, 5):
            for index in range(count):
                batches.add(2)
                sizes.record(7 * count**index)
            meters.force_flush()
        meters.shutdown()


def main():
    """Sends everything."""
    url = sys.argv[1]
    cumulative(url)
    exponential(url)
    delta(url)


if __name__ == "__main__":
    main()
