package link

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// SizeRefused reports whether etcd found a request too large.
func SizeRefused(err error) bool {
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

// Explain says what was tried and where, and why the connection failed, which grpc often keeps to itself.
func (l *Link) Explain(what string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s: %w", what, err)
	}
	cause := l.dialer.lastError()
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
	hint := hintFor(err, cause, l.dialer.tls != nil)
	return &callError{fmt.Sprintf("%s: etcd at %s: %s%s", what, strings.Join(l.endpoints, ", "), why, hint), err}
}

func hintFor(err error, cause string, encrypted bool) string {
	s := err.Error() + " " + cause
	contains := func(parts ...string) bool {
		return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(s, p) })
	}
	switch {
	case errors.Is(err, rpctypes.ErrNoSpace):
		return "; it is full, since its quota is used up, and takes no writes until you make room: compact and defragment it, " +
			"then disarm " +
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
