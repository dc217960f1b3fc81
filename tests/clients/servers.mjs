// nginx, Caddy and HAProxy on free ports of loopback, with temporary configurations.

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'

/** Whether a program can be started at all. */
export const has = (program) => spawnSync(program, ['-v'], { stdio: 'ignore' }).error === undefined

/** Servers of nginx: `locations` gives each a name and the lines of its location. Those whose names end
 * in `HTTP/2` speak it over TLS, with a certificate of their own. */
export const nginx = (locations) => proxy('nginx', locations, (ports, folder) => ({
  'nginx.conf': `
daemon off; master_process off; pid ${folder}/pid; error_log stderr;
events {}
http {
  access_log off;
  ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${folder}/${name};`).join(' ')}
  ${ports.map(([lines, port, name]) => `server { listen 127.0.0.1:${port}${isTls(name) ? tls(folder) : ''}; location / { ${lines} } }`).join('\n  ')}
}
`,
}), ['-e', 'stderr', '-c'])

const isTls = (name) => name.endsWith('HTTP/2')

/** The rest of a `listen` directive, and the certificate. */
function tls(folder) {
  const [key, certificate] = [`${folder}/key.pem`, `${folder}/certificate.pem`]
  const request = ['req', '-x509', '-nodes', '-newkey', 'rsa:2048', '-subj', '/CN=localhost', '-keyout', key, '-out', certificate]
  const made = spawnSync('openssl', request)
  if (made.status !== 0) throw new Error(`no certificate: ${made.error ?? made.stderr}`)
  return ` ssl http2; ssl_certificate ${certificate}; ssl_certificate_key ${key}`
}

/** Sites of Caddy: `sites` gives each a name and its directives. */
export const caddy = (sites) => proxy('caddy', sites, (ports) => ({
  Caddyfile: `{
  admin off
  auto_https off
}
${ports.map(([lines, port]) => `http://127.0.0.1:${port} {\nbind 127.0.0.1\n${lines}\n}`).join('\n')}
`,
}), ['run', '--adapter', 'caddyfile', '--config'])

/** Frontends of HAProxy: `backends` gives each a name and the lines of its backend. One whose lines
 * begin with `mode tcp` passes TCP on. */
export const haproxy = (backends) => proxy('haproxy', backends, (ports) => ({
  'haproxy.cfg': `
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
${ports.map(([lines, port], n) => `
frontend front${n}
  ${lines.startsWith('mode tcp') ? 'mode tcp' : 'mode http'}
  bind 127.0.0.1:${port}
  default_backend back${n}
backend back${n}
  ${lines.split('\n').join('\n  ')}
`).join('')}`,
}), ['-db', '-f'])

/** Starts a proxy with one listener for each entry of `kinds`; the addresses go by the same names. */
async function proxy(...recipe) {
  // These programs cannot choose a free port themselves, so another process may take it first.
  for (let attempts = 1; ; attempts++) {
    try {
      return await startProxy(...recipe)
    } catch (error) {
      if (attempts === 5) throw error
    }
  }
}

async function startProxy(program, kinds, configuration, options) {
  const folder = await mkdtemp(path.join(tmpdir(), `starwheel-${program}-`))
  const ports = await Promise.all(Object.entries(kinds).map(async ([name, lines]) => [lines, await freePort(), name]))
  const [[name, text]] = Object.entries(configuration(ports, folder))
  await writeFile(path.join(folder, name), text)
  const environment = { ...process.env, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder }
  const child = spawn(program, [...options, path.join(folder, name)], { env: environment, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes) => { output += bytes })
  const exited = once(child, 'close').catch(() => {})
  const stop = async () => {
    child.kill('SIGTERM')
    const timer = setTimeout(() => child.kill('SIGKILL'), 5_000)
    await exited
    clearTimeout(timer)
    await rm(folder, { recursive: true, force: true })
  }
  for (const [, port] of ports) {
    for (let attempts = 1; !(await answers(port)); attempts++) {
      if (attempts === 100 || child.exitCode !== null) {
        await stop()
        throw new Error(`${program} did not start:\n${output}`)
      }
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
  const urls = Object.keys(kinds).map((name, n) => [name, `${isTls(name) ? 'https' : 'http'}://127.0.0.1:${ports[n][1]}`])
  return { urls: Object.fromEntries(urls), stop }
}

/** A port that was free a moment ago. */
async function freePort() {
  const server = createServer()
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address()
  await new Promise((resolve) => server.close(resolve))
  return port
}

const answers = (port) => new Promise((resolve) => {
  const socket = connect(port, '127.0.0.1')
  socket.on('connect', () => { socket.destroy(); resolve(true) }).on('error', () => resolve(false))
})
