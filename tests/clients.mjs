// Reads the testbed with clients that people use, in every coding: node tests/clients.mjs
// Environment: EXAMPLES_DIR, HTTPX_PYTHON (a Python that has httpx with brotli and zstd).

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { start } from './browser/harness.mjs'
import { CODINGS, commentsOf, readsItsOwn, readsThePage, sameBytes, stepByStep } from './clients/story.mjs'
import { check } from './clients/check.mjs'
import { finishedStreams, programs } from './clients/gzip_members.mjs'
import { curl, curlUndecoded, httpx, nodeFetch } from './clients/readers.mjs'

const python = process.env.HTTPX_PYTHON
const canCurl = execFileSync('curl', ['--version']).toString().match(/^Features:.*$/m)[0]
const [undiciMajor, undiciMinor] = process.versions.undici.split('.').map(Number)
const fetchKnowsZstd = undiciMajor > 7 || (undiciMajor === 7 && undiciMinor >= 11)
const lacks = {
  curl: (coding) => !new RegExp({ zstd: 'zstd', br: 'brotli', gzip: 'libz' }[coding]).test(canCurl) && 'this curl cannot decode it',
  fetch: (coding) => coding === 'zstd' && !fetchKnowsZstd && `the fetch of Node ${process.version} cannot decode it; that of Node 24.4 can`,
  httpx: () => !python && 'HTTPX_PYTHON names no Python',
}
for (const coding of CODINGS) {
  const testbed = await start('testbed', ['--encodings', coding])
  const lively = await start('testbed', ['--encodings', coding, '--keep-alive-ms', '250'])
  const plain = curl(testbed.url, 'identity')
  const clients = {
    curl: (base) => curl(base, coding),
    fetch: (base) => nodeFetch(base, coding),
    httpx: (base) => httpx(python, base, coding),
  }
  for (const [name, connectTo] of Object.entries(clients)) {
    const connect = connectTo(testbed.url)
    const missing = lacks[name](coding)
    if (missing) {
      console.log(`SKIP   ${name}, ${coding}: ${missing}`)
      continue
    }
    const open = async (route) => {
      const reader = await connect(route)
      assert.equal(reader.coding, coding)
      return reader
    }
    await check(`${name}, ${coding}: events arrive one by one, for late ones too`, () => stepByStep(testbed.url, `${name} ${coding}`, open))
    await check(`${name}, ${coding}: a page joined late`, () => readsThePage(plain, open))
    await check(`${name}, ${coding}: a stream of its own`, () => readsItsOwn(plain, open))
    await check(`${name}, ${coding}: a stream that ends`, async () => {
      const route = `/inject?${new URLSearchParams({ event: 'e', id: '7', data: 'a line ü\nof many\n'.repeat(500) })}`
      const [reader, expected] = [await open(route), await plain(route)]
      assert.equal(await reader.ends(), 0)
      assert.equal(await expected.ends(), 0)
      assert.equal(withoutComments(reader), withoutComments(expected))
    })
    await check(`${name}, ${coding}: comments of a quiet stream`, () => commentsOf(lively.url, `${name} ${coding}`, connectTo(lively.url)))
    await check(`${name}, ${coding}: not compressed on demand`, async () => {
      const reader = await connect('/private?ms=200&encoding=identity')
      assert.equal(reader.coding, 'identity')
      await reader.sees(2)
      await reader.close()
    })
  }
  await check(`${coding}: all get the same bytes`, () =>
    sameBytes(testbed.url, 'same', curlUndecoded(testbed.url, coding), curlUndecoded(testbed.url, coding)))
  await testbed.stop()
  await lively.stop()
}

const testbed = await start('testbed', ['--encodings', 'gzip'])
let streams = []
await check('finished gzip streams are whole, says Node', async () => { streams = await finishedStreams(testbed.url) })
for (const program of programs()) {
  if (program.isInstalled) await check(`finished gzip streams are whole, says ${program.name}`, async () => program.reads(streams))
  else console.log(`SKIP   finished gzip streams: ${program.name} is not installed`)
}
await testbed.stop()

// fetch sends an id with an umlaut as one byte per character, not as UTF-8. (`cargo test` checks that
// the library never sends such an id.)
const chat = await start('chat')
await check('fetch: an id with an umlaut is unknown, and so a gap', async () => {
  const stop = new AbortController()
  const response = await fetch(`${chat.url}/chat?datastar={"name":"fetch"}`, { headers: { 'Last-Event-ID': 'caf\u00e9' }, signal: stop.signal })
  // A comment may come first: a worker that opens a topic waits for its past.
  let text = ''
  for await (const bytes of response.body) {
    text += new TextDecoder().decode(bytes)
    if (text.replace(/^:.*\n/gm, '').length > 0) break
  }
  stop.abort()
  assert.match(text, /^(:\n)?event: datastar-gap\ndata: chat\n\n/)
})
await chat.stop()

/** All bytes but comments: before an event, zstd may need one to forget how the last one repeated itself. */
function withoutComments(reader) {
  return reader.bytes.toString().replace(/^:.*\n/gm, '')
}
