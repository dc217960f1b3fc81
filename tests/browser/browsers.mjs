// The browsers that tests run in, both with Playwright's interface. Added to a context:
// `answerTo(url)`, the content coding of the response to the last request for a URL.

import * as marionette from './marionette.mjs'

/** Launches each browser. */
export const browsers = {
  async chromium() {
    const { chromium } = await import('playwright-core')
    const browser = await chromium.launch({
      executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
      args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
        '--disable-background-networking', '--ignore-certificate-errors', '--disable-component-update', '--disable-sync'],
    })
    const newContext = async () => {
      const context = await browser.newContext()
      const answers = new Map()
      context.on('response', (response) => {
        answers.set(response.url(), { coding: response.headers()['content-encoding'] ?? 'identity' })
      })
      return Object.assign(context, { answerTo: async (url) => answers.get(url) })
    }
    return { newContext, close: () => browser.close() }
  },

  firefox: () => marionette.launch(process.env.FIREFOX ?? '/usr/bin/firefox-esr'),
}
