"""Runs scripts of tlsfuzzer (https://github.com/tlsfuzzer/tlsfuzzer) against starwheel.

run.py FOLDER SERVER [WORD...]: FOLDER has tlsfuzzer, SERVER is the program tls-server. Only scripts
whose names contain one of the words run, or all. scripts.txt says which they are, and with which
options; what is left out has its reason there. Every script has "sanity" conversations of its own,
without anything wrong in them.
"""

import os
import shlex
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
KEYS = {"rsa": ["rsa:2048"], "ecdsa": ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]}


def start_server(program, kind, folder):
    """A server with a new key. Returns it and its port."""
    key, chain = folder / f"{kind}.key", folder / f"{kind}.pem"
    command = ["openssl", "req", "-x509", "-nodes", "-subj", "/CN=localhost", "-days", "2"]
    command += ["-newkey", *KEYS[kind], "-keyout", key, "-out", chain]
    subprocess.run(command, check=True, capture_output=True)
    pipe = subprocess.PIPE
    server = subprocess.Popen([program, chain, key], stdin=pipe, stdout=pipe, text=True)
    return server, server.stdout.readline().strip()


def read_scripts(words):
    """Kind of key and command for each line of scripts.txt."""
    for line in (HERE / "scripts.txt").read_text().splitlines():
        kind, *command = shlex.split(line, comments=True) or [None]
        if kind and (not words or any(word in command[0] for word in words)):
            yield kind, command


def run_script(tlsfuzzer, port, command):
    """None if everything was as expected, or the output."""
    script, *options = command
    path = tlsfuzzer / "scripts" / f"test-tls13-{script}.py"
    arguments = [sys.executable, path, "-h", "127.0.0.1", "-p", port, *options]
    environment = {**os.environ, "PYTHONPATH": str(tlsfuzzer)}
    try:
        done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=300)
    except subprocess.TimeoutExpired as error:
        return f"not done within {error.timeout} s"
    return None if done.returncode == 0 else done.stdout + done.stderr


def main(tlsfuzzer, program, *words):
    scripts = list(read_scripts(words))
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        servers = {kind: start_server(program, kind, Path(folder)) for kind in KEYS}
        run = lambda it: run_script(Path(tlsfuzzer).resolve(), servers[it[0]][1], it[1])
        failed = 0
        for (kind, command), output in zip(scripts, pool.map(run, scripts)):
            print(f"{'ok' if output is None else 'FAILED':7}{kind:6}{command[0]}", flush=True)
            if output is not None:
                failed += 1
                print("\n".join(output.splitlines()[-60:]))
        for server, _ in servers.values():
            server.stdin.close()
            failed += server.wait(timeout=60) != 0
    print(f"{len(scripts)} scripts, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
