// The dashboard as operators see it: figures, names, colors, a phone, and a server that goes and comes back.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { get } from 'node:http'
import { lineTo, start, test, textBecomes } from './harness.mjs'

const both = ['chromium', 'firefox']
const gone = /ERR_CONNECTION|ERR_INCOMPLETE|ERR_EMPTY|Failed to load/
/** Of the example; without it, it makes one up. */
const password = process.env.PASSWORD ??= 'sesame'

/** Streams that stay open and are not read. Returns what ends them. */
async function hold(url, routes) {
  const requests = routes.map((route) => get(url + route, { agent: false }).on('error', () => {}))
  const answers = await Promise.all(requests.map((request) => once(request, 'response')))
  answers.forEach(([{ statusCode }]) => assert.equal(statusCode, 200))
  return () => requests.forEach((request) => request.destroy())
}

const metrics = async (url) => (await fetch(`${url}/metrics`)).text()

/** The sum over workers of a metric, with these labels too. */
function sumOf(text, name, labels = '') {
  const lines = text.split('\n').filter((line) => line.startsWith(`starwheel_${name}{`) || line.startsWith(`starwheel_${name} `))
  return lines.filter((line) => line.includes(labels)).reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)
}

const figureOf = (page, selector) => page.evaluate((selector) => Number(document.querySelector(selector)?.dataset.value), selector)

async function figureBecomes(page, selector, expected) {
  await page.waitForFunction(([selector, expected]) => Number(document.querySelector(selector)?.dataset.value) === expected, [selector, expected])
    .catch(async (error) => { throw new Error(`${selector} is ${await figureOf(page, selector)}, not ${expected}`, { cause: error }) })
}

/** The cell of a table in the row of this name. */
const cellOf = (page, table, name, column) => page.evaluate(([table, name, column]) => {
  const row = [...document.querySelectorAll(`#${table} tbody tr`)].find((row) => row.cells[0].textContent === name)
  return row?.cells[column].dataset.value ?? row?.cells[column].textContent
}, [table, name, column])

for (const workers of [1, 2]) {
  test(`dashboard: figures of ${workers} are those of the metrics`, 'testbed', async ({ open }) => {
    const server = await start('testbed', [], { WORKERS: `${workers}` })
    try {
      const page = await open('/')
      await page.goto(`${server.url}/ops`)
      const release = await hold(server.url, ['/idle', '/idle', '/idle', '/topic?name=news'])
      await figureBecomes(page, '[data-figure=streams]', 5)
      const text = await metrics(server.url)
      assert.equal(sumOf(text, 'streams'), 5)
      for (const pattern of ['/idle', '/ops']) {
        assert.equal(Number(await cellOf(page, 'routes', pattern, 1)), sumOf(text, 'route_streams', `route="${pattern}"`), pattern)
      }
      release()
      await figureBecomes(page, '[data-figure=streams]', 1)
      for (const [name, metric] of [['log_bytes', 'log_bytes'], ['panics', 'panics_total'], ['timed_out', 'timed_out_total'], ['gaps', 'gaps_total']]) {
        assert.equal(await figureOf(page, `[data-name=${name}]`), sumOf(await metrics(server.url), metric), name)
      }
      assert.equal(await page.evaluate(() => document.querySelectorAll('#scope input').length), workers === 1 ? 0 : 3)
    } finally {
      await server.stop()
    }
  }, { browsers: both, expects: gone })
}

test('dashboard: sections that are not used do not appear, and what is not well is said', 'testbed', async ({ open, url }) => {
  const page = await open('/ops')
  await textBecomes(page, '#state', 'All is well')
  for (const id of ['tls-card', 'backplane-card', 'workers-card', 'refused-card']) assert.ok(await page.isHidden(`#${id}`), id)
  await fetch(`${url}/panic`).then((answer) => answer.text()).catch(() => {})
  await textBecomes(page, '#state', 'Something is wrong')
  await page.waitForFunction(() => document.querySelector('#notes .bad')?.textContent.includes('1 panic in the last minute'))
})

test('dashboard: names of clients are text', 'testbed', async ({ open, url }) => {
  const page = await open('/ops')
  const hostile = '<img src=x onerror="document.title=1">'
  // A client that does not read: its tag is its own.
  const release = await hold(url, [`/tick?ms=20&bytes=500000&tag=${encodeURIComponent(hostile)}`])
  await page.waitForFunction(() => document.querySelector('#slow tbody td.name'))
  assert.equal(await page.evaluate(() => document.querySelector('#slow tbody td.name').textContent), hostile)
  assert.equal(await page.evaluate(() => document.images.length), 0)
  release()
}, { browsers: both })

test('dashboard: a phone does not scroll sideways, and both colors have contrast', 'testbed', async ({ open, url, shot }) => {
  const page = await open('/ops')
  const release = await hold(url, ['/tick', `/tick?ms=20&bytes=500000&tag=${'w'.repeat(300)}`])
  await page.waitForFunction(() => document.querySelector('#slow tbody td.name'))
  for (const [width, height] of [[390, 844], [1600, 1000]]) {
    await page.setViewportSize({ width, height })
    await page.waitForFunction((width) => innerWidth === width && document.documentElement.scrollWidth <= width, width)
  }
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme })
    const poor = await page.evaluate(poorContrasts)
    assert.deepEqual(poor, [], `too little contrast in ${colorScheme}`)
  }
  await shot(page, 'dashboard')
  release()
})

/** Texts of the page with less contrast than WCAG asks for (AA: 4.5). Runs in the page. */
function poorContrasts() {
  const channels = (color) => color.match(/[\d.]+/g).slice(0, 4).map(Number)
  const luminance = ([r, g, b]) => [r, g, b].map((value) => value / 255)
    .map((value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
    .reduce((sum, value, at) => sum + value * [0.2126, 0.7152, 0.0722][at], 0)
  const groundOf = (element) => {
    const color = channels(getComputedStyle(element).backgroundColor)
    return color[3] === 0 && element.parentElement ? groundOf(element.parentElement) : color
  }
  const poor = []
  for (const element of document.querySelectorAll('body *')) {
    const hasText = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim())
    if (!hasText || !element.checkVisibility()) continue
    const [ink, ground] = [channels(getComputedStyle(element).color), groundOf(element)].map(luminance)
    const contrast = (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05)
    if (contrast < 4.5) poor.push(`${element.textContent.slice(0, 40)}: ${contrast.toFixed(2)}`)
  }
  return poor
}

test('dashboard: a server that is gone and comes back', 'testbed', async ({ open, url }) => {
  const line = await lineTo(url)
  try {
    const page = await open('/')
    await page.goto(`${line.url}ops`)
    await textBecomes(page, '#state', 'All is well')
    line.cut()
    await page.waitForFunction(() => /^No connection since \d/.test(document.querySelector('#state').textContent))
    assert.ok(await page.evaluate(() => document.body.classList.contains('stale')))
    line.mend()
    await textBecomes(page, '#state', 'All is well')
    assert.ok(await page.evaluate(() => !document.body.classList.contains('stale')))
  } finally {
    line.close()
  }
}, { browsers: both, expects: gone })

test('dashboard: a server that has stopped sending is noticed', 'testbed', async ({ open, url }) => {
  const line = await lineTo(url)
  try {
    const page = await open('/')
    await page.goto(`${line.url}ops`)
    await textBecomes(page, '#state', 'All is well')
    line.silence()
    await page.waitForFunction(() => /^No figures for \d/.test(document.querySelector('#state').textContent))
    // A new connection works.
    await textBecomes(page, '#state', 'All is well')
  } finally {
    line.close()
  }
})

test('dashboard: a drain is shown, and then that the server has gone', 'testbed', async ({ open, url, stop }) => {
  // They leave before the page does.
  await hold(url, Array(9).fill('/idle'))
  const page = await open('/ops')
  await textBecomes(page, '#state', 'All is well')
  const stopped = stop()
  await textBecomes(page, '#state', 'Draining')
  await page.waitForFunction(() => /the server drains: \d/.test(document.querySelector('#notes').textContent))
  await stopped
  await page.waitForFunction(() => /^No connection since \d/.test(document.querySelector('#state').textContent))
}, { flags: ['--drain-ms', '4000'], expects: gone })

test('dashboard: a login is in front of the example, whose every section moves', 'dashboard', async ({ open, url }) => {
  assert.equal((await fetch(`${url}/ops`, { headers: { Accept: 'text/event-stream' } })).status, 403)
  assert.equal((await fetch(`${url}/ops`, { redirect: 'manual' })).status, 303)
  const page = await open('/')
  await page.fill('[name=password]', password)
  await page.click('button')
  await page.waitForFunction(() => Number(document.querySelector('[data-figure=streams]')?.dataset.value) > 50)
  // Every section moves.
  await page.waitForFunction(() => document.querySelectorAll('#slow tbody th').length > 0)
  for (const selector of ['#routes tbody th', '#topics tbody th', '#workers tbody th', '#statuses dt', '#compression dt']) {
    await page.waitForFunction((selector) => document.querySelector(selector), selector)
  }
})

test('dashboard: a session that has ended is said, with a way to log in', 'dashboard', async ({ open, url }) => {
  const line = await lineTo(url)
  try {
    const page = await open('/')
    await page.goto(`${line.url}ops`)
    await page.fill('[name=password]', password)
    await page.click('button')
    await page.waitForFunction(() => Number(document.querySelector('[data-figure=streams]')?.dataset.value) > 0)
    await page.context().clearCookies()
    line.cut()
    line.mend()
    await textBecomes(page, '#state', 'Logged out: log in again')
    await page.click('#state a')
    await page.waitForSelector('[name=password]')
  } finally {
    line.close()
  }
}, { expects: /ERR_CONNECTION|ERR_INCOMPLETE|ERR_EMPTY|Failed to load|403/ })
