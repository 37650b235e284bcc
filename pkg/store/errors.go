package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gti/gtm/pkg/spec"
)

// ErrNotFound: the tenant or generation does not exist.
var ErrNotFound = errors.New("not found")

// ErrNotLeader: verdicts are written by the elected judge only, and this client is not it (any more).
var ErrNotLeader = errors.New("not the elected judge (any more); nothing was written")

// ConflictError: a head is not where the change was planned on. Nothing was written.
type ConflictError struct {
	Tenant     string
	Want, Have Generation
	Last       Record // the change that made Have; zero if there is none
}

func (e *ConflictError) Error() string {
	if e.Have == 0 {
		return fmt.Sprintf("%s@%d was expected, but %s has no generation yet; plan the change anew", e.Tenant, e.Want, e.Tenant)
	}
	s := fmt.Sprintf("%s is at generation %d, not %d", e.Tenant, e.Have, e.Want)
	if e.Last.Generation == e.Have && !e.Last.Time.IsZero() {
		s += fmt.Sprintf(": %s changed %s at %s", orElse(e.Last.Author, "someone"), touched(e.Last), e.Last.Time.UTC().Format("2006-01-02 15:04:05Z"))
	}
	return s + "; plan the change anew"
}

func touched(r Record) string {
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
			"apply it in parts, or start etcd with --max-txn-ops=%d --max-request-bytes=%d", e.Ops, e.Bytes, serverMaxTxnOps, serverMaxRequest)
	}
	return fmt.Sprintf("the change has %d writes and %d bytes, more than the %d writes and %d bytes that fit one generation; apply it in parts",
		e.Ops, e.Bytes, e.MaxOps, e.MaxBytes)
}

// UnknownError: no answer came to a change, and the store could not be asked afterwards, or did not have it then. It may have been
// made, or may yet be: it is for the store to tell, not for another attempt.
type UnknownError struct {
	Tenant     string
	Generation Generation // which it would be, or is
	Err        error      // why there was no answer
}

func (e *UnknownError) Error() string {
	return fmt.Sprintf("%s; it may have been made: look at gtmctl history %s before trying again", e.Err, e.Tenant)
}

func (e *UnknownError) Unwrap() error { return e.Err }

// CorruptError: a part of the snapshot on disk is damaged or missing.
type CorruptError struct {
	File   string
	Offset int64 // negative: it is not about a place in the file
	Reason string
	// Serves tells what is left.
	Serves string
	absent bool // there is no such file
}

func (e *CorruptError) Error() string {
	if e.Offset < 0 {
		return fmt.Sprintf("%s cannot be read: %s; %s", e.File, e.Reason, e.Serves)
	}
	return fmt.Sprintf("%s is damaged at byte %d: %s; %s", e.File, e.Offset, e.Reason, e.Serves)
}

// WentBackError: the store holds an older state than was seen before.
type WentBackError struct {
	Reason string
	// Empty: nothing at all is there. Whoever takes that answers nothing more, so accepting it is no advice.
	Empty bool
}

func (e *WentBackError) Error() string {
	if e.Empty {
		return "the store went back: " + e.Reason + "; if it is the right one, fill it: gtmctl store rebuild -f DIR"
	}
	return "the store went back: " + e.Reason + "; if that is meant (a restored backup), run: gtmctl store accept"
}

// DamagedError: resources of a state cannot be decoded.
type DamagedError struct {
	State  string // as in shop@41
	Broken map[spec.Key]BrokenResource
}

func (e *DamagedError) Error() string {
	keys := slices.SortedFunc(maps.Keys(e.Broken), compareKeys)
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

// sizeRefused tells whether etcd found a request too large.
func sizeRefused(err error) bool {
	if errors.Is(err, rpctypes.ErrTooManyOps) || errors.Is(err, rpctypes.ErrRequestTooLarge) {
		return true
	}
	return err != nil && strings.Contains(err.Error(), "message larger than max")
}

// callError is a failed call to etcd, told to people.
type callError struct {
	text string
	err  error
}

func (e *callError) Error() string { return e.text }
func (e *callError) Unwrap() error { return e.err }

// explain says what was tried and where, and why the connection failed, which grpc often keeps to itself.
func (c *Client) explain(what string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s: %w", what, err)
	}
	cause := c.dialer.lastError()
	why := status.Convert(err).Message()
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		why = "no answer in time"
		if cause != "" {
			why += " (" + cause + ")"
		}
	case cause != "" && status.Code(err) == codes.Unavailable && !errors.As(err, new(rpctypes.EtcdError)):
		why = cause
	}
	hint := hintFor(err, cause, c.dialer.tls != nil)
	return &callError{fmt.Sprintf("%s: etcd at %s: %s%s", what, strings.Join(c.cfg.Endpoints, ", "), why, hint), err}
}

func hintFor(err error, cause string, encrypted bool) string {
	s := err.Error() + " " + cause
	contains := func(parts ...string) bool {
		return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(s, p) })
	}
	switch {
	case errors.Is(err, rpctypes.ErrNoSpace):
		return "; it is full, since its quota is used up, and takes no writes until you make room: compact and defragment it, then disarm " +
			"its alarm (\"When etcd is full\" in docs/operating.md)"
	case is(err, rpctypes.ErrPermissionDenied):
		return "; the user of --etcd-cert lacks that right: docs/operating.md lists what each role needs"
	case is(err, rpctypes.ErrNoLeader):
		return "; check that most members run and reach one another"
	case contains("first record does not look like a TLS handshake"):
		return "; it does not speak TLS: use http:// in --etcd"
	case contains("certificate", "x509"):
		return "; check the TLS files"
	case !encrypted && contains("it answers in TLS", "it closes the connection"):
		return "; if it speaks TLS, use https:// in --etcd"
	case encrypted && (contains("TLS handshake: ") || cause == "" && errors.Is(err, context.DeadlineExceeded)):
		// etcd without TLS keeps silent, while it waits for the end of what it takes for a line.
		return "; check that it runs and that it speaks TLS (else use http:// in --etcd)"
	case errors.Is(err, context.DeadlineExceeded), contains("deadline exceeded", "DeadlineExceeded", "Unavailable", "connection refused"):
		return "; check that it runs and that --etcd names it"
	}
	return ""
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
