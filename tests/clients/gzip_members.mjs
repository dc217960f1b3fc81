// How programs other than browsers read a finished gzip stream. Each expects a complete member
// (RFC 1952); without the trailer, some report an error and some return an empty body.

import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { gunzipSync } from 'node:zlib'
import { curlUndecoded } from './readers.mjs'
import { publish } from './story.mjs'

/** Each prints what a file decodes to, or fails. */
const PROGRAMS = {
  gzip: (file) => ['gzip', '-dc', file],
  python3: (file) => ['python3', '-c', 'import gzip, sys; sys.stdout.buffer.write(gzip.open(sys.argv[1]).read())', file],
  ruby: (file) => ['ruby', '-rzlib', '-e', '$stdout.binmode.write(Zlib::GzipReader.open(ARGV[0], &:read))', file],
  perl: (file) => ['perl', '-MIO::Uncompress::Gunzip=gunzip', '-e', 'gunzip($ARGV[0] => "-", TrailingData => \\my $rest) && !length($rest) or die', file],
  java: (file) => ['java', fileURLToPath(new URL('GunzipFile.java', import.meta.url)), file],
}

/** Bodies of finished streams of all kinds, as they came. */
export async function finishedStreams(base) {
  const [open, tag] = [curlUndecoded(base, 'gzip'), 'to be finished']
  const topic = (name) => open(`/topic?${new URLSearchParams({ name, tag })}`)
  const readers = { 'of one event': await open('/inject?data=hello'), 'without events': await topic('silent') }
  readers['of a topic'] = await topic('spoken')
  const page = (version) => Array.from({ length: 400 }, (_, row) => `row ${row}: ${row === version ? 'changed' : row}`).join('\n')
  for (let version = 0; version < 5; version++) {
    if (version === 3) readers['of a topic joined late'] = await topic('spoken')
    const before = readers['of a topic'].bytes.length
    await publish(base, 'spoken', page(version))
    await readers['of a topic'].until('the event', () => readers['of a topic'].bytes.length > before)
  }
  const answer = await fetch(`${base}/finish?${new URLSearchParams({ tag })}`, { method: 'POST' })
  assert.equal(answer.status, 204)
  for (const reader of Object.values(readers)) assert.equal(await reader.ends(), 0)
  return Object.entries(readers).map(([name, { bytes }]) => ({ name, bytes, expected: gunzipSync(bytes) }))
}

/** The programs that are installed, each with what reads a list of bodies and compares. */
export function programs() {
  return Object.entries(PROGRAMS).map(([name, command]) => ({
    name,
    isInstalled: spawnSync('sh', ['-c', `command -v ${name}`]).status === 0,
    reads(streams) {
      const folder = mkdtempSync(path.join(tmpdir(), 'gzip-members-'))
      try {
        for (const { name, bytes, expected } of streams) {
          const file = path.join(folder, 'stream.gz')
          writeFileSync(file, bytes)
          const [program, ...options] = command(file)
          assert.ok(execFileSync(program, options, { maxBuffer: 1 << 26 }).equals(expected), `a stream ${name}`)
        }
      } finally {
        rmSync(folder, { recursive: true })
      }
    },
  }))
}
