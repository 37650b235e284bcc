//go:build interop

package differential

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/answer"
	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/gtmtest"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table"
	"github.com/gti/gtm/pkg/table/compile"
	"github.com/gti/gtm/pkg/zone"
)

// local is gtm without its sockets.
type local struct {
	a    *answer.Answerer
	view atomic.Pointer[table.View]
	// refused holds what gtm says of zones that it does not load.
	refused map[string]string
}

func newLocal(t testing.TB, zones []*masterFile) *local {
	t.Helper()
	atlas, err := geo.Open()
	if err != nil {
		t.Fatal(err)
	}
	s := &local{refused: map[string]string{}}
	change := compile.TenantChange{Tenant: spec.Platform, Head: 1}
	for _, z := range zones {
		text, _, err := zone.Canonical(z.origin, z.origin, z.text, zone.Defaults{})
		if err != nil {
			s.refused[z.origin] = err.Error()
			continue
		}
		change.Put = append(change.Put, compile.Item{Generation: 1, Resource: &spec.Resource{
			Key: spec.Key{Tenant: spec.Platform, Kind: spec.KindZone, Name: z.origin}, Spec: &spec.Zone{Content: text}}})
	}
	compiler := compile.New(compile.Config{Seed: 1, Workers: 1}, atlas)
	compiler.Apply(compile.Change{Tenants: []compile.TenantChange{change}})
	view, broken, _ := compiler.Compile(time.Unix(1_800_000_000, 0))
	for _, b := range broken {
		s.refused[b.Key.Name] = b.Err.Error()
	}
	s.view.Store(view)
	s.a = answer.New(answer.Config{View: &s.view, ID: "gtm", Seed: 1})
	return s
}

// ask answers packed queries in order, nil where it stays silent.
func (s *local) ask(queries [][]byte) [][]byte {
	replies := make([][]byte, len(queries))
	buf := make([]byte, 65535)
	meta := answer.Meta{Source: netip.MustParseAddrPort("127.0.0.1:4444"), Stream: true}
	for i, q := range queries {
		if out := s.a.Answer(buf, copy(buf, q), &meta); out.Size > 0 {
			replies[i] = append([]byte(nil), buf[:out.Size]...)
		}
	}
	return replies
}

// remote is a server asked over TCP.
type remote struct {
	name, addr string
	log        func() string
}

// window is how many queries are under way on a connection.
const window = 400

// ask asks packed queries, and gives the replies in their order, nil where there was none.
func (s *remote) ask(queries [][]byte) ([][]byte, error) {
	replies := make([][]byte, len(queries))
	var conn net.Conn
	defer func() {
		if conn != nil {
			conn.Close()
		}
	}()
	for from := 0; from < len(queries); from += window {
		if conn == nil {
			var err error
			if conn, err = net.DialTimeout("tcp", s.addr, 5*time.Second); err != nil {
				return nil, fmt.Errorf("%s: %w", s.name, err)
			}
		}
		to := min(from+window, len(queries))
		if !exchange(conn, queries[from:to], replies[from:to]) {
			conn.Close()
			conn = nil
		}
	}
	return replies, nil
}

// exchange asks queries at once, and reports whether all were answered. Replies are told apart by their place in the batch, which is their
// ID.
func exchange(conn net.Conn, queries, replies [][]byte) bool {
	var out []byte
	for i, q := range queries {
		out = binary.BigEndian.AppendUint16(out, uint16(len(q)))
		at := len(out)
		out = append(out, q...)
		binary.BigEndian.PutUint16(out[at:], uint16(i))
	}
	conn.SetDeadline(time.Now().Add(3 * time.Second))
	if _, err := conn.Write(out); err != nil {
		return false
	}
	for range queries {
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return false
		}
		reply := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(conn, reply); err != nil || len(reply) < 12 {
			return false
		}
		if id := int(binary.BigEndian.Uint16(reply)); id < len(replies) {
			replies[id] = reply
		}
	}
	return true
}

// writeZones writes each zone into a file of its own, and gives the files' names.
func writeZones(t testing.TB, dir string, zones []*masterFile) []string {
	t.Helper()
	files := make([]string, len(zones))
	for i, z := range zones {
		files[i] = filepath.Join(dir, fmt.Sprintf("%d.zone", i))
		writeFile(t, files[i], z.text)
	}
	return files
}

func writeFile(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func startKnot(t testing.TB, zones []*masterFile) *remote {
	dir, port := t.TempDir(), int(gtmtest.FreePort(t).Port())
	var b strings.Builder
	fmt.Fprintf(&b, "server:\n  rundir: %s\n  listen: 127.0.0.1@%d\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 2\n  "+
		"automatic-acl: off\n", dir, port)
	fmt.Fprintf(&b, "log:\n  - target: stderr\n    any: warning\ndatabase:\n  storage: %s\n", dir)
	b.WriteString("template:\n  - id: default\n    zonefile-sync: -1\n    zonefile-load: whole\n    journal-content: none\nzone:\n")
	for i, file := range writeZones(t, dir, zones) {
		fmt.Fprintf(&b, "  - domain: \"%s\"\n    file: %s\n", inConfig(zones[i].origin), file)
	}
	conf := filepath.Join(dir, "knot.conf")
	writeFile(t, conf, b.String())
	return start(t, "knotd", port, dir, "knotd", "-c", conf)
}

func startNSD(t testing.TB, zones []*masterFile) *remote {
	dir, port := t.TempDir(), int(gtmtest.FreePort(t).Port())
	var b strings.Builder
	fmt.Fprintf(&b, "server:\n  server-count: 1\n  ip-address: 127.0.0.1@%d\n  port: %d\n  username: \"\"\n  chroot: \"\"\n  zonesdir: "+
		"%q\n  database: \"\"\n", port, port, dir)
	fmt.Fprintf(&b, "  pidfile: %q\n  xfrdfile: %q\n  zonelistfile: %q\n  xfrdir: %q\n", dir+"/pid", dir+"/xfrd", dir+"/zones", dir)
	b.WriteString("  minimal-responses: yes\n  tcp-count: 50\n  tcp-timeout: 120\n  rrl-ratelimit: 0\n  cookie-secret-file: \"\"\n" +
		"remote-control:\n  control-enable: no\n")
	for i, file := range writeZones(t, dir, zones) {
		fmt.Fprintf(&b, "zone:\n  name: \"%s\"\n  zonefile: %q\n", inConfig(zones[i].origin), file)
	}
	conf := filepath.Join(dir, "nsd.conf")
	writeFile(t, conf, b.String())
	return start(t, "nsd", port, dir, "nsd", "-d", "-c", conf)
}

// inConfig writes a name so that no byte of it means anything to who reads a configuration: between quotes, neither server takes \ for more
// than names do.
func inConfig(name string) string {
	var wire [256]byte
	if _, err := dns.PackDomainName(name, wire[:], 0, nil, false); err != nil {
		return name
	}
	var b strings.Builder
	for at := 0; wire[at] != 0; at += 1 + int(wire[at]) {
		for _, c := range wire[at+1:][:wire[at]] {
			if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '*' {
				b.WriteByte(c)
			} else {
				fmt.Fprintf(&b, `\%03d`, c)
			}
		}
		b.WriteByte('.')
	}
	return b.String()
}

// start runs a server in the foreground until the test ends, and waits until it answers. NSD, whose processes wait for each other
// at the start, now and then gives up then on a machine with much else to do: a server that ends is started again.
func start(t testing.TB, name string, port int, dir string, command ...string) *remote {
	t.Helper()
	log := filepath.Join(dir, "log")
	s := &remote{name: name, addr: fmt.Sprintf("127.0.0.1:%d", port),
		log: func() string { text, _ := os.ReadFile(log); return string(text) }}
	for range 3 {
		ended := run(t, log, command)
		if s.answers(ended) {
			return s
		}
		select {
		case <-ended:
		default:
			t.Fatalf("%s runs, but does not answer:\n%s", name, s.log())
		}
	}
	t.Fatalf("%s ends at its start:\n%s", name, s.log())
	return nil
}

// run starts a command, which is interrupted when the test ends. ended is closed when it has ended.
func run(t testing.TB, log string, command []string) (ended chan struct{}) {
	t.Helper()
	out, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	ctx, stop := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		stop()
		t.Fatal(err)
	}
	ended = make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() { stop(); <-ended })
	return ended
}

// answers waits until the server answers, has ended, or should long have answered.
func (s *remote) answers(ended chan struct{}) bool {
	probe := new(dns.Msg)
	probe.SetQuestion("ready.invalid.", dns.TypeSOA)
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		if _, _, err := (&dns.Client{Net: "tcp", Timeout: time.Second}).Exchange(probe, s.addr); err == nil {
			return true
		}
		select {
		case <-ended:
			return false
		case <-time.After(50 * time.Millisecond):
		}
	}
	return false
}
