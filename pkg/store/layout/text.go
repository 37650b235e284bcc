package layout

import (
	"crypto/sha256"
	"encoding/hex"
	"hash/fnv"
	"strings"
	"sync"
)

// Run is some consecutive lines of a zone's content, addressed by their hash.
type Run struct {
	Hash, Text string
}

// How content is cut: before an owner name whose hash ends in zeros, which gives 512 names (some 40 KB)
// on average, but no run is smaller than runMin or, but for a single long line, much larger than runMax.
const (
	runMask = 1<<9 - 1
	runMin  = 8 << 10
	runMax  = 256 << 10
)

// splitText cuts text into runs; joined in order they are text again. Where it cuts depends on what stands
// near the cut only, so that a change of some lines changes the runs that hold them, seldom a neighbour.
func splitText(text string) []Run {
	var runs []Run
	start, owner := 0, ""
	for pos := 0; pos < len(text); {
		end := pos + lineLen(text[pos:])
		name := ownerOf(text[pos:end])
		size := pos - start
		fresh := name != owner
		if size >= runMin && fresh && cutsBefore(name) || size >= runMax && (fresh || size >= 4*runMax) {
			runs = append(runs, NewRun(text[start:pos]))
			start = pos
		}
		owner, pos = name, end
	}
	if start < len(text) {
		runs = append(runs, NewRun(text[start:]))
	}
	return runs
}

func lineLen(s string) int {
	if i := strings.IndexByte(s, '\n'); i >= 0 {
		return i + 1
	}
	return len(s)
}

func ownerOf(line string) string {
	if i := strings.IndexAny(line, " \t\n"); i >= 0 {
		return line[:i]
	}
	return line
}

func cutsBefore(owner string) bool {
	h := fnv.New32a()
	h.Write([]byte(owner))
	s := h.Sum32()
	return (s^s>>16)&runMask == 0
}

// NewRun makes a run of its text.
func NewRun(text string) Run {
	sum := sha256.Sum256([]byte(text))
	return Run{Hash: hex.EncodeToString(sum[:]), Text: text}
}

// TextCache keeps runs by hash, up to a number of bytes. Safe for concurrent use.
type TextCache struct {
	mu    sync.Mutex
	max   int
	bytes int
	runs  map[string]string
}

// NewTextCache makes one that keeps at most max bytes.
func NewTextCache(max int) *TextCache { return &TextCache{max: max, runs: map[string]string{}} }

// Get gives the text of a run; false: it is not kept.
func (t *TextCache) Get(hash string) (string, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, ok := t.runs[hash]
	return s, ok
}

// Put keeps a run, and drops any others when there is no space: what is dropped is read again.
func (t *TextCache) Put(r Run) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.runs[r.Hash]; ok || len(r.Text) > t.max {
		return
	}
	for h, s := range t.runs {
		if t.bytes+len(r.Text) <= t.max {
			break
		}
		t.bytes -= len(s)
		delete(t.runs, h)
	}
	t.runs[r.Hash] = r.Text
	t.bytes += len(r.Text)
}
