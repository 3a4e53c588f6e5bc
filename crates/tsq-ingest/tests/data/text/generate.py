"""Writes what prometheus_client exposes, in the three text formats, with fixed numbers (pip install prometheus_client)."""
import os
from prometheus_client import CollectorRegistry, Counter, Enum, Gauge, Histogram, Info, Summary
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
import prometheus_client.metrics as metrics

metrics.time.time = lambda: 1700000000.25  # the time of _created and of exemplars
HERE = os.path.dirname(os.path.abspath(__file__))
r = CollectorRegistry()
c = Counter("requests", "Requests.\nSecond \\ line", ["code", "path"], registry=r)
c.labels("200", 'C:\\dir "x"\n').inc(3, exemplar={"trace_id": "abc"})
c.labels("500", "größe").inc()
Gauge("temperature_celsius", "Temperature", unit="celsius", registry=r).set(float("-inf"))
Gauge("nan", "", registry=r).set(float("nan"))
h = Histogram("latency_seconds", "Latency", buckets=(0.1, 1.0), registry=r)
h.observe(0.05, {"trace_id": "def"}); h.observe(5)
s = Summary("size_bytes", "Size", registry=r); s.observe(1e300)
Info("build", "Build", registry=r).info({"version": "1.2"})
Enum("state", "State", states=["up", "down"], registry=r).state("down")
for name, text in (("python.prom", generate_latest(r)), ("python.om", generate_openmetrics(r))):
    with open(os.path.join(HERE, name), "wb") as out: out.write(text)
