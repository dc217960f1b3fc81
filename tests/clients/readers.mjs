// Clients that read a stream: curl, Node's fetch and Python's httpx, all seen the same way.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

/** curl; with `--compressed` it decodes what comes. (`-D -`: with `-i` it would keep the head until the first event.) */
export const curl = (base, coding, ...options) => (route) =>
  opened(printedBy('curl', ['-sN', '-D', '-', '--compressed', '-H', `Accept-Encoding: ${coding}`, ...options, base + route]), coding)

/** curl that hands over the bytes as they are coded. */
export const curlUndecoded = (base, coding) => (route) =>
  opened(printedBy('curl', ['-sN', '-D', '-', '-H', `Accept-Encoding: ${coding}`, base + route]), coding)

/** Python's httpx; `python` is an interpreter that has it. */
export const httpx = (python, base, coding) => (route) =>
  opened(printedBy(python, [fileURLToPath(new URL('httpx_read.py', import.meta.url)), base + route, coding]), coding)

/** Node's own fetch. */
export const nodeFetch = (base, coding) => async (route) => {
  const stop = new AbortController()
  const response = await fetch(base + route, { headers: { 'Accept-Encoding': coding }, signal: stop.signal })
  const reader = new Reader(() => stop.abort())
  reader.head = `HTTP/1.1 ${response.status}\r\n${[...response.headers].map(([name, value]) => `${name}: ${value}\r\n`).join('')}`
  const reading = async () => { for await (const bytes of response.body) reader.take(bytes) }
  reading().then(() => reader.finish(0), (error) => reader.finish(error.message))
  return expecting(reader, coding)
}

/** Whether the event stream arrived in the coding that was asked for, or as it was written. */
async function opened(reader, coding) {
  await reader.until('a response head', () => reader.head !== undefined)
  return expecting(reader, coding)
}

function expecting(reader, coding) {
  assert.match(reader.head, /^HTTP\/\S+ 200\b/)
  reader.coding = /^content-encoding: *(\S+)/im.exec(reader.head)?.[1] ?? 'identity'
  reader.asked = coding
  return reader
}

/** A program that prints a response head and then the body. */
function printedBy(program, options) {
  const child = spawn(program, options, { stdio: ['ignore', 'pipe', 'inherit'] })
  const exited = once(child, 'close').then(([code]) => code, (error) => error.message)
  const reader = new Reader(async () => { child.kill('SIGTERM'); await exited })
  let head = Buffer.alloc(0)
  child.stdout.on('data', (bytes) => {
    if (reader.head !== undefined) return reader.take(bytes)
    head = Buffer.concat([head, bytes])
    const end = head.indexOf('\r\n\r\n')
    if (end === -1) return
    reader.head = head.subarray(0, end + 2).toString()
    reader.take(head.subarray(end + 4))
  })
  exited.then((code) => reader.finish(code))
  return reader
}

/** What a client has read so far. */
class Reader {
  bytes = Buffer.alloc(0)
  ended = undefined
  waiting = new Set()

  constructor(close) { this.close = async () => close() }

  take(bytes) {
    this.bytes = Buffer.concat([this.bytes, bytes])
    this.look()
  }

  finish(outcome) {
    this.ended = outcome
    this.look()
  }

  look() { for (const look of this.waiting) look() }

  /** The data of the events so far. */
  data() {
    const blocks = this.bytes.toString().split('\n\n').slice(0, -1)
    const fields = blocks.map((block) => block.split('\n').filter((line) => line.startsWith('data:')))
    return fields.filter((lines) => lines.length).map((lines) => lines.map((line) => line.replace(/^data: ?/, '')).join('\n'))
  }

  /** How many keep-alives have come so far. */
  comments() { return this.bytes.toString().match(/^:$/gm)?.length ?? 0 }

  sees(count) { return this.until(`${count} events`, () => this.data().length >= count) }

  ends() { return this.until('the end', () => this.ended !== undefined).then(() => this.ended) }

  until(what, isTrue) {
    return new Promise((resolve, reject) => {
      const settle = (settled, value) => { clearTimeout(timer); this.waiting.delete(look); settled(value) }
      const give = (reason) => settle(reject, new Error(`${what}: ${reason} after ${this.data().length} events of ${this.bytes.length} bytes`))
      const look = () => {
        if (isTrue()) settle(resolve)
        else if (this.ended !== undefined) give(`ended with ${this.ended}`)
      }
      const timer = setTimeout(() => give('nothing more'), PATIENCE_MS)
      this.waiting.add(look)
      look()
    })
  }
}

const PATIENCE_MS = 20_000
