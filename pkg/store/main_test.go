package store

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/gti/gtm/pkg/store/embedded"
	"github.com/gti/gtm/pkg/store/link"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/store/storetest"
)

// shared is the etcd of the tests that need not harm it; each has a prefix of its own.
var shared struct {
	once  sync.Once
	child *embedded.Child
	err   error
	dir   string
}

// TestMain is also the program that a Child runs.
func TestMain(m *testing.M) {
	if tuning, ok := tunings[os.Args[min(1, len(os.Args)-1)]]; ok && len(os.Args) == 3 {
		if err := embedded.RunTuned(context.Background(), os.Args[2], tuning); err != nil {
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
	flag.Parse()
	if err := flag.Set("test.parallel", "6"); err != nil { // they wait, and seldom compute
		panic(err)
	}
	code := m.Run()
	if shared.child != nil {
		shared.child.Stop()
		os.RemoveAll(shared.dir)
	}
	os.Exit(code)
}

const smallQuota = 24 << 20

// tunings are the etcds of tests, by the word that starts them.
var tunings = map[string]embedded.Tuning{
	"etcd": {Etcd: makeFast},
	"etcd-with-defaults": {Etcd: func(cfg *embed.Config) {
		makeFast(cfg)
		cfg.MaxTxnOps, cfg.MaxRequestBytes = embed.DefaultMaxTxnOps, embed.DefaultMaxRequestBytes
	}},
	"etcd-small":      {Etcd: makeSmall, Every: time.Hour}, // and nobody looks after it
	"etcd-small-kept": {Etcd: makeSmall, Every: 20 * time.Millisecond, Keep: 5},
}

// makeFast has an etcd not wait for the disk: no test cuts the power.
func makeFast(cfg *embed.Config) { cfg.UnsafeNoFsync = true }

func makeSmall(cfg *embed.Config) {
	makeFast(cfg)
	cfg.QuotaBackendBytes = smallQuota
}

func startTestChild(t testing.TB, dir string) *embedded.Child { return startTweaked(t, dir, "etcd") }

func startTweaked(t testing.TB, dir, word string) *embedded.Child {
	t.Helper()
	log, _ := storetest.Logger(t)
	c, err := embedded.Start(storetest.Context(t), embedded.Config{Dir: dir, Args: []string{word}, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Stop() })
	return c
}

// testPatience makes tests fast.
var testPatience = link.Patience{
	Attempt: 2 * time.Second, Call: 5 * time.Second, Commit: 30 * time.Second,
	Progress: 50 * time.Millisecond, Stall: 500 * time.Millisecond,
	RetryMin: 20 * time.Millisecond, RetryMax: 200 * time.Millisecond,
	Known: 100 * time.Millisecond,
	Check: 50 * time.Millisecond,
	Space: 50 * time.Millisecond,
}

func openTest(t testing.TB, cfg Config) *Client {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger, _ = storetest.Logger(t)
	}
	c, err := Open(storetest.Context(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	c.link.Wait, c.judgeTTL = testPatience, 2*time.Second
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
		shared.child, shared.err = embedded.Start(storetest.Context(t),
			embedded.Config{Dir: filepath.Join(shared.dir, "etcd"), Args: []string{"etcd"}})
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.child.Endpoint()
}

func mustCommit(t testing.TB, c *Client, ch Change) state.Record {
	t.Helper()
	ch.Time = storetest.Time
	rec, err := c.Commit(storetest.Context(t), ch)
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
	timeout := time.After(storetest.Within)
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

func removeAll(dir string) error { return os.RemoveAll(dir) }
