// Streams behind nginx, Caddy and HAProxy: untouched and prompt. node tests/proxies.mjs
// Each proxy gets free ports of loopback and a configuration of its own. Environment: EXAMPLES_DIR.

import assert from 'node:assert/strict'
import { request } from 'node:http'
import { start } from './browser/harness.mjs'
import { check } from './clients/check.mjs'
import { caddy, haproxy, has, nginx } from './clients/servers.mjs'
import { curl, curlUndecoded } from './clients/readers.mjs'
import { CODINGS, publish, readsItsOwn, readsThePage, sameBytes, stepByStep } from './clients/story.mjs'

const testbed = await start('testbed', ['--keep-alive-ms', '4000'])
const lively = await start('testbed', ['--keep-alive-ms', '250'])
const upstream = new URL(testbed.url).host
const livelyUpstream = new URL(lively.url).host
const HTTP_1_1 = 'proxy_http_version 1.1; proxy_set_header Connection "";'

/** What stands in front, by the name of the recipe; `downgrades` speak HTTP/1.0 to us, and
 * `compresses` lists those that compress what we did not, in spite of `no-transform`. */
const PROXIES = {
  nginx: {
    run: () => nginx({
      'as it comes': `proxy_pass http://${upstream};`,
      'with HTTP/1.1': `proxy_pass http://${upstream}; ${HTTP_1_1}`,
      ...(has('openssl') ? { 'with HTTP/2': `proxy_pass http://${upstream}; ${HTTP_1_1}` } : {}),
      'with gzip on': `proxy_pass http://${upstream}; ${HTTP_1_1} gzip on; gzip_min_length 0; gzip_types text/event-stream;`,
      impatient: `proxy_pass http://${livelyUpstream}; ${HTTP_1_1} proxy_read_timeout 2s;`,
    }),
    downgrades: ['as it comes'],
    compresses: ['with gzip on'],
  },
  caddy: {
    run: () => caddy({
      'as it comes': `reverse_proxy ${upstream}`,
      'with encode': `encode zstd gzip\nreverse_proxy ${upstream}`,
    }),
  },
  haproxy: {
    run: () => haproxy({
      'as it comes': `server testbed ${upstream}`,
      'with http-no-delay': `option http-no-delay\nserver testbed ${upstream}`,
      'with compression': `option http-no-delay\ncompression algo gzip\ncompression type text/event-stream\nserver testbed ${upstream}`,
      impatient: `option http-no-delay\ntimeout server 2s\nserver testbed ${livelyUpstream}`,
    }),
  },
}

for (const [name, recipes] of Object.entries(PROXIES)) {
  if (has(name)) await check(`${name} starts and stops`, () => everyRecipe(name, recipes))
  else console.log(`SKIP   ${name}: not installed`)
}
await testbed.stop()
await lively.stop()

// Who the client is. It comes from 127.0.0.2, the proxies connect from 127.0.0.1.
const believing = await start('testbed', ['--trusted-proxies', '127.0.0.1'])
const announced = await start('testbed', ['--proxy-protocol', '127.0.0.1'])
const [forwards, announces] = [believing, announced].map(({ url }) => new URL(url).host)
const NAMING = {
  nginx: () => nginx({
    'X-Forwarded-For': `proxy_pass http://${forwards}; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;`,
  }),
  caddy: () => caddy({ 'X-Forwarded-For': `reverse_proxy ${forwards}` }),
  haproxy: () => haproxy({
    'X-Forwarded-For': `option forwardfor\nserver testbed ${forwards}`,
    'PROXY protocol 1': `mode tcp\nserver testbed ${announces} send-proxy check inter 100`,
    'PROXY protocol 2': `mode tcp\nserver testbed ${announces} send-proxy-v2 check inter 100`,
  }),
}
for (const [name, run] of Object.entries(NAMING)) {
  if (has(name)) await check(`${name} names its clients`, () => namesItsClients(name, run))
}
await check('nobody else names anybody', async () => {
  assert.match(await whoami(believing.url, '127.0.0.2'), /^127\.0\.0\.2 through 127\.0\.0\.2:\d+$/)
  assert.match(await whoami(announced.url, '127.0.0.2'), /your address is not a trusted proxy/)
  assert.match(await whoami(announced.url, '127.0.0.1'), /start the connection with a PROXY protocol header/)
})
await believing.stop()
await announced.stop()

async function namesItsClients(name, run) {
  const proxy = await run()
  try {
    for (const [recipe, url] of Object.entries(proxy.urls)) {
      await check(`${name}, ${recipe}: the client is known, and cannot pretend to be another`, async () => {
        const peer = recipe === 'X-Forwarded-For' ? '127\\.0\\.0\\.1' : '127\\.0\\.0\\.2'
        assert.match(await whoami(url, '127.0.0.2'), new RegExp(`^127\\.0\\.0\\.2 through ${peer}:\\d+$`))
      })
    }
  } finally {
    await proxy.stop()
  }
}

/** What /whoami says to a client at this address that claims to be another. */
function whoami(url, localAddress) {
  const headers = { 'X-Forwarded-For': '203.0.113.9' }
  return new Promise((resolve, reject) => {
    request(`${url}/whoami`, { localAddress, headers, agent: false }, async (response) => {
      let text = ''
      for await (const piece of response.setEncoding('utf8')) text += piece
      resolve(text.trim())
    }).on('error', reject).end()
  })
}

async function everyRecipe(name, { run, downgrades = [], compresses = [] }) {
  const proxy = await run()
  try {
    for (const [recipe, url] of Object.entries(proxy.urls)) {
      if (recipe === 'impatient') await cutsIdleStreams(name, url)
      else if (recipe === 'with HTTP/2') await opensAtOnce(`${name} ${recipe}`, url, '--insecure', '--http2')
      else await everythingPasses(`${name} ${recipe}`, url, { downgrades, compresses }, recipe)
    }
  } finally {
    await proxy.stop()
  }
}

/** A stream that says nothing for 30 s, longer than the patience of the check: nginx keeps the head
 * until there is a byte of the body. */
async function opensAtOnce(name, url, ...options) {
  await Promise.all(['identity', ...CODINGS].map((coding) =>
    check(`${name}, ${coding}: a quiet stream opens at once`, async () => {
      const reader = await curl(url, coding, ...options)('/idle')
      await reader.until('its comment', () => reader.bytes.toString().startsWith(':\n'))
      assert.equal(reader.bytes.toString(), ':\n')
      await reader.close()
    })))
}

async function everythingPasses(name, url, { downgrades, compresses }, recipe) {
  const codings = ['identity', ...CODINGS]
  await Promise.all(codings.map((coding) => passes(`${name}, ${coding}`, url, coding, downgrades.includes(recipe))))
  await check(`${name}: a stream that we do not compress`, () => stepByStep(testbed.url, `plain ${name}`, async (route) => {
    const reader = await curl(url, 'gzip')(`${route}&encoding=identity`)
    assert.equal(reader.coding, compresses.includes(recipe) ? 'gzip' : 'identity')
    return reader
  }))
  await check(`${name}: who leaves is gone`, () => until('no stream is left', async () => {
    const metrics = await (await fetch(`${testbed.url}/metrics`)).text()
    return /^starwheel_streams 0$/m.test(metrics)
  }))
}

async function passes(name, url, coding, isDowngraded) {
  const expected = isDowngraded ? 'identity' : coding
  const through = (connect) => async (route) => {
    const reader = await connect(route)
    assert.equal(reader.coding, expected)
    return reader
  }
  const open = through(curl(url, coding))
  const plain = curl(testbed.url, 'identity')
  await check(`${name}: events arrive one by one, for late ones too`, () => stepByStep(testbed.url, name, open))
  await check(`${name}: a page joined late`, () => readsThePage(plain, open))
  await check(`${name}: a stream of its own`, () => readsItsOwn(plain, open))
  if (expected !== 'identity') {
    await check(`${name}: the same bytes as without it`, () =>
      sameBytes(testbed.url, `same ${name}`, curlUndecoded(testbed.url, coding), through(curlUndecoded(url, coding))))
  }
  await check(`${name}: the end comes through`, async () => {
    const reader = await open(`/inject?${new URLSearchParams({ data: 'a line ü\nof many\n'.repeat(100) })}`)
    assert.equal(await reader.ends(), 0)
    assert.equal(reader.data().length, 1)
  })
}

/** A proxy that gives up after 2 s without a byte cuts a silent stream and not one with keep-alives. */
async function cutsIdleStreams(name, url) {
  await Promise.all(['identity', ...CODINGS].map((coding) =>
    check(`${name}, ${coding}: keep-alives keep a quiet stream, silence loses it`, async () => {
      const topic = `quiet ${name} ${coding}`
      const [silent, quiet] = [await curl(url, coding)('/idle'), await curl(url, coding)(`/topic?${new URLSearchParams({ name: topic })}`)]
      await silent.ends()
      await new Promise((resolve) => setTimeout(resolve, 2_000))
      await publish(lively.url, topic, 'still here')
      await quiet.sees(1)
      assert.deepEqual(quiet.data(), ['still here'])
      await quiet.close()
    })))
}

async function until(what, isTrue) {
  for (let attempts = 0; attempts < 200; attempts++) {
    if (await isTrue()) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error(`not within 10 s: ${what}`)
}
