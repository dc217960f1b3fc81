// Runs with an end: a page gets the whole answer, whenever it comes and whichever worker serves it, and
// its EventSource stays away after the end.

import assert from 'node:assert/strict'
import { numberReaches, start, test, textBecomes } from './harness.mjs'

const TOKENS = 2000
const answerOf = async (page) => ({
  text: await page.textContent('#answer'), tokens: Number(await page.textContent('#tokens')),
})
/** The statuses of the answers that a page gets for its events. */
const statusesOf = (page) => {
  const statuses = []
  page.on('response', (response) => response.url().endsWith('/events') && statuses.push(response.status()))
  return statuses
}

test('run: three viewers, a reload, the other worker, one after the end, and one an hour later', 'run', async ({ open, shot }) => {
  const first = await open('/')
  await first.click('#start')
  await first.waitForURL('**/runs/1')
  await numberReaches(first, '#tokens', 20)
  const worker = await first.textContent('#worker')

  const reloads = await open('/runs/1')
  await numberReaches(reloads, '#tokens', 100)
  await reloads.reload()
  // The system chooses the worker of a connection.
  let other = await open('/runs/1')
  for (let n = 0; n < 20; n++) {
    await numberReaches(other, '#tokens', 1)
    if (await other.textContent('#worker') !== worker) break
    await other.close()
    other = await open('/runs/1')
  }
  assert.notEqual(await other.textContent('#worker'), worker)
  assert.equal(await first.textContent('#state'), 'being written')
  await shot(other, 'run')

  const pages = [first, reloads, other]
  for (const page of pages) await textBecomes(page, '#state', 'complete')
  const late = await open('/runs/1')
  await textBecomes(late, '#state', 'complete')
  const whole = await answerOf(late)
  assert.equal(whole.tokens, TOKENS)
  assert.equal(whole.text.trim().split(/\s+/).length, TOKENS)
  for (const page of pages) assert.deepEqual(await answerOf(page), whole)

  // Each browser has asked once more, and was told to stay away.
  pages.push(late)
  for (const page of pages) await textBecomes(page, '#connection', 'closed')
  const again = await open('/runs/1', async (page) => { page.statuses = statusesOf(page) })
  await textBecomes(again, '#connection', 'closed')
  assert.deepEqual(again.statuses, [200, 204])
  assert.deepEqual(await answerOf(again), whole)

  // An hour later, in seconds.
  const forgetful = await start('run', ['tokens=20', 'pace_ms=1', 'keep_s=1'])
  try {
    await fetch(`${forgetful.url}/runs`, { method: 'POST' })
    const come = async () => {
      await first.goto(`${forgetful.url}/runs/1`)
      const state = () => /complete|no longer kept/.exec(document.querySelector('#state').textContent)?.[0]
      return (await first.waitForFunction(state)).jsonValue()
    }
    while (await come() === 'complete') {}
    assert.deepEqual(await answerOf(first), { text: '', tokens: 0 })
    await textBecomes(first, '#connection', 'closed')
  } finally {
    await forgetful.stop()
  }
}, { flags: ['pace_ms=4'] })

test('run: a run that nobody watches is stopped, and says so to those who come later', 'run', async ({ open, url }) => {
  const started = await fetch(`${url}/runs`, { method: 'POST' })
  assert.deepEqual(await started.json(), { run: 1 })
  const states = async () => (await fetch(`${url}/runs`)).json()
  while ((await states())[0] === 'being written') await new Promise((resolve) => setTimeout(resolve, 100))
  assert.deepEqual(await states(), ['stopped, because nobody watched'])
  const page = await open('/runs/1')
  await textBecomes(page, '#state', 'stopped: nobody watched')
  const { tokens } = await answerOf(page)
  assert.ok(tokens > 0 && tokens < 100_000, `${tokens} tokens`)
  await textBecomes(page, '#connection', 'closed')
}, { flags: ['tokens=100000', 'patience_s=1'] })
