// Drives the examples with a real browser: node run.mjs [NAME...]
// Environment: CHROMIUM (the browser), EXAMPLES_DIR (the built examples), SCREENSHOTS_DIR.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { chromium } from 'playwright-core'

const target = fileURLToPath(new URL('../../target', import.meta.url))
const examples = process.env.EXAMPLES_DIR ?? path.join(target, 'release/examples')
const screenshots = process.env.SCREENSHOTS_DIR ?? path.join(target, 'screenshots')
const TEST_TIMEOUT_MS = 60_000

const tests = []
const test = (name, example, run) => tests.push({ name, example, run })

test('clock: ticks arrive and visitors are counted', 'clock', async ({ open, shot }) => {
  const first = await open('/')
  assert.match((await textsOf(first, '#ticks', 4)).join(' '), /^\d+( \d+){3,}$/)
  await textBecomes(first, '#visitors', '1')
  const second = await open('/')
  await textBecomes(first, '#visitors', '2')
  await textBecomes(second, '#visitors', '2')
  await textBecomes(first, '#seconds', '2.8 s')
  await shot(first, 'clock')
  await second.close()
  await textBecomes(first, '#visitors', '1')
})

test('countdown: runs down to 0 and finishes', 'countdown', async ({ open, shot }) => {
  const page = await open('/')
  const seen = (await textsOf(page, '#left', 3)).map(Number)
  await textBecomes(page, '#state', 'done')
  seen.push(Number(await page.textContent('#left')))
  assert.ok(seen.every((left, n) => n === 0 || left < seen[n - 1]), `counted ${seen}`)
  assert.equal(seen.at(-1), 0)
  await shot(page, 'countdown')
})

test('testbed: an EventSource gets ticks in order', 'testbed', async ({ open, shot }) => {
  const page = await open('/')
  const stamps = (await eventsOf(page, '/tick?ms=100', 'message', 5)).map(({ data }) => data.split(' ')[0])
  assert.ok(stamps.every((stamp) => /^\d{19}$/.test(stamp)), `got ${stamps}`)
  assert.deepEqual(stamps, [...stamps].sort())
  assert.equal(new Set(stamps).size, stamps.length)
  await shot(page, 'testbed')
})

test('testbed: event, id and data arrive as they were sent', 'testbed', async ({ open }) => {
  const page = await open('/')
  const sent = { event: 'greeting', id: 'seven-7', data: 'a "b" <i>&amp;</i> ü €\nid: no\n\n: no\r\nlast ' }
  const [got] = await eventsOf(page, `/inject?${new URLSearchParams(sent)}`, sent.event, 1)
  assert.deepEqual(got, { ...sent, data: sent.data.replaceAll('\r\n', '\n') })
})

/** The different texts that an element shows, one after the other, until there are `count`. */
async function textsOf(page, selector, count) {
  const seen = await page.waitForFunction(([selector, count]) => {
    const seen = (window[`texts of ${selector}`] ??= [])
    const text = document.querySelector(selector)?.textContent.trim()
    if (text && text !== seen.at(-1)) seen.push(text)
    return seen.length >= count && seen
  }, [selector, count])
  return seen.jsonValue()
}

async function textBecomes(page, selector, text) {
  await page.waitForFunction(([selector, text]) =>
    document.querySelector(selector)?.textContent.trim() === text, [selector, text])
    .catch(async (error) => {
      const now = await page.textContent(selector, { timeout: 100 }).catch(() => 'missing')
      throw new Error(`${selector} is ${now}, not ${text}`, { cause: error })
    })
}

/** The first `count` events of one type from a real EventSource. */
function eventsOf(page, url, type, count) {
  return page.evaluate(([url, type, count]) => new Promise((resolve, reject) => {
    const [source, events] = [new EventSource(url), []]
    source.addEventListener(type, ({ data, lastEventId }) => {
      events.push({ event: type, id: lastEventId, data })
      if (events.length === count) finish(() => resolve(events))
    })
    const finish = (settle) => { source.close(); clearTimeout(timer); settle() }
    const timer = setTimeout(() => finish(() => reject(new Error(`${events.length} of ${count} events`))), 10_000)
  }), [url, type, count])
}

/** Starts an example on a free port and resolves to its address and a way to stop it. */
async function start(example) {
  const child = spawn(path.join(examples, example), { env: { ...process.env, PORT: '0' }, stdio: ['ignore', 'pipe', 'inherit'] })
  const exited = new Promise((resolve) => child.once('exit', resolve).once('error', resolve))
  const stop = async () => {
    child.kill('SIGTERM')
    const timer = setTimeout(() => child.kill('SIGKILL'), 5_000)
    await exited
    clearTimeout(timer)
  }
  const lines = createInterface({ input: child.stdout })
  const line = await Promise.race([once(lines, 'line').then(([line]) => line), exited, after(10_000)])
  const url = /^listening on (http:\/\/127\.0\.0\.1:\d+)/.exec(line)?.[1]
  if (!url) {
    await stop()
    throw new Error(`${example} did not start: ${line}`)
  }
  return { url, stop }
}

const after = (ms) => new Promise((resolve) => setTimeout(resolve, ms, 'out of time').unref())

/** Runs one test with a server and a browser profile of its own. */
async function runTest(browser, { example, run }) {
  const server = await start(example)
  const context = await browser.newContext()
  context.setDefaultTimeout(30_000)
  const complaints = []
  const open = async (route) => {
    const page = await context.newPage()
    page.on('pageerror', (error) => complaints.push(`page error: ${error}`))
    page.on('console', (message) => {
      const { url } = message.location()
      // Browsers ask for an icon unbidden; a page may do without.
      if (message.type() === 'error' && !url.endsWith('/favicon.ico')) complaints.push(`console: ${message.text()} ${url}`)
    })
    await page.goto(server.url + route, { waitUntil: 'domcontentloaded' })
    return page
  }
  const shot = (page, name) => page.screenshot({ path: path.join(screenshots, `${name}.png`), fullPage: true })
  try {
    const outcome = await Promise.race([run({ open, shot, url: server.url }), after(TEST_TIMEOUT_MS)])
    assert.equal(outcome, undefined)
    assert.deepEqual(complaints, [])
  } finally {
    await context.close()
    await server.stop()
  }
}

await mkdir(screenshots, { recursive: true })
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync'],
})
const wanted = process.argv.slice(2)
let failed = 0
for (const test of tests.filter(({ name }) => wanted.length === 0 || wanted.some((word) => name.includes(word)))) {
  try {
    await runTest(browser, test)
    console.log(`ok     ${test.name}`)
  } catch (error) {
    failed += 1
    console.log(`FAILED ${test.name}\n${error.stack}`)
  }
}
await browser.close()
process.exitCode = failed ? 1 : 0
