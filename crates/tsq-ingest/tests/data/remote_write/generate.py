"""Writes the payloads of this folder and what a database holds after them. See README.md."""
import os, struct, subprocess, sys, tempfile
import snappy

HERE = os.path.dirname(os.path.abspath(__file__))
tmp = tempfile.mkdtemp()
subprocess.check_call([sys.executable, "-m", "grpc_tools.protoc", "-I", HERE, "--python_out", tmp, "remote_write.proto"])
sys.path.insert(0, tmp)
import remote_write_pb2 as pb

T0 = 1_700_000_000_000
NAN = struct.unpack("<d", struct.pack("<Q", 0x7FF8000000000001))[0]


def bits(x): return "%016x" % struct.unpack("<Q", struct.pack("<d", x))[0]
def show(labels): return "{" + ",".join(f"{k}={v}" for k, v in sorted(labels.items())) + "}"


def runs(buckets):
    """Spans of a dict bucket -> count."""
    spans, last = [], None
    for i in sorted(buckets):
        if last is None: spans.append([i, 1])
        elif i == last + 1: spans[-1][1] += 1
        else: spans.append([i - last - 1, 1])
        last = i
    return spans


class H:
    def __init__(s, schema=3, pos=None, neg=None, zero=0, threshold=2.0 ** -128, sum=1.5, floats=False, hint=0, custom=()):
        s.schema, s.pos, s.neg, s.zero, s.threshold, s.sum = schema, pos or {}, neg or {}, zero, threshold, sum
        s.floats, s.hint, s.custom = floats, hint, list(custom)
        s.count = zero + sum_(s.pos) + sum_(s.neg)

    def message(s, t):
        m = pb.Histogram(sum=s.sum, schema=s.schema, zero_threshold=s.threshold, reset_hint=s.hint, timestamp=t,
                         custom_values=s.custom, start_timestamp=t - 1000)
        if s.floats: m.count_float, m.zero_count_float = s.count, s.zero
        else: m.count_int, m.zero_count_int = s.count, s.zero
        for spans, deltas, counts, buckets in ((m.positive_spans, m.positive_deltas, m.positive_counts, s.pos),
                                               (m.negative_spans, m.negative_deltas, m.negative_counts, s.neg)):
            for offset, length in runs(buckets): spans.append(pb.Span(offset=offset, length=length))
            values = [buckets[i] for i in sorted(buckets)]
            if s.floats: counts.extend(values)
            else: deltas.extend(b - a for a, b in zip([0] + values, values))
        return m

    def line(s):
        side = lambda b: f"{runs(b)}{[bits(b[i]) for i in sorted(b)]}".replace(" ", "").replace("'", "")
        custom = ",".join(bits(x) for x in s.custom)
        return (f"schema={s.schema} hint={s.hint} integer={str(not s.floats).lower()} threshold={bits(s.threshold)} "
                f"zero={bits(s.zero)} count={bits(s.count)} sum={bits(s.sum)} pos={side(s.pos)} neg={side(s.neg)} custom={custom}")


def sum_(buckets): return sum(buckets.values())


class Series:
    def __init__(s, labels, samples=(), hists=(), exemplars=(), meta=None):
        s.labels, s.samples, s.hists, s.exemplars, s.meta = labels, samples, hists, exemplars, meta


def sample(t, raw):
    """A sample whose value is given by its bits: Python's own floats may lose a NaN payload."""
    return struct.pack("<BQ", 9, raw) + pb.Sample(timestamp=t).SerializeToString()


def field(number, payload):
    n, out = len(payload), bytes([number << 3 | 2])
    while n >= 128: out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n]) + payload


def v1(series, scatter):
    out = b""
    for s in series:
        labels = [field(1, pb.Label(name=k, value=v).SerializeToString()) for k, v in sorted(s.labels.items())]
        rest = b"".join(field(2, sample(t, raw)) for t, raw in s.samples)
        rest += pb.V1Series(histograms=[h.message(t) for t, h in s.hists], exemplars=[
            pb.V1Exemplar(labels=[pb.Label(name=k, value=v) for k, v in e.items()], value=x, timestamp=t)
            for e, x, t in s.exemplars]).SerializeToString()
        if scatter:  # last label first, then the samples, an unknown field, then the other labels
            body = labels[-1] + rest + b"\x98\x06\x01" + b"".join(reversed(labels[:-1]))
        else:
            body = b"".join(labels) + rest
        out += field(1, body)
    for s in series:
        if s.meta:
            family, kind, help_, unit = s.meta
            out += field(3, pb.V1Metadata(type=kind, metric_family_name=family, help=help_, unit=unit).SerializeToString())
    return out


def v2(series, scatter):
    symbols, out = [""], b""
    def ref(text):
        if text not in symbols: symbols.append(text)
        return symbols.index(text)
    def refs(labels, order=1): return [ref(x) for k, v in list(sorted(labels.items()))[::order] for x in (k, v)]
    for s in series:
        m = pb.V2Series(labels_refs=refs(s.labels, -1 if scatter else 1), histograms=[h.message(t) for t, h in s.hists],
                        exemplars=[pb.V2Exemplar(labels_refs=refs(e), value=x, timestamp=t) for e, x, t in s.exemplars])
        if s.meta: m.metadata.CopyFrom(pb.V2Metadata(type=s.meta[1], help_ref=ref(s.meta[2]), unit_ref=ref(s.meta[3])))
        out += field(5, b"".join(field(2, sample(t, raw)) for t, raw in s.samples) + m.SerializeToString())
    table = b"".join(field(4, x.encode()) for x in symbols)
    return out + table if scatter else table + out


def text(series):
    types = ["unknown", "counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset"]
    lines = []
    for s in series:
        for t, raw in s.samples: lines.append(f"float {show(s.labels)} {t} {raw:016x}")
        for t, h in s.hists: lines.append(f"histogram {show(s.labels)} {t} {h.line()}")
        for e, x, t in s.exemplars: lines.append(f"exemplar {show(s.labels)} {show(e)} {t} {bits(x)}")
        if s.meta: lines.append(f"metadata {s.meta[0]} {types[s.meta[1]]} {s.meta[3]}|{s.meta[2]}")
    return "".join(line.replace("\n", "\\n") + "\n" for line in sorted(lines))


def raw(x): return int(bits(x), 16)


def job(name, **more): return {"__name__": name, "job": "inference", "instance": "10.0.0.1:9100", **more}


CASES = {
    "floats": (False, [
        Series(job("up"), [(T0, raw(1.0)), (T0 + 15_000, raw(0.0))]),
        Series(job("temperature_celsius", gpu="0"), [(T0, raw(61.25)), (T0 + 15_000, raw(-0.0)), (T0 + 30_000, raw(1e-310))]),
        Series(job("limits"), [(T0, raw(float("inf"))), (T0 + 1, raw(float("-inf"))), (T0 + 2, 0x7FF8000000000001),
                               (T0 + 3, 0x7FF0000000000002), (T0 + 4, 0xFFF80000DEADBEEF), (T0 + 5, raw(1.7976931348623157e308))]),
        Series(job("before_1970"), [(-1, raw(3.0)), (0, raw(4.0)), (-62_135_596_800_000, raw(5.0))]),
        Series({"__name__": "名前.with dots", "größe": "Ω \"quoted\"\n"}, [(T0, raw(2.5))]),
    ]),
    "histograms": (False, [
        Series(job("latency_seconds"), hists=[(T0, H(pos={-2: 3, -1: 4, 3: 1}, neg={0: 2}, zero=5)),
                                              (T0 + 15_000, H(pos={-2: 4, -1: 4, 3: 9}, neg={0: 2}, zero=5, hint=2))]),
        Series(job("latency_float"), hists=[(T0, H(schema=-4, pos={1: 0.5, 2: 1.25}, zero=0.25, floats=True, hint=3)),
                                            (T0 + 1, H(schema=8, pos={10_000: 2.0}, zero=0.0, floats=True, sum=NAN))]),
        Series(job("tokens"), hists=[(T0, H(schema=-53, pos={0: 7, 3: 2}, threshold=0.0, custom=[1.0, 2.5, 1000.0], hint=1)),
                                     (T0 + 1, H(schema=-53, pos={1: 0.5}, threshold=0.0, custom=[-1.0, 0.0], floats=True))]),
        Series(job("empty_histogram"), hists=[(T0, H(sum=0.0))]),
        Series(job("both"), [(T0, raw(1.0))], [(T0, H(pos={0: 1}))]),
    ]),
    "extras": (True, [
        Series(job("requests_total", code="200"), [(T0, raw(10.0))], exemplars=[
            ({"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}, 0.67, T0 - 5), ({"span": "x", "trace_id": "y"}, 1.0, T0)],
            meta=("requests_total", 1, "Requests.\nSecond line", "")),
        Series(job("only_exemplars"), exemplars=[({}, 2.0, T0)]),
        Series(job("queue_seconds_bucket", le="+Inf"), [(T0, raw(3.0))], meta=("queue_seconds", 3, "Waiting", "seconds")),
        Series(job("memory_bytes"), [(T0, raw(1e9)), (T0 + 1, raw(1e9))], meta=("memory_bytes", 2, "", "bytes")),
    ]),
}

for name, (scatter, series) in CASES.items():
    for version, encode in (("v1", v1), ("v2", v2)):
        with open(os.path.join(HERE, f"{name}.{version}.snappy"), "wb") as out:
            out.write(snappy.compress(encode(series, scatter)))
    with open(os.path.join(HERE, f"{name}.txt"), "w") as out:
        out.write(text(series))
