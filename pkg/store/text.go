package store

import (
	"crypto/sha256"
	"encoding/hex"
	"hash/fnv"
	"strings"
	"sync"
)

// run is some consecutive lines of a zone's content, addressed by their hash.
type run struct {
	hash, text string
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
func splitText(text string) []run {
	var runs []run
	start, owner := 0, ""
	for pos := 0; pos < len(text); {
		end := pos + lineLen(text[pos:])
		name := ownerOf(text[pos:end])
		size := pos - start
		fresh := name != owner
		if size >= runMin && fresh && cutsBefore(name) || size >= runMax && (fresh || size >= 4*runMax) {
			runs = append(runs, newRun(text[start:pos]))
			start = pos
		}
		owner, pos = name, end
	}
	if start < len(text) {
		runs = append(runs, newRun(text[start:]))
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

func newRun(text string) run {
	sum := sha256.Sum256([]byte(text))
	return run{hash: hex.EncodeToString(sum[:]), text: text}
}

// textCacheBytes bounds what a client keeps of the runs that it saw.
const textCacheBytes = 64 << 20

// textCache keeps runs by hash, up to a number of bytes. Safe for concurrent use.
type textCache struct {
	mu    sync.Mutex
	max   int
	bytes int
	runs  map[string]string
}

func newTextCache(max int) *textCache { return &textCache{max: max, runs: map[string]string{}} }

func (t *textCache) get(hash string) (string, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, ok := t.runs[hash]
	return s, ok
}

// put keeps a run, and drops any others when there is no space: what is dropped is read again.
func (t *textCache) put(r run) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.runs[r.hash]; ok || len(r.text) > t.max {
		return
	}
	for h, s := range t.runs {
		if t.bytes+len(r.text) <= t.max {
			break
		}
		t.bytes -= len(s)
		delete(t.runs, h)
	}
	t.runs[r.hash] = r.text
	t.bytes += len(r.text)
}
