// A restart as an EventSource sees it: it gets a reconnect delay, is dropped, and reconnects to the next server.

import assert from 'node:assert/strict'
import { start, test } from './harness.mjs'

const WINDOW_MS = 3_000
const STREAMS = 5 // A browser opens six connections to a server.

test('drain: EventSources reconnect to the next server, after the drain and not all at once', 'testbed', async ({ open }) => {
  // Two servers share one port, so it is never closed and early reconnects are visible.
  const shared = (flags) => start('testbed', ['--drain-ms', `${WINDOW_MS}`, ...flags], { WORKERS: '2' })
  const first = await shared([])
  let second
  try {
    const page = await open('/')
    await page.goto(first.url)
    await page.evaluate((streams) => {
      window.lives = Array.from({ length: streams }, () => ({ opened: [], lost: [], seen: [] }))
      for (const life of window.lives) {
        const source = new EventSource('/tick?ms=50')
        source.onopen = () => life.opened.push(Date.now())
        source.onerror = () => life.lost.push(Date.now())
        source.onmessage = ({ data }) => life.seen.push(data)
      }
    }, STREAMS)
    await page.waitForFunction(() => window.lives.every(({ opened }) => opened.length === 1))
    second = await shared(['--port', new URL(first.url).port])
    const asked = Date.now()
    await first.stop()
    await page.waitForFunction(() => window.lives.every(({ opened }) => opened.length === 2))
    const lives = await page.evaluate(() => window.lives)
    for (const { opened, lost, seen } of lives) {
      assert.equal(lost.length, 1, 'it asked once, and was answered')
      // The server chose this delay: by default, Chromium reconnects after three seconds.
      const back = opened[1] - asked
      assert.ok(back >= WINDOW_MS + 1_000, `back after ${back} ms`)
      assert.ok(seen.every((data) => /^\d{19}/.test(data)), 'whole events, and no others')
    }
    const backs = lives.map(({ opened }) => opened[1])
    assert.ok(Math.max(...backs) - Math.min(...backs) >= 500, `together: ${backs.map((back) => back - asked)}`)
  } finally {
    await first.stop()
    await second?.stop()
  }
}, { expects: /ERR_INCOMPLETE_CHUNKED_ENCODING/ })
