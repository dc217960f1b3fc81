"""Prints the head of a response and then its decoded body as it arrives: httpx_read.py URL CODING"""

import sys

import httpx

url, coding = sys.argv[1:]
out = sys.stdout.buffer
with httpx.stream("GET", url, headers={"Accept-Encoding": coding}, timeout=30) as response:
    head = "".join(f"{name}: {value}\r\n" for name, value in response.headers.items())
    out.write(f"HTTP/1.1 {response.status_code}\r\n{head}\r\n".encode())
    out.flush()
    for part in response.iter_bytes():
        out.write(part)
        out.flush()
