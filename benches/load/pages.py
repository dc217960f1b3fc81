#!/usr/bin/env python3
"""What a dashboard costs a server, compressed or not.

    pages.py SERVER [PATH] [CODING] [STREAMS] [SECONDS]

Starts the server binary on core 0 and opens streams on PATH (/page?ms=100: rendered once for all;
/private?ms=100: rendered for each) with this Accept-Encoding from core 1. Prints the server's
private memory per stream, bytes per event and its CPU per event. An event counts as one read,
which holds while the reader keeps up. Linux only; loopback only; stops the server it started.
"""

import os
import select
import socket
import subprocess
import sys
import time


def private_bytes(pid):
    with open(f"/proc/{pid}/smaps_rollup") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_Dirty"))


def cpu_ns(pid):
    tasks = os.listdir(f"/proc/{pid}/task")
    return sum(int(open(f"/proc/{pid}/task/{task}/schedstat").read().split()[0]) for task in tasks)


class Streams:
    def __init__(self, address, path, coding):
        self.address, self.sockets, self.poll = address, {}, select.epoll()
        self.request = f"GET {path} HTTP/1.1\r\nHost: test\r\nAccept-Encoding: {coding}\r\n\r\n".encode()

    def open(self, count):
        for _ in range(count):
            stream = socket.create_connection(self.address)
            stream.send(self.request)
            stream.setblocking(False)
            self.sockets[stream.fileno()] = stream
            self.poll.register(stream.fileno(), select.EPOLLIN)

    def read_for(self, seconds):
        received = reads = 0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for descriptor, _ in self.poll.poll(0.1):
                try:
                    received += len(self.sockets[descriptor].recv(1 << 17))
                    reads += 1
                except BlockingIOError:
                    pass
        return received, max(reads, 1)


def main():
    arguments = sys.argv[1:] + [None] * 5
    path, coding = arguments[1] or "/page?ms=100", arguments[2] or "zstd"
    count, seconds = int(arguments[3] or 1000), float(arguments[4] or 5)
    os.sched_setaffinity(0, {0})
    environment = {**os.environ, "PORT": "0"}
    server = subprocess.Popen([arguments[0]], env=environment, stdout=subprocess.PIPE, text=True)
    try:
        host, port = server.stdout.readline().split("http://")[1].strip().split(":")
        os.sched_setaffinity(0, {1})
        streams = Streams((host, int(port)), path, coding)
        streams.open(count // 10)  # what the first streams cost once is not counted
        streams.read_for(1)
        memory_before = private_bytes(server.pid)
        streams.open(count)
        streams.read_for(2)
        memory = (private_bytes(server.pid) - memory_before) / count
        cpu_before = cpu_ns(server.pid)
        received, reads = streams.read_for(seconds)
        cpu_us = (cpu_ns(server.pid) - cpu_before) / 1000 / reads
        print(f"{path} {coding}: {memory:.0f} bytes per stream, {received / reads:.0f} bytes and {cpu_us:.1f} us per event")
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
