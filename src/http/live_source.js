// An EventSource that survives sleep: if the keep-alive event of the server is overdue, it reconnects and
// resumes after the last event that the page has seen. The server sends that event with KeepAlive::Event.
export class LiveSource extends EventTarget {
  #url; #init; #patience; #lastEventId; #source; #timer
  #types = new Set(['open', 'error', 'message', 'keep-alive'])
  #heardAt = 0
  #listening = new AbortController()

  // heartbeat: the interval of keep-alive events in ms. lastEventId: where to resume. The rest is for EventSource.
  constructor(url, { heartbeat = 15_000, lastEventId = '', ...init } = {}) {
    super()
    this.#url = new URL(url, document.baseURI)
    this.#init = init
    this.#patience = 2.5 * heartbeat
    this.#lastEventId = lastEventId
    const { signal } = this.#listening
    const wake = () => this.#check(this.#patience)
    document.addEventListener('visibilitychange', wake, { signal })
    addEventListener('online', wake, { signal })
    addEventListener('pageshow', ({ persisted }) => persisted && this.#connect(), { signal })
    this.#timer = setInterval(() => {
      // A browser that is about to reconnect waits for as long as the server has asked it to.
      const isOpen = this.#source.readyState === EventSource.OPEN
      this.#check(isOpen ? this.#patience : Math.max(this.#patience, 60_000))
    }, heartbeat)
    this.#connect()
  }

  get lastEventId() { return this.#lastEventId }
  get readyState() { return this.#source.readyState }

  close() {
    clearInterval(this.#timer)
    this.#listening.abort()
    this.#source.close()
  }

  addEventListener(type, ...rest) {
    if (!this.#types.has(type)) this.#listen(type)
    this.#types.add(type)
    super.addEventListener(type, ...rest)
  }

  #check(patience) { if (Date.now() - this.#heardAt > patience) this.#connect() }

  #connect() {
    this.#source?.close()
    this.#heardAt = Date.now()
    if (this.#lastEventId) this.#url.searchParams.set('last_event_id', this.#lastEventId)
    this.#source = new EventSource(this.#url, this.#init)
    for (const type of this.#types) this.#listen(type)
  }

  #listen(type) { this.#source.addEventListener(type, (event) => this.#pass(event)) }

  #pass(event) {
    if (event.type !== 'error') this.#heardAt = Date.now()
    this.#lastEventId = event.lastEventId || this.#lastEventId
    // The server has ended it: with 204, or with an error.
    if (this.#source.readyState === EventSource.CLOSED) this.close()
    const copy = event.data === undefined ? new Event(event.type) : new MessageEvent(event.type, event)
    this.dispatchEvent(copy)
    // Last, because it may throw.
    this[`on${event.type}`]?.(copy)
  }
}
