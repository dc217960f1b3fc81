// Chromium by its own protocol, over pipes. Playwright's pages always count as visible, and only a hidden page can be
// frozen; here a tab in front hides the others.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/** Starts Chromium. `open(url)` opens a tab in front; `close` ends it. */
export async function launch() {
  const profile = await mkdtemp(path.join(tmpdir(), 'tabs-'))
  const child = spawn(process.env.CHROMIUM ?? '/usr/bin/chromium', [
    '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', `--user-data-dir=${profile}`, '--remote-debugging-pipe', 'about:blank',
  ], { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] })
  const [, , , commands, replies] = child.stdio
  const exited = once(child, 'exit')
  const waiting = new Map()
  let number = 0
  const send = (method, params = {}, sessionId = undefined) => new Promise((resolve, reject) => {
    number += 1
    waiting.set(number, { resolve, reject, method })
    commands.write(`${JSON.stringify({ id: number, method, params, sessionId })}\0`)
  })
  const receive = (text) => {
    const { id, result, error } = JSON.parse(text)
    const call = waiting.get(id)
    waiting.delete(id)
    if (error) call?.reject(new Error(`${call.method}: ${error.message}`))
    else call?.resolve(result)
  }
  let rest = ''
  replies.setEncoding('utf8').on('data', (text) => {
    const texts = (rest + text).split('\0')
    rest = texts.pop()
    texts.forEach(receive)
  })
  return {
    open: (url) => openTab(send, url),
    close: async () => {
      child.kill()
      await exited
      await rm(profile, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}

async function openTab(send, url) {
  const { targetId } = await send('Target.createTarget', { url })
  const { sessionId } = await send('Target.attachToTarget', { targetId, flatten: true })
  const evaluate = async (run, argument) => {
    const expression = `(${run})(${JSON.stringify(argument)})`
    const reply = await send('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true }, sessionId)
    if (reply.exceptionDetails) throw new Error(reply.exceptionDetails.exception?.description ?? reply.exceptionDetails.text)
    return reply.result.value
  }
  const waitForFunction = async (run, argument) => {
    for (const end = Date.now() + 30_000; !await evaluate(run, argument); await sleep(50)) {
      if (Date.now() > end) throw new Error(`never true: ${run}`)
    }
  }
  await waitForFunction((url) => location.href.startsWith(url) && document.readyState === 'complete', url)
  return {
    evaluate,
    waitForFunction,
    send: (method, params) => send(method, params, sessionId),
    show: () => send('Target.activateTarget', { targetId }),
    close: () => send('Target.closeTarget', { targetId }),
  }
}
