package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/control/api"
)

// partner is a resolver that knows the names of somebody else, who changes them.
type partner struct {
	t  *testing.T
	at string

	mu      sync.Mutex
	rcode   int
	records []string
}

func newPartner(t *testing.T) *partner {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &partner{t: t, at: pc.LocalAddr().String()}
	started := make(chan struct{})
	s := &dns.Server{PacketConn: pc, Handler: p, NotifyStartedFunc: func() { close(started) }}
	go func() { _ = s.ActivateAndServe() }()
	<-started
	t.Cleanup(func() { _ = s.Shutdown() })
	return p
}

// ServeDNS answers with the records of the name and type that is asked for.
func (p *partner) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg)
	m.SetReply(q)
	p.mu.Lock()
	m.Rcode = p.rcode
	for _, text := range p.records {
		rr, err := dns.NewRR(text)
		if err != nil {
			p.t.Error(err)
			continue
		}
		h, of := rr.Header(), q.Question[0]
		if m.Rcode == dns.RcodeSuccess && strings.EqualFold(h.Name, of.Name) && h.Rrtype == of.Qtype {
			m.Answer = append(m.Answer, rr)
		}
	}
	p.mu.Unlock()
	_ = w.WriteMsg(m)
}

func (p *partner) says(rcode int, records ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rcode, p.records = rcode, records
}

// poolStatus gives what the API tells of a pool.
func (d *daemon) poolStatus(token, pool string) (api.Pool, error) {
	var s api.Status
	if err := d.api(token, http.MethodGet, "/v1/status", nil, &s); err != nil {
		return api.Pool{}, err
	}
	at := slices.IndexFunc(s.Pools, func(p api.Pool) bool { return p.Pool == pool })
	if at < 0 {
		return api.Pool{}, errors.New("there is no such pool")
	}
	return s.Pools[at], nil
}

// api asks the API.
func (d *daemon) api(token, method, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(limited(d.t), method, d.web+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		var p api.Problem
		_ = json.NewDecoder(resp.Body).Decode(&p)
		return fmt.Errorf("%d: %s", resp.StatusCode, p.Detail)
	}
	return json.NewDecoder(resp.Body).Decode(out)
}

const discoverYAML = `kind: Zone
tenant: platform
name: gtm.example.
spec:
  content: |
    @ 3600 IN SOA ns1 hostmaster 0 7200 1800 1209600 60
    @ 3600 IN NS ns1
    ns1 3600 IN A 192.0.2.53
  grants: {shop: [shop.gtm.example.]}
---
kind: Monitor
tenant: shop
name: ok
spec: {type: http, port: PORT, interval: 1s, timeout: 1s, rise: 1, fall: 2}
---
kind: Pool
tenant: shop
name: named
spec:
  monitor: ok
  discover: [{name: partner, dns: edge.partner.example, interval: 5s}]
---
kind: Pool
tenant: shop
name: others
spec:
  endpoints: [{name: own, addresses: [192.0.2.9], weight: 0}]
  discover:
    - {name: fleet, file: fleet, interval: 5s}
    - {name: scaler, pushed: true, families: [ipv4, ipv6]}
    - {name: ingest, srv: _rtmp._tcp.partner.example, interval: 5s}
---
kind: Service
tenant: shop
name: named
spec: {host: named.shop.gtm.example., ttl: 5s, rules: [{pools: [named]}]}
---
kind: Service
tenant: shop
name: others
spec: {host: others.shop.gtm.example., pick: all, ttl: 5s, rules: [{pools: [others]}]}
`

// Endpoints come from names, files and pushes; what was good last answers on, and everything says so.
func TestEndpointsAreFound(t *testing.T) {
	t.Parallel()
	const named, others = "named.shop.gtm.example.", "others.shop.gtm.example."
	served := map[string]*http.Server{}
	port := 0
	for _, address := range []string{"127.0.2.31", "127.0.2.32"} {
		l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", address, port))
		if err != nil {
			t.Fatal(err)
		}
		port = l.Addr().(*net.TCPAddr).Port
		s := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
		served[address] = s
		go func() { _ = s.Serve(l) }()
		t.Cleanup(func() { _ = s.Close() })
	}
	dir, files, p := newDir(t), newDir(t), newPartner(t)
	p.says(dns.RcodeSuccess, "edge.partner.example. 5 A 127.0.2.31", "edge.partner.example. 5 A 10.1.2.3")
	config := filepath.Join(dir, "config.yaml")
	writeFile(t, config, strings.ReplaceAll(discoverYAML, "PORT", fmt.Sprint(port)))
	args := []string{"--resolver", p.at, "--discover-files", files, "--discover-networks", "127.0.2.0/24",
		"--probe-allow", "127.0.2.0/24"}
	d := start(t, dir, append([]string{"--apply", config}, args...)...)
	d.comesToAnswer(named, "127.0.2.31")
	token, err := os.ReadFile(filepath.Join(dir, "token"))
	if err != nil {
		t.Fatal(err)
	}
	status := func(pool string) (api.Pool, error) { return d.poolStatus(strings.TrimSpace(string(token)), pool) }
	d.eventually("it is told where it was found, and seen to be up", func() error {
		s, err := status("named")
		if err != nil || len(s.Endpoints) != 1 || len(s.Sources) != 1 || s.Endpoints[0].State != "up" {
			return fmt.Errorf("%+v: %w", s, err)
		}
		if e, f := s.Endpoints[0], s.Sources[0]; e.Name != "ip-127-0-2-31" || e.Source != "partner" ||
			f.Of != "dns edge.partner.example." || f.Endpoints != 1 || !f.Failed.IsZero() ||
			!strings.Contains(f.Notes, "refused 1 private") {
			t.Errorf("%+v", s)
		}
		return nil
	})

	// The name leads elsewhere: both are known for a while, and then the new one alone.
	p.says(dns.RcodeSuccess, "edge.partner.example. 5 A 127.0.2.32")
	d.eventually("both are known, and the old one is leaving", func() error {
		s, err := status("named")
		if err != nil || len(s.Endpoints) != 2 || s.Sources[0].Leaving != 1 {
			return fmt.Errorf("%+v: %w", s, err)
		}
		return nil
	})
	d.comesToAnswer(named, "127.0.2.32")
	d.eventually("the new one is seen to be up", func() error {
		if s, err := status("named"); err != nil || len(s.Endpoints) != 1 || s.Endpoints[0].State != "up" {
			return fmt.Errorf("%+v: %w", s, err)
		}
		return nil
	})

	// A file, a push and SRV records for the other pool.
	writeFolder := filepath.Join(files, "shop")
	if err := os.MkdirAll(writeFolder, 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(writeFolder, "new"), "- 192.0.2.21\n- {address: 192.0.2.22, weight: 3}\n")
	if err := os.Rename(filepath.Join(writeFolder, "new"), filepath.Join(writeFolder, "fleet")); err != nil {
		t.Fatal(err)
	}
	p.says(dns.RcodeServerFailure)
	var reply api.PushReply
	push := func(expires time.Time, addresses ...string) error {
		in := api.PushRequest{Expires: expires}
		for _, a := range addresses {
			in.Endpoints = append(in.Endpoints, api.FoundEndpoint{Address: a})
		}
		return d.api(strings.TrimSpace(string(token)), http.MethodPut, "/v1/endpoints/shop/others/scaler", in, &reply)
	}
	if err := push(time.Now().Add(12*time.Second), "192.0.2.23"); err != nil || len(reply.Sources) != 1 || reply.Sources[0].Endpoints != 1 {
		t.Fatalf("%v: %+v", err, reply)
	}
	if err := push(time.Time{}); err == nil || !strings.Contains(err.Error(), "empty: take") {
		t.Errorf("an empty list: %v", err)
	}
	if err := push(time.Time{}, "192.0.2.23", "192.0.2.23"); err == nil || !strings.Contains(err.Error(), "stands twice") {
		t.Errorf("twice: %v", err)
	}
	all := func(want string) func() error {
		return func() error {
			got := strings.Fields(d.ask(others, ""))
			slices.Sort(got)
			if text := strings.Join(got, " "); text != want {
				return errors.New(text)
			}
			return nil
		}
	}
	d.eventually("all of them answer", all("192.0.2.21 192.0.2.22 192.0.2.23 NOERROR"))
	d.eventually("what was pushed has expired", all("192.0.2.21 192.0.2.22 NOERROR"))

	// The resolver fails: what was good last answers on, over a restart too, and it is told.
	d.eventually("the failure is told", func() error {
		s, err := status("named")
		if err != nil || s.Sources[0].Failed.IsZero() || s.Sources[0].Good.IsZero() ||
			s.Sources[0].Error != "edge.partner.example. A: answered SERVFAIL" {
			return fmt.Errorf("%+v: %w", s.Sources, err)
		}
		return nil
	})
	d.answers(named, "127.0.2.32")
	if _, text := d.get("/metrics"); !strings.Contains(text, "\ngtm_control_sources_failing 3\n") { // SRV and what expired, too
		t.Error("the metrics do not tell of it")
	}
	d.interrupt()
	d = start(t, dir, args...)
	d.answers(named, "127.0.2.32")
	p.says(dns.RcodeSuccess, "edge.partner.example. 5 A 127.0.2.32", "_rtmp._tcp.partner.example. 5 SRV 5 0 1935 one.partner.example.",
		"_rtmp._tcp.partner.example. 5 SRV 9 0 1935 later.partner.example.", "one.partner.example. 5 A 192.0.2.24")
	d.eventually("SRV records lead there", all("192.0.2.21 192.0.2.22 192.0.2.24 NOERROR"))
	d.eventually("it is good again", func() error {
		if s, err := status("named"); err != nil || !s.Sources[0].Failed.IsZero() {
			return fmt.Errorf("%+v: %w", s.Sources, err)
		}
		return nil
	})
	_ = served["127.0.2.32"].Close()
	d.eventually("health goes on", func() error {
		if s, err := status("named"); err != nil || s.Up || s.Endpoints[0].State != "down" {
			return fmt.Errorf("%+v: %w", s, err)
		}
		return nil
	})
}
