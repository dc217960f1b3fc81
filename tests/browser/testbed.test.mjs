// The testbed as an EventSource sees it.

import assert from 'node:assert/strict'
import { test } from './harness.mjs'

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
}, { browsers: ['chromium', 'firefox'] })

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
