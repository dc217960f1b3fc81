// Compressed streams as EventSource and fetch read them, in every coding and every browser.

import assert from 'node:assert/strict'
import { CODINGS, publish, readsItsOwn, readsThePage, stepByStep } from '../clients/story.mjs'
import { test, tlsPem } from './harness.mjs'

const browsers = ['chromium', 'firefox']

for (const [scheme, coding] of [...CODINGS.map((coding) => ['http', coding]), ['https', 'zstd'], ['https', 'br']]) {
  const flags = () => ['--encodings', coding, ...(scheme === 'https' ? ['--tls-pem', tlsPem()] : [])]
  for (const client of ['EventSource', 'fetch']) {
    const story = (name, run, expects) => test(`compression: ${scheme}, ${client}, ${coding}: ${name}`, 'testbed', async ({ open, url, answerTo, stop }) => {
      const page = await open('/')
      const reader = (coding) => readerIn(page, client, async (route) => assert.equal((await answerTo(url + route)).coding, coding))
      await run(url, reader(coding), reader('identity'), stop)
    }, { flags, browsers, expects })
    story('events arrive one by one, for late ones too', (url, open) => stepByStep(url, 'steps', open))
    story('a page joined late', (url, open, plain) => readsThePage(plain, open))
    story('a stream of its own', (url, open, plain) => readsItsOwn(plain, open))
    story('a stream that ends', async (url, open) => {
      const data = 'a line ü\nof many\n'.repeat(50)
      const reader = await open(`/inject?${new URLSearchParams({ data })}`)
      await reader.sees(1)
      assert.equal(await reader.ends(), client === 'fetch' ? 'ended' : 'reconnects')
      assert.equal((await reader.data())[0], data)
      await reader.close()
    })
    story('a stream that is cut', async (url, open, _plain, stop) => {
      const reader = await open('/topic?name=cut')
      await publish(url, 'cut', 'the last words')
      await reader.sees(1)
      await stop()
      assert.equal(await reader.ends(), client === 'fetch' ? 'failed' : 'reconnects')
      assert.deepEqual(await reader.data(), ['the last words'])
      await reader.close()
    }, /ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION_|ERR_SOCKET_/)
  }
}

const choosing = (name, expected, options, prepare = () => {}) => test(`compression: ${name}`, 'testbed', async ({ open, url, answerTo, setPreference }) => {
  await prepare(setPreference)
  const page = await open('/')
  for (const client of ['EventSource', 'fetch']) {
    const reader = await readerIn(page, client, async (route) => assert.equal((await answerTo(url + route)).coding, expected))('/topic')
    await publish(url, 'topic', 'hello')
    await reader.sees(1)
    await reader.close()
  }
}, options)
choosing('a browser gets the best that it offers', 'zstd', { browsers })
// Firefox treats loopback like https. To other hosts over plain http it offers at most gzip.
choosing('Firefox without https gets gzip', 'gzip', { browsers: ['firefox'] },
  (setPreference) => setPreference('network.http.encoding.trustworthy_is_https', false))

/** Opens streams in a page; each resolves when the response has arrived and passes `check(route)`. */
const readerIn = (page, client, check) => async (route) => {
  const id = await page.evaluate(client === 'fetch' ? fetchIn : eventSourceIn, route)
  await check(route)
  return {
    data: () => page.evaluate((id) => window.streams[id].data(), id),
    sees: (count) => page.waitForFunction(([id, count]) => window.streams[id].data().length >= count, [id, count])
      .catch(async (error) => {
        const seen = await page.evaluate((id) => window.streams[id].data().length, id)
        throw new Error(`${seen} of ${count} events`, { cause: error })
      }),
    ends: () => page.evaluate((id) => window.streams[id].end, id),
    close: () => page.evaluate((id) => window.streams[id].close(), id),
  }
}

function eventSourceIn(route) {
  return new Promise((resolve, reject) => {
    const [source, data, streams] = [new EventSource(route), [], window.streams ??= []]
    for (const type of ['message', 'datastar-patch-elements']) source.addEventListener(type, (event) => data.push(event.data))
    source.onerror = () => reject(new Error('the EventSource failed'))
    source.onopen = () => {
      const end = new Promise((resolve) => {
        source.onerror = () => resolve(source.readyState === EventSource.CONNECTING ? 'reconnects' : 'gives up')
      })
      resolve(streams.push({ data: () => data, end, close: () => source.close() }) - 1)
    }
  })
}

async function fetchIn(route) {
  const stop = new AbortController()
  // Without `no-store`, Firefox delays a second fetch of the same URL by up to 20 s.
  const response = await fetch(route, { signal: stop.signal, cache: 'no-store' })
  const [data, streams] = [[], window.streams ??= []]
  const read = async () => {
    let text = ''
    for await (const part of response.body.pipeThrough(new TextDecoderStream())) {
      const blocks = (text + part).split('\n\n')
      text = blocks.pop()
      for (const block of blocks) {
        const lines = block.split('\n').filter((line) => line.startsWith('data:'))
        if (lines.length) data.push(lines.map((line) => line.replace(/^data: ?/, '')).join('\n'))
      }
    }
  }
  const end = read().then(() => 'ended', () => 'failed')
  return streams.push({ data: () => data, end, close: () => stop.abort() }) - 1
}
