// Drives the examples with a real browser: node run.mjs [chromium|firefox] [NAME...]
// Environment: CHROMIUM, FIREFOX (the browsers), EXAMPLES_DIR (the built examples), SCREENSHOTS_DIR,
// DATASTAR_JS (the Datastar client; without it the tests that need it are skipped).

import { mkdir } from 'node:fs/promises'
import { browsers } from './browsers.mjs'
import { datastar, hasRedis, runTest, screenshots, tests } from './harness.mjs'
import './examples.test.mjs'
import './testbed.test.mjs'
import './compression.test.mjs'
import './datastar.test.mjs'
import './limits.test.mjs'
import './security.test.mjs'
import './drain.test.mjs'
import './https.test.mjs'
import './phones.test.mjs'
import './runs.test.mjs'
import './dashboard.test.mjs'

await mkdir(screenshots, { recursive: true })
const wanted = process.argv.slice(2)
const name = browsers[wanted[0]] ? wanted.shift() : 'chromium'
const browser = await browsers[name]()
let failed = 0
const isWanted = (test) => test.browsers.includes(name) && (wanted.length === 0 || wanted.some((word) => test.name.includes(word)))
for (const test of tests.filter(isWanted)) {
  if (test.needs === 'datastar' && !datastar) {
    console.log(`SKIP   ${test.name}: DATASTAR_JS names no Datastar client`)
    continue
  }
  if (test.needs === 'redis' && !hasRedis) {
    console.log(`SKIP   ${test.name}: there is no redis-server`)
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
