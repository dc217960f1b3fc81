// The examples, as a visitor uses them.

import assert from 'node:assert/strict'
import { lineTo, numberReaches, test, textBecomes, textsBecome, textsOf } from './harness.mjs'

const DATASTAR = { needs: 'datastar' }

test('clock: ticks arrive and visitors are counted', 'clock', async ({ open, shot }) => {
  const first = await open('/')
  assert.match((await textsOf(first, '#ticks', 4)).join(' '), /^\d+( \d+){3,}$/)
  await textBecomes(first, '#visitors', '1')
  const second = await open('/')
  await textBecomes(first, '#visitors', '2')
  await textBecomes(second, '#visitors', '2')
  await numberReaches(first, '#seconds', 2.8)
  await shot(first, 'clock')
  await second.close()
  await textBecomes(first, '#visitors', '1')
})

test('countdown: runs down to 0 and finishes', 'countdown', async ({ open, shot }) => {
  const page = await open('/')
  const seen = (await textsOf(page, '#left', 3)).map(Number)
  await textBecomes(page, '#state', 'done')
  seen.push(Number(await page.textContent('#left')))
  assert.ok(seen.every((left, n) => n === 0 || left < seen[n - 1]), `counted ${seen}`)
  assert.equal(seen.at(-1), 0)
  await shot(page, 'countdown')
})

test('counter: a click in one page counts in all', 'counter', async ({ open, shot }) => {
  const first = await open('/')
  const second = await open('/')
  await textBecomes(first, '#visitors', '2')
  const [command] = await Promise.all([first.waitForResponse(/\/add/), first.click('#more')])
  assert.equal(command.status(), 204)
  await textBecomes(second, '#count', '1')
  await second.fill('#step', '7')
  await second.click('#more')
  await textBecomes(first, '#count', '8')
  await second.click('#less')
  await textBecomes(first, '#count', '1')
  await first.click('#more')
  await textBecomes(second, '#count', '2')
  await shot(second, 'counter')
  await second.close()
  await textBecomes(first, '#visitors', '1')
}, DATASTAR)

test('counter: what a page may not send is refused with the reason', 'counter', async ({ url }) => {
  const add = (body, type = 'application/json') =>
    fetch(`${url}/add`, { method: 'POST', headers: { 'Content-Type': type }, body })
  for (const [body, status, reason] of [
    ['{"step": 11}', 400, 'step is a whole number'],
    ['{"step": "1"}', 400, 'step is a whole number'],
    ['{"step": 1', 400, 'not JSON'],
  ]) {
    const refusal = await add(body)
    assert.equal(refusal.status, status)
    assert.ok((await refusal.text()).includes(reason))
  }
  assert.equal((await add('step=1', 'application/x-www-form-urlencoded')).status, 415)
})

test('morph: focus, caret, text, selection and scroll position stay', 'morph', async ({ open, shot }) => {
  const page = await open('/')
  const ticksGoOn = (count) => page.evaluate((count) => new Promise((resolve) => {
    const tick = () => Number(document.querySelector('#tick').textContent)
    const until = tick() + count
    const look = () => tick() >= until ? resolve() : requestAnimationFrame(look)
    look()
  }), count)
  await page.waitForSelector('#note-30')
  await page.evaluate(() => { document.querySelector('#list').scrollTop = 800 })
  await page.click('#note-30')
  await page.evaluate(() => { document.querySelector('#note-30').mine = true })
  for (const letter of 'replace this fan') {
    await page.keyboard.type(letter)
    await ticksGoOn(1)
  }
  for (let i = 0; i < 3; i++) await page.keyboard.press('ArrowLeft')
  const state = () => page.evaluate(() => {
    const note = document.activeElement
    return {
      note: note.id, mine: note.mine, value: note.value, caret: [note.selectionStart, note.selectionEnd],
      top: document.querySelector('#list').scrollTop,
    }
  })
  const before = await state()
  const loads = await page.textContent('#list')
  await ticksGoOn(10)
  assert.deepEqual(await state(), before)
  assert.deepEqual({ ...before, top: 0 }, { note: 'note-30', mine: true, value: 'replace this fan', caret: [13, 13], top: 0 })
  assert.ok(before.top > 500, `scrolled to ${before.top}`)
  assert.notEqual(await page.textContent('#list'), loads)
  await page.keyboard.type('old ')
  assert.equal(await page.inputValue('#note-30'), 'replace this old fan')
  await shot(page, 'morph')

  await page.evaluate(() => getSelection().selectAllChildren(document.querySelector('#machine-31 code')))
  await ticksGoOn(5)
  assert.equal(await page.evaluate(() => getSelection().toString()), 'node-31')
}, DATASTAR)

test('script: scripts run once each and remove themselves', 'script', async ({ open, shot }) => {
  const page = await open('/')
  await textBecomes(page, '#rockets', '2')
  const hostile = '</script><b id="leak">\'"\\u2028 ${1}'
  await page.fill('input', hostile)
  await page.click('button')
  await textBecomes(page, '#wish', hostile)
  assert.equal(await page.locator('#leak').count(), 0)
  await textBecomes(page, '#left', '0')
  await page.fill('input', 'May every stream find its end')
  await page.keyboard.press('Enter')
  await textBecomes(page, '#wish', 'May every stream find its end')
  await textsOf(page, '#rockets', 2)
  await shot(page, 'script')
}, DATASTAR)

test('broadcast: all tabs get every event, also those from before they connected', 'broadcast', async ({ open, shot }) => {
  const first = await open('/')
  await textBecomes(first, '#viewers', '1')
  const second = await open('/')
  await textBecomes(first, '#viewers', '2')
  await textBecomes(second, '#viewers', '2')
  assert.equal(await second.evaluate('ticks.length'), 300)
  const [seen, seenToo] = await Promise.all([first, second].map((page) => page.evaluate(() => new Promise((resolve) => {
    const seen = []
    new MutationObserver(() => {
      const [tick, ...prices] = [...document.querySelectorAll('#tick, .price')].map((element) => element.textContent)
      if (tick !== seen.at(-1)?.tick && seen.push({ tick, prices: prices.join(' ') }) === 15) resolve(seen)
    }).observe(document.body, { subtree: true, childList: true })
  }))))
  for (const { tick, prices } of seen) assert.match(`${tick}: ${prices}`, /^\d+: (\d+\.\d\d ?){6}$/)
  for (const ticks of [seen, seenToo]) {
    assert.deepEqual(ticks.map(({ tick }) => Number(tick)), ticks.map((_, n) => Number(ticks[0].tick) + n))
  }
  const both = seen.filter(({ tick }) => seenToo.some((other) => other.tick === tick))
  assert.ok(both.length > 5, `${both.length} ticks in common`)
  assert.deepEqual(both, seenToo.filter(({ tick }) => both.some((other) => other.tick === tick)))
  assert.ok(new Set(seen.map(({ prices }) => prices)).size > 5, 'prices move')
  await shot(first, 'broadcast')
  await second.close()
  await textBecomes(first, '#viewers', '1')
})

test('chat: messages, history and presence', 'chat', async ({ open, shot }) => {
  const anna = await join(await open('/'), 'Anna')
  await textsBecome(anna, '#people li', ['Anna'])
  const ben = await join(await open('/'), 'Ben')
  for (const page of [anna, ben]) await textsBecome(page, '#people li', ['Anna', 'Ben'])
  await textBecomes(anna, '#people b', '2')

  await say(anna, 'Good evening!')
  for (const page of [anna, ben]) await textsBecome(page, '#log p', ['Good evening!'])
  assert.equal(await anna.inputValue('#text'), '')
  await say(ben, 'Hello Anna. Is it you who left the kettle on?')
  await say(anna, 'It whistles when it is done.\nThat is the point of it.')
  const said = ['Good evening!', 'Hello Anna. Is it you who left the kettle on?', 'It whistles when it is done.\nThat is the point of it.']
  for (const page of [anna, ben]) await textsBecome(page, '#log p', said)
  await textsBecome(anna, '#log .mine p', [said[0], said[2]])
  await textsBecome(ben, '#log .mine p', [said[1]])

  const late = await join(await open('/'), 'Clara')
  await textsBecome(late, '#log p', said)
  await textsBecome(late, '#log b', ['Anna', 'Ben', 'Anna'])
  for (const page of [anna, ben, late]) await textsBecome(page, '#people li', ['Anna', 'Ben', 'Clara'])
  await say(late, 'I have just come in and read it all.')
  await textBecomes(anna, '#log li:last-child p', 'I have just come in and read it all.')
  await shot(anna, 'chat')

  const again = await join(await open('/'), 'Anna')
  await textBecomes(again, '#people b', '3')
  await late.close()
  await textsBecome(anna, '#people li', ['Anna', 'Ben'])
  await again.close()
  await ben.close()
  await textsBecome(anna, '#people li', ['Anna'])
  await textBecomes(anna, '#people b', '1')
}, DATASTAR)

test('chat: all input is shown as text', 'chat', async ({ open, shot, url }) => {
  const names = ['"><b id="leak">\'', '<script>leak=1</script>']
  const pages = []
  for (const name of names) pages.push(await join(await open('/'), name))
  const texts = [
    '<script>leak = 2</script><img src="x" onerror="leak = 3">',
    '</p></li><b id="leak"> "quotes" \'and\' &amp; &lt;',
    'two\ndata: elements <b id="leak">\n\nevent: datastar-patch-elements\n: lines',
    '${leak = 4} {{leak}} $name @get("/leak")',
  ]
  for (const [n, text] of texts.entries()) await say(pages[n % 2], text)
  for (const page of pages) {
    await textsBecome(page, '#log p', texts)
    await textsBecome(page, '#log b', [...names, ...names])
    await textsBecome(page, '#people li', names)
    assert.equal(await page.locator('#leak').count(), 0)
    assert.equal(await page.evaluate(() => window.leak), undefined)
  }
  await textsBecome(pages[0], '#log .mine p', [texts[0], texts[2]])
  await shot(pages[0], 'chat-hostile')

  for (const body of [{ name: 'Anna' }, { name: 'Anna', text: ' ' }, { name: 'Anna', text: 'x'.repeat(501) }, { text: 'x' }, { name: 7, text: 'x' }]) {
    assert.equal((await post(`${url}/say`, body)).status, 400)
  }
}, DATASTAR)

test('chat: a lost connection misses nothing and repeats nothing', 'chat', async ({ open, url }) => {
  const line = await lineTo(url)
  try {
    const page = await open('/')
    await page.goto(line.url)
    await join(page, 'Anna')
    const said = []
    const sayElsewhere = async (text) => {
      said.push(text)
      assert.equal((await post(`${url}/say`, { name: 'Ben', text })).status, 204)
    }
    await sayElsewhere('before')
    await textsBecome(page, '#log p', said)

    line.cut()
    await sayElsewhere('while it was cut')
    await sayElsewhere('and once more')
    line.mend()
    await textsBecome(page, '#log p', said)
    await sayElsewhere('after')
    await textsBecome(page, '#log p', said)
    await textsBecome(page, '#people li', ['Anna'])

    // As after a restart of the server: the id is unknown, so the page gets a gap event and starts over.
    let resumed = 0
    await page.route('**/chat?*', (route) => {
      const headers = { ...route.request().headers() }
      if (headers['last-event-id'] && resumed++ === 0) headers['last-event-id'] = 'of another life'
      return route.continue({ headers })
    })
    line.cut()
    await sayElsewhere('lost')
    line.mend()
    await textsBecome(page, '#log p', said)
    await sayElsewhere('and found')
    await textsBecome(page, '#log p', said)
    await textsBecome(page, '#people li', ['Anna'])
    assert.equal(resumed, 1)
  } finally {
    line.close()
  }
}, { ...DATASTAR, expects: /Datastar failed to reach|network error|Failed to fetch|net::ERR_/ })

test('rooms: what is drawn in one is seen there and nowhere else', 'rooms', async ({ open, shot, url }) => {
  const [anna, ben, clara] = [await open('/'), await open('/rooms/garden'), await open('/rooms/kitchen')]
  assert.equal(new URL(anna.url()).pathname, '/rooms/garden')
  for (const page of [anna, ben, clara]) await textsBecome(page, '#rooms li', ['attic 0', 'garden 2', 'kitchen 1'])
  await textsBecome(clara, '#rooms [aria-current]', ['kitchen 1'])

  const petals = (t) => .2 + .1 * Math.cos(5 * t)
  await draw(anna, (t) => [.5 + .75 * petals(t) * Math.cos(t), .4 + petals(t) * Math.sin(t)])
  await painted(ben)
  await draw(ben, (t) => [.1 + t / 8, .87 + .05 * Math.sin(9 * t)])
  const late = await open('/rooms/garden')
  await painted(late)
  // Events arrive in order: when this stroke is there, nothing of the garden can still be in flight.
  const strokes = (room, body) => post(`${url}/rooms/${room}/strokes`, body)
  assert.equal((await strokes('kitchen', [40, 0, 5, 1600, 5])).status, 204)
  await painted(clara)
  assert.equal(await inkBelowTheTop(clara), 0)
  assert.ok(await inkBelowTheTop(late) > 0)
  await textsBecome(late, '#rooms [aria-current]', ['garden 3'])
  await shot(late, 'rooms')

  await clara.fill('[name=room]', 'cellar')
  await clara.press('[name=room]', 'Enter')
  await textsBecome(anna, '#rooms li', ['attic 0', 'cellar 1', 'garden 3', 'kitchen 0'])
  await textsBecome(clara, '#rooms [aria-current]', ['cellar 1'])
  await late.close()
  await textsBecome(anna, '#rooms li', ['attic 0', 'cellar 1', 'garden 2', 'kitchen 0'])

  for (const [room, body] of [['garden', ['"']], ['garden', [-1]], ['garden', Array(256).fill(1)], ['Garden', [1]], ['attic', [1]]]) {
    assert.equal((await strokes(room, body)).status, 400, `${room} ${body}`)
  }
})

async function join(page, name) {
  await page.fill('#name', name)
  await page.press('#name', 'Enter')
  await page.waitForSelector('#people li')
  return page
}

async function say(page, text) {
  await page.fill('#text', text)
  const answered = page.waitForResponse('**/say')
  await page.press('#text', 'Enter')
  assert.equal((await answered).status(), 204)
}

const post = (url, body) =>
  fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) })

/** Draws a curve with the mouse. `place` maps an angle from 0 to a full circle to a point, in fractions of the wall. */
async function draw(page, place) {
  await page.bringToFront() // browsers give a tab in the background one movement a second
  const wall = await page.locator('#wall').boundingBox()
  const move = (t) => {
    const [x, y] = place(t)
    return page.mouse.move(wall.x + x * wall.width, wall.y + y * wall.height)
  }
  await move(0)
  await page.mouse.down()
  for (let t = 0; t < 2 * Math.PI; t += .05) await move(t)
  await page.mouse.up()
}

/** Waits until something is painted on the wall. */
const painted = (page) => page.waitForFunction(() =>
  pen.getImageData(0, 0, wall.width, wall.height).data.some((value) => value > 0))

/** Number of colored bytes below the top 20 lines. */
const inkBelowTheTop = (page) => page.evaluate(() =>
  pen.getImageData(0, 20, wall.width, wall.height - 20).data.filter((value) => value > 0).length)

test('axum: a login, a note in two windows, and a logout that ends the streams', 'axum', async ({ open, shot }) => {
  const logIn = async (name) => {
    const page = await open('/')
    await textBecomes(page, '#state', 'logged out')
    await page.fill('[name=name]', name)
    await page.fill('[name=password]', 'sesame')
    await page.click('#login button')
    await textBecomes(page, '#state', 'live')
    return page
  }
  const anna = await logIn('Anna')
  await anna.fill('#text', 'bread & <butter>')
  await anna.click('#write button')
  await textBecomes(anna, '#notes li', 'Annabread & <butter>')
  const second = await open('/')
  await textBecomes(second, '#notes li', 'Annabread & <butter>')
  await second.fill('#text', 'milk')
  await second.click('#write button')
  await textBecomes(anna, '#notes li:first-child', 'Annamilk')
  await shot(anna, 'axum')
  const api = await second.evaluate(() => fetch('/api/notes').then((answer) => answer.json()))
  assert.deepEqual(api.map((note) => note.text), ['bread & <butter>', 'milk'])
  await second.click('#logout button')
  await textBecomes(second, '#state', 'logged out')
  await textBecomes(anna, '#state', 'logged out')
}, { expects: /status of 401|ERR_INCOMPLETE_CHUNKED_ENCODING/ })

test('axum: without a login there is no stream', 'axum', async ({ url }) => {
  const refused = await fetch(`${url}/live`)
  assert.equal(refused.status, 401)
  const wrong = await fetch(`${url}/login`, { method: 'POST', body: new URLSearchParams({ name: 'a', password: 'b' }) })
  assert.equal(wrong.status, 401)
})

test('cluster: a page survives its machine and Redis, and misses nothing', 'cluster', async ({ open, shot }) => {
  const page = await open('/')
  const count = async () => Number(await page.textContent('#count'))
  const goesOn = async () => numberReaches(page, '#count', await count() + 10)
  await goesOn()
  await textBecomes(page, '#redis b', 'up')
  const machine = await page.textContent('#machine b')
  await page.click(`[data-kill="${machine}"]`)
  await textBecomes(page, '#machine b', machine === 'a' ? 'b' : 'a')
  await goesOn()
  // The other one has started again when both publish.
  await page.waitForFunction(() => new Set([...document.querySelectorAll('#cells i')].slice(-10).map(it => it.className)).size === 2)
  await page.click('[data-kill="redis"]')
  await page.waitForFunction(() => document.querySelector('#redis').classList.contains('bad'))
  await shot(page, 'cluster-without-redis')
  await textBecomes(page, '#redis b', 'up')
  await goesOn()
  await shot(page, 'cluster')
  await textBecomes(page, '#missing b', '0')
  await textBecomes(page, '#twice b', '0')
  assert.equal(await page.locator('#cells .gap').count(), 0)
}, { needs: 'redis', expects: /Failed to load resource|ERR_/ })

test('sky: every star ticks, and those that are killed or do not read are seen', 'sky', async ({ open, shot }) => {
  const page = await open('/')
  await numberReaches(page, '#streams', 2)
  await textBecomes(page, '#streams', '2,002')
  await page.setViewportSize({ width: 1280, height: 800 })
  await numberReaches(page, '#ticks', 1)
  await shot(page, 'sky')
  await page.click('#kill')
  await page.waitForFunction(() => document.querySelector('#streams').textContent === '1,002')
  await shot(page, 'sky-killed')
  await textBecomes(page, '#streams', '2,002')
  await page.click('#stall')
  await page.waitForFunction(() => document.querySelector('#skipped').textContent.replace(',', '') >= 100)
  await shot(page, 'sky-stalled')
  const opened = await page.evaluate(() => document.querySelector('#opened').textContent)
  await page.click('#storm')
  await page.waitForFunction((before) => document.querySelector('#opened').textContent !== before, opened)
  await textBecomes(page, '#streams', '2,002')
  await page.setViewportSize({ width: 390, height: 844 })
  await page.emulateMedia({ colorScheme: 'dark' })
  await shot(page, 'sky-phone')
}, { flags: ['2000'] })
