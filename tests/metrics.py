"""Reads the metrics of the testbed with Prometheus' own Python parser, under load, with one reactor and with two
workers: tests/metrics.py TESTBED

Checks the conventions for names and units, and that parts add up to the whole. If promtool is installed, it checks
them too."""

import math
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter, defaultdict

from prometheus_client.parser import text_string_to_metric_families

PATIENCE_S = 60
# https://prometheus.io/docs/practices/naming/
ABBREVIATIONS = {"ms", "us", "ns", "sec", "secs", "s", "b", "kb", "mb", "nanos", "millis", "milliseconds", "nanoseconds"}


class Testbed:
    def __init__(self, program, workers):
        environment = os.environ | {"WORKERS": str(workers)}
        self.process = subprocess.Popen([program, "--port", "0"], stdout=subprocess.PIPE, text=True, env=environment)
        self.url = self.process.stdout.readline().split()[-1]
        host, port = self.url.removeprefix("http://").split(":")
        self.address = (host, int(port))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(PATIENCE_S)

    def stream(self, path):
        """An open stream, of which the head has come."""
        client = socket.create_connection(self.address, PATIENCE_S)
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: {self.url.removeprefix('http://')}\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(65536) or sys.exit(f"{path}: closed")
        assert head.startswith(b"HTTP/1.1 200"), head
        return client

    def get(self, path, body=None):
        with urllib.request.urlopen(self.url + path, body, PATIENCE_S) as response:
            return response.headers, response.read().decode()

    def scrape(self):
        headers, text = self.get("/metrics")
        assert headers["Content-Type"] == "text/plain; version=0.0.4", headers["Content-Type"]
        return text


def load(testbed):
    """Streams of several routes and topics, some of which end, and events."""
    streams = [testbed.stream(f"/tick?ms={ms}&tag=t") for ms in range(20, 60)]
    streams += [testbed.stream("/idle") for _ in range(10)]
    streams += [testbed.stream(f"/topic?name=listed+%22{n % 3}%22%5C&metrics=1") for n in range(12)]
    streams += [testbed.stream("/topic?name=plain") for _ in range(5)]
    testbed.get("/inject?data=once")
    for number in range(30):
        testbed.get(f"/publish?name=listed+%22{number % 3}%22%5C", b"hello")
        testbed.get("/publish?name=plain", b"hello")
    # Ten of each kind of end.
    for client in streams[:10]:
        client.close()
    settled(testbed, lambda families: total(families, "starwheel_route_streams", route="/tick") == 30)
    testbed.get("/finish?tag=t", b"")
    return streams[40:]


def settled(testbed, is_settled):
    """The first scrape for which this is true: figures for other threads are up to 100 ms old."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        text = testbed.scrape()
        families = parse(text)
        if is_settled(families):
            return text, families
        time.sleep(0.1)
    sys.exit(f"it does not settle:\n{text}")


def is_all_counted(families):
    whole = lambda name: total(families, f"starwheel_{name}")
    return (whole("streams"), whole("topic_delivered"), whole("topic_lag_events")) == (27, 120, 0)


def parse(text):
    families = list(text_string_to_metric_families(text))
    names = Counter(family.name for family in families)
    assert max(names.values()) == 1, f"a family in pieces: {names.most_common(3)}"
    return {family.name: family for family in families}


def total(families, name, **labels):
    samples = families[name].samples
    return sum(it.value for it in samples if all(it.labels[label] == value for label, value in labels.items()))


def check_names(text, families):
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
    helped = re.findall(r"^# HELP (\S+) \S", text, re.M)
    assert len(helped) == len(set(helped)) and set(helped) == set(types), "HELP and TYPE once for each"
    for name, kind in types.items():
        assert re.fullmatch(r"starwheel(_[a-z]+)+", name), name
        words = name.split("_")
        assert not ABBREVIATIONS.intersection(words), f"{name}: the unit of time is seconds"
        assert (kind == "counter") == (words[-1] == "total"), name
        unit = [word for word in words if word in ("seconds", "bytes")]
        last = words[-2] if kind == "counter" else words[-1]
        assert not unit or unit == [last], f"{name}: the unit comes last"
    for family in families.values():
        assert family.samples or family.name.startswith(("starwheel_topic", "starwheel_route")), f"{family.name} is empty"
        ids = [(it.name, tuple(sorted(it.labels.items()))) for it in family.samples]
        assert len(ids) == len(set(ids)), f"{family.name} has a sample twice"
        assert all(math.isfinite(it.value) and it.value >= 0 for it in family.samples), family.name


def check_histograms(families):
    for family in (it for it in families.values() if it.type == "histogram"):
        series = defaultdict(lambda: {"buckets": []})
        for it in family.samples:
            labels = tuple(sorted((key, value) for key, value in it.labels.items() if key != "le"))
            kind = it.name.removeprefix(family.name)
            if kind == "_bucket":
                series[labels]["buckets"].append((float(it.labels["le"]), it.value))
            else:
                series[labels][kind] = it.value
        for labels, it in series.items():
            bounds, counts = zip(*it["buckets"])
            assert list(bounds) == sorted(set(bounds)) and bounds[-1] == math.inf, (family.name, bounds)
            assert list(counts) == sorted(counts), f"{family.name} {labels}: buckets are cumulative"
            assert counts[-1] == it["_count"], f"{family.name} {labels}"
            assert it["_sum"] >= sum(low * (more - less) for (low, less), (_, more) in zip(it["buckets"], it["buckets"][1:]) if math.isfinite(low))


def check_sums(families, workers):
    """What routes have together is what is counted without them, on each worker."""
    sources = [{"worker": str(n)} for n in range(workers)] if workers > 1 else [{}]
    for source in sources:
        whole = lambda name: total(families, f"starwheel_{name}", **source)
        # The scrape itself is counted before its handler runs, and by its route only afterwards.
        assert whole("requests") - whole("route_requests") in (0, 1), source
        assert whole("streams") == whole("route_streams"), source
        assert whole("streams_opened") == whole("route_streams_opened"), source
        assert whole("streams_closed") == whole("route_streams_closed"), source
        # They are sums of rounded numbers.
        times = whole("route_call_seconds"), whole("call_seconds")
        assert times[0] <= times[1] + 1e-6, (source, times)
        assert whole("streams_opened") - whole("streams_closed") == whole("streams"), source
        durations = [it for it in families["starwheel_route_stream_duration_seconds"].samples if it.name.endswith("_count")]
        durations = [it.value for it in durations if source.items() <= it.labels.items()]
        assert sum(durations) == whole("streams_closed"), source
        assert whole("topic_delivered") <= whole("delivered"), source
        assert whole("topic_log_bytes") <= whole("log_bytes"), source


def check_figures(families):
    route = lambda name, pattern, **labels: total(families, f"starwheel_route_{name}", route=pattern, **labels)
    assert (route("streams", "/idle"), route("streams", "/topic"), route("streams", "/tick")) == (10, 17, 0)
    assert route("streams_closed", "/tick", reason="disconnected") + route("streams_closed", "/tick", reason="io") == 10
    assert route("streams_closed", "/tick", reason="finished") == 30
    assert route("requests", "/publish") == 60
    topics = {it.labels["topic"] for it in families["starwheel_topic_subscribers"].samples}
    assert topics == {f'listed "{n}"\\' for n in range(3)}, topics
    assert total(families, "starwheel_topic_subscribers") == 12
    assert total(families, "starwheel_topic_lag_events") == 0


def main(program):
    promtool = shutil.which("promtool")
    for workers in (1, 2):
        with Testbed(program, workers) as testbed:
            streams = load(testbed)
            text, families = settled(testbed, is_all_counted)
            check_names(text, families)
            check_histograms(families)
            check_sums(families, workers)
            check_figures(families)
            if promtool:
                subprocess.run([promtool, "check", "metrics"], input=text, text=True, check=True)
            samples = sum(len(family.samples) for family in families.values())
            print(f"{workers} workers, {len(streams)} streams: {len(families)} families, {samples} samples, {len(text)} bytes: ok")
    if not promtool:
        print("promtool is not installed: its lints were not run")


main(*sys.argv[1:])
