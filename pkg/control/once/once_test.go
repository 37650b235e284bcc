package once

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

var now = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// answers gives replies that say how often they were asked.
func answers(code int, n *int, text string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		*n++
		w.Header().Set("X-Of", "gtm")
		w.WriteHeader(code)
		fmt.Fprint(w, text, *n)
	}
}

// TestOnce: the same request with the same key is carried out once, of one who asks and for an hour; what passes is tried again.
func TestOnce(t *testing.T) {
	var r Replies
	n := 0
	for _, c := range []struct {
		who, key, what string
		after          time.Duration
		code           int
		want           string
		err            error
	}{
		{"alice", "1", "a", 0, 200, "reply 1", nil},
		{"alice", "1", "a", time.Minute, 200, "reply 1", nil},
		{"alice", "1", "b", time.Minute, 200, "", ErrOther},
		{"bob", "1", "b", time.Minute, 200, "reply 2", nil},
		{"alice", "2", "a", time.Minute, 422, "reply 3", nil},
		{"alice", "2", "a", time.Minute, 200, "reply 3", nil},
		{"alice", "3", "a", time.Minute, 503, "reply 4", nil},
		{"alice", "3", "a", time.Minute, 429, "reply 5", nil},
		{"alice", "3", "a", time.Minute, 409, "reply 6", nil},
		{"alice", "3", "a", time.Minute, 200, "reply 7", nil},
		{"alice", "3", "a", Span, 200, "reply 7", nil},
		{"alice", "1", "a", Span, 200, "reply 8", nil},
		{"alice", "3", "a", Span + time.Minute, 200, "reply 9", nil},
	} {
		rec := httptest.NewRecorder()
		err := r.Serve(rec, c.who, c.key, []byte(c.what), now.Add(c.after), answers(c.code, &n, "reply "))
		if !errors.Is(err, c.err) || rec.Body.String() != c.want {
			t.Errorf("%+v: %q, %v", c, rec.Body, err)
		}
		if again := rec.Header().Get("Idempotent-Replayed") != ""; err == nil && (rec.Header().Get("X-Of") != "gtm" ||
			again != (c.want != fmt.Sprint("reply ", n) || c.after > 0 && again)) {
			t.Errorf("%+v: %v", c, rec.Header())
		}
	}
}

// TestOnceAtATime: while a request is carried out the same one is told so; one that panics was not carried out, and neither was a long one.
func TestOnceAtATime(t *testing.T) {
	var r Replies
	ask := func(next func(http.ResponseWriter)) error {
		return r.Serve(httptest.NewRecorder(), "alice", "1", []byte("a"), now, next)
	}
	var within error
	n := 0
	first := ask(func(w http.ResponseWriter) { within = ask(answers(200, &n, "")) })
	if first != nil || !errors.Is(within, ErrRunning) || n != 0 {
		t.Errorf("%v, within it %v, %d", first, within, n)
	}
	r = Replies{}
	func() {
		defer func() { _ = recover() }()
		_ = ask(func(http.ResponseWriter) { panic("a fault") })
	}()
	_ = ask(answers(200, &n, strings.Repeat("x", maxReply)))
	if err := ask(answers(200, &n, "")); err != nil || n != 2 {
		t.Errorf("%v, %d", err, n)
	}
}

// TestOneAmongMany: who remembers much forgets the oldest of his own, and what is being carried out is not forgotten.
func TestOneAmongMany(t *testing.T) {
	var r Replies
	n := 0
	serve := func(who string, key int, next func(http.ResponseWriter)) error {
		return r.Serve(httptest.NewRecorder(), who, fmt.Sprint(key), nil, now, next)
	}
	_ = serve("bob", 0, answers(200, &n, ""))
	for i := range ofOne + 10 {
		if err := serve("alice", i, answers(200, &n, "")); err != nil {
			t.Fatal(i, err)
		}
	}
	n = 0
	for who, keys := range map[string][]int{"bob": {0}, "alice": {ofOne + 9, 10}} {
		for _, key := range keys {
			_ = serve(who, key, answers(200, &n, ""))
		}
	}
	if n != 0 || len(r.known) != ofOne+1 || len(r.order) != ofOne+1 {
		t.Errorf("%d carried out again, %d and %d are remembered", n, len(r.known), len(r.order))
	}
	if err := serve("alice", 0, answers(200, &n, "")); err != nil || n != 1 {
		t.Errorf("the oldest: %v, %d", err, n)
	}
	r = Replies{}
	var deep func(i int) error
	deep = func(i int) (err error) {
		if asked := serve("alice", i, func(http.ResponseWriter) { err = deep(i + 1) }); asked != nil {
			return asked
		}
		return err
	}
	if err := deep(0); !errors.Is(err, ErrFull) {
		t.Errorf("more are under way than may be: %v", err)
	}
}
