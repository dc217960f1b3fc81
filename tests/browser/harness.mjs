// Helpers of the browser tests: servers, pages that must not log errors, and functions that wait.

import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const target = fileURLToPath(new URL('../../target', import.meta.url))
const examples = process.env.EXAMPLES_DIR ?? path.join(target, 'release/examples')
export const screenshots = process.env.SCREENSHOTS_DIR ?? path.join(target, 'screenshots')
/** The file with the Datastar client; tests that need it are skipped without it. */
export const datastar = process.env.DATASTAR_JS
export const hasRedis = spawnSync('redis-server', ['--version']).status === 0
const TEST_TIMEOUT_MS = 60_000

export const tests = []

/**
 * Declares a test that runs against one example.
 * `needs: 'datastar'` or `'redis'` skips it if that is missing; `expects` is what its pages
 * may write to their console as an error; `flags`, or what a function returns, go to the example; `browsers` are those it runs in.
 */
export const test = (name, example, run, { needs, expects, flags, browsers = ['chromium'] } = {}) =>
  tests.push({ name, example, run, needs, expects, flags, browsers })

/** The different texts that an element shows, one after the other, until there are `count`. */
export async function textsOf(page, selector, count) {
  const seen = await page.waitForFunction(([selector, count]) => {
    const seen = (window[`texts of ${selector}`] ??= [])
    const text = document.querySelector(selector)?.textContent.trim()
    if (text && text !== seen.at(-1)) seen.push(text)
    return seen.length >= count && seen
  }, [selector, count])
  return seen.jsonValue()
}

export async function textBecomes(page, selector, text) {
  await page.waitForFunction(([selector, text]) =>
    document.querySelector(selector)?.textContent.trim() === text, [selector, text])
    .catch(async (error) => {
      const now = await page.textContent(selector, { timeout: 100 }).catch(() => 'missing')
      throw new Error(`${selector} is ${now}, not ${text}`, { cause: error })
    })
}

/** Waits until an element shows this number or a larger one. A busy browser may skip some of them. */
export const numberReaches = (page, selector, least) =>
  page.waitForFunction(([selector, least]) =>
    parseFloat(document.querySelector(selector)?.textContent) >= least, [selector, least])

/** Waits until the elements that match a selector show these texts, in order. */
export async function textsBecome(page, selector, texts) {
  await page.waitForFunction(([selector, texts]) =>
    JSON.stringify([...document.querySelectorAll(selector)].map((element) => element.textContent.trim())) === texts,
  [selector, JSON.stringify(texts)])
    .catch(async (error) => {
      const now = await page.locator(selector).allTextContents().catch(() => 'missing')
      throw new Error(`${selector} are ${JSON.stringify(now)}, not ${JSON.stringify(texts)}`, { cause: error })
    })
}

/**
 * A path to a server that can be cut: connections break, and new ones fail until it is restored.
 * It can also go silent: open connections carry nothing more and do not break; new ones work.
 */
export async function lineTo(url) {
  const { hostname, port } = new URL(url)
  const ends = new Set()
  let isCut = false
  const line = createServer((client) => {
    if (isCut) return client.resetAndDestroy()
    const server = connect(port, hostname)
    for (const [end, other] of [[client, server], [server, client]]) {
      ends.add(end)
      end.on('error', () => {}).on('close', () => { ends.delete(end); other.destroy() }).pipe(other)
    }
  })
  await once(line.listen(0, '127.0.0.1'), 'listening')
  const cut = () => {
    isCut = true
    for (const end of ends) end.resetAndDestroy()
  }
  return {
    url: `http://127.0.0.1:${line.address().port}/`,
    cut,
    mend: () => { isCut = false },
    silence: () => { for (const end of ends) end.unpipe().pause() },
    close: () => { cut(); line.close() },
  }
}

/**
 * A certificate for localhost and its key, in one file: made once, removed when the program ends.
 * Programs that check it name the file as their authority.
 */
export function tlsPem() {
  if (tlsPem.file) return tlsPem.file
  const folder = mkdtempSync(path.join(tmpdir(), 'starwheel-tls-'))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  const [key, certificate, both] = ['key.pem', 'certificate.pem', 'both.pem'].map((name) => path.join(folder, name))
  const made = spawnSync('openssl', ['req', '-x509', '-nodes', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256',
    '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', key, '-out', certificate])
  if (made.status !== 0) throw new Error(`no certificate: ${made.error ?? made.stderr}`)
  writeFileSync(both, readFileSync(certificate, 'utf8') + readFileSync(key, 'utf8'), { mode: 0o600 })
  return tlsPem.file = both
}

/** Runs one test with its own server and browser profile. */
export async function runTest(browser, { example, run, expects, flags }) {
  const server = await start(example, typeof flags === 'function' ? flags() : flags)
  // The certificates of tests are their own. Of the tests themselves, only those over https talk to them.
  if (server.url.startsWith('https:')) process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'
  const context = await browser.newContext()
  context.setDefaultTimeout(30_000)
  const complaints = []
  const complain = (text) => expects?.test(text) || complaints.push(text)
  const open = async (route, prepare = async () => {}) => {
    const page = await context.newPage()
    page.on('pageerror', (error) => complain(`page error: ${error}`))
    page.on('console', (message) => {
      const { url } = message.location()
      // Browsers request an icon on their own; a page need not have one.
      if (message.type() === 'error' && !url.endsWith('/favicon.ico')) complain(`console: ${message.text()} ${url}`)
    })
    await prepare(page)
    await page.goto(server.url + route, { waitUntil: 'domcontentloaded' })
    return page
  }
  const shot = async (page, name) => {
    for (const colorScheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme })
      await page.screenshot({ path: path.join(screenshots, `${name}-${colorScheme}.png`), fullPage: true })
    }
  }
  try {
    const { answerTo, setPreference } = context
    const outcome = await Promise.race([run({ open, shot, answerTo, setPreference, ...server }), after(TEST_TIMEOUT_MS)])
    assert.equal(outcome, undefined)
    assert.deepEqual(complaints, [])
  } finally {
    await context.close()
    await server.stop()
  }
}

/** Starts an example with these flags on a free port and resolves to its address and a way to stop it. */
export async function start(example, flags = [], environment = {}) {
  const env = { ...process.env, PORT: '0', HTTP_PORT: '0', ...environment }
  const child = spawn(path.join(examples, example), flags, { env, stdio: ['ignore', 'pipe', 'inherit'] })
  const exited = new Promise((resolve) => child.once('exit', resolve).once('error', resolve))
  const stop = async () => {
    child.kill('SIGTERM')
    const timer = setTimeout(() => child.kill('SIGKILL'), 5_000)
    await exited
    clearTimeout(timer)
  }
  const lines = createInterface({ input: child.stdout })
  const line = await Promise.race([once(lines, 'line').then(([line]) => line), exited, after(10_000)])
  const url = /^listening on (https?:\/\/(?:127\.0\.0\.1|localhost):\d+)/.exec(line)?.[1]
  if (!url) {
    await stop()
    throw new Error(`${example} did not start: ${line}`)
  }
  return { url, stop, lines }
}

const after = (ms) => new Promise((resolve) => setTimeout(resolve, ms, 'out of time').unref())
