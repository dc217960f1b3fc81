// net/http of Go: a goroutine and a ticker per stream, a channel per subscriber.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// How many events a subscriber may lag behind.
const channelEvents = 1024

var (
	padding     = strings.Repeat("x", 1<<17)
	lock        sync.Mutex
	subscribers = map[chan []byte]struct{}{}
)

func main() {
	port := os.Getenv("PORT")
	if port == "" {
		port = "0"
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:"+port)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("listening on http://%s\n", listener.Addr())
	mux := http.NewServeMux()
	mux.HandleFunc("/hello", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "Hello, World!") })
	mux.HandleFunc("/idle", idle)
	mux.HandleFunc("/tick", tick)
	mux.HandleFunc("/topic", topic)
	mux.HandleFunc("/publish", publish)
	http.Serve(listener, mux)
}

func start(w http.ResponseWriter) http.Flusher {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	w.WriteHeader(http.StatusOK)
	flusher := w.(http.Flusher)
	flusher.Flush()
	return flusher
}

func idle(w http.ResponseWriter, r *http.Request) {
	start(w)
	<-r.Context().Done()
}

func number(r *http.Request, name string, otherwise int) int {
	if value, err := strconv.Atoi(r.URL.Query().Get(name)); err == nil {
		return value
	}
	return otherwise
}

func tick(w http.ResponseWriter, r *http.Request) {
	padded := number(r, "bytes", 100) - len("data: 1234567890123456789 \n\n")
	if padded < 0 {
		padded = 0
	}
	flusher := start(w)
	ticker := time.NewTicker(time.Duration(number(r, "ms", 1000)) * time.Millisecond)
	defer ticker.Stop()
	for {
		fmt.Fprintf(w, "data: %019d %s\n\n", time.Now().UnixNano(), padding[:padded])
		flusher.Flush()
		select {
		case <-ticker.C:
		case <-r.Context().Done():
			return
		}
	}
}

func topic(w http.ResponseWriter, r *http.Request) {
	events := make(chan []byte, channelEvents)
	lock.Lock()
	subscribers[events] = struct{}{}
	lock.Unlock()
	defer func() {
		lock.Lock()
		delete(subscribers, events)
		lock.Unlock()
	}()
	flusher := start(w)
	for {
		select {
		case event := <-events:
			w.Write(event)
			flusher.Flush()
		case <-r.Context().Done():
			return
		}
	}
}

func publish(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	event := append(append([]byte("data: "), body...), "\n\n"...)
	lock.Lock()
	for subscriber := range subscribers {
		select {
		case subscriber <- event:
		default:
		}
	}
	lock.Unlock()
	w.WriteHeader(http.StatusNoContent)
}
