#!/usr/bin/env python3
"""Times the same queries on tsq, Prometheus and VictoriaMetrics in one session.

    queries.py --tsbench BIN --data DIR --queries FILE --tsq BIN --prometheus BIN --victoria BIN --work EMPTY_DIR

`tsbench` loads its four data sets (DIR holds its `gen` output) into each server, says whether the answers equal those of
Prometheus, and gives the wall time of the fastest of `--runs` runs. Then each query goes to all servers in turn, as many
times over one connection: CPU is the median of the server process's clock, which counts threads that have ended too.
Prints a table for docs/performance.md.
"""

import argparse
import json
import math
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import time
import urllib.parse

SETS = ["inference", "gpu", "training", "churn"]
UNITS_MS = {"": 1000, "ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ["tsbench", "data", "queries", "tsq", "prometheus", "victoria", "work"]:
        parser.add_argument(f"--{name}", required=True, type=pathlib.Path)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--settle", type=float, default=60, help="seconds of rest between loading and asking")
    return parser.parse_args()


class Server:
    """A started server and one connection to it."""

    def __init__(self, name, port, command, work, extra=""):
        self.name, self.port, self.extra = name, port, extra
        log = open(work / f"{name}.log", "wb")
        self.process = subprocess.Popen([str(part) for part in command], cwd=work, stdout=log, stderr=log)
        # What clock_getcpuclockid(3) gives for a process.
        self.clock = (~self.process.pid << 3) | 2
        self.connection = None

    def wait(self):
        for _ in range(600):
            try:
                self.connection = socket.create_connection(("127.0.0.1", self.port))
                self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self.get("/api/v1/query?query=1").startswith(b'{"status":"success"'):
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise SystemExit(f"{self.name} did not become ready; see its log")

    def get(self, path):
        """The body of an answer; chunked framing is left in."""
        glue = "&" if "?" in path else "?"
        target = path + (glue + self.extra if self.extra else "")
        self.connection.sendall(f"GET {target} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
        data = b""
        while b"\r\n\r\n" not in data:
            data += self.receive()
        head, body = data.split(b"\r\n\r\n", 1)
        length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
        parts, size = [body], len(body)
        while (size < int(length[1])) if length else not parts[-1].endswith(b"0\r\n\r\n"):
            parts.append(self.receive())
            size += len(parts[-1])
        return b"".join(parts)

    def receive(self):
        data = self.connection.recv(1 << 20)
        if not data:
            raise SystemExit(f"{self.name} closed the connection")
        return data

    def cpu_ms(self, path):
        """CPU milliseconds of one request."""
        before = time.clock_gettime_ns(self.clock)
        self.get(path)
        return (time.clock_gettime_ns(self.clock) - before) / 1e6


def duration_ms(text):
    sign, digits, unit = re.fullmatch(r"(-?)([\d.]+)([a-z]*)", text).groups()
    return int(float(digits) * UNITS_MS[unit]) * (-1 if sign else 1)


def paths(queries, end_ms):
    """Names and request targets of the lines `name | kind key=value... | expression`."""
    for line in queries.read_text().splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        name, what, expression = (part.strip() for part in line.split(" | ", 2))
        kind, *options = what.split()
        options = dict(option.split("=") for option in options)
        expression = urllib.parse.quote(expression, safe="")
        start = (end_ms + duration_ms(options.get("start", "-1h"))) / 1000
        end = (end_ms + duration_ms(options.get("end", "0"))) / 1000
        if kind == "instant":
            at = (end_ms + duration_ms(options.get("at", "0"))) / 1000
            yield name, f"/api/v1/query?query={expression}&time={at}"
        elif kind == "range":
            step = duration_ms(options.get("step", "15s")) / 1000
            yield name, f"/api/v1/query_range?query={expression}&start={start}&end={end}&step={step}"
        elif kind == "series":
            yield name, f"/api/v1/series?match[]={expression}&start={start}&end={end}"
        else:
            label = options["label"]
            yield name, f"/api/v1/label/{label}/values?match[]={expression}&start={start}&end={end}"


def start(options):
    work = options.work
    config = work / "prometheus.yml"
    config.write_text("storage:\n  tsdb:\n    out_of_order_time_window: 24h\n")
    local = "--web.listen-address=127.0.0.1:21110"
    return [
        Server("tsq", 21150, [options.tsq, "serve", "--data", work / "tsq", "--listen", "127.0.0.1:21150"], work),
        Server("VictoriaMetrics", 21120, [options.victoria, "-storageDataPath", work / "victoria",
               "-httpListenAddr=127.0.0.1:21120", "-retentionPeriod=1y", "-search.maxUniqueTimeseries=5000000",
               "-search.maxSeries=5000000", "-search.maxSamplesPerQuery=10000000000"], work, "nocache=1"),
        Server("Prometheus", 21110, [options.prometheus, f"--config.file={config}", local, "--storage.tsdb.path",
               work / "prometheus", "--web.enable-remote-write-receiver", "--storage.tsdb.retention.time=30d",
               "--query.max-samples=500000000"], work),
    ]


def load(options, servers):
    data = [f"--data={options.data / name}.rw" for name in SETS]
    for server in servers:
        target = f"http://127.0.0.1:{server.port}/api/v1/write"
        subprocess.run([options.tsbench, "load", "--target", target, "--concurrency", "2", "--pid",
                        str(server.process.pid), "--json", options.work / f"load-{server.name}.json", *data],
                       check=True, stdout=subprocess.DEVNULL)
    for url in ["21150/api/v1/admin/tsdb/compact", "21120/internal/force_flush", "21120/internal/force_merge"]:
        subprocess.run(["curl", "-s", "-o", "/dev/null", "-X", "POST", f"http://127.0.0.1:{url}"], check=True)
    time.sleep(options.settle)


def compare_answers(options, servers):
    manifests = [f"--manifest={options.data / name}.json" for name in SETS]
    results = []
    for server in reversed(servers):
        results.append(options.work / f"query-{server.name}.json")
        extra = ["--param", server.extra] if server.extra else []
        subprocess.run([options.tsbench, "query", "--target", f"http://127.0.0.1:{server.port}", "--queries",
                        options.queries, "--runs", str(options.runs), "--pid", str(server.process.pid), "--json", results[-1],
                        *manifests, *extra], check=True, stdout=subprocess.DEVNULL)
    jsons = [f"--json={path}" for path in results]
    print(subprocess.run([options.tsbench, "compare", *jsons, "--field", "min_ms"], check=True, text=True,
                         stdout=subprocess.PIPE).stdout)
    read = (json.loads(path.read_text()) for path in reversed(results))
    return [{query["id"]: query["min_ms"] for query in queries} for queries in read]


def main():
    options = arguments()
    shutil.rmtree(options.work, ignore_errors=True)
    options.work.mkdir(parents=True)
    for name in ["tsbench", "data", "queries", "tsq", "prometheus", "victoria", "work"]:
        setattr(options, name, getattr(options, name).resolve())
    end_ms = max(json.loads((options.data / f"{name}.json").read_text())["end_ms"] for name in SETS)
    end_ms = -(-end_ms // 15_000) * 15_000
    servers = start(options)
    try:
        for server in servers:
            server.wait()
        load(options, servers)
        walls = compare_answers(options, servers)
        print("| query | " + " | ".join(f"{s.name} wall" for s in servers) + " | "
              + " | ".join(f"{s.name} CPU" for s in servers) + " |\n|---|" + "---:|" * (2 * len(servers)))
        for server in servers:
            # Servers close connections that were idle for long.
            server.wait()
        logs = []
        for name, path in paths(options.queries, end_ms):
            times = [[] for _ in servers]
            for _ in range(options.runs + 1):
                for server, runs in zip(servers, times):
                    runs.append(server.cpu_ms(path))
            # The first run of each warms up.
            row = [wall[name] for wall in walls] + [statistics.median(runs[1:]) for runs in times]
            logs.append([math.log(max(value, 1e-3)) for value in row])
            print(f"| `{name}` | " + " | ".join(f"{value:.2f}" for value in row) + " |")
        means = [math.exp(sum(column) / len(column)) for column in zip(*logs)]
        print("| **geometric mean** | " + " | ".join(f"**{value:.2f}**" for value in means) + " |")
    finally:
        for server in servers:
            server.process.terminate()
        for server in servers:
            server.process.wait()


if __name__ == "__main__":
    main()
