
// Charts: canvases that show the last five minutes, a column for one or several seconds.
const canvases = new Map()

function penOf(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas
  const scale = devicePixelRatio
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale)
    canvas.height = Math.round(height * scale)
  }
  const pen = canvas.getContext('2d')
  pen.setTransform(scale, 0, 0, scale, 0, 0)
  pen.clearRect(0, 0, width, height)
  const colors = getComputedStyle(document.documentElement)
  const color = (name) => colors.getPropertyValue(`--${name}`).trim()
  return { pen, width, height, color }
}

/** A line with a filled ground; `undefined` is a gap. */
function drawSpark(canvas, values, name) {
  const { pen, width, height, color } = penOf(canvas)
  const top = Math.max(...values.filter((value) => value !== undefined), 0)
  const x = (at) => at / (SECONDS - 1) * width
  const y = (value) => height - 1.5 - (top > 0 ? value / top * (height - 4) : 0)
  pen.strokeStyle = color('line')
  pen.lineWidth = 1
  pen.beginPath()
  pen.moveTo(0, height - .5)
  pen.lineTo(width, height - .5)
  pen.stroke()
  for (const run of runsOf(values)) {
    pen.beginPath()
    run.forEach(([at, value]) => pen.lineTo(x(at), y(value)))
    if (run.length === 1) pen.lineTo(x(run[0][0]) + 1.5, y(run[0][1]))
    pen.strokeStyle = color(name)
    pen.lineWidth = 1.5
    pen.lineJoin = 'round'
    pen.stroke()
    pen.lineTo(x(run.at(-1)[0]), height)
    pen.lineTo(x(run[0][0]), height)
    pen.globalAlpha = .12
    pen.fillStyle = color(name)
    pen.fill()
    pen.globalAlpha = 1
  }
}

function runsOf(values) {
  const runs = []
  values.forEach((value, at) => {
    if (value === undefined) return
    if (values[at - 1] === undefined || at === 0) runs.push([])
    runs.at(-1).push([at, value])
  })
  return runs
}

/** Seconds that share a column, so that it is wide enough to be seen. */
const stepFor = (width) => Math.max(1, Math.ceil(SECONDS * 3 / width))

function grouped(seconds, step, add) {
  const groups = []
  for (let from = 0; from < SECONDS; from += step) {
    groups.push(seconds.slice(from, from + step).filter((second) => second).reduce(add, undefined))
  }
  return groups
}

const LEFT = 52, BELOW = 18

function drawTimes(pen, width, height, color) {
  pen.fillStyle = color('dim')
  pen.font = '11px system-ui, sans-serif'
  pen.textBaseline = 'bottom'
  const every = width < 500 ? 2 : 1
  for (let minute = every - 1; minute <= 5; minute += every) {
    const x = LEFT + (width - LEFT) * minute / 5
    pen.textAlign = minute === 0 ? 'left' : minute === 5 ? 'right' : 'center'
    pen.fillText(minute === 5 ? 'now' : `−${5 - minute} min`, x, height)
  }
}

/** A row for each bound, a column for one or several seconds, as dark as its share of the ticks. */
function drawLateness(canvas, seconds) {
  const { pen, width, height, color } = penOf(canvas)
  const step = stepFor(width - LEFT), rows = LATE_MS.length + 1
  const counts = grouped(seconds, step, (sum, second) => second.late.map((count, at) => count + (sum?.[at] ?? 0)))
  const column = (width - LEFT) / counts.length, row = (height - BELOW) / rows
  pen.font = '11px system-ui, sans-serif'
  pen.textAlign = 'right'
  pen.textBaseline = 'middle'
  for (let at = 0; at < rows; at++) {
    const y = height - BELOW - (at + 1) * row
    pen.fillStyle = color('line')
    pen.globalAlpha = .45
    pen.fillRect(LEFT, y, width - LEFT, row - 1)
    pen.globalAlpha = 1
    if (at % 3 === 0) {
      pen.fillStyle = color('dim')
      pen.fillText(at === 0 ? '< 1 ms' : at === rows - 1 ? '> 1 s' : `${LATE_MS[at]} ms`, LEFT - 8, y + row / 2)
    }
  }
  counts.forEach((late, number) => {
    const all = late?.reduce((sum, count) => sum + count, 0)
    if (!all) return
    late.forEach((count, at) => {
      if (count === 0) return
      pen.fillStyle = color(at >= 7 ? 'bad' : at >= 5 ? 'warn' : 'accent')
      pen.globalAlpha = .2 + .8 * Math.sqrt(count / all)
      const x = LEFT + number * column
      pen.fillRect(x, height - BELOW - (at + 1) * row, Math.max(column - .5, 1), row - 1)
    })
  })
  pen.globalAlpha = 1
  drawTimes(pen, width, height, color)
}

const REASONS = [
  ['plain', ['disconnected', 'io']],
  ['quiet', ['finished', 'topics_finished', 'dropped', 'replaced', 'lifetime', 'shutdown']],
  ['warn', ['slow']],
  ['bad', ['failed', 'panicked']],
]

/** Opened above the line, closed below it. */
function drawChurn(canvas, seconds) {
  const { pen, width, height, color } = penOf(canvas)
  const step = stepFor(width - LEFT)
  const groups = grouped(seconds, step, (sum = { opened: 0, closed: REASONS.map(() => 0) }, second) => ({
    opened: sum.opened + second.opened,
    closed: REASONS.map(([, reasons], at) => sum.closed[at] + reasons.reduce((all, reason) => all + valueOf(second.closed, reason), 0)),
  }))
  const most = Math.max(4, ...groups.map((group) => Math.max(group?.opened ?? 0, totalOf(group?.closed))))
  const middle = (height - BELOW) / 2, unit = (middle - 2) / most, column = (width - LEFT) / groups.length
  pen.fillStyle = color('dim')
  pen.font = '11px system-ui, sans-serif'
  pen.textAlign = 'right'
  const label = `${whole.format(most)} in ${step} s`
  pen.textBaseline = 'top'
  label.split(' in ').forEach((part, at) => pen.fillText(at ? `in ${part}` : part, LEFT - 8, at * 13))
  pen.fillStyle = color('plain')
  pen.fillRect(LEFT, middle - .5, width - LEFT, 1)
  groups.forEach((group, number) => {
    if (!group) return
    const x = LEFT + number * column, wide = Math.max(column - 1, 1)
    pen.fillStyle = color('accent')
    pen.fillRect(x, middle - 1 - group.opened * unit, wide, group.opened * unit)
    let y = middle + 1
    group.closed.forEach((count, at) => {
      pen.fillStyle = color(REASONS[at][0])
      pen.fillRect(x, y, wide, count * unit)
      y += count * unit
    })
  })
  drawTimes(pen, width, height, color)
}
