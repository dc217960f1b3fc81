// Pages that sleep, and networks that go away: LiveSource resumes, with nothing missing and nothing twice.

import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { lineTo, test } from './harness.mjs'
import { launch } from './tabs.mjs'

const BEAT_MS = 1_000
const STREAM = `/topic?name=phone&history=100000&beat=${BEAT_MS}`
const LOST = /ERR_INTERNET_DISCONNECTED|ERR_CONNECTION|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_EMPTY_RESPONSE|ERR_NETWORK|ERR_SOCKET/

/** The server has asked for so much patience that only LiveSource comes back sooner. */
const PATIENT = `${STREAM}&retry=200000`

/** A page that collects what LiveSource passes on, and how often its connection has opened. */
async function watch(page, { stream = STREAM, heartbeat = BEAT_MS } = {}) {
  await page.evaluate(async ([stream, heartbeat]) => {
    const { LiveSource } = await import('/live.js')
    window.seen = []
    window.opened = 0
    window.source = new LiveSource(stream, { heartbeat })
    window.source.addEventListener('open', () => { window.opened += 1 })
    window.source.onmessage = ({ data }) => window.seen.push(Number(data))
  }, [stream, heartbeat])
  await page.waitForFunction(() => window.opened === 1)
}

/** Publishes 1, 2, 3 ... until it is stopped, which resolves to the last number. */
function publish(url, pauseMs = 20) {
  let isStopped = false
  const done = (async () => {
    let number = 0
    while (!isStopped) {
      number += 1
      const { status } = await fetch(`${url}/publish?name=phone`, { method: 'POST', body: `${number}` })
      assert.equal(status, 204)
      await sleep(pauseMs)
    }
    return number
  })()
  done.catch(() => {}) // A test that has failed has stopped the server.
  return async () => { isStopped = true; return done }
}

async function sawAll(page, last) {
  await page.waitForFunction((last) => window.seen.at(-1) === last, last).catch(async (error) => {
    const seen = await page.evaluate(() => window.seen)
    throw new Error(`${seen.length} of ${last}, the last ${seen.at(-1)}`, { cause: error })
  })
  const seen = await page.evaluate(() => window.seen)
  assert.deepEqual(seen, Array.from({ length: last }, (_, index) => index + 1))
}

/** Sees some numbers, then lets `interrupt` happen while more are published. */
async function interrupted(page, url, interrupt) {
  const stop = publish(url)
  await page.waitForFunction(() => window.seen.length > 20)
  await interrupt()
  await sawAll(page, await stop())
}

const sees = (page, more) => page.evaluate((more) => {
  const least = window.seen.length + more
  return new Promise((resolve) => {
    const timer = setInterval(() => window.seen.length >= least && resolve(clearInterval(timer)), 50)
  })
}, more)

test('phones: the network is off for 40 seconds', 'testbed', async ({ open, url }) => {
  const line = await lineTo(url)
  try {
    const page = await open('/')
    await page.goto(line.url)
    await watch(page, { stream: PATIENT, heartbeat: 5_000 })
    await interrupted(page, url, async () => {
      await page.context().setOffline(true)
      line.cut()
      await sleep(1_000)
      const before = await page.evaluate(() => window.seen.length)
      await sleep(39_000)
      assert.equal(await page.evaluate(() => window.seen.length), before)
      line.mend()
      await page.context().setOffline(false)
      // After a minute of silence it would come back without this.
      await page.waitForFunction((before) => window.seen.length > before, before, { timeout: 15_000 })
    })
  } finally {
    line.close()
  }
}, { expects: LOST })

test('phones: a page that reconnects while its connection lives gets nothing twice', 'testbed', async ({ open, url }) => {
  const page = await open('/')
  await watch(page, { heartbeat: 40 })
  const stop = publish(url, 200)
  await page.waitForFunction(() => window.opened > 5)
  await sawAll(page, await stop())
})

test('phones: a quiet stream stays, and one that the server has ended stays away', 'testbed', async ({ open }) => {
  const page = await open('/')
  await watch(page)
  let asked = 0
  page.on('request', () => { asked += 1 })
  await page.evaluate(async () => {
    const { LiveSource } = await import('/live.js')
    window.ended = new LiveSource('/nowhere', { heartbeat: 100 })
    await new Promise((resolve) => { window.ended.onerror = resolve })
  })
  await sleep(5 * BEAT_MS)
  await page.evaluate(() => { window.dispatchEvent(new Event('online')) })
  await sleep(BEAT_MS)
  assert.deepEqual(await page.evaluate(() => [window.opened, window.ended.readyState]), [1, 2])
  assert.equal(asked, 1)
}, { expects: /404/ })

test('phones: a connection that dies in silence', 'testbed', async ({ open, url }) => {
  const line = await lineTo(url)
  try {
    const page = await open('/')
    await page.goto(line.url)
    await watch(page)
    await interrupted(page, url, async () => {
      for (let time = 0; time < 2; time += 1) {
        line.silence()
        await page.waitForFunction((time) => window.opened === time + 2, time)
        await sees(page, 20)
      }
    })
  } finally {
    line.close()
  }
}, { expects: LOST })

test('phones: a connection that is cut comes back by itself', 'testbed', async ({ open, url }) => {
  const line = await lineTo(url)
  try {
    const page = await open('/')
    await page.goto(line.url)
    await watch(page)
    await interrupted(page, url, async () => {
      line.cut()
      await sleep(4 * BEAT_MS)
      line.mend()
      await sees(page, 20)
    })
  } finally {
    line.close()
  }
}, { expects: LOST })

/** A tab that watches through a line, and another one that can be shown in front of it. */
async function inTabs(url, options, run) {
  const [line, browser] = await Promise.all([lineTo(url), launch()])
  try {
    const page = await browser.open(line.url)
    await watch(page, options)
    await page.evaluate(() => {
      window.life = []
      for (const type of ['visibilitychange', 'freeze', 'resume']) {
        document.addEventListener(type, () => window.life.push(type === 'visibilitychange' ? document.visibilityState : type))
      }
    })
    await run({ line, page, browser, hide: () => browser.open('about:blank') })
  } finally {
    await browser.close()
    line.close()
  }
}

test('phones: a page in the background', 'testbed', ({ url }) => inTabs(url, {}, async ({ line, page, hide }) => {
  await interrupted(page, url, async () => {
    await hide()
    await sees(page, 20)
    line.silence() // In the background it comes back, too.
    await sees(page, 200)
    await page.show()
  })
  assert.deepEqual(await page.evaluate(() => window.life), ['hidden', 'visible'])
}))

for (const [name, breaks] of [['and its connection lives', false], ['while its connection dies', true]]) {
  test(`phones: a page is frozen, ${name}`, 'testbed', ({ url }) => inTabs(url, { stream: PATIENT }, async ({ line, page, hide }) => {
    await interrupted(page, url, async () => {
      await hide()
      await page.send('Page.setWebLifecycleState', { state: 'frozen' })
      if (breaks) line.cut()
      await sleep(5 * BEAT_MS)
      line.mend()
      await page.send('Page.setWebLifecycleState', { state: 'active' })
      await page.show()
      await sees(page, 20)
    })
    assert.deepEqual(await page.evaluate(() => window.life), ['hidden', 'freeze', 'resume', 'visible'])
  }))
}

const inGuide = async () => {
  const guide = await readFile(new URL('../../docs/guide.md', import.meta.url), 'utf8')
  const blocks = [...guide.matchAll(/^```js\n(.*?)^```$/gms)].map(([, code]) => code)
  return blocks.find((code) => code.includes('navigator.locks'))
}

test('phones: the tabs of a browser share one stream, as in the guide', 'testbed', async ({ url }) => {
  const code = (await inGuide())
    .replace('"/live.js"', `"${url}/live.js"`).replace('"/news"', `"${STREAM}"`).replace('15_000', `${BEAT_MS}`)
  const browser = await launch()
  const streams = async () => Number(/^starwheel_streams (\d+)/m.exec(await (await fetch(`${url}/metrics`)).text())[1])
  try {
    const tabs = []
    while (tabs.length < 3) {
      const tab = await browser.open(`${url}/`)
      tabs.push(tab)
      await tab.evaluate((code) => {
        window.seen = []
        window.show = (data) => window.seen.push(Number(data))
        return import(URL.createObjectURL(new Blob([code], { type: 'text/javascript' }))).then(() => {})
      }, code)
      while (await streams() !== 1) await sleep(20)
    }
    const [first, second, third] = tabs
    const stop = publish(url)
    await Promise.all(tabs.map((tab) => sees(tab, 20)))
    await first.send('Page.setWebLifecycleState', { state: 'frozen' })
    await second.show()
    await sees(second, 150)
    await first.send('Page.setWebLifecycleState', { state: 'active' })
    await Promise.all(tabs.map((tab) => sees(tab, 20)))
    assert.equal(await streams(), 1)
    await second.close()
    await Promise.all([first, third].map((tab) => sees(tab, 150)))
    assert.equal(await streams(), 1)
    const last = await stop()
    await Promise.all([first, third].map((tab) => sawAll(tab, last)))
  } finally {
    await browser.close()
  }
})
