// One scenario for every client, no matter which proxy is between it and the testbed: events are
// published on a topic step by step, some clients join late, one leaves, and each reads everything
// that was sent since it joined.

import assert from 'node:assert/strict'

/** The codings of this project; every one is forced in turn. */
export const CODINGS = ['zstd', 'br', 'gzip']

/**
 * Publishes step by step to a topic of its own. Step n+1 is published after all have seen step n,
 * so a client or proxy that holds events back makes the test wait without end; no clock decides.
 * `open(route)` resolves to a subscribed reader: `sees(count)`, `data()` and `close()`.
 */
export async function stepByStep(base, topic, open) {
  const route = `/topic?${new URLSearchParams({ name: topic })}`
  const readers = []
  const join = async (since) => readers.push({ since, reader: await open(route) })
  const said = []
  try {
    await join(0)
    for (let step = 0; step < STEPS; step++) {
      if (step === 3 || step === 6) await join(step)
      if (step === 5) await readers.shift().reader.close()
      said.push(textOf(step))
      await publish(base, topic, said.at(-1))
      for (const { since, reader } of readers) await reader.sees(step + 1 - since)
    }
    for (const { since, reader } of readers) assert.deepEqual(await reader.data(), said.slice(since))
  } finally {
    for (const { reader } of readers) await reader.close()
  }
}

/** A quiet stream shows comments, and events arrive after any number of them. */
export async function commentsOf(base, topic, open) {
  const reader = await open(`/topic?${new URLSearchParams({ name: topic })}`)
  const said = []
  try {
    for (const quiet of [1, 2, 6, 0]) {
      said.push(textOf(said.length))
      await publish(base, topic, said.at(-1))
      await reader.sees(said.length)
      const before = reader.comments()
      await reader.until(`${quiet} comments`, () => reader.comments() >= before + quiet)
    }
    assert.deepEqual(await reader.data(), said)
  } finally {
    await reader.close()
  }
}

export async function publish(base, topic, text) {
  const answer = await fetch(`${base}/publish?${new URLSearchParams({ name: topic })}`, { method: 'POST', body: text })
  assert.equal(answer.status, 204)
}

/**
 * What a compressed reader of a driven page sees is what an uncompressed one beside it sees, from
 * some event on: he joins late and gets the page as it is.
 */
export async function readsThePage(plain, open) {
  const beside = await plain('/page?ms=200&encoding=identity')
  let reader
  try {
    await beside.sees(2)
    reader = await open('/page?ms=200')
    await reader.sees(5)
    const got = (await reader.data()).slice(0, 5)
    await beside.sees(await placeOf(beside, got[0]) + 5)
    const place = await placeOf(beside, got[0])
    assert.deepEqual(got, (await beside.data()).slice(place, place + 5))
    for (const data of got) assert.equal(data.match(/<tr id=/g).length, 200)
  } finally {
    await beside.close()
    await reader?.close()
  }
}

/** Private streams differ in nothing but the number of the stream. */
export async function readsItsOwn(plain, open) {
  const readers = [await plain('/private?ms=200&encoding=identity'), await open('/private?ms=200')]
  try {
    const [expected, got] = await Promise.all(readers.map(async (reader) => {
      await reader.sees(5)
      return (await reader.data()).slice(0, 5).map((data) => data.replace(/for stream [\d.]+ alone/, 'for one alone'))
    }))
    assert.match(got[0], /for one alone/)
    assert.deepEqual(got, expected)
  } finally {
    for (const reader of readers) await reader.close()
  }
}

/** Two readers of the coded bytes, there from the start, get the same ones. */
export async function sameBytes(base, topic, ...openings) {
  const route = `/topic?${new URLSearchParams({ name: topic })}`
  const readers = []
  try {
    for (const open of openings) readers.push(await open(route))
    for (let step = 0; step < STEPS; step++) {
      const before = readers.map(({ bytes }) => bytes.length)
      await publish(base, topic, textOf(step))
      for (const [n, reader] of readers.entries()) await reader.until('more bytes', () => reader.bytes.length > before[n])
    }
    const [one, other] = readers
    await other.until(`${one.bytes.length} bytes`, () => other.bytes.length >= one.bytes.length)
    assert.ok(one.bytes.equals(other.bytes.subarray(0, one.bytes.length)), 'other bytes')
    assert.ok(!one.bytes.includes('row-149'), 'not compressed')
  } finally {
    for (const reader of readers) await reader.close()
  }
}

async function placeOf(reader, data) {
  // The first event may be the last one of an earlier dashboard, which showed the same pages.
  const place = (await reader.data()).indexOf(data, 1)
  assert.notEqual(place, -1, 'the first event was not seen beside')
  return place
}

/** A page of 10 KB of which a few lines change; every fourth text is a short one. */
function textOf(step) {
  if (step % 4 === 3) return `step ${step}: 100 €, "über" <i>&amp;</i>`
  const row = (_, row) => `<tr id="row-${row}"><td>Gerät ${row}</td><td class="value">${row % 9 === step ? step * 7919 : row}</td></tr>`
  return [`<table> of step ${step}`, ...Array.from({ length: 150 }, row), '</table>'].join('\n')
}

const STEPS = 10
