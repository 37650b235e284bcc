package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/jsonscan"
)

// Shares of what requests may take.
const (
	firstBuf    = 64 << 10 // bytes that a body gets before more of it has come
	maxValues   = 1 << 14  // JSON values of a small body: 4,096 weights have half of them
	smallBodies = 64 << 20 // bytes of small bodies at the same time
	smallAtOne  = 16       // requests with small bodies that work at the same time
	largeAtOne  = 1        // likewise large ones, which can take all of a core and many times their length
	mayWait     = 64       // of each sort
	eachWaits   = 16       // of them, of one tenant's tokens, or of one author
	busyAgain   = "5"      // seconds
)

// hasLargeBody reports whether a request may change everything at once.
func hasLargeBody(path string) bool {
	return path == api.Version+"/apply" || path == api.Version+"/store/rebuild"
}

// isLarge reports whether a request takes its turn among the large ones, once its body is there. Going back may write all of a tenant.
func isLarge(path string, body int) bool {
	return body > maxSmallBody || timeOf(path) == largeTime && !hasLargeBody(path)
}

// bodyKey is the context's key for the body of a request, as []byte.
type bodyKey struct{}

func bodyOf(ctx context.Context) []byte {
	body, _ := ctx.Value(bodyKey{}).([]byte)
	return body
}

// admit reads a request's body, within what all may hold together, and waits for the request's turn. It gives the request to go on
// with, and what is to be called when that is over; nil: it was refused, and told why.
func (s *Server) admit(w http.ResponseWriter, r *http.Request) (*http.Request, func()) {
	if r.URL.Path == eventStream {
		return s.admitStream(w, r)
	}
	in := &inflow{small: &s.smallBodies, large: &s.largeBodies}
	body, err := s.readBody(w, r, in)
	if err == nil {
		err = s.checkValues(r.URL.Path, body)
	}
	if err != nil {
		in.giveBack()
		refuse(w, err)
		return nil, nil
	}
	line := s.small
	if isLarge(r.URL.Path, len(body)) {
		line = s.large
	}
	if err := line.take(r.Context(), callerOf(r.Context()).share()); err != nil {
		in.giveBack()
		refuse(w, busyf("%s; at most %d work at the same time", err, line.running.most))
		return nil, nil
	}
	r = r.WithContext(withGlass(context.WithValue(r.Context(), bodyKey{}, body), r.Header))
	if !hasLargeBody(r.URL.Path) {
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	return r, func() { line.done(); in.giveBack() }
}

// busyf says that a request is to come again.
func busyf(format string, args ...any) error {
	return problemf(http.StatusServiceUnavailable, "gtmd is busy: "+format+"; nothing was changed, try again in %s s",
		append(args, busyAgain)...)
}

// refuse answers a request that gets no turn.
func refuse(w http.ResponseWriter, err error) {
	var problem *api.Problem
	if !errors.As(err, &problem) {
		problem = problemf(http.StatusBadRequest, "the body of the request cannot be read: %s", err)
	}
	if problem.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", busyAgain)
	}
	writeProblem(w, problem)
}

// readBody reads a body as it comes: one that is announced and does not come takes nothing.
func (s *Server) readBody(w http.ResponseWriter, r *http.Request, in *inflow) ([]byte, error) {
	limit, patience := int64(maxSmallBody), bodyTime
	if hasLargeBody(r.URL.Path) {
		limit, patience = s.cfg.MaxBody, largeBodyTime
	}
	// The server's own deadline is for what is no API: it would end a request that is long at work. A connection without deadlines is a
	// test's: what follows is bounded all the same.
	deadlines := http.NewResponseController(w)
	defer func() { _ = deadlines.SetReadDeadline(time.Time{}) }()
	tooLarge := problemf(http.StatusRequestEntityTooLarge, "the request has more than %d bytes: cut it into several", limit)
	if r.ContentLength > limit {
		return nil, tooLarge
	}
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	_ = deadlines.SetReadDeadline(time.Now().Add(patience))
	body, err := in.read(r.Body, limit, r.ContentLength)
	switch {
	case errors.Is(err, errTooLarge):
		return nil, tooLarge
	case errors.Is(err, errOverBudget):
		return nil, busyf("others are sending as much as it holds at a time")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, problemf(http.StatusRequestTimeout, "the request was not whole within %s", patience)
	}
	return body, err
}

// checkValues refuses a small body that would cost many times its length. Large ones are bounded where they are decoded.
func (s *Server) checkValues(path string, body []byte) error {
	if !hasLargeBody(path) && jsonscan.CountValues(body, maxValues) > maxValues {
		return problemf(http.StatusUnprocessableEntity, "the request has more than %d values; nothing was changed", maxValues)
	}
	return nil
}

// budget is how many bytes all bodies may hold together.
type budget struct {
	most int64
	held atomic.Int64
}

// inflow is one body on its way in. As long as it is small it counts among the small ones, so that large ones do not keep them out.
type inflow struct {
	small, large *budget
	in           *budget // that it counts in; nil: none yet
	held         int64
}

var (
	errTooLarge   = errors.New("too large")
	errOverBudget = errors.New("no room")
)

func (b *budget) reserve(n int64) bool {
	if b.held.Add(n) > b.most {
		b.held.Add(-n)
		return false
	}
	return true
}

// hold asks for as many bytes.
func (in *inflow) hold(n int64) bool {
	want := in.small
	if n > maxSmallBody+1 {
		want = in.large
	}
	if want == in.in {
		if !want.reserve(n - in.held) {
			return false
		}
		in.held = n
		return true
	}
	if !want.reserve(n) {
		return false
	}
	in.giveBack()
	in.in, in.held = want, n
	return true
}

func (in *inflow) giveBack() {
	if in.in != nil {
		in.in.held.Add(-in.held)
		in.in, in.held = nil, 0
	}
}

// read reads all of a body of at most limit bytes; length is what was announced; 0 or less: nothing. Room doubles as the body comes, up to
// what was announced.
func (in *inflow) read(from io.Reader, limit, length int64) ([]byte, error) {
	if length <= 0 {
		length = limit
	}
	var body []byte
	for {
		if int64(len(body)) == int64(cap(body)) {
			// One byte more than may come tells whether more does.
			size := min(max(2*int64(cap(body)), firstBuf), length+1)
			if size <= int64(len(body)) {
				return nil, errTooLarge
			}
			if !in.hold(size) {
				return nil, errOverBudget
			}
			body = append(make([]byte, 0, size), body...)
		}
		n, err := from.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case int64(len(body)) > limit:
			return nil, errTooLarge
		case errors.Is(err, io.EOF):
			return body, nil
		case err != nil:
			return nil, fmt.Errorf("it broke off: %w", err)
		}
	}
}
