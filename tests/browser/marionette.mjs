// Debian's Firefox, driven by its built-in protocol Marionette: a TCP connection with JSON in both
// directions. Playwright can drive only its own build of Firefox.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'

/**
 * Starts Firefox with its own profile. Resolves to an object with the part of
 * Playwright's `Browser` that the tests for all browsers use.
 */
export async function launch(program) {
  const profile = await mkdtemp(path.join(tmpdir(), 'firefox-'))
  const lines = Object.entries({ ...OFFLINE, 'marionette.port': 0 })
    .map(([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});\n`)
  await writeFile(path.join(profile, 'user.js'), lines.join(''))
  const options = ['--headless', '--no-remote', '--marionette', '--remote-allow-system-access', '--profile', profile]
  const child = spawn(program, options, { env: { ...process.env, HOME: profile }, stdio: 'ignore' })
  const exited = new Promise((resolve) => child.once('exit', resolve).once('error', resolve))
  const close = async () => {
    child.kill('SIGTERM')
    const timer = setTimeout(() => child.kill('SIGKILL'), 10_000)
    await exited
    clearTimeout(timer)
    await rm(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
  }
  try {
    const session = await Session.open(await portIn(profile, exited))
    return { newContext: async () => new Context(session), close }
  } catch (error) {
    await close()
    throw error
  }
}

/** Firefox writes its port to a file. */
async function portIn(profile, exited) {
  let hasExited = false
  exited.then(() => { hasExited = true })
  for (let attempts = 0; attempts < 600 && !hasExited; attempts++) {
    const text = await readFile(path.join(profile, 'MarionetteActivePort'), 'utf8').catch(() => '')
    if (Number(text)) return Number(text)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error('Firefox does not listen')
}

/** Commands and responses: `LENGTH:[0, ID, NAME, PARAMETERS]` and `LENGTH:[1, ID, ERROR, RESULT]`. */
class Session {
  #socket
  #received = Buffer.alloc(0)
  #waiting = new Map()
  #commands = 0

  static async open(port) {
    const session = new Session()
    session.#socket = connect(port, '127.0.0.1').on('data', (bytes) => session.#take(bytes))
    await once(session.#socket, 'connect')
    session.#socket.on('error', () => {}).on('close', () => session.#lose())
    await session.send('WebDriver:NewSession', { acceptInsecureCerts: true, capabilities: { alwaysMatch: { timeouts: { script: TIMEOUT_MS, pageLoad: TIMEOUT_MS } } } })
    // Privileged code sees the bytes on the wire; pages do not.
    await session.inBrowser(`
      globalThis.answers = {}
      globalThis.observer = { observe(channel) {
        if (!(channel instanceof Ci.nsIHttpChannel)) return
        let coding = 'identity' // Of a response without the field, for which this throws.
        try { coding = channel.getResponseHeader('content-encoding') } catch {}
        answers[channel.URI.spec] = { coding }
      } }
      Services.obs.addObserver(observer, 'http-on-examine-response')`)
    return session
  }

  send(name, parameters) {
    const message = JSON.stringify([0, ++this.#commands, name, parameters])
    this.#socket.write(`${Buffer.byteLength(message)}:${message}`)
    return new Promise((resolve, reject) => this.#waiting.set(this.#commands, { resolve, reject }))
  }

  /** Runs statements with the rights of the browser. */
  async inBrowser(script) {
    await this.send('Marionette:SetContext', { value: 'chrome' })
    const { value } = await this.send('WebDriver:ExecuteScript', { script, args: [], sandbox: 'system', newSandbox: false })
    await this.send('Marionette:SetContext', { value: 'content' })
    return value
  }

  #take(bytes) {
    this.#received = Buffer.concat([this.#received, bytes])
    for (;;) {
      const colon = this.#received.indexOf(':')
      const end = colon + 1 + Number(this.#received.subarray(0, colon))
      if (colon === -1 || this.#received.length < end) return
      const message = JSON.parse(this.#received.subarray(colon + 1, end))
      this.#received = this.#received.subarray(end)
      // The first message is a greeting.
      if (Array.isArray(message)) this.#settle(message)
    }
  }

  #settle([, id, error, result]) {
    const { resolve, reject } = this.#waiting.get(id)
    this.#waiting.delete(id)
    if (error) reject(new Error(`Firefox: ${error.error}: ${error.message}`))
    else resolve(result)
  }

  #lose() {
    for (const { reject } of this.#waiting.values()) reject(new Error('Firefox is gone'))
  }
}

/** The only window, used by one test after the other. */
class Context {
  #session
  #changed = []

  constructor(session) { this.#session = session }

  setDefaultTimeout() {}

  newPage = async () => new Page(this.#session)

  /** The response to the last request for a URL. */
  answerTo = (url) => this.#session.inBrowser(`return answers[${JSON.stringify(url)}]`)

  /** Until the end of the test. */
  setPreference = (name, value) => {
    this.#changed.push(name)
    return this.#session.inBrowser(`Services.prefs.setBoolPref(${JSON.stringify(name)}, ${value})`)
  }

  async close() {
    for (const name of this.#changed) await this.#session.inBrowser(`Services.prefs.clearUserPref(${JSON.stringify(name)})`)
    await this.#session.send('WebDriver:Navigate', { url: 'about:blank' })
  }
}

class Page {
  #session

  constructor(session) { this.#session = session }

  on() {}

  goto = (url) => this.#session.send('WebDriver:Navigate', { url })

  /** Calls a function in the page and waits for its promise; arguments and result are JSON. */
  async evaluate(call, argument) {
    const script = `
      const [argument, done] = arguments
      Promise.resolve(argument).then(${call}).then((value) => done({ value }), (error) => done({ error: String(error) }))`
    const parameters = { script, args: [argument ?? null], sandbox: null, newSandbox: false }
    const { value: { value, error } } = await this.#session.send('WebDriver:ExecuteAsyncScript', parameters)
    if (error) throw new Error(error)
    return value
  }

  waitForFunction(condition, argument) {
    return this.evaluate(`async (argument) => {
      let value
      while (!(value = (${condition})(argument))) await new Promise((resolve) => setTimeout(resolve, 10))
      return value
    }`, argument)
  }
}

const TIMEOUT_MS = 30_000
/** Firefox sends no requests of its own. */
const OFFLINE = {
  'app.update.enabled': false,
  'app.normandy.enabled': false,
  'browser.newtabpage.enabled': false,
  'browser.safebrowsing.malware.enabled': false,
  'browser.safebrowsing.phishing.enabled': false,
  'browser.startup.page': 0,
  'datareporting.policy.dataSubmissionEnabled': false,
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
  'network.dns.disablePrefetch': true,
  'services.settings.server': 'http://127.0.0.1:9/',
  'toolkit.telemetry.unified': false,
}
