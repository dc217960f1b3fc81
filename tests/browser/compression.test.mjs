// Compressed streams as EventSource and fetch read them, in every coding.

import assert from 'node:assert/strict'
import { CODINGS, readsItsOwn, readsThePage, stepByStep } from '../clients/story.mjs'
import { test } from './harness.mjs'

for (const coding of CODINGS) {
  for (const client of ['EventSource', 'fetch']) {
    const story = (name, run) => test(`compression: ${client}, ${coding}: ${name}`, 'testbed', async ({ open, url }) => {
      const page = await open('/')
      await run(url, readerIn(page, client, coding), readerIn(page, client, 'identity'))
    }, { flags: ['--encodings', coding] })
    story('events arrive one by one, for late ones too', (url, open) => stepByStep(url, 'steps', open))
    story('a page joined late', (url, open, plain) => readsThePage(plain, open))
    story('a stream of its own', (url, open, plain) => readsItsOwn(plain, open))
  }
}

/** Opens streams in a page; each resolves once the response is there and in the coding expected. */
const readerIn = (page, client, coding) => async (route) => {
  const answered = page.waitForResponse((response) => response.url().endsWith(route))
  const opened = page.evaluate(client === 'fetch' ? fetchIn : eventSourceIn, route)
  assert.equal((await answered).headers()['content-encoding'] ?? 'identity', coding)
  const id = await opened
  return {
    data: () => page.evaluate((id) => window.streams[id].data(), id),
    sees: (count) => page.waitForFunction(([id, count]) => window.streams[id].data().length >= count, [id, count])
      .catch(async (error) => {
        const seen = await page.evaluate((id) => window.streams[id].data().length, id)
        throw new Error(`${seen} of ${count} events`, { cause: error })
      }),
    close: () => page.evaluate((id) => window.streams[id].close(), id),
  }
}

function eventSourceIn(route) {
  return new Promise((resolve, reject) => {
    const [source, data, streams] = [new EventSource(route), [], window.streams ??= []]
    for (const type of ['message', 'datastar-patch-elements']) source.addEventListener(type, (event) => data.push(event.data))
    const id = streams.push({ data: () => data, close: () => source.close() }) - 1
    source.onopen = () => resolve(id)
    source.onerror = () => reject(new Error('the EventSource failed'))
  })
}

async function fetchIn(route) {
  const stop = new AbortController()
  const response = await fetch(route, { signal: stop.signal })
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
  read().catch((error) => { if (error.name !== 'AbortError') console.error(error) })
  return streams.push({ data: () => data, close: () => stop.abort() }) - 1
}
