// The examples, as a visitor uses them.

import assert from 'node:assert/strict'
import { test, textBecomes, textsOf } from './harness.mjs'

const DATASTAR = { needs: 'datastar' }

test('clock: ticks arrive and visitors are counted', 'clock', async ({ open, shot }) => {
  const first = await open('/')
  assert.match((await textsOf(first, '#ticks', 4)).join(' '), /^\d+( \d+){3,}$/)
  await textBecomes(first, '#visitors', '1')
  const second = await open('/')
  await textBecomes(first, '#visitors', '2')
  await textBecomes(second, '#visitors', '2')
  await textBecomes(first, '#seconds', '2.8 s')
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

test('script: scripts run once each and leave nothing behind', 'script', async ({ open, shot }) => {
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
