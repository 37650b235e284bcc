// Package checks makes checks: each type of them is one file here, and one line of the table in table.go. Their fields are validated where
// all of a monitor is, in pkg/spec.
//
// Targets are chosen by tenants, so every connect is looked at by a Guard after resolution, redirects are not followed, and what is read
// of an answer has a bound.
package checks

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/gti/gtm/pkg/probe"
	"github.com/gti/gtm/pkg/probe/script"
	"github.com/gti/gtm/pkg/spec"
)

// Checker makes checks, each over connections of its own. The zero value works, with the default Guard. It is safe for
// concurrent use.
type Checker struct {
	Guard    Guard
	Resolver *net.Resolver  // nil: the system's
	Roots    *x509.CertPool // nil: the system's
	Secrets  string         // the folder of secrets; empty: there are none
	Clock    func() time.Time

	scripts script.Cache
}

// Check makes one check. It returns within c.Timeout, or when ctx ends. Result.ID is left empty.
func (k *Checker) Check(ctx context.Context, c probe.Check) probe.Result {
	start := k.now()
	limited, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	var r probe.Result
	if len(c.Addrs) == 0 {
		r = conclude(c, k.run(limited, c, net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port)))))
	} else {
		r = k.checkAll(limited, c)
	}
	if ctx.Err() != nil {
		r = probe.Result{Outcome: probe.Unable, Reason: "cancelled"}
	}
	r.At = k.now()
	r.Latency = r.At.Sub(start)
	return r
}

func (k *Checker) now() time.Time {
	if k.Clock == nil {
		return time.Now()
	}
	return k.Clock()
}

// checkAll checks every address at once, so that a dead one does not take the time of the next; of an endpoint that has more than one may
// have, which an older program allowed, so many at a time.
func (k *Checker) checkAll(ctx context.Context, c probe.Check) probe.Result {
	results := make([]probe.Result, len(c.Addrs))
	slots := make(chan struct{}, min(len(c.Addrs), spec.MaxAddresses))
	var wg sync.WaitGroup
	for i, addr := range c.Addrs {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			results[i] = conclude(c, k.run(ctx, c, addr.String()))
		})
	}
	wg.Wait()
	// A failure tells; else a pass tells; else nothing is known.
	for _, o := range []probe.Outcome{probe.Failed, probe.Passed, probe.Unable} {
		i := slices.IndexFunc(results, func(r probe.Result) bool { return r.Outcome == o })
		if i < 0 {
			continue
		}
		if len(results) > 1 && o != probe.Passed {
			results[i].Reason = c.Addrs[i].Addr().String() + ": " + results[i].Reason
		}
		return results[i]
	}
	return probe.Result{}
}

// run makes the check of one address, or of the host.
func (k *Checker) run(ctx context.Context, c probe.Check, address string) error {
	t, known := types[c.Type]
	if !known { // NewCheck makes none
		return unable{fmt.Errorf("there are no checks of type %s", c.Type)}
	}
	return t.run(ctx, &attempt{&c, k, address, k.now()})
}

// attempt is a check of one address, or of a host name.
type attempt struct {
	*probe.Check
	k       *Checker
	address string // with the port
	start   time.Time
}

// dial connects, where the guard permits it. The connection's time ends with ctx; done closes it.
func (a *attempt) dial(ctx context.Context, network string) (conn net.Conn, done func(), err error) {
	dialer := net.Dialer{ControlContext: a.k.Guard.control(a.Lent), Resolver: a.k.Resolver, KeepAlive: -1}
	conn, err = dialer.DialContext(ctx, network, a.address)
	if err != nil {
		return nil, nil, connectError(err)
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	return conn, func() { stop(); conn.Close() }, nil
}
