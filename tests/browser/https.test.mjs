// The example `https` and streams over TLS in real browsers. compression.test.mjs has more over TLS.

import assert from 'node:assert/strict'
import { test, textsOf, textBecomes } from './harness.mjs'

test('https: a live stream over TLS, compressed', 'https', async ({ open, url, answerTo, shot }) => {
  const page = await open('/')
  const ticks = await textsOf(page, '#clock', 3)
  for (const text of ticks.slice(1)) assert.match(text, /^localhost:\d+, tick \d+$/)
  assert.equal((await answerTo(`${url}/clock`)).coding, 'zstd')
  if (page.screenshot) await shot(page, 'https')
})

test('https: Datastar posts and gets its signals over TLS', 'https', async ({ open }) => {
  const page = await open('/')
  await textBecomes(page, '#likes', '0')
  await page.evaluate(() => document.querySelector('#like').click())
  await textBecomes(page, '#likes', '1')
}, { needs: 'datastar' })
