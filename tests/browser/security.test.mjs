// How browsers handle logins, and other origins with and without permission.

import assert from 'node:assert/strict'
import { openPage } from './datastar.test.mjs'
import { start, test, textBecomes } from './harness.mjs'

test('security: an EventSource does not reconnect after its login has ended', 'auth', async ({ open, shot }) => {
  const page = await open('/')
  await textBecomes(page, '#news', 'log in to see the news')
  await page.fill('[name=user]', 'Gödel')
  await page.fill('[name=password]', 'sesame')
  await page.click('#login button')
  await textBecomes(page, '#news', 'something new for Gödel')
  assert.deepEqual(await Promise.all(['#login', '#logout'].map((form) => page.isVisible(form))), [false, true])
  await shot(page, 'auth-logged-in')
  const asks = []
  page.on('request', (request) => { if (request.url().endsWith('/news')) asks.push(request) })
  const other = await open('/')
  await other.click('#logout button')
  // It reconnects after 3 s, gets a 401, and stops.
  await textBecomes(page, '#news', 'log in to see the news')
  assert.equal(asks.length, 1)
  assert.equal(await page.evaluate(() => news.readyState), 2)
  assert.deepEqual(await Promise.all(['#login', '#logout'].map((form) => page.isVisible(form))), [true, false])
  await shot(page, 'auth')
}, { expects: /status of 401|ERR_INCOMPLETE_CHUNKED_ENCODING/ })

test('security: a foreign page logs nobody in', 'auth', async ({ open, url }) => {
  await withServer('testbed', [], async (foreign) => {
    const page = await open('/')
    await page.goto(`${foreign.url}/hello`)
    const [answer] = await Promise.all([
      page.waitForResponse(`${url}/login`),
      page.evaluate((url) => {
        document.body.innerHTML = `<form method="post" action="${url}/login">
          <input name="user" value="me"><input name="password" value="sesame"></form>`
        document.forms[0].submit()
      }, url),
    ])
    assert.equal(answer.status(), 403)
    assert.equal(answer.headers()['set-cookie'], undefined)
  })
}, { expects: /status of 40[13]/ })

test('security: Datastar works across origins that are allowed', 'testbed', async ({ open, url }) => {
  await withServer('testbed', ['--origins', url], async (server) => {
    const page = await openPage(open, '<main></main>')
    // A page made up by a test has no address, and Chromium does not let such pages reach loopback.
    await page.context().grantPermissions(['local-network-access'])
    for (const method of ['get', 'delete', 'post', 'put', 'patch']) {
      const events = [{ type: 'patchElements', selector: 'main', mode: 'inner', elements: `<b>${method}</b>` }]
      await page.act(method, `${server.url}/test`, { events })
      assert.equal(await page.html(), `<b>${method}</b>`)
      // A response that is not a stream carries its options in header fields.
      await page.act(method, `${server.url}/reply`, { events: [{ ...events[0], mode: 'append' }] })
      assert.equal(await page.html(), `<b>${method}</b><b>${method}</b>`)
    }
  })
}, { needs: 'datastar' })

test('security: a page whose origin is not allowed reads nothing', 'testbed', async ({ open }) => {
  await withServer('testbed', ['--origins', 'https://app.example'], async (server) => {
    const page = await open('/hello')
    const outcomes = await page.evaluate(async (url) => {
      const json = { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{}' }
      const outcome = (answer) => answer.then((it) => it.status, () => 'failed')
      const stream = new EventSource(`${url}/tick?ms=100`, { withCredentials: true })
      const event = new Promise((resolve) => {
        stream.onmessage = () => resolve('event')
        stream.onerror = () => resolve(stream.readyState)
      })
      return [await outcome(fetch(`${url}/hello`)), await outcome(fetch(`${url}/echo`, json)), await event]
    }, server.url)
    assert.deepEqual(outcomes, ['failed', 'failed', 2])
  })
}, { expects: /CORS policy|ERR_FAILED|status of 403/ })

test('security: an EventSource with credentials reads across origins that are allowed', 'testbed', async ({ open, url }) => {
  await withServer('testbed', ['--origins', `https://app.example,${url}`], async (server) => {
    const page = await open('/hello')
    await page.evaluate((url) => {
      const stream = new EventSource(`${url}/tick?ms=100`, { withCredentials: true })
      // The page closes it, so that the end of the server logs no error in its console.
      stream.onmessage = ({ data }) => { stream.close(); document.title = data }
    }, server.url)
    await page.waitForFunction(() => /^\d{19}/.test(document.title))
  })
})

async function withServer(example, flags, run) {
  const server = await start(example, flags)
  try { await run(server) } finally { await server.stop() }
}
