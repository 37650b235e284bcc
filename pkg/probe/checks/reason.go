package checks

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"unicode"

	"github.com/gti/gtm/pkg/probe"
)

// unable marks an error that says nothing of the target.
type unable struct{ error }

// conclude turns a check's error into outcome and reason. Reasons name what was done and what went wrong, in one line,
// and quote nothing that the target sent, since whoever reads them need not be allowed to talk to it.
func conclude(c probe.Check, err error) probe.Result {
	var blind unable
	var at *stageError
	var no *refused
	switch {
	case err == nil:
		return probe.Result{Outcome: probe.Passed}
	case errors.As(err, &no):
		return probe.Result{Outcome: probe.Unable, Reason: errRefused.Error(), Detail: no.Error()}
	case errors.As(err, &blind):
		return probe.Result{Outcome: probe.Unable, Reason: clip(err.Error(), reasonLimit)}
	case errors.As(err, &at) && isTimeout(err):
		return probe.Result{Outcome: probe.Failed, Reason: fmt.Sprintf("%s: timeout after %v", at.stage, c.Timeout)}
	}
	return probe.Result{Outcome: probe.Failed, Reason: clip(err.Error(), reasonLimit)}
}

// stageError is a failure at one stage of a check.
type stageError struct {
	stage string
	err   error
}

func (e *stageError) Error() string { return e.stage + ": " + e.err.Error() }
func (e *stageError) Unwrap() error { return e.err }

func fail(stage string, err error) error { return &stageError{stage, plain(err)} }

// plain strips the wrapping that repeats addresses and ports of our own, but not what errors.Is needs.
func plain(err error) error {
	var op *net.OpError
	var sys *os.SyscallError
	switch {
	case isTimeout(err):
		return err
	case errors.As(err, &sys):
		return sys.Err
	case errors.As(err, &op):
		return op.Err
	}
	return err
}

// ownFaults are errors of this machine: out of files, ports or memory, or a firewall of its own.
var ownFaults = []syscall.Errno{
	syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL, syscall.EAFNOSUPPORT,
	syscall.EPERM, syscall.EACCES,
}

// connectError sorts what went wrong before there was a connection.
func connectError(err error) error {
	var no *refused
	var dns *net.DNSError
	var errno syscall.Errno
	switch {
	case errors.As(err, &no):
		return no
	case errors.As(err, &dns):
		return resolveError(dns)
	case errors.As(err, &errno) && slices.Contains(ownFaults, errno):
		return unable{fail("connect", err)}
	case errors.Is(err, syscall.ENETUNREACH) && !hasRoute(err):
		return unable{fail("connect", err)}
	}
	return fail("connect", err)
}

// resolveError: a name that this prober cannot resolve, clients cannot resolve either, for all that is known here. If it
// is the resolver that broke, quorum and brake are there for it.
func resolveError(err *net.DNSError) error {
	switch {
	case err.IsNotFound:
		return fail("resolve", errors.New("no such host"))
	case err.IsTimeout:
		return fail("resolve", os.ErrDeadlineExceeded)
	}
	return fail("resolve", errors.New("the resolver failed"))
}

// hasRoute tells a network that this machine has no route to from one that a router farther on reports as unreachable: connecting
// a datagram socket asks only our own routing table, and sends nothing.
func hasRoute(err error) bool {
	var op *net.OpError
	if !errors.As(err, &op) || op.Addr == nil {
		return true
	}
	conn, err := net.Dial("udp", op.Addr.String())
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

func tlsError(err error) error {
	var bad *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var ours *certificateError
	switch {
	case errors.As(err, &ours):
		return fail("certificate", ours)
	case errors.As(err, &x509.UnknownAuthorityError{}):
		return fail("certificate", errors.New("certificate signed by unknown authority"))
	case errors.As(err, &bad):
		return fail("certificate", errors.New(strings.TrimPrefix(bad.Err.Error(), "x509: ")))
	case errors.As(err, &record):
		return fail("tls", errors.New("the server does not speak TLS"))
	case isTimeout(err):
		return fail("tls", err)
	}
	return fail("tls", errors.New(strings.TrimPrefix(plain(err).Error(), "tls: ")))
}

// readError is for reading the response, or its body: what net/http says of malformed ones quotes them, so that is left out.
func readError(stage string, err error) error {
	var op *net.OpError
	switch {
	case isTimeout(err), errors.As(err, &op):
		return fail(stage, err)
	case strings.Contains(err.Error(), "EOF"):
		return fail(stage, errors.New("the connection was closed too early"))
	}
	return fail(stage, errors.New("not HTTP"))
}

// roundTripError is for what transports of net/http say.
func roundTripError(err error) error {
	err = readError("response", err)
	if strings.HasSuffix(err.Error(), "not HTTP") {
		return fail("response", errors.New("the server breaks the protocol"))
	}
	return err
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.As(err, &timeout) && timeout.Timeout()
}

const reasonLimit = 200

// clip makes text fit one short printable line.
func clip(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "…"
}
