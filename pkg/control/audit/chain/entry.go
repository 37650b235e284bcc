// Package chain holds the entries of audit logs: lines of JSON, each with the hash of the line before. It verifies and merges logs; it
// writes none, so that a client needs no more.
package chain

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/gti/gtm/pkg/spec"
)

// The acts that entries tell of.
const (
	ActChange     = "change"      // of resources: an apply, weights, a drain, a rollback, an update by DNS
	ActRelease    = "release"     // of what the brake holds, or of a pool that is out
	ActAccept     = "accept"      // of a store that went back
	ActRebuild    = "rebuild"     // of a store
	ActBreakGlass = "break-glass" // a guard was passed over
	ActToken      = "token"       // a service token is made, or revoked
	ActCall       = "call"        // of the API, which its caller may not make
	ActForget     = "forget"      // of an edge or a vantage
	ActKeys       = "keys"        // of a signed zone
	ActPrune      = "prune"       // generations leave the store
	ActPending    = "pending"     // a change that waited is taken back
	ActPush       = "push"        // of other endpoints than a source had
	ActRollout    = "rollout"     // is paused, resumed, aborted or promoted, or edges take what they refuse
	ActLog        = "log"         // of this log itself
)

// What became of an act.
const (
	Asked   = "asked"   // it is about to be done; what became of it stands in a later entry
	Done    = "done"    // also of a part, where Reason says why not of the rest
	Refused = "refused" // nothing was done
	Failed  = "failed"  // nothing was done, or nobody knows: Reason says which
)

// Entry is one line of a log. Seq, Writer and Prev are the log's, and Time, where it is zero.
type Entry struct {
	Seq    uint64    `json:"seq"`
	Writer string    `json:"writer"`
	Prev   string    `json:"prev"` // SHA-256 of the line before, in hex; of the first line empty
	Time   time.Time `json:"time"`

	Act     string `json:"act"`
	Outcome string `json:"outcome"`
	Of      uint64 `json:"of,omitempty"` // the entry that asked
	Author  string `json:"author,omitempty"`
	// Approved is the second person, who let the change pass.
	Approved string   `json:"approved,omitempty"`
	Tenants  []string `json:"tenants,omitempty"`
	Target   string   `json:"target,omitempty"`
	Message  string   `json:"message,omitempty"` // why, as the author says
	Reason   string   `json:"reason,omitempty"`  // why it was refused or failed
	// Generations are those that were made, or that leave the store.
	Generations []Generation `json:"generations,omitempty"`
}

// Generation is one of a tenant, as the store's history has it. Its ID ties the logs of several controls together.
type Generation struct {
	Tenant     string     `json:"tenant"`
	Generation uint64     `json:"generation"`
	ID         string     `json:"id,omitempty"`
	Time       time.Time  `json:"time"`
	Author     string     `json:"author,omitempty"`
	Message    string     `json:"message,omitempty"`
	Approved   string     `json:"approved,omitempty"` // by whom, where a guard had it wait for a second person
	Put        []spec.Key `json:"put,omitempty"`
	Deleted    []spec.Key `json:"deleted,omitempty"`
}

// Bounds of one line: a generation names 8,000 resources at most, and a prune takes 64 generations away.
const (
	MostLine = 64 << 20
	mostText = 4 << 10 // of a message or a reason
)

// Line writes an entry as it stands in a log, without its end.
func Line(e Entry) ([]byte, error) {
	e.Message, e.Reason = clip(e.Message), clip(e.Reason)
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return nil, fmt.Errorf("an entry cannot be written: %w", err)
	}
	text := ascii(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
	if len(text) > MostLine {
		return nil, fmt.Errorf("an entry has more than %d bytes", MostLine)
	}
	return text, nil
}

// ascii has no terminal obey what stands in a line: whoever shows it may show it as it is, and it can be verified still.
func ascii(text []byte) []byte {
	if !bytes.ContainsFunc(text, func(r rune) bool { return r >= 0x7F }) {
		return text
	}
	var out []byte
	for _, r := range string(text) {
		switch high, low := utf16.EncodeRune(r); {
		case r < 0x7F:
			out = append(out, byte(r))
		case high != utf8.RuneError:
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}

func clip(s string) string {
	if len(s) <= mostText {
		return s
	}
	return strings.ToValidUTF8(s[:mostText], "") + "..."
}

// Hash gives the hash of a line, by which the next one names it.
func Hash(line []byte) string {
	sum := sha256.Sum256(line)
	return hex.EncodeToString(sum[:])
}

// Parse reads a line.
func Parse(line []byte) (Entry, error) {
	var e Entry
	if err := json.Unmarshal(line, &e); err != nil {
		return e, fmt.Errorf("it is no entry: %w", err)
	}
	if e.Seq == 0 || e.Writer == "" {
		return e, errors.New("it is no entry: it has no number, or no writer")
	}
	return e, nil
}
