package store

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/server"
	"github.com/gti/gtm/pkg/store/state"
)

// ErrNotFound: the tenant or generation does not exist.
var ErrNotFound = errors.New("not found")

// RemovedError: a generation is older than what the store keeps.
type RemovedError struct {
	Tenant         string
	At, Oldest, To state.Generation // To is the head, as far as it is known
}

func (e *RemovedError) Error() string {
	return fmt.Sprintf("%s@%d was removed from the store, since it is older than the retention: %s@%d to %s@%d are kept; "+
		"gtmctl audit export tells who made it, and what it touched", e.Tenant, e.At, e.Tenant, e.Oldest, e.Tenant, e.To)
}

// ErrNotLeader: verdicts are written by the elected judge only, and this client is not it (any more).
var ErrNotLeader = errors.New("not the elected judge (any more); nothing was written")

// ConflictError: a head is not where the change was planned on. Nothing was written.
type ConflictError struct {
	Tenant     string
	Want, Have state.Generation
	Last       state.Record // the change that made Have; zero if there is none
}

func (e *ConflictError) Error() string {
	if e.Have == 0 {
		return fmt.Sprintf("%s@%d was expected, but %s has no generation yet; plan the change anew", e.Tenant, e.Want, e.Tenant)
	}
	s := fmt.Sprintf("%s is at generation %d, not %d", e.Tenant, e.Have, e.Want)
	if e.Last.Generation == e.Have && !e.Last.Time.IsZero() {
		s += fmt.Sprintf(": %s changed %s at %s", cmp.Or(e.Last.Author, "someone"), touched(e.Last),
			e.Last.Time.UTC().Format("2006-01-02 15:04:05Z"))
	}
	return s + "; plan the change anew"
}

func touched(r state.Record) string {
	keys := append(append([]string(nil), keyStrings(r.Put)...), keyStrings(r.Deleted)...)
	if len(keys) == 0 {
		return "nothing"
	}
	if more := len(keys) - 3; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(keys[:3], ", "), more)
	}
	return strings.Join(keys, ", ")
}

// TooLargeError: the change does not fit one transaction. Nothing was written; split it. A limit of 0 is
// one that only the etcd cluster knows.
type TooLargeError struct {
	Ops, MaxOps     int
	Bytes, MaxBytes int
}

func (e *TooLargeError) Error() string {
	if e.MaxOps == 0 {
		return fmt.Sprintf("the change (%d writes, %d bytes) is larger than the etcd cluster lets one transaction be; "+
			"apply it in parts, or start etcd with --max-txn-ops=%d --max-request-bytes=%d", e.Ops, e.Bytes,
			server.MaxTxnOps, server.MaxRequestBytes)
	}
	return fmt.Sprintf("the change has %d writes and %d bytes, more than the %d writes and %d bytes that fit one "+
		"generation; apply it in parts",
		e.Ops, e.Bytes, e.MaxOps, e.MaxBytes)
}

// UnknownError: no answer came to a change, and the store could not be asked afterwards, or did not have it then. It may have been
// made, or may yet be: it is for the store to tell, not for another attempt.
type UnknownError struct {
	Tenant     string
	Generation state.Generation // which it would be, or is
	Err        error            // why there was no answer
}

func (e *UnknownError) Error() string {
	return fmt.Sprintf("%s; it may have been made: look at gtmctl history %s before trying again", e.Err, e.Tenant)
}

func (e *UnknownError) Unwrap() error { return e.Err }

// DamagedError: resources of a state cannot be decoded.
type DamagedError struct {
	State  string // as in shop@41
	Broken map[spec.Key]state.BrokenResource
}

func (e *DamagedError) Error() string {
	keys := slices.SortedFunc(maps.Keys(e.Broken), state.CompareKeys)
	lines := make([]string, 0, len(keys))
	for _, k := range keys {
		lines = append(lines, fmt.Sprintf("%s, as %s@%d wrote it: %v", k, k.Tenant, e.Broken[k].Generation, e.Broken[k].Err))
	}
	const most = 5
	if more := len(lines) - most; more > 0 {
		lines = append(lines[:most], fmt.Sprintf("and %d more", more))
	}
	return fmt.Sprintf("%s has resources that cannot be decoded: %s; apply them anew, or delete them", e.State, strings.Join(lines, "; "))
}

func keyStrings(keys []spec.Key) []string {
	out := make([]string, len(keys))
	for i, k := range keys {
		out[i] = k.String()
	}
	return out
}
