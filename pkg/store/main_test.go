package store

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// shared is the etcd of the tests that need not harm it; each has a prefix of its own.
var shared struct {
	once  sync.Once
	child *Child
	err   error
	dir   string
}

// TestMain is also the program that a Child runs.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "etcd" {
		if err := RunEmbedded(context.Background(), os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if len(os.Args) == 3 && tweaks[os.Args[1]] != nil {
		if err := runEmbedded(context.Background(), os.Args[2], os.Stdin, os.Stdout, tweaks[os.Args[1]]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if len(os.Args) == 3 && os.Args[1] == "parent" {
		runParent(os.Args[2])
	}
	if len(os.Args) == 3 && os.Args[1] == "failing" {
		fmt.Fprintln(os.Stderr, "disk on fire")
		os.Exit(3)
	}
	code := m.Run()
	if shared.child != nil {
		shared.child.Stop()
		os.RemoveAll(shared.dir)
	}
	os.Exit(code)
}

// within bounds what must happen; a test that runs into it fails, none waits for it otherwise.
const within = 30 * time.Second

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	t.Cleanup(cancel)
	return ctx
}

// testLog shows logs of a failing test.
type testLog struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *testLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *testLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func newTestLogger(t testing.TB) (*slog.Logger, *testLog) {
	l := &testLog{}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log:\n%s", l)
		}
	})
	return slog.New(slog.NewTextHandler(l, nil)), l
}

const smallQuota = 24 << 20

// tweaks are etcds that are set otherwise than the embedded one, by the word that starts them.
var tweaks = map[string]func(*embed.Config){
	"etcd-with-defaults": func(cfg *embed.Config) {
		cfg.MaxTxnOps, cfg.MaxRequestBytes = embed.DefaultMaxTxnOps, embed.DefaultMaxRequestBytes
	},
	"etcd-small": func(cfg *embed.Config) { // and nobody looks after it
		cfg.QuotaBackendBytes, embeddedRoom.every = smallQuota, time.Hour
	},
	"etcd-small-kept": func(cfg *embed.Config) {
		cfg.QuotaBackendBytes = smallQuota
		embeddedRoom = roomKeeping{every: 20 * time.Millisecond, keep: 5}
	},
}

func startTestChild(t testing.TB, dir string) *Child { return startTweaked(t, dir, "etcd") }

func startTweaked(t testing.TB, dir, word string) *Child {
	t.Helper()
	log, _ := newTestLogger(t)
	c, err := StartChild(testContext(t), ChildConfig{Dir: dir, Args: []string{word}, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Stop() })
	return c
}

// testPatience makes tests fast.
var testPatience = patience{
	attempt: 2 * time.Second, call: 5 * time.Second, commit: 30 * time.Second,
	progress: 50 * time.Millisecond, stall: 500 * time.Millisecond,
	retryMin: 20 * time.Millisecond, retryMax: 200 * time.Millisecond,
	judgeTTL: 2 * time.Second,
	known:    100 * time.Millisecond,
	look:     50 * time.Millisecond,
	space:    50 * time.Millisecond,
}

func openTest(t testing.TB, cfg Config) *Client {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger, _ = newTestLogger(t)
	}
	c, err := Open(testContext(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	c.wait = testPatience
	t.Cleanup(func() { c.Close() })
	return c
}

// testClient gives a client of the shared etcd, with a prefix that nobody else has.
func testClient(t testing.TB) *Client {
	t.Helper()
	return openTest(t, Config{Endpoints: []string{sharedEndpoint(t)}, Prefix: freshPrefix()})
}

// prefixes numbers the prefixes in the shared etcd.
var prefixes atomic.Int64

func freshPrefix() string { return fmt.Sprintf("/test-%d/", prefixes.Add(1)) }

func sharedEndpoint(t testing.TB) string {
	t.Helper()
	shared.once.Do(func() {
		if shared.dir, shared.err = os.MkdirTemp("", "gtm-store-*"); shared.err != nil {
			return
		}
		shared.child, shared.err = StartChild(testContext(t), ChildConfig{Dir: filepath.Join(shared.dir, "etcd"), Args: []string{"etcd"}})
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.child.Endpoint()
}

var testTime = time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)

func site(tenant, name, region string) *spec.Resource {
	return &spec.Resource{Key: spec.Key{Tenant: tenant, Kind: spec.KindSite, Name: name}, Spec: &spec.Site{Region: region}}
}

func zone(name, content string) *spec.Resource {
	return &spec.Resource{Key: spec.Key{Tenant: spec.Platform, Kind: spec.KindZone, Name: name}, Spec: &spec.Zone{Content: content}}
}

// zoneText makes canonical content of n names.
func zoneText(n int, changed map[int]string) string {
	var b strings.Builder
	b.WriteString("big.example.\t3600\tIN\tSOA\tns. host. 1 2 3 4 5\n")
	for i := range n {
		value := changed[i]
		if value == "" {
			value = fmt.Sprintf("10.%d.%d.%d", i>>16&255, i>>8&255, i&255)
		}
		fmt.Fprintf(&b, "host%07d.big.example.\t300\tIN\tA\t%s\n", i, value)
		fmt.Fprintf(&b, "host%07d.big.example.\t300\tIN\tTXT\t\"some text of host %d\"\n", i, i)
	}
	return b.String()
}

func mustCommit(t testing.TB, c *Client, ch Change) state.Record {
	t.Helper()
	ch.Time = testTime
	rec, err := c.Commit(testContext(t), ch)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// following runs Follow, mirrors it, and lets a test wait for what it says.
type following struct {
	t      testing.TB
	mirror *state.Mirror
	mu     sync.Mutex
	all    []state.Update
	status []state.FollowStatus
	news   chan struct{}
	stop   func()
}

// noDigest leaves the digests of versions and the IDs of generations out of comparisons.
var noDigest = cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Digest" || p.Last().String() == ".ID" }, cmp.Ignore())

func follow(t testing.TB, c *Client, from *state.Cursor) *following {
	t.Helper()
	return followFrom(t, c, from, nil)
}

// followFrom follows as a consumer that has a state already.
func followFrom(t testing.TB, c *Client, from *state.Cursor, has *state.Update) *following {
	f := &following{t: t, mirror: state.NewMirror(), news: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	if has != nil {
		f.mirror.Apply(*has)
	}
	go func() {
		defer close(done)
		_ = c.Follow(ctx, FollowConfig{From: from, Has: has, OnUpdate: func(u state.Update) error {
			f.mirror.Apply(u)
			f.note(func() { f.all = append(f.all, u) })
			return nil
		}, OnStatus: func(s state.FollowStatus) { f.note(func() { f.status = append(f.status, s) }) }})
	}()
	f.stop = func() { cancel(); <-done }
	t.Cleanup(f.stop)
	return f
}

func (f *following) note(fn func()) {
	f.mu.Lock()
	fn()
	f.mu.Unlock()
	select {
	case f.news <- struct{}{}:
	default:
	}
}

// until waits until cond, which sees what was told, holds.
func (f *following) until(what string, cond func() bool) {
	f.t.Helper()
	timeout := time.After(within)
	for {
		f.mu.Lock()
		ok := cond()
		status := f.status
		f.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-f.news:
		case <-timeout:
			f.t.Fatalf("waited in vain for: %s; states: %+v", what, status)
		}
	}
}

func (f *following) untilState(now string) state.FollowStatus {
	f.t.Helper()
	var s state.FollowStatus
	f.until("state "+now, func() bool {
		if len(f.status) > 0 {
			s = f.status[len(f.status)-1]
		}
		return s.State == now
	})
	return s
}

func (f *following) untilHead(tenant string, g state.Generation) {
	f.t.Helper()
	f.until(fmt.Sprintf("%s@%d", tenant, g), func() bool { return f.mirror.Tenant(tenant).Head >= g })
}

func (f *following) told() []state.Update {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]state.Update(nil), f.all...)
}

// proxy is a TCP door to a unix socket that can be made to swallow everything.
type proxy struct {
	addr string
	mu   sync.Mutex
	gate chan struct{} // nil: open
	shut bool          // closes everything at once
	in   map[net.Conn]bool
}

func newProxy(t testing.TB, socket string) *proxy {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveProxy(t, ln, socket)
}

func serveProxy(t testing.TB, ln net.Listener, socket string) *proxy {
	p := &proxy{addr: ln.Addr().String(), in: map[net.Conn]bool{}}
	t.Cleanup(func() { ln.Close(); p.open() })
	go func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			go p.serve(in, socket)
		}
	}()
	return p
}

func (p *proxy) serve(in net.Conn, socket string) {
	defer in.Close()
	p.mu.Lock()
	if p.shut {
		p.mu.Unlock()
		return
	}
	p.in[in] = true
	p.mu.Unlock()
	out, err := net.Dial("unix", socket)
	if err != nil {
		return
	}
	defer out.Close()
	go p.pump(out, in)
	p.pump(in, out)
}

func (p *proxy) pump(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		gate := p.gate
		p.mu.Unlock()
		if gate != nil {
			<-gate
		}
		if _, werr := to.Write(buf[:n]); werr != nil || err != nil {
			return
		}
	}
}

func (p *proxy) blackhole() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gate = make(chan struct{})
}

// close ends all connections, and takes no others until open.
func (p *proxy) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shut = true
	for in := range p.in {
		in.Close()
	}
	clear(p.in)
}

func (p *proxy) open() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shut = false
	if p.gate != nil {
		close(p.gate)
		p.gate = nil
	}
}

func copyDir(t testing.TB, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.Type()&os.ModeSocket != 0 {
			return err
		}
		rel, _ := filepath.Rel(from, path)
		target := filepath.Join(to, rel)
		if d.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		in, err := os.Open(path)
		if err != nil {
			return err
		}
		defer in.Close()
		out, err := os.OpenFile(target, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
		if err != nil {
			return err
		}
		defer out.Close()
		_, err = io.Copy(out, in)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func verdictOf(tenant, pool string, score float64) health.Verdict {
	return health.Verdict{Pool: health.PoolID{Tenant: tenant, Pool: pool},
		Endpoints: map[string]health.Finding{"a": {State: health.Up, Score: score, Since: testTime}}, Judge: "p1"}
}

func resources(rs ...*spec.Resource) []*spec.Resource { return rs }

func removeAll(dir string) error { return os.RemoveAll(dir) }
