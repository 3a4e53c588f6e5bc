"""A small service whose metrics a test scrapes: an ML inference server that serves nobody.

Prints "port N" once it listens on a free port of 127.0.0.1, then works until it is killed. The numbers come from a
fixed seed, so a recording repeats but for the clock.
"""

import math
import random
import time

from prometheus_client import Counter, Gauge, Histogram, Info, Summary, start_http_server

REQUESTS = Counter("app_requests", "Requests served.", ["method", "code"])
RESTARTS = Counter("app_worker_restarts", "Restarts of a worker; its counter begins again.", ["worker"])
LATENCY = Histogram(
    "app_latency_seconds",
    "Time to serve a request.",
    ["route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
)
PAYLOAD = Histogram("app_payload_bytes", "Size of a request.", buckets=(64, 256, 1024, 4096, 16384))
PARSE = Summary("app_parse_seconds", "Time to parse a request.", unit="seconds")
TEMPERATURE = Gauge("app_temperature_celsius", "Temperature of a device.", ["device"])
MEMORY = Gauge("app_memory_bytes", "Memory in use; grows steadily.", ["device"])
DEVICE = Gauge("app_device_info", "Constant 1, with what a device is.", ["device", "model"])
QUEUE = Gauge("app_queue_length", "Requests that wait.", ["queue"])
SPECIAL = Gauge("app_special", "Values that are not ordinary numbers.", ["kind"])
ODD = Gauge("app_odd", 'Label values with "quotes", back\\slashes\nand line ends.', ["text"])
DOTTED = Gauge("app.cache-hit.ratio", "A name and a label that only UTF-8 names allow.", ["cache.kind", "größe"])
TRANSIENT = Gauge("app_transient", "A series that comes and goes.", ["slot"])
BUILD = Info("app_build", "What runs here.")

DEVICES = ("0", "1", "2", "3")
MODELS = {"0": "A", "1": "A", "2": "B", "3": "B"}
ODD_TEXTS = (
    "plain",
    "",
    'say "hi"',
    "back\\slash",
    "two\nlines",
    "tab\there",
    "größe = 5 µm",
    "数字",
    "🦀",
    "{a=\"b\"}, c",
    " spaces around ",
)


def set_constants():
    """What never changes."""
    BUILD.info({"version": "1.2.3", "commit": "abc"})
    for device, model in MODELS.items():
        DEVICE.labels(device, model).set(1)
    for index, text in enumerate(ODD_TEXTS):
        ODD.labels(text).set(index + 0.25)
    values = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf, "-0": -0.0, "tiny": 5e-324, "huge": 1.7e308}
    for kind, value in values.items():
        SPECIAL.labels(kind).set(value)


def serve_request(rng, number):
    """One request: counted, timed, sometimes with an exemplar."""
    method = rng.choice(("GET", "GET", "GET", "POST"))
    code = rng.choices(("200", "404", "500"), (90, 8, 2))[0]
    route = rng.choice(("/generate", "/embed", "/health"))
    seconds = rng.lognormvariate({"/generate": -1.2, "/embed": -3.0, "/health": -5.5}[route], 0.7)
    trace = {"trace_id": f"{number:016x}"} if number % 10 == 0 else None
    REQUESTS.labels(method, code).inc(exemplar=trace)
    LATENCY.labels(route).observe(seconds, exemplar=trace)
    PAYLOAD.observe(rng.lognormvariate(6.5, 1.3))
    PARSE.observe(seconds / 17)


def tick(rng, step):
    """A tenth of a second of life."""
    for _ in range(rng.randint(1, 6)):
        serve_request(rng, step * 8 + rng.randint(0, 7))
    for index, device in enumerate(DEVICES):
        TEMPERATURE.labels(device).set(55 + 3 * index + 8 * math.sin(step / 31 + index) + rng.gauss(0, 0.7))
        MEMORY.labels(device).set(1e9 * (index + 1) + 123_457 * step + rng.randint(0, 1000))
    for kind in ("keys", "values"):
        DOTTED.labels(kind, "L").set(rng.random())
    for queue in ("high", "low"):
        QUEUE.labels(queue).set(rng.randint(0, 9))
    if rng.random() < 0.2:
        RESTARTS.labels(rng.choice(("a", "b"))).inc()
    if step % 70 == 69:
        RESTARTS.remove(rng.choice(("a", "b")))
    if step // 50 % 2 == 0:
        TRANSIENT.labels("x").set(step)
    elif step % 50 == 0:
        TRANSIENT.remove("x")


def main():
    """Listens, says where, and works."""
    set_constants()
    server, _ = start_http_server(0, addr="127.0.0.1")
    print(f"port {server.server_port}", flush=True)
    rng = random.Random(7)
    step = 0
    while True:
        tick(rng, step)
        step += 1
        time.sleep(0.1)


if __name__ == "__main__":
    main()
