package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gti/gtm/pkg/private"
	"github.com/gti/gtm/pkg/probe/checks"
	"github.com/gti/gtm/pkg/spec"
)

// Bounds of one post.
const (
	postTime   = 15 * time.Second
	headerTime = 10 * time.Second
	mostReply  = 16 << 10 // bytes that are read of a reply, so that its connection can be used again
	mostSecret = 8 << 10
)

// poster makes requests. Proxies of the environment are not used: they would connect where the guard forbids it.
type poster struct{ client *http.Client }

// newPoster makes one that goes wherever a guard lets checks of tenants go; cfg nil: anywhere.
func newPoster(cfg *Config) *poster {
	dialer := &net.Dialer{Timeout: headerTime, KeepAlive: 30 * time.Second}
	if cfg != nil {
		local := cfg.Local
		if local == nil {
			local = checks.Machine()
		}
		guard := &checks.Guard{Allow: cfg.Networks, Own: cfg.OwnPorts, Local: local}
		dialer.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
			to, err := netip.ParseAddrPort(address)
			if err == nil {
				err = guard.Permit(to, nil)
			}
			if err != nil {
				return &forbidden{err}
			}
			return nil
		}
	}
	transport := &http.Transport{DialContext: dialer.DialContext, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2: true, TLSHandshakeTimeout: headerTime, ResponseHeaderTimeout: headerTime, MaxIdleConns: 256,
		MaxIdleConnsPerHost: 2, IdleConnTimeout: 30 * time.Second, DisableCompression: true, MaxResponseHeaderBytes: 64 << 10}
	return &poster{&http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}}
}

// forbidden is the error of a connect that the guard does not permit. The log tells what; the tenant hears that it was.
type forbidden struct{ why error }

func (f *forbidden) Error() string { return f.why.Error() }
func (f *forbidden) Unwrap() error { return f.why }

// answered is a reply other than success.
type answered struct {
	code  int
	after time.Duration
}

func (a *answered) Error() string {
	if a.code >= 300 && a.code < 400 {
		return fmt.Sprintf("status %d: redirects are not followed; declare where it leads", a.code)
	}
	return fmt.Sprintf("status %d", a.code)
}

// isRefusal reports whether a target says that the message itself is wrong: trying again will not help.
func isRefusal(err error) bool {
	var a *answered
	if !errors.As(err, &a) {
		return false
	}
	switch a.code {
	case http.StatusBadRequest, http.StatusGone, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return true
	}
	return false
}

// retryAfter is what a target asked for; 0: nothing.
func retryAfter(err error) time.Duration {
	var a *answered
	if errors.As(err, &a) {
		return a.after
	}
	return 0
}

// told is an error without what tenants may not hear: addresses behind names, and URLs, which can be secrets.
func told(err error) string {
	var no *forbidden
	var dns *net.DNSError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &no):
		return "refused: its address is not one that control goes to for tenants (gtmd --events-networks)"
	case errors.As(err, &dns):
		return "its name cannot be resolved"
	case errors.As(err, &certificate):
		return "its certificate cannot be verified"
	}
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() {
		return "it did not answer in time"
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Op + ": " + op.Err.Error()
	}
	var answer *unasked
	if errors.As(err, &answer) {
		return "it cannot be asked, or what it answers is not HTTP" // what is wrong may quote it
	}
	return err.Error()
}

// unasked is what went wrong between asking and the answer. It does not have the URL, which can be a secret.
type unasked struct{ error }

func (e *unasked) Unwrap() error { return e.error }

// do posts a message to a target of a tenant.
func (p *poster) do(ctx context.Context, t *spec.EventTarget, secrets, tenant string, m msg, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, postTime)
	defer cancel()
	value := func(h spec.Header) (string, error) {
		if h.File == "" {
			return h.Text, nil
		}
		return secret(secrets, tenant, h.File)
	}
	to, err := value(t.URL)
	if err != nil {
		return fmt.Errorf("url: %w", err)
	}
	if err := spec.CheckEventURL(to); err != nil { // a secret's is not checked before
		return fmt.Errorf("url %w", err)
	}
	if m.path != "" {
		to = strings.TrimSuffix(to, "/") + m.path
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(m.body))
	if err != nil {
		return errors.New("url: it cannot be asked")
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "gtm")
	for name, h := range t.Headers {
		text, err := value(h)
		if err != nil {
			return fmt.Errorf("header %s: %w", name, err)
		}
		r.Header.Set(name, text)
	}
	if m.id != "" {
		r.Header.Set("Webhook-Id", m.id)
		r.Header.Set("Webhook-Timestamp", strconv.FormatInt(now.Unix(), 10))
	}
	if t.Sign != "" {
		key, err := secret(secrets, tenant, t.Sign)
		if err != nil {
			return fmt.Errorf("sign: %w", err)
		}
		signature, err := sign(key, m.id, now, m.body)
		if err != nil {
			return fmt.Errorf("sign: %w", err)
		}
		r.Header.Set("Webhook-Signature", signature)
	}
	return p.ask(r)
}

func (p *poster) ask(r *http.Request) error {
	resp, err := p.client.Do(r)
	if err != nil {
		var of *url.Error
		if errors.As(err, &of) {
			err = of.Err
		}
		return &unasked{err}
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, mostReply)
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return nil
	}
	a := &answered{code: resp.StatusCode}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 {
		a.after = time.Duration(min(seconds, 3600)) * time.Second
	}
	return a
}

// secret reads one of a tenant. What it says of one that is not to be had names neither the folder nor what is in it.
func secret(dir, tenant, name string) (string, error) {
	if dir == "" {
		return "", errors.New("control has no secrets: it runs without gtmd --events-secrets")
	}
	text, err := private.ReadSecret(dir, tenant, name, mostSecret)
	if err != nil {
		return "", fmt.Errorf("the secret %s: %w", name, err)
	}
	odd := func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7F }
	if text == "" || len(text) > mostSecret || strings.ContainsFunc(text, odd) {
		return "", fmt.Errorf("the secret %s: it wants one line of at most 8 KiB", name)
	}
	return text, nil
}
