// How the Datastar client handles what the testbed sends: patches, scripts, signals, both endings.
// The pages are defined here and served on the testbed's origin.

import assert from 'node:assert/strict'
import { datastar, test as declare } from './harness.mjs'

const test = (name, run, options) =>
  declare(`datastar: ${name}`, 'testbed', ({ open }) => run((body) => openPage(open, body)), { needs: 'datastar', ...options })

const elements = (options) => ({ type: 'patchElements', ...options })
const signals = (signals, options) => ({ type: 'patchSignals', signals, ...options })
const script = (script, options) => ({ type: 'executeScript', script, ...options })

test('every mode of patching', async (pageWith) => {
  const page = await pageWith('<main></main>')
  for (const [mode, after] of Object.entries({
    outer: '<i>new</i>',
    inner: '<p id="t"><i>new</i></p>',
    replace: '<i>new</i>',
    prepend: '<p id="t"><i>new</i>old</p>',
    append: '<p id="t">old<i>new</i></p>',
    before: '<i>new</i><p id="t">old</p>',
    after: '<p id="t">old</p><i>new</i>',
    remove: '',
  })) {
    await page.show('<p id="t">old</p>')
    await page.send([elements({ selector: '#t', mode, elements: '<i>new</i>' })])
    assert.equal(await page.html(), after, mode)
  }
})

test('a morph keeps the element, a replacement does not', async (pageWith) => {
  const page = await pageWith('<main></main>')
  const isSame = () => page.evaluate(() => document.querySelector('#t').mine === true)
  for (const [mode, kept] of [['outer', true], ['replace', false]]) {
    await page.show('<p id="t">old</p>')
    await page.evaluate(() => { document.querySelector('#t').mine = true })
    await page.send([elements({ mode, elements: '<p id="t" class="x">new</p>' })])
    assert.equal(await page.html(), '<p id="t" class="x">new</p>', mode)
    assert.equal(await isSame(), kept, mode)
  }
})

test('elements of many lines, blank ones and carriage returns included', async (pageWith) => {
  const page = await pageWith('<main><pre id="t"></pre></main>')
  await page.send([elements({ elements: '<pre id="t">one\n\n  two \r\n\rthree</pre>' })])
  assert.equal(await page.textContent('#t'), 'one\n\n  two \n\nthree')
})

test('all elements that a selector finds', async (pageWith) => {
  const page = await pageWith('<main><p></p><p></p></main>')
  await page.send([elements({ selector: 'main\n> p', mode: 'inner', elements: 'x' })])
  assert.equal(await page.html(), '<p>x</p><p>x</p>')
})

test('elements in the namespaces of SVG and MathML', async (pageWith) => {
  const page = await pageWith('<main><svg id="s"></svg><math id="m"></math></main>')
  await page.send([
    elements({ selector: '#s', mode: 'append', namespace: 'svg', elements: '<circle r="4"/>' }),
    elements({ selector: '#m', mode: 'append', namespace: 'mathml', elements: '<mi>x</mi>' }),
    elements({ selector: '#s', mode: 'append', elements: '<rect></rect>' }),
  ])
  const namespaceOf = (selector) => page.evaluate((selector) => document.querySelector(selector).namespaceURI, selector)
  assert.equal(await namespaceOf('circle'), 'http://www.w3.org/2000/svg')
  assert.equal(await namespaceOf('mi'), 'http://www.w3.org/1998/Math/MathML')
  assert.equal(await namespaceOf('rect'), 'http://www.w3.org/1999/xhtml')
})

test('a view transition', async (pageWith) => {
  const page = await pageWith('<main><p id="t">old</p></main>')
  // Clients before 1.0.2 start the transition on the document, later ones on the element of the selector.
  await page.evaluate(() => {
    window.transitions = []
    for (const { prototype } of [Document, Element]) {
      const start = prototype.startViewTransition
      if (!start) continue
      prototype.startViewTransition = function (...change) {
        window.transitions.push(this.localName ?? 'document')
        return start.apply(this, change)
      }
    }
  })
  await page.send([elements({ elements: '<p id="t">new</p>', useViewTransition: true, viewTransitionSelector: 'main' })])
  await page.waitForFunction(() => document.querySelector('#t').textContent === 'new')
  assert.match((await page.evaluate(() => window.transitions)).join(), /^(document|main)$/)
})

test('signals are merged, nested, set only if missing, and removed', async (pageWith) => {
  const page = await pageWith('<main data-signals="{kept: 1, user: {name: \'Ann\'}}"></main>')
  await page.send([signals({ user: { age: 44 }, list: [1, { a: 'x\ny' }] })])
  assert.deepEqual(await page.signals(), { kept: 1, user: { name: 'Ann', age: 44 }, list: [1, { a: 'x\ny' }] })
  await page.send([signals({ kept: 2, fresh: { x: 1 }, user: { name: 'Ben', city: 'Ulm' } }, { onlyIfMissing: true })])
  assert.deepEqual(await page.signals(),
    { kept: 1, fresh: { x: 1 }, user: { name: 'Ann', age: 44, city: 'Ulm' }, list: [1, { a: 'x\ny' }] })
  await page.send([signals({ kept: null, list: null, fresh: null, user: { name: null, age: null } })])
  assert.deepEqual(await page.signals(), { user: { city: 'Ulm' } })
  await page.send([{ type: 'patchSignals', 'signals-raw': '{\r\n"user":\n  {"city": "a\\u2028</script>"}\r}' }])
  assert.deepEqual(await page.signals(), { user: { city: 'a\u2028</script>' } })
})

test('scripts run once and remove themselves', async (pageWith) => {
  const page = await pageWith('<main></main>')
  const own = await page.locator('script').count()
  const ran = () => page.evaluate(() => window.ran)
  for (const [name, event] of Object.entries({
    plain: script('window.ran = (window.ran ?? 0) + 1'),
    'with attributes': script('window.ran = (window.ran ?? 0) + 1', { attributes: { type: 'text/javascript', 'data-note': '"><b id="leak">' } }),
    'of many lines': script('// a comment\nwindow.ran =\r\n  (window.ran\r?? 0) + 1 // the end'),
    'with the end of a script in it': script('window.said = "</script><b id=\'leak\'>"; window.ran = (window.ran ?? 0) + 1'),
    'with the start of a comment in it': script('window.said = "<!--<script>"; window.ran = (window.ran ?? 0) + 1'),
    'with the end of a document in it': script('window.said = "</body></html>"; window.ran = (window.ran ?? 0) + 1'),
    'a module': script('window.ran = (window.ran ?? 0) + 1; await 0', { attributes: { type: 'module' } }),
  })) {
    await page.evaluate(() => { window.ran = 0; window.said = undefined })
    await page.send([event])
    await page.waitForFunction(() => window.ran > 0)
    // After another patch, anything that would run it again has run.
    await page.send([elements({ selector: 'main', mode: 'inner', elements: name })])
    assert.equal(await ran(), 1, name)
    assert.equal(await page.locator('script').count(), own, `${name}: it is still there`)
    assert.equal(await page.locator('#leak').count(), 0, `${name}: it leaks`)
    const said = /said = "(.*?)"/.exec(event.script)?.[1]
    assert.equal(await page.evaluate(() => window.said), said, name)
  }
})

test('a script may stay', async (pageWith) => {
  const page = await pageWith('<main></main>')
  await page.send([script('window.ran = (window.ran ?? 0) + 1', { autoRemove: false, attributes: { id: 'kept' } })])
  assert.equal(await page.locator('body > script#kept').count(), 1)
  assert.equal(await page.evaluate(() => window.ran), 1)
})

test('a script by its own route', async (pageWith) => {
  const page = await pageWith('<main></main>')
  await page.act('get', `/script?${new URLSearchParams({ code: 'window.said = "</SCRIPT>"' })}`)
  assert.equal(await page.evaluate(() => window.said), '</SCRIPT>')
})

test('signals go out with every method and come back', async (pageWith) => {
  const page = await pageWith('<main><p id="t"></p></main>')
  for (const method of ['get', 'delete', 'post', 'put', 'patch']) {
    const text = `by ${method}: a+b&c=%41 € "q"`
    await page.send([signals({ text }), elements({ elements: `<p id="t">${method}</p>` })], { method })
    assert.deepEqual(await page.signals(), { text })
    assert.equal(await page.textContent('#t'), method)
  }
})

test('requests say who sends them', async (pageWith) => {
  const page = await pageWith('<main></main>')
  const [request] = await Promise.all([page.waitForRequest(/\/test/), page.send([signals({})])])
  assert.equal((await request.allHeaders())['datastar-request'], 'true')
})

test('a form makes the round trip, in the query and in the body', async (pageWith) => {
  const page = await pageWith(`<main><form data-on:submit="action === 'post' ? @post('/form', {contentType: 'form'}) : @get('/form', {contentType: 'form'})">
    <input name="name"><textarea name="text"></textarea><input type="checkbox" name="sure"><button name="by" value="button">send</button>
    </form><dl id="form"></dl></main>`)
  for (const action of ['get', 'post']) {
    await page.evaluate((action) => { window.action = action }, action)
    await page.fill('[name=name]', `Ann & <b> "${action}"`)
    await page.fill('[name=text]', 'one\ntwo +%41 ü')
    await page.check('[name=sure]')
    await page.finishes(() => page.click('form button'))
    const [names, values] = await Promise.all(['dt', 'dd'].map((it) => page.locator(`#form ${it}`).allTextContents()))
    assert.deepEqual(names, ['name', 'text', 'sure', 'by'], action)
    assert.deepEqual(values.map((it) => it.replace('\r\n', '\n')), [`Ann & <b> "${action}"`, 'one\ntwo +%41 ü', 'on', 'button'], action)
  }
})

test('a form where signals are expected is refused and nothing breaks', async (pageWith) => {
  const page = await pageWith(`<main><form data-on:submit="@post('/test', {contentType: 'form'})"><input name="a"><button>send</button></form></main>`)
  const [response] = await Promise.all([page.waitForResponse(/\/test/), page.finishes(() => page.click('form button'))])
  assert.equal(response.status(), 415)
  assert.deepEqual((await page.log()).find(({ type }) => type === 'error')?.args, { status: '415' })
  await page.send([signals({ alive: true })])
  assert.deepEqual(await page.signals(), { alive: true })
}, { expects: /Failed to load resource.*415/ })

test('after a drop the client comes back with the last event id, after a finish it does not', async (pageWith) => {
  const page = await pageWith('<main></main>')
  const seen = { drop: [], finish: [] }
  page.on('request', (request) => {
    const ending = /\/event.*ending=(\w+)/.exec(request.url())?.[1]
    if (ending) seen[ending].push(request.headers()['last-event-id'])
  })
  const event = (ending, id) => `/event?${new URLSearchParams({ ending, json: JSON.stringify({ event: 'datastar-mine', id, retry: 40, data: 'a 1' }) })}`
  await page.act('get', event('finish', 'first'))
  await page.act('get', event('drop', 'second'), {}, 'retrying')
  const knowing = () => seen.drop.filter((id) => id === 'second')
  while (knowing().length < 5) await page.waitForRequest(/ending=drop/)
  // When a connection is cut, Chromium discards what it has not passed to the page, so some of the
  // first requests may not know the id yet.
  const unknowing = seen.drop.slice(0, -knowing().length)
  assert.ok(unknowing.length > 0 && unknowing.every((id) => id === undefined), `ids: ${seen.drop}`)
  assert.deepEqual(seen.finish, [undefined], 'finished streams stay finished')
}, { expects: /network error|ERR_INCOMPLETE_CHUNKED_ENCODING|Datastar failed to reach .*ending=drop.* retrying in \d+ms/ })

test('events of the application whose name starts with datastar arrive', async (pageWith) => {
  const page = await pageWith('<main></main>')
  for (const [event, arrives] of [['datastar-mine', true], ['datastar', true], ['other', false], ['', false]]) {
    await page.act('get', `/event?${new URLSearchParams({ json: JSON.stringify({ event, data: 'a 1\na 2\nb  x\nc ' }) })}`)
    const found = (await page.log()).filter(({ type }) => type === event)
    assert.deepEqual(found, arrives ? [{ type: event, args: { a: '1\n2', b: ' x', c: '' } }] : [], event)
  }
})

test('keep-alive events change nothing', async (pageWith) => {
  const page = await pageWith(`<main><table id="dashboard"></table></main>
    <div data-init="@get('/page?ms=100&beat=100')"></div>`)
  const figure = (name) => page.evaluate(async (name) =>
    Number(new RegExp(`^starwheel_${name} (\\d+)`, 'm').exec(await (await fetch('/metrics')).text())[1]), name)
  const changes = new Set()
  while (changes.size < 20 || await figure('keep_alives_total') < 20) changes.add(await page.html())
  assert.equal(await figure('streams_opened_total'), 1, 'it has never reconnected')
  const types = new Set((await page.log()).map(({ type }) => type))
  assert.deepEqual([...types].sort(), ['datastar-patch-elements', 'started'])
})

test('responses that are not streams patch elements', async (pageWith) => {
  const page = await pageWith('<main></main>')
  await page.show('<p id="größe">old</p>')
  await page.send([elements({ elements: '<p id="größe">new</p>' })], { path: '/reply' })
  assert.equal(await page.html(), '<p id="größe">new</p>')
  await page.send([elements({ selector: '#größe', mode: 'append', elements: '<i>ü\n</i>' })], { path: '/reply', method: 'post' })
  assert.equal(await page.html(), '<p id="größe">new<i>ü\n</i></p>')
  await page.send([elements({ selector: '#größe', mode: 'remove', elements: '' })], { path: '/reply' })
  assert.equal(await page.html(), '')
  await page.show('<svg></svg>')
  await page.send([elements({ selector: 'svg', mode: 'inner', namespace: 'svg', useViewTransition: true, elements: '<g></g>' })], { path: '/reply' })
  await page.waitForFunction(() => document.querySelector('g')?.namespaceURI === 'http://www.w3.org/2000/svg')
})

test('responses that are not streams patch signals', async (pageWith) => {
  const page = await pageWith('<main data-signals="{a: 1}"></main>')
  await page.send([signals({ a: 2, b: 'ü' })], { path: '/reply' })
  assert.deepEqual(await page.signals(), { a: 2, b: 'ü' })
  await page.send([signals({ a: 3, c: 3 }, { onlyIfMissing: true })], { path: '/reply', method: 'post' })
  assert.deepEqual(await page.signals(), { a: 2, b: 'ü', c: 3 })
})

test('responses that are not streams run scripts, which remove themselves', async (pageWith) => {
  const page = await pageWith('<main></main>')
  const own = await page.locator('script').count()
  const text = 'window.said = "</script>ü";\nwindow.ran = (window.ran ?? 0) + 1'
  await page.act('get', '/reply', { events: [script(text, { attributes: { type: 'text/javascript', 'data-note': 'ü' } })] }, 'started')
  await page.waitForFunction(() => window.ran === 1 && window.said === '</script>ü')
  await page.waitForFunction((own) => document.querySelectorAll('script').length === own, own)
  await page.act('get', '/reply', { events: [script('window.ran += 1', { autoRemove: false, attributes: { id: 'kept' } })] }, 'started')
  await page.waitForFunction(() => window.ran === 2 && document.querySelector('head > script#kept'))
})

/** A page with the Datastar client, this body and helper methods. */
export async function openPage(open, body) {
  const page = await open('/fixture', async (page) => {
    await page.route('**/datastar.js', (route) => route.fulfill({ path: datastar, contentType: 'text/javascript' }))
    await page.route('**/fixture', (route) => route.fulfill({ contentType: 'text/html; charset=utf-8', body: html(body) }))
  })
  const count = (type) => page.evaluate((type) => window.log.filter((it) => it.type === type).length, type)
  return Object.assign(page, {
    /** What the client has dispatched so far. */
    log: () => page.evaluate(() => window.log),
    /** Shows this HTML in `<main>`. */
    show: (html) => page.evaluate((html) => { document.querySelector('main').innerHTML = html }, html),
    html: () => page.evaluate(() => document.querySelector('main').innerHTML),
    signals: async () => JSON.parse(await page.textContent('#signals')),
    /** Does something and waits until an action has `finished` (or what `type` says). */
    finishes: async (act, type = 'finished') => {
      const before = await count(type)
      await act()
      await page.waitForFunction(([type, before]) => window.log.filter((it) => it.type === type).length > before, [type, before])
    },
    /** Runs an action on an element of the page: `@get(path)` and so on. */
    act: async (method, path, payload = {}, type) => {
      await page.evaluate(([path, payload]) => Object.assign(window, { path, payload }), [path, payload])
      await page.finishes(() => page.evaluate((method) => document.getElementById(method).click(), method), type)
    },
    /** Requests these events from the testbed. */
    send: (events, { method = 'get', path = '/test' } = {}) => page.act(method, path, { events }),
  })
}

const html = (body) => `<!doctype html>
<html lang="en"><head><title>fixture</title><link rel="icon" href="data:,">
<script>
  window.log = []
  document.addEventListener('datastar-fetch', ({ detail }) => log.push({ type: detail.type, args: detail.argsRaw }))
</script>
<script type="module" src="/datastar.js"></script></head>
<body>${['get', 'delete', 'post', 'put', 'patch']
    .map((it) => `<button id="${it}" data-on:click="@${it}(path, {payload})">${it}</button>`).join('')}
<pre id="signals" data-json-signals></pre>
${body}</body></html>`
