// Clients over a limit reconnect automatically, after the delay that the server sent.

import assert from 'node:assert/strict'
import { openPage } from './datastar.test.mjs'
import { test } from './harness.mjs'

const RETRY_MS = 4000
/** Longer than the default delays of browsers and the Datastar client (3 s, 1 s), by more than clocks differ. */
const flags = ['--streams-per-tag', '1', '--retry-after-ms', `${RETRY_MS}`]
const route = '/tick?ms=100&tag=one'

test('limits: an EventSource over the limit reconnects after the delay from the server', 'testbed', async ({ open, url }) => {
  const page = await open('/')
  const waited = await comesBack(page, url, () => page.evaluate((route) => {
    new EventSource(route).onmessage = ({ data }) => { document.title = data }
  }, route))
  assert.ok(waited >= RETRY_MS - 200, `after ${waited} ms`)
  await page.waitForFunction(() => /^\d{19}/.test(document.title))
}, { flags })

test('limits: a Datastar page over the limit reconnects after the delay from the server', 'testbed', async ({ open, url }) => {
  const page = await openPage(open, '<main></main>')
  const waited = await comesBack(page, url, () => page.act('get', route, {}, 'started'))
  // It is cut a second later. Without the `retry:` before that, it would reconnect after another second.
  assert.ok(waited >= RETRY_MS + 700, `after ${waited} ms`)
}, { flags, needs: 'datastar', expects: /network error|ERR_INCOMPLETE_CHUNKED_ENCODING|Datastar failed to reach .* retrying in \d+ms/ })

const replacing = ['--streams-per-tag', '1', '--tag-overflow', 'replace-oldest']

test('limits: an EventSource that was replaced ends and replaces nothing', 'testbed', async ({ open, url }) => {
  const page = await open('/')
  const start = () => page.evaluate((route) => {
    const source = new EventSource(route)
    ;(window.sources ??= []).push(source)
    source.addEventListener('replaced', () => { document.title = 'replaced' })
    return new Promise((resolve) => { source.onmessage = () => resolve() })
  }, route)
  await start()
  await start()
  await page.waitForFunction(() => window.sources[0].readyState === EventSource.CLOSED)
  assert.deepEqual(await page.evaluate(() => [window.sources[1].readyState, document.title]), [1, 'replaced'])
  assertReplacedOnce(await metrics(url))
}, { flags: replacing, browsers: ['chromium', 'firefox'] })

test('limits: a Datastar page that was replaced does not reconnect', 'testbed', async ({ open, url }) => {
  const [first, second] = [await openPage(open, '<main></main>'), await openPage(open, '<main></main>')]
  await first.act('get', route, {}, 'started')
  await first.finishes(() => second.act('get', route, {}, 'started'))
  // Twice as long as its default delay: each tick is 100 ms.
  const ticks = async () => Number((await metrics(url)).match(/\nstarwheel_ticks_total (\d+)/)[1])
  for (const end = await ticks() + 20; await ticks() < end;) await new Promise((resolve) => setTimeout(resolve, 50))
  assertReplacedOnce(await metrics(url))
}, { flags: replacing, needs: 'datastar' })

function assertReplacedOnce(text) {
  assert.match(text, /\nstarwheel_streams_opened_total 2\n/)
  assert.match(text, /\nstarwheel_streams_closed_total\{reason="replaced"\} 1\n/)
}

/** Holds the only place until a page has requested it. Returns how long the page waited before it tried again. */
async function comesBack(page, url, ask) {
  const holder = new AbortController()
  await fetch(url + route, { signal: holder.signal })
  const asks = []
  page.on('request', (request) => { if (request.url().includes('tag=one')) asks.push(Date.now()) })
  const answered = page.waitForResponse((response) => response.url().includes('tag=one'))
  await ask()
  await answered
  assert.match(await metrics(url), /\nstarwheel_refused_total\{status="429"\} 1\n/)
  holder.abort()
  while (asks.length < 2) await page.waitForRequest((request) => request.url().includes('tag=one'))
  let text
  do { text = await metrics(url) } while (!text.includes('\nstarwheel_streams_opened_total 2\n'))
  assert.match(text, /\nstarwheel_refused_total\{status="429"\} 1\n/)
  return asks[1] - asks[0]
}

const metrics = async (url) => (await fetch(`${url}/metrics`)).text()
