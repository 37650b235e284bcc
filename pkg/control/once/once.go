// Package once has a request that is sent again, since its reply was lost, answered as it was the first time, and carried out once.
//
// It goes by the header Idempotency-Key (draft-ietf-httpapi-idempotency-key-header-07). What it remembers is in memory, of this control
// alone.
package once

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"net/http"
	"sync"
	"time"
)

// Bounds of what is remembered.
const (
	Span     = time.Hour // how long
	ofOne    = 1000      // replies of one who asks; the oldest goes for another
	ofAll    = 20_000
	maxReply = 64 << 10 // bytes; a longer one is carried out again
	MaxKey   = 255
)

var (
	// ErrRunning: the same request is being carried out now.
	ErrRunning = errors.New("the same request is being carried out; ask again when it is done")
	// ErrOther: the key was that of another request.
	ErrOther = errors.New("this Idempotency-Key was that of another request; each wants one of its own")
	// ErrFull: too much is remembered.
	ErrFull = errors.New("too many requests with an Idempotency-Key are remembered; send this one without, or later")
)

// Replies are the replies that are remembered. The zero value remembers none yet. It is safe for concurrent use.
type Replies struct {
	mu    sync.Mutex
	known map[ask]*reply
	count map[string]int // by who asks
	order []ask          // the oldest first
}

// ask is one key of one who asks.
type ask struct{ who, key string }

type reply struct {
	of      [sha256.Size]byte // what was asked
	at      time.Time
	running bool
	code    int
	header  http.Header
	body    []byte
}

// Serve has next answer, or the reply that it gave to the same request before. who is who asks, and what all that makes the request what it
// is: method, path and body. An error is one of this package: next was not asked, and nothing was written.
func (r *Replies) Serve(w http.ResponseWriter, who, key string, what []byte, now time.Time, next func(http.ResponseWriter)) error {
	id, of := ask{who, key}, sha256.Sum256(what)
	before, err := r.begin(id, of, now)
	if err != nil {
		return err
	}
	if before != nil {
		for name, values := range before.header {
			w.Header()[name] = values
		}
		w.Header().Set("Idempotent-Replayed", "true")
		w.WriteHeader(before.code)
		_, _ = w.Write(before.body) // the client is gone; nobody is left to tell
		return nil
	}
	kept := &recorder{ResponseWriter: w, code: http.StatusOK}
	whole := false
	defer func() { r.end(id, kept, whole) }() // after a panic, too
	next(kept)
	whole = true
	return nil
}

// begin gives the reply that is remembered, or notes that the request is carried out.
func (r *Replies) begin(id ask, of [sha256.Size]byte, now time.Time) (*reply, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known == nil {
		r.known, r.count = map[ask]*reply{}, map[string]int{}
	}
	r.forgetOld(now)
	switch before := r.known[id]; {
	case before == nil:
	case before.of != of:
		return nil, ErrOther
	case before.running:
		return nil, ErrRunning
	default:
		return before, nil
	}
	if r.count[id.who] >= ofOne {
		r.forgetFirst(id.who)
	}
	if r.count[id.who] >= ofOne || len(r.known) >= ofAll {
		return nil, ErrFull
	}
	r.known[id] = &reply{of: of, at: now, running: true}
	r.count[id.who]++
	r.order = append(r.order, id)
	return nil, nil
}

// end remembers what was answered. What may be otherwise the next time is not remembered: a fault of gtmd or of etcd, and too much at once.
func (r *Replies) end(id ask, kept *recorder, whole bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	passing := kept.code >= 500 || kept.code == http.StatusTooManyRequests || kept.code == http.StatusConflict
	if !whole || kept.long || passing {
		r.forget(id)
		return
	}
	known := r.known[id]
	known.running, known.code, known.header, known.body = false, kept.code, kept.Header().Clone(), kept.body.Bytes()
}

func (r *Replies) forget(id ask) {
	delete(r.known, id)
	if r.count[id.who]--; r.count[id.who] <= 0 {
		delete(r.count, id.who)
	}
	for i := range r.order {
		if r.order[i] == id {
			r.order = append(r.order[:i], r.order[i+1:]...)
			return
		}
	}
}

// forgetOld forgets what is older than Span; r.mu is held.
func (r *Replies) forgetOld(now time.Time) {
	for len(r.order) > 0 {
		first := r.known[r.order[0]]
		if first.running || now.Sub(first.at) < Span {
			return
		}
		r.forget(r.order[0])
	}
}

// forgetFirst forgets the oldest of one who asks that is answered; r.mu is held.
func (r *Replies) forgetFirst(who string) {
	for _, id := range r.order {
		if id.who == who && !r.known[id].running {
			r.forget(id)
			return
		}
	}
}

// recorder keeps what is written, as far as it is short.
type recorder struct {
	http.ResponseWriter
	code int
	body bytes.Buffer
	long bool
}

func (k *recorder) WriteHeader(code int) {
	k.code = code
	k.ResponseWriter.WriteHeader(code)
}

func (k *recorder) Write(b []byte) (int, error) {
	if k.long = k.long || k.body.Len()+len(b) > maxReply; !k.long {
		k.body.Write(b)
	}
	return k.ResponseWriter.Write(b)
}

// Unwrap gives what is beneath, for http.ResponseController.
func (k *recorder) Unwrap() http.ResponseWriter { return k.ResponseWriter }
