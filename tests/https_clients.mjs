// HTTPS with clients of other makes: node tests/https_clients.mjs
// curl, Python's ssl, Node, Go if it is installed, and OpenSSL's own client with key updates. Environment: EXAMPLES_DIR.

import assert from 'node:assert/strict'
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import https from 'node:https'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { start, tlsPem } from './browser/harness.mjs'
import { check } from './clients/check.mjs'

const pem = tlsPem()
const testbed = await start('testbed', ['--tls-pem', pem])
const { port } = new URL(testbed.url)
const url = `https://localhost:${port}`
const stream = '/private?ms=20&encoding=identity'

const curl = (...options) => spawnSync('curl', ['-sS', '--cacert', pem, ...options], { encoding: 'utf8' })

await check('curl: requests on one connection, checked', () => {
  const { stdout, stderr } = curl('-w', ' %{ssl_verify_result} %{num_connects};', `${url}/hello`, `${url}/hello`)
  assert.equal(stdout, 'Hello, World! 0 1;Hello, World! 0 0;', stderr)
})
for (const coding of ['zstd', 'br', 'gzip']) {
  const canDecode = execFileSync('curl', ['--version'], { encoding: 'utf8' }).includes({ zstd: 'zstd', br: 'brotli', gzip: 'libz' }[coding])
  if (!canDecode) {
    console.log(`SKIP   curl, ${coding}: this curl cannot decode it`)
    continue
  }
  await check(`curl, ${coding}: a stream`, () => {
    const { stdout } = curl('-N', '-i', '--compressed', '-H', `Accept-Encoding: ${coding}`, '--max-time', '2', `${url}/private?ms=20`)
    assert.match(stdout, new RegExp(`^content-encoding: ${coding}\\r$`, 'im'))
    assert.ok(stdout.match(/^data: /gm).length >= 5, stdout)
  })
}
await check('curl: TLS 1.2 is refused with an alert', () => {
  const { status, stderr } = curl('--tls-max', '1.2', `${url}/hello`)
  assert.equal(status, 35, stderr)
  assert.match(stderr, /alert protocol version/)
})
await check('curl: http to the port of https fails', () => {
  assert.notEqual(curl(`http://localhost:${port}/hello`).status, 0)
})

const python = `
import json, socket, ssl, sys
port, pem, stream = int(sys.argv[1]), sys.argv[2], sys.argv[3]
context = ssl.create_default_context(cafile=pem)
context.minimum_version = ssl.TLSVersion.TLSv1_3
context.set_alpn_protocols(['http/1.1'])
def connect(session=None):
    raw = socket.create_connection(('127.0.0.1', port), timeout=20)
    return context.wrap_socket(raw, server_hostname='localhost', session=session)
def get(tls, path, close=False):
    tls.sendall(f"GET {path} HTTP/1.1\\r\\nHost: localhost\\r\\n{'Connection: close' if close else 'X: y'}\\r\\n\\r\\n".encode())
def until(tls, enough):
    text = b''
    while not enough(text):
        more = tls.recv(10000)
        assert more, text
        text += more
    return text
first = connect()
get(first, '/hello'); until(first, lambda text: text.endswith(b'Hello, World!'))
get(first, stream); until(first, lambda text: text.count(b'data: ') >= 5)
second = connect(first.session)
get(second, '/hello', close=True); until(second, lambda text: text.endswith(b'Hello, World!'))
print(json.dumps([first.version(), first.selected_alpn_protocol(), second.session_reused, second.recv(1).decode()]))
`
await check('Python: requests, a stream, a resumed session, and an end in order', () => {
  const run = spawnSync('python3', ['-c', python, port, pem, stream], { encoding: 'utf8' })
  assert.equal(run.status, 0, run.stderr)
  assert.deepEqual(JSON.parse(run.stdout), ['TLSv1.3', 'http/1.1', true, ''])
})

/** One request of Node with these options, until `enough(text)`. */
const node = (path, options, enough) => new Promise((resolve, reject) => {
  const request = https.get({ host: 'localhost', port, path, ca: readFileSync(pem), ...options }, async (response) => {
    const isResumed = request.socket.isSessionReused() // Before its end.
    let text = ''
    for await (const bytes of response) {
      text += bytes
      if (enough(text)) break
    }
    resolve({ text, isResumed })
    request.destroy()
  }).on('error', reject)
})
await check('Node: a request, a stream, and a resumed session', async () => {
  let session
  const first = await new Promise((resolve, reject) => {
    const request = https.get({ host: 'localhost', port, path: '/hello', ca: readFileSync(pem), agent: false }, (response) => {
      const protocol = request.socket.getProtocol()
      response.on('end', () => resolve(protocol)).resume()
    }).on('error', reject).on('socket', (socket) => socket.on('session', (bytes) => { session = bytes }))
  })
  assert.equal(first, 'TLSv1.3')
  assert.ok(session, 'a ticket')
  const { text, isResumed } = await node(stream, { agent: false, session }, (text) => text.split('data: ').length > 5)
  assert.ok(text.includes('data: ') && isResumed)
})

/** OpenSSL's client. `until(pattern, count)` waits until its output has that many matches. */
function sClient() {
  const child = spawn('openssl', ['s_client', '-connect', `127.0.0.1:${port}`, '-servername', 'localhost', '-tls1_3',
    '-CAfile', pem, '-verify_return_error', '-alpn', 'http/1.1'], { stdio: ['pipe', 'pipe', 'pipe'] })
  let output = ''
  const waiting = new Set()
  const take = (bytes) => { output += bytes; for (const look of waiting) look() }
  child.stdout.on('data', take)
  child.stderr.on('data', take)
  const ended = once(child, 'exit')
  const until = (pattern, count = 1) => new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${count} of ${pattern} in ${output.slice(-1500)}`)), 20_000)
    const look = () => {
      if ((output.match(pattern)?.length ?? 0) < count) return
      clearTimeout(timer)
      waiting.delete(look)
      resolve()
    }
    waiting.add(look)
    look()
  })
  const close = async () => { child.kill(); await ended }
  return { until, say: (text) => child.stdin.write(text), count: (pattern) => output.match(pattern)?.length ?? 0, close }
}
await check('openssl s_client: requests between key updates of the client, with and without an answer', async () => {
  const client = sClient()
  try {
    await client.until(/Verify return code: 0 \(ok\)/g)
    await client.until(/ALPN protocol: http\/1.1/g)
    // A line that begins with k updates its own keys; with K it asks the server to do the same.
    for (const [at, command] of ['', 'k', 'K', 'k', 'K', 'K'].entries()) {
      if (command) {
        client.say(`${command}\n`)
        await client.until(/KEYUPDATE/g, at)
      }
      client.say('GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n')
      await client.until(/Hello, World!/g, at + 1)
    }
  } finally {
    await client.close()
  }
})
await check('openssl s_client: a stream goes on after a key update', async () => {
  const client = sClient()
  try {
    await client.until(/Verify return code: 0 \(ok\)/g)
    client.say(`GET ${stream} HTTP/1.1\r\nHost: localhost\r\n\r\n`)
    await client.until(/^data: /gm, 5)
    for (let updates = 1; updates <= 3; updates++) {
      client.say('K\n')
      await client.until(/KEYUPDATE/g, updates)
      await client.until(/^data: /gm, client.count(/^data: /gm) + 5)
    }
  } finally {
    await client.close()
  }
})

const go = `package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"strings"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	pem, err := os.ReadFile(os.Args[2])
	must(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	config := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	for round := 0; round < 2; round++ {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
		answer, err := client.Get(os.Args[1])
		must(err)
		events := 0
		for lines := bufio.NewScanner(answer.Body); events < 5 && lines.Scan(); {
			if strings.HasPrefix(lines.Text(), "data: ") {
				events++
			}
		}
		answer.Body.Close()
		fmt.Println(answer.TLS.Version == tls.VersionTLS13, answer.TLS.DidResume, events)
	}
}
`
if (spawnSync('go', ['version']).status !== 0) {
  console.log('SKIP   Go: no toolchain is installed')
} else {
  const folder = mkdtempSync(path.join(tmpdir(), 'starwheel-go-'))
  try {
    writeFileSync(path.join(folder, 'main.go'), go)
    execFileSync('go', ['build', '-o', 'client', 'main.go'], { cwd: folder })
    await check('Go: a stream, and another one in a resumed session', () => {
      const run = spawnSync(path.join(folder, 'client'), [url + stream, pem], { encoding: 'utf8' })
      assert.deepEqual([run.status, run.stdout], [0, 'true false 5\ntrue true 5\n'], run.stderr)
    })
  } finally {
    rmSync(folder, { recursive: true })
  }
}

await testbed.stop()
