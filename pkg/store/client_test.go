package store

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/gti/gtm/pkg/store/snapshot"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/store/storetest"
)

func TestOpenRefusesBadEndpoints(t *testing.T) {
	for _, row := range []struct {
		endpoints []string
		tls       *tls.Config
		want      string
	}{
		{nil, nil, "no etcd endpoint is given"},
		{[]string{"etcd1:2379"}, nil, `has the scheme "etcd1"`},
		{[]string{"10.0.0.1:2379"}, nil, "is not a URL"},
		{[]string{"http://etcd1"}, nil, "needs a host and a port"},
		{[]string{"http://etcd1:2379/v3"}, nil, "no path"},
		{[]string{"ftp://etcd1:2379"}, nil, `has the scheme "ftp"`},
		{[]string{"http://etcd1:2379", "https://etcd2:2379"}, nil, "mix http and https"},
		{[]string{"http://etcd1:2379"}, &tls.Config{}, "use https://"},
	} {
		_, err := Open(storetest.Context(t), Config{Endpoints: row.endpoints, TLS: row.tls})
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%v: %v, want %q", row.endpoints, err, row.want)
		}
	}
	if _, err := Open(storetest.Context(t), Config{Endpoints: []string{"http://a:1"}, Prefix: "/gtm"}); err == nil {
		t.Error("a prefix without a slash was taken")
	}
}

func TestErrorsSayWhereAndWhatNext(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := closed.Addr().String()
	closed.Close()
	plain := newProxy(t, strings.TrimPrefix(sharedEndpoint(t), "unix://"))
	ca := httptest.NewUnstartedServer(nil)
	ca.EnableHTTP2 = true
	ca.StartTLS()
	t.Cleanup(ca.Close)
	silent := newProxy(t, strings.TrimPrefix(sharedEndpoint(t), "unix://"))
	silent.blackhole()
	for _, row := range []struct {
		name, endpoint string
		want           []string
	}{
		{"nobody there", "http://" + addr, []string{addr, "connection refused", "check that it runs and that --etcd names it"}},
		{"TLS to a plain one", "https://" + plain.addr, []string{plain.addr, "use http:// in --etcd"}},
		{"plain to a TLS one", "http://" + ca.Listener.Addr().String(), []string{ca.Listener.Addr().String(), "use https:// in --etcd"}},
		{"unknown certificate", "https://" + ca.Listener.Addr().String(), []string{ca.Listener.Addr().String(), "check the TLS files"}},
		{"silence", "http://" + silent.addr, []string{silent.addr, "no answer in time", "check that it runs"}},
		{"no socket", "unix:///nowhere/etcd.sock", []string{"/nowhere/etcd.sock", "no such file"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			c := openTest(t, Config{Endpoints: []string{row.endpoint}})
			wait := &c.link.Wait // handshakes take long on a busy machine
			wait.Attempt, wait.Call, wait.Commit = storetest.Within/2, storetest.Within/2, storetest.Within/2
			if row.name == "silence" {
				wait.Attempt, wait.Call, wait.Commit = 500*time.Millisecond, 500*time.Millisecond, time.Second
			}
			pinged := c.Ping(storetest.Context(t))
			_, committed := c.Commit(storetest.Context(t), Change{Tenant: "shop",
				Put: storetest.Resources(storetest.Site("shop", "a", "EU"))})
			for _, err := range []error{pinged, committed} {
				if err == nil {
					t.Fatal("no error")
				}
				for _, want := range row.want {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("%q lacks %q", err, want)
					}
				}
			}
			if !strings.Contains(committed.Error(), "nothing was written") {
				t.Errorf("%q does not say that nothing was written", committed)
			}
		})
	}
}

func TestTLS(t *testing.T) {
	ca := httptest.NewTLSServer(nil)
	defer ca.Close()
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: ca.TLS.Certificates, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	p := serveProxy(t, ln, strings.TrimPrefix(sharedEndpoint(t), "unix://"))
	roots := x509.NewCertPool()
	roots.AddCert(ca.Certificate())
	c := openTest(t, Config{Endpoints: []string{"https://" + p.addr + "/"}, TLS: &tls.Config{RootCAs: roots}, Prefix: freshPrefix()})
	f := follow(t, c, nil)
	mustCommit(t, c, Change{Tenant: "shop", Put: storetest.Resources(storetest.Site("shop", "a", "EU"))})
	f.untilHead("shop", 1)
}

func TestFollowingWaitsForAnEtcdThatComesLater(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := openTest(t, Config{Endpoints: []string{"unix://" + dir + "/etcd.sock"}})
	f := follow(t, c, nil)
	f.until("a reason", func() bool { return len(f.status) > 1 && f.status[1].Err != "" })
	startTestChild(t, dir)
	f.untilState(state.Current)
	f.until("connecting all the while", func() bool {
		return f.status[0].State == state.Connecting &&
			f.status[1].State == state.Connecting
	})
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	c := openTest(t, Config{Endpoints: []string{sharedEndpoint(t)}, Prefix: freshPrefix(), Registerer: reg})
	mustCommit(t, c, Change{Tenant: "shop", Put: storetest.Resources(storetest.Site("shop", "a", "EU"))})
	f := follow(t, c, nil)
	f.untilState(state.Current)
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	if got := testutil.ToFloat64(c.metrics.followState.WithLabelValues(state.Current)); got != 1 {
		t.Errorf("state current is %v", got)
	}
	if got := testutil.CollectAndCount(c.metrics.commits); got != 1 {
		t.Errorf("%d series of commits", got)
	}
	if got := testutil.ToFloat64(c.metrics.cursor); got < 1 {
		t.Errorf("cursor %v", got)
	}
	s, _, err := snapshot.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if problems, err := testutil.CollectAndLint(s); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}
