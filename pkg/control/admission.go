package control

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"sync"

	"github.com/gti/gtm/pkg/private"
)

// minToken is the least length of a token, in characters: below that it can be guessed.
const minToken = 16

// CreateToken gives the token in the file path, and makes file (mode 0600) and token at the first call. A file that others may
// read, or whose content is too short to be a secret, is an error that says what to do.
func CreateToken(path string) (string, error) {
	token := rand.Text()
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return readToken(path)
	}
	if err != nil {
		return "", fmt.Errorf("cannot keep the API's token: %w", err)
	}
	_, err = file.WriteString(token + "\n")
	if err == nil {
		err = file.Sync()
	}
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		os.Remove(path)
		return "", fmt.Errorf("cannot keep the API's token: %w", err)
	}
	return token, nil
}

func readToken(path string) (string, error) {
	if err := private.Check(path, "the API's token"); err != nil {
		return "", err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("cannot read the API's token: %w", err)
	}
	token := strings.TrimSpace(string(data))
	if len(token) < minToken {
		return "", fmt.Errorf("the API's token in %s has fewer than %d characters; remove the file, and gtmd makes a new one at its "+
			"next start", path, minToken)
	}
	if i := strings.IndexFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }); i >= 0 {
		return "", fmt.Errorf("the API's token in %s has a character at %d that no request can carry; remove the file, and gtmd makes "+
			"a new "+
			"one at its next start", path, i+1)
	}
	return token, nil
}

// authorized reports whether a request carries the token. It takes the same time for every wrong one.
func (s *Server) authorized(r *http.Request) bool {
	scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	hash := sha256.Sum256([]byte(strings.TrimSpace(given)))
	return subtle.ConstantTimeCompare(hash[:], s.token[:]) == 1 && strings.EqualFold(scheme, "Bearer")
}

// unauthorized tells how to send a token. Where it lies on this machine is for those who know the machine: see docs/operating.md.
func (s *Server) unauthorized(w http.ResponseWriter) {
	w.Header().Set("WWW-Authenticate", `Bearer realm="gtm"`)
	writeProblem(w, problemf(http.StatusUnauthorized,
		"the token is missing or wrong: send what the file token in gtmd's data folder holds "+
			"as Authorization: Bearer TOKEN, or pass that file to gtmctl by --token-file"))
}

// admission lets a bounded number of requests work at the same time, and a bounded number wait. Those who wait go on in the order in
// which their authors came round: who has many waiting takes turns with who has one. It is safe for concurrent use.
type admission struct {
	running, waiting atMost
	each             int // of an author may wait

	mu     sync.Mutex
	queues []*queue // of those who have someone waiting; the first is next
}

type atMost struct{ now, most int }

// queue is what waits of one author.
type queue struct {
	author string
	calls  []chan struct{} // each is closed when its turn has come
}

// errBusy: more cannot wait.
var errBusy = errors.New("too many requests are waiting")

func newAdmission(running, waiting, each int) *admission {
	return &admission{running: atMost{most: running}, waiting: atMost{most: waiting}, each: each}
}

// take waits for a turn, which has to be given back by done. errBusy: it would wait behind too many; otherwise the error is the context's.
func (t *admission) take(ctx context.Context, author string) error {
	t.mu.Lock()
	if t.running.now < t.running.most {
		t.running.now++
		t.mu.Unlock()
		return nil
	}
	q := t.queueOf(author)
	if t.waiting.now >= t.waiting.most || q != nil && len(q.calls) >= t.each {
		t.mu.Unlock()
		return errBusy
	}
	if q == nil {
		q = &queue{author: author}
		t.queues = append(t.queues, q)
	}
	call := make(chan struct{})
	q.calls = append(q.calls, call)
	t.waiting.now++
	t.mu.Unlock()
	select {
	case <-call:
		return nil
	case <-ctx.Done():
		t.giveUp(author, call)
		return ctx.Err()
	}
}

func (t *admission) queueOf(author string) *queue {
	for _, q := range t.queues {
		if q.author == author {
			return q
		}
	}
	return nil
}

// giveUp takes back a call. One whose turn has come meanwhile passes it on.
func (t *admission) giveUp(author string, call chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	q := t.queueOf(author)
	if q != nil {
		for i, c := range q.calls {
			if c == call {
				q.calls = append(q.calls[:i], q.calls[i+1:]...)
				t.waiting.now--
				t.dropIfEmpty(q)
				return
			}
		}
	}
	t.next()
}

// done gives a turn back.
func (t *admission) done() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next()
}

// next hands a turn on to the author who has waited longest for one, and puts that author behind the others.
func (t *admission) next() {
	if len(t.queues) == 0 {
		t.running.now--
		return
	}
	q := t.queues[0]
	close(q.calls[0])
	q.calls = q.calls[1:]
	t.waiting.now--
	t.queues = append(t.queues[1:], q)
	t.dropIfEmpty(q)
}

func (t *admission) dropIfEmpty(q *queue) {
	if len(q.calls) > 0 {
		return
	}
	for i, other := range t.queues {
		if other == q {
			t.queues = append(t.queues[:i], t.queues[i+1:]...)
			return
		}
	}
}
