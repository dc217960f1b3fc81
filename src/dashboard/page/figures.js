
// Figures: what the server counts becomes sums over workers, rates, and quantiles. Knows no document.
const LATE_MS = [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]
const SECONDS = 300

const valueOf = (figures, name) => figures?.[name] ?? 0
const totalOf = (counts) => Object.values(counts ?? {}).reduce((sum, count) => sum + count, 0)

/** Of maxima, and of what all workers count alike, the larger one counts: as in the server's own sums. */
const MAXIMA = new Set(['slowest_call_ms', 'silent_ms'])
const MAXIMA_OF_TOPICS = new Set(['lag', 'published'])

function addTo(sum, more, maxima = MAXIMA) {
  for (const [name, value] of Object.entries(more)) {
    if (Array.isArray(value)) {
      if (typeof value[0] === 'number') {
        sum[name] ??= value.map(() => 0)
        value.forEach((count, at) => { sum[name][at] += count })
      }
    } else if (typeof value === 'object') addTo(sum[name] ??= {}, value, maxima)
    else if (typeof value === 'number') {
      sum[name] = maxima.has(name) ? Math.max(sum[name] ?? 0, value) : (sum[name] ?? 0) + value
    }
  }
  return sum
}

/** Lists by name, which may be any text, so that they are no members of an object. */
function listsOf(workers, list, maxima) {
  const byName = new Map()
  for (const worker of workers) {
    for (const entry of worker[list] ?? []) {
      if (!byName.has(entry.name)) byName.set(entry.name, {})
      addTo(byName.get(entry.name), entry, maxima)
    }
  }
  return byName
}

/** The workers that are shown, as one. */
function sumOf(workers, scope) {
  const shown = scope === 'all' ? workers : workers.slice(scope, scope + 1)
  const sum = shown.reduce((sum, worker) => addTo(sum, worker), {})
  sum.routes = listsOf(shown, 'routes')
  sum.topics = listsOf(shown, 'topics', MAXIMA_OF_TOPICS)
  sum.slow = workers.flatMap((worker, number) => !shown.includes(worker) ? [] : (worker.slow ?? []).map((client) => ({ ...client, number })))
    .sort((one, other) => valueOf(other, 'stuck_ms') - valueOf(one, 'stuck_ms')).slice(0, 20)
  return sum
}

/** Growth of a counter; a counter that is smaller than before has begun again. */
function growth(now, before) {
  const more = (now ?? 0) - (before ?? 0)
  return more >= 0 ? more : now ?? 0
}

const growths = (now, before) => (now ?? []).map((count, at) => growth(count, before?.[at]))

/** The upper bound, in milliseconds, below which a share of the ticks were; `Infinity` above all bounds. */
function quantile(counts, share) {
  const all = counts.reduce((sum, count) => sum + count, 0)
  if (all === 0) return undefined
  let left = Math.ceil(all * share)
  const at = counts.findIndex((count) => (left -= count) <= 0)
  return LATE_MS[at] ?? Infinity
}

const whole = new Intl.NumberFormat('en')
const oneDigit = new Intl.NumberFormat('en', { minimumFractionDigits: 1, maximumFractionDigits: 1 })
const twoDigits = new Intl.NumberFormat('en', { minimumFractionDigits: 2, maximumFractionDigits: 2 })
const rateText = (rate) => rate === undefined ? '–' : rate > 0 && rate < 10 ? oneDigit.format(rate) : whole.format(Math.round(rate))
const lateText = (ms) => ms === undefined ? '–' : ms === Infinity ? '> 1,024' : ms === 0 ? '< 1' : `≤ ${whole.format(ms)}`

function bytesText(bytes) {
  if (bytes === undefined) return '–'
  for (const unit of ['B', 'kB', 'MB', 'GB']) {
    if (bytes < 999.5 || unit === 'GB') return `${unit === 'B' || bytes >= 99.95 ? whole.format(Math.round(bytes)) : oneDigit.format(bytes)} ${unit}`
    bytes /= 1000
  }
}

function timeText(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`
  const s = Math.floor(ms / 1000)
  if (s < 60) return `${s} s`
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`
  return s < 86400 ? `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min` : `${Math.floor(s / 86400)} d ${Math.floor(s / 3600) % 24} h`
}
