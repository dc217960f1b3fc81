// A restart as an EventSource sees it: told when to come back, dropped, back at the next server.

import assert from 'node:assert/strict'
import { start, test } from './harness.mjs'

const WINDOW_MS = 3_000
const STREAMS = 5 // A browser opens six connections to a server.

test('drain: EventSources come back to the next server, behind the drain and not together', 'testbed', async ({ open }) => {
  // Two servers on one port, so that nobody finds it closed: who comes back early is seen.
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
      // The server said so: Chromium left to itself comes back after three seconds.
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
