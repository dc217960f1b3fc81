
// The page: takes snapshots, keeps the last minutes, and shows them. All text is set as text.
const element = (id) => document.getElementById(id)
const make = (name, text, className) => {
  const made = document.createElement(name)
  if (text !== undefined) made.textContent = text
  if (className) made.className = className
  return made
}
/** Writes only what changes, so that a selection and the reader of a screen are left alone. */
const show = (target, text) => { if (target.textContent !== text) target.textContent = text }

/** Totals of each second, for five minutes; complete snapshots, for one. */
let points = [], snapshots = []
let started, lastAt, lostAt, scope = 'all'
const ADDRESS = location.pathname + location.search
/** A worker that has not answered for this long stands still; a stream without figures is quiet. */
const SILENT_MS = 3000, QUIET_MS = 4000, RETRY_MS = 5000

element('host').textContent = location.host

// What comes from the server.

function takePast({ started: since, past }) {
  const isSame = started !== undefined && Math.abs(since - started) <= 2
  if (!isSame) {
    points = []
    snapshots = []
    started = since
  }
  // What this page has seen itself before that stays, by the time of the process.
  const first = past[0]?.t ?? Infinity
  points = [...points.filter((point) => point.t < first), ...past]
}

function take(snapshot) {
  // Another worker of the same process may be a moment behind.
  if (points.length > 0 && snapshot.t <= points.at(-1).t) points = points.filter((point) => point.t < snapshot.t)
  snapshots = snapshots.filter((other) => other.t < snapshot.t && other.t >= snapshot.t - 61_000)
  snapshots.push(snapshot)
  points.push({ t: snapshot.t, workers: snapshot.workers.map(totalsAlone) })
  points = points.filter((point) => point.t > snapshot.t - SECONDS * 1000)
  render()
}

const totalsAlone = ({ streams, opened, ticks, bytes_out, closed, refused, lateness }) =>
  ({ streams, opened, ticks, bytes_out, closed, refused, lateness })

/** The seconds of the strips, the last one now. A second without a snapshot is `undefined`. */
function seconds() {
  const list = new Array(SECONDS).fill(undefined), now = points.at(-1).t
  const sums = points.map((point) => totalsOf(point))
  for (let at = 1; at < points.length; at++) {
    const [before, after] = [sums[at - 1], sums[at]]
    const took = (points[at].t - points[at - 1].t) / 1000
    const slot = SECONDS - 1 - Math.round((now - points[at].t) / 1000)
    if (took <= 0 || took > 2.5 || slot < 0) continue
    const late = growths(after.lateness ?? LATE_MS.concat(0).map(() => 0), before.lateness)
    const closed = {}
    for (const [reason, count] of Object.entries(after.closed ?? {})) closed[reason] = growth(count, before.closed?.[reason])
    const p99 = quantile(late, .99)
    const second = {
      late, closed, opened: growth(after.opened, before.opened), streams: valueOf(after, 'streams'),
      ticks: growth(after.ticks, before.ticks) / took, bytes_out: growth(after.bytes_out, before.bytes_out) / took,
      p99: p99 === Infinity ? 2048 : p99 ?? 0, refused: growth(totalOf(after.refused), totalOf(before.refused)),
    }
    second.trouble = second.refused + valueOf(closed, 'slow')
    // Snapshots are not exactly a second apart: two may meet in a slot, and a slot between two may be left.
    const former = list[slot]
    list[slot] = former ? { ...second, ...addTo(countsOf(former), countsOf(second)) } : second
    if (list[slot - 2] && !list[slot - 1]) list[slot - 1] = { ...second, late: late.map(() => 0), closed: {}, opened: 0, refused: 0, trouble: 0 }
  }
  return list
}

const countsOf = ({ late, closed, opened, refused, trouble }) => ({ late: [...late], closed: { ...closed }, opened, refused, trouble })

const totalsOf = ({ workers }) =>
  (scope === 'all' ? workers : workers.slice(scope, scope + 1)).reduce((sum, worker) => {
    for (const name of ['streams', 'opened', 'ticks', 'bytes_out']) sum[name] = valueOf(sum, name) + valueOf(worker, name)
    for (const name of ['closed', 'refused']) addTo(sum[name] ??= {}, worker[name] ?? {})
    if (worker.lateness) addTo(sum, { lateness: worker.lateness })
    return sum
  }, {})

// What is shown.

function render() {
  const snapshot = snapshots.at(-1)
  showScopes(snapshot.workers.length)
  const now = sumOf(snapshot.workers, scope)
  const recent = snapshots.find((other) => other.t >= snapshot.t - 5_500)
  const minute = snapshots.find((other) => other.t >= snapshot.t - 60_500)
  const span = (snapshot.t - recent.t) / 1000
  const before = sumOf(recent.workers, scope), aMinuteAgo = sumOf(minute.workers, scope)
  const rate = (name, from = now, past = before) => span > 0 ? growth(from?.[name], past?.[name]) / span : undefined
  const strip = seconds()
  showHeadline(now, rate, strip)
  showNotes(snapshot, now, aMinuteAgo, strip, rate)
  drawLateness(element('lateness'), strip)
  drawChurn(element('churn'), strip)
  showReasons(now, strip)
  showRoutes(now, before, rate, span, snapshot)
  showSlow(now)
  showTopics(now, before, rate)
  showWorkers(snapshot, recent, span)
  showTraffic(now, rate)
  showPairs('troubles', TROUBLES, now, aMinuteAgo)
  showPairs('statuses', Object.keys(now.refused ?? {}).map((status) => [status, STATUSES[status] ?? status]), now.refused, aMinuteAgo.refused)
  element('refused-card').hidden = totalOf(now.refused) === 0
  showCompression(now.compression, before.compression, span)
  showTls(now.tls, before.tls, span)
  showBackplane(snapshot.backplane)
  document.title = `${whole.format(valueOf(now, 'streams'))} streams · starwheel`
}

/** A figure as it is in the metrics is kept beside its text. */
function showFigure(target, value, text = whole.format(value)) {
  target.dataset.value = value
  show(target, text)
}

const lastMinute = (strip) => strip.slice(-60).filter((second) => second)
const lateOf = (list) => list.reduce((sum, { late }) => late.map((count, at) => count + (sum[at] ?? 0)), [])

function showHeadline(now, rate, strip) {
  for (const output of document.querySelectorAll('[data-figure]')) showFigure(output, valueOf(now, output.dataset.figure))
  for (const output of document.querySelectorAll('[data-rate]')) show(output, rateText(rate(output.dataset.rate)))
  for (const output of document.querySelectorAll('[data-rate-bytes]')) {
    const bytes = rate(output.dataset.rateBytes)
    show(output, bytes === undefined ? '–' : `${bytesText(bytes)}/s`)
  }
  show(element('p99'), lateText(quantile(lateOf(strip.slice(-10).filter((second) => second)), .99)))
  show(element('refused'), whole.format(lastMinute(strip).reduce((sum, { trouble }) => sum + trouble, 0)))
  for (const canvas of document.querySelectorAll('[data-spark]')) {
    const name = canvas.dataset.spark
    drawSpark(canvas, strip.map((second) => second?.[name]), name === 'trouble' ? 'warn' : 'accent')
  }
  const late = lateOf(lastMinute(strip)), half = quantile(late, .5)
  show(element('quantiles'), half === undefined ? 'No stream has ticked in the last minute.'
    : `Last minute: half ${lateText(half)} ms, 99 % ${lateText(quantile(late, .99))} ms, worst ${lateText(quantile(late, 1))} ms.`)
}

function showNotes(snapshot, now, past, strip, rate) {
  const notes = [], note = (level, text) => notes.push([level, text])
  const more = (name) => growth(now[name], past[name])
  const count = (number, one, many = `${one}s`) => `${whole.format(number)} ${number === 1 ? one : many}`
  if (snapshot.draining_ms !== undefined) note('warn', `the server drains: ${timeText(snapshot.draining_ms)} left`)
  snapshot.workers.forEach((worker, number) => {
    if (worker.stopped) note('bad', `worker ${number} has stopped`)
    else if (valueOf(worker, 'silent_ms') >= SILENT_MS) note('bad', `worker ${number} stands still: nothing heard for ${timeText(worker.silent_ms)}`)
  })
  const { backplane } = snapshot
  if (backplane && !backplane.connected) note('bad', `no connection with the backplane for ${timeText(valueOf(backplane, 'down_ms'))}`)
  const p99 = quantile(lateOf(lastMinute(strip)), .99)
  if (p99 >= 64) note(p99 >= 512 ? 'bad' : 'warn', `ticks are late: 99 % ${lateText(p99)} ms`)
  const workers = scope === 'all' ? snapshot.workers.length : 1
  const busy = (rate('call_nanos') ?? 0) / 1e9 / workers
  if (busy > .8) note('bad', `closures keep the reactor busy for ${Math.round(busy * 100)} % of the time`)
  if (more('panics') > 0) note('bad', `${count(more('panics'), 'panic')} in the last minute`)
  if (growth(now.closed?.failed, past.closed?.failed) > 0) note('bad', `${count(growth(now.closed?.failed, past.closed?.failed), 'stream')} failed in the last minute`)
  if (more('slow_calls') > 0) note('warn', `${count(more('slow_calls'), 'slow call')} in the last minute`)
  if (more('accept_failures') > 0) note('bad', 'connections cannot be accepted: are there enough descriptors?')
  const refused = growth(totalOf(now.refused), totalOf(past.refused))
  if (refused > 0) note('warn', `${count(refused, 'request')} refused in the last minute`)
  const ended = growth(now.closed?.slow, past.closed?.slow)
  if (ended > 0) note('warn', `${count(ended, 'slow client')} disconnected in the last minute`)
  if (valueOf(now, 'slow_clients') > 0) note('warn', `${count(now.slow_clients, 'client')} cannot keep up`)
  const level = ['bad', 'warn'].find((level) => notes.some(([of]) => of === level)) ?? 'good'
  const worst = { bad: 'Something is wrong', warn: 'Worth a look', good: 'All is well' }[level]
  showState(level, snapshot.draining_ms === undefined ? worst : 'Draining')
  if (notes.length === 0) note('good', 'ticks are on time, nothing is refused, and every client keeps up')
  const list = element('notes')
  if (list.dataset.shown === JSON.stringify(notes)) return
  list.dataset.shown = JSON.stringify(notes)
  list.replaceChildren(...notes.map(([level, text]) => make('li', text, level)))
}

function showReasons(now, strip) {
  const closed = lastMinute(strip).reduce((sum, second) => addTo(sum, second.closed), {})
  const names = REASONS.flatMap(([, reasons]) => reasons).filter((reason) => valueOf(closed, reason) > 0)
  const text = names.map((reason) => `${reason.replace('_', ' ')} ${whole.format(valueOf(closed, reason))}`).join(', ')
  show(element('reasons'), text ? `Closed in the last minute: ${text}.` : `None has closed in the last minute, ${whole.format(totalOf(now.closed))} since the start.`)
}

/** Fills a table with rows of cells: texts, or elements that are reused by their place. */
function fill(id, rows, empty) {
  const body = element(id).tBodies[0]
  while (body.rows.length > rows.length) body.deleteRow(-1)
  rows.forEach((cells, at) => {
    const row = body.rows[at] ?? body.insertRow()
    if (row.cells.length !== cells.length) {
      row.replaceChildren(...cells.map((_, place) => place === 0 ? Object.assign(make('th'), { scope: 'row' }) : make('td')))
    }
    cells.forEach((cell, place) => {
      const { text, value, className = '', title = '' } = typeof cell === 'object' ? cell : { text: cell }
      const target = row.cells[place]
      show(target, text)
      if (target.className !== className) target.className = className
      if (target.title !== title) target.title = title
      if (value !== undefined) target.dataset.value = value
    })
  })
  if (empty && rows.length === 0) {
    body.insertRow().append(Object.assign(make('td', empty, 'empty'), { colSpan: element(id).tHead.rows[0].cells.length }))
  }
}

const named = (name) => ({ text: name, title: name })
const figure = (value) => ({ text: whole.format(value), value, className: value === 0 ? 'zero' : '' })
/** What does not move is pale, so that the eye finds what does. */
const perSecond = (rate) => rate ? `${rateText(rate)} /s` : { text: rate === 0 ? '0 /s' : '–', className: 'zero' }
const busyText = (nanos) => nanos ? `${nanos < 1e8 ? twoDigits.format(nanos / 1e7) : oneDigit.format(nanos / 1e7)} %` : { text: nanos === 0 ? '0 %' : '–', className: 'zero' }
const eventsText = (count) => count > 0 ? `${whole.format(count)} event${count === 1 ? '' : 's'}` : { text: '–', className: 'zero' }

function showRoutes(now, before, rate, span, snapshot) {
  const rows = [...now.routes].filter(([name, route]) => name !== 'other' || totalOf(route) > 0)
  rows.sort(([one, a], [other, b]) => valueOf(b, 'streams') - valueOf(a, 'streams') || (one < other ? -1 : 1))
  fill('routes', rows.map(([name, route]) => {
    const past = before.routes.get(name)
    const closed = span > 0 ? growth(totalOf(route.closed), totalOf(past?.closed)) / span : undefined
    return [named(name), figure(valueOf(route, 'streams')), perSecond(rate('opened', route, past)), perSecond(closed),
      perSecond(rate('requests', route, past)), busyText(rate('call_nanos', route, past))]
  }), 'No request has come yet.')
  const pages = valueOf(snapshot, 'viewers')
  show(element('itself'), `This page counts too: ${pages === 1 ? 'one stream is' : `${whole.format(pages)} streams are`} for it.`)
}

function showSlow(now) {
  element('no-slow').hidden = now.slow.length > 0
  element('slow').hidden = now.slow.length === 0
  fill('slow', now.slow.map((client) => [
    named(client.route), { ...named(client.tag ?? '–'), className: 'name' }, timeText(valueOf(client, 'stuck_ms')),
    eventsText(valueOf(client, 'lag')), bytesText(valueOf(client, 'queued_bytes')), timeText(valueOf(client, 'age_ms')), String(client.number),
  ]))
}

function showTopics(now, before, rate) {
  const rows = [...now.topics].sort(([one, a], [other, b]) => valueOf(b, 'subscribers') - valueOf(a, 'subscribers') || (one < other ? -1 : 1))
  fill('topics', rows.map(([name, topic]) => {
    const past = before.topics.get(name)
    return [named(name), figure(valueOf(topic, 'subscribers')), eventsText(valueOf(topic, 'lag')),
      valueOf(topic, 'log_events') > 0 ? `${whole.format(topic.log_events)} events, ${bytesText(valueOf(topic, 'log_bytes'))}` : { text: '–', className: 'zero' },
      perSecond(rate('published', topic, past)), perSecond(rate('delivered', topic, past))]
  }), 'No topic is listed.')
}

function showWorkers({ workers }, { workers: past }, span) {
  element('workers-card').hidden = workers.length < 2
  if (workers.length < 2) return
  fill('workers', workers.map((worker, number) => {
    const before = past[number]
    const rate = (name) => span > 0 ? growth(worker[name], before?.[name]) / span : undefined
    const silent = valueOf(worker, 'silent_ms') >= SILENT_MS
    const state = worker.stopped ? ', stopped' : silent ? `, silent for ${timeText(worker.silent_ms)}` : ''
    return [{ text: `${number}${state}`, className: state ? 'bad' : '' }, figure(valueOf(worker, 'streams')), perSecond(rate('ticks')),
      `${lateText(quantile(growths(worker.lateness, before?.lateness), .99))} ms`,
      rate('bytes_out') === undefined ? '–' : `${bytesText(rate('bytes_out'))}/s`, busyText(rate('call_nanos')),
      figure(valueOf(worker, 'queue_depth'))]
  }))
}

/** A list of what things are and how many: texts, or pairs of two numbers. */
function list(id, entries) {
  const target = element(id), cells = entries.flat()
  if (target.children.length !== cells.length) {
    target.replaceChildren(...entries.flatMap((entry) => entry.map((_, at) => make(at === 0 ? 'dt' : 'dd'))))
  }
  cells.forEach((cell, at) => {
    const { text, value, name, className = '' } = typeof cell === 'object' ? cell : { text: cell }
    show(target.children[at], text)
    if (target.children[at].className !== className) target.children[at].className = className
    if (value !== undefined) Object.assign(target.children[at].dataset, { value, name })
  })
}

const counted = (name, value, text = whole.format(value)) => ({ name, value, text, className: value === 0 ? 'zero' : '' })

function showTraffic(now, rate) {
  list('traffic', [
    ['Connections', counted('connections', valueOf(now, 'connections'))],
    ['Requests', perSecond(rate('requests'))],
    ['Events sent to single streams', perSecond(rate('events'))],
    ['Events published', perSecond(rate('published'))],
    ['Events of topics delivered', perSecond(rate('delivered'))],
    ['Bytes in', rate('bytes_in') === undefined ? '–' : `${bytesText(rate('bytes_in'))}/s`],
    ['Bytes out since the start', counted('bytes_out', valueOf(now, 'bytes_out'), bytesText(valueOf(now, 'bytes_out')))],
    ['Keep-alives', perSecond(rate('keep_alives'))],
    ['Logs of all topics', counted('log_bytes', valueOf(now, 'log_bytes'), bytesText(valueOf(now, 'log_bytes')))],
    ['Commands waiting', counted('queue_depth', valueOf(now, 'queue_depth'))],
    ['Longest call of a closure', timeText(valueOf(now, 'slowest_call_ms'))],
  ])
}

const TROUBLES = [
  ['ticks_skipped', 'Ticks skipped, client busy'], ['ticks_missed', 'Ticks missed, server busy'], ['timers_missed', 'Runs of timers missed'],
  ['passed_by', 'Passed by events of a topic'], ['gaps', 'Gap events sent'], ['slow_calls', 'Slow calls'], ['panics', 'Panics'],
  ['timed_out', 'Connections timed out'], ['resets', 'Connections reset'], ['accept_failures', 'Accepts failed'],
  ['left_out', 'Left out of events of all workers'], ['published_late', 'Published after the end of a topic'],
]
const STATUSES = { 400: '400 malformed', 403: '403 from another site', 408: '408 too slow', 413: '413 body too large', 414: '414 address too long',
  415: '415 coded body', 417: '417 expectation', 421: '421 wrong host', 429: '429 too many', 431: '431 head too large', 501: '501 unknown',
  503: '503 overloaded', 505: '505 HTTP version', other: 'others' }

function showPairs(id, names, now, past) {
  list(id, names.map(([name, text]) => {
    const more = growth(valueOf(now, name), valueOf(past, name))
    return [text, { text: whole.format(more), className: more > 0 ? 'warn' : 'zero' }, counted(name, valueOf(now, name))]
  }))
}

function showCompression(now, before, span) {
  element('compression-card').hidden = !now
  if (!now) return
  const saved = now.bytes_in > 0 ? 100 * (1 - now.bytes_out / now.bytes_in) : 0
  const rate = (name) => span > 0 ? growth(now[name], before?.[name]) / span : undefined
  list('compression', [
    ['Saved', `${oneDigit.format(saved)} %`],
    ['Before', counted('compression_in_bytes', now.bytes_in, bytesText(now.bytes_in))],
    ['After', counted('compression_out_bytes', valueOf(now, 'bytes_out'), bytesText(valueOf(now, 'bytes_out')))],
    ['Deltas', perSecond(rate('deltas'))], ['Keys', perSecond(rate('keys'))], ['Complete bodies', perSecond(rate('wholes'))],
    ['Time', busyText(rate('nanos'))],
  ])
}

function showTls(now, before, span) {
  element('tls-card').hidden = !now
  if (!now) return
  const rate = (name) => span > 0 ? growth(now[name], before?.[name]) / span : undefined
  list('tls', [
    ['Handshakes', perSecond(rate('handshakes'))], ['Handshakes since the start', counted('tls_handshakes', valueOf(now, 'handshakes'))],
    ['Resumed', counted('tls_handshakes_resumed', valueOf(now, 'resumed'))], ['At work on', counted('tls_handshaking', valueOf(now, 'handshaking'))],
    ...Object.entries(now.failed ?? {}).map(([reason, count]) => [`Failed: ${reason.replaceAll('_', ' ')}`, { text: whole.format(count), className: 'warn' }]),
    ['Key updates', whole.format(valueOf(now, 'key_updates'))], ['Alerts received', whole.format(valueOf(now, 'alerts_received'))],
    ['Connections with faults', whole.format(valueOf(now, 'faults'))],
  ])
}

function showBackplane(now) {
  element('backplane-card').hidden = !now
  if (!now) return
  list('backplane', [
    ['State', now.connected ? 'connected' : { text: `away for ${timeText(valueOf(now, 'down_ms'))}`, className: 'bad' }],
    ['Events are late', timeText(valueOf(now, 'lag_ms'))], ['Waiting to be stored', bytesText(valueOf(now, 'outbox_bytes'))],
    ['Batches without an answer', whole.format(valueOf(now, 'in_flight'))], ['Topics in use', whole.format(valueOf(now, 'topics'))],
    ['Published', whole.format(valueOf(now, 'published'))], ['Refused', whole.format(valueOf(now, 'refused'))],
    ['Received', whole.format(valueOf(now, 'received'))], ['Events lost', whole.format(valueOf(now, 'holes') + valueOf(now, 'undone'))],
    ['Connections made', whole.format(valueOf(now, 'connects'))], ...now.last_error ? [['Last error', now.last_error]] : [],
  ])
}

function showScopes(workers) {
  const fields = element('scope')
  if (fields.hidden === workers < 2 && fields.querySelectorAll('input').length === (workers < 2 ? 0 : workers + 1)) return
  fields.hidden = workers < 2
  fields.querySelectorAll('label').forEach((label) => label.remove())
  if (workers < 2) return
  for (const value of ['all', ...Array(workers).keys()]) {
    const label = make('label'), input = Object.assign(make('input'), { type: 'radio', name: 'scope', value, checked: value === scope })
    input.onchange = () => { scope = value; render() }
    label.append(input, make('span', value === 'all' ? 'All workers' : `Worker ${value}`))
    fields.append(label)
  }
}

function showState(level, text) {
  const state = element('state')
  state.dataset.state = level
  show(state, text)
  document.body.classList.remove('stale')
}

function showStale(text, level = 'bad') {
  const state = element('state')
  state.dataset.state = level
  show(state, text)
  document.body.classList.add('stale')
}

// The connection.

let source, retry

function connect() {
  clearTimeout(retry)
  retry = undefined
  source?.close()
  source = new EventSource(ADDRESS)
  lastAt = Date.now()
  source.onmessage = ({ data }) => {
    const message = JSON.parse(data)
    lastAt = Date.now()
    lostAt = undefined
    if (message.past) takePast(message)
    else take(message)
  }
  source.onerror = () => {
    noteLoss()
    // After any other answer than a stream, a browser does not try again.
    if (source.readyState === EventSource.CLOSED) askWhy()
  }
}

function noteLoss() {
  lostAt ??= new Date()
  showStale(`No connection since ${lostAt.toLocaleTimeString()}`)
}

async function askWhy() {
  const stop = new AbortController()
  try {
    const { status, type } = await fetch(ADDRESS, { headers: { Accept: 'text/event-stream' }, redirect: 'manual', signal: stop.signal })
    if (status === 204) return showStale('The server has ended this page', 'warn')
    if (status === 401 || status === 403 || type === 'opaqueredirect') {
      showStale('')
      return element('state').append('Logged out: ', Object.assign(make('a', 'log in again'), { href: '' }))
    }
    if (status === 200) return connect()
  } catch {
    // There is no server at the moment.
  } finally {
    stop.abort()
  }
  retry = setTimeout(askWhy, RETRY_MS)
}

// A connection may be dead without an end: a network that has gone, a server that stands still.
setInterval(() => {
  const quiet = Date.now() - lastAt
  if (source.readyState === EventSource.CLOSED) return
  if (quiet > QUIET_MS * 3) {
    noteLoss()
    connect()
  } else if (quiet > QUIET_MS && lostAt === undefined) showStale(`No figures for ${timeText(quiet)}`, 'warn')
}, 1000)

const redraw = () => { if (snapshots.length > 0) render() }
addEventListener('resize', redraw)
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw)

connect()
