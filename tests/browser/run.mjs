// Drives the examples with a real browser: node run.mjs [NAME...]
// Environment: CHROMIUM (the browser), EXAMPLES_DIR (the built examples), SCREENSHOTS_DIR,
// DATASTAR_JS (the Datastar client; without it the tests that need it are skipped).

import { mkdir } from 'node:fs/promises'
import { chromium } from 'playwright-core'
import { datastar, runTest, screenshots, tests } from './harness.mjs'
import './examples.test.mjs'
import './testbed.test.mjs'
import './compression.test.mjs'
import './datastar.test.mjs'
import './limits.test.mjs'
import './security.test.mjs'
import './drain.test.mjs'

await mkdir(screenshots, { recursive: true })
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync'],
})
const wanted = process.argv.slice(2)
let failed = 0
for (const test of tests.filter(({ name }) => wanted.length === 0 || wanted.some((word) => name.includes(word)))) {
  if (test.needs === 'datastar' && !datastar) {
    console.log(`SKIP   ${test.name}: DATASTAR_JS names no Datastar client`)
    continue
  }
  try {
    await runTest(browser, test)
    console.log(`ok     ${test.name}`)
  } catch (error) {
    failed += 1
    console.log(`FAILED ${test.name}\n${error.stack}`)
  }
}
await browser.close()
process.exitCode = failed ? 1 : 0
