//go:build interop

package interop

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/control/api"
)

// manyServices is how many names the tests of the snapshot serve.
const manyServices = 3000

// manyHosts writes their configuration; the pool of all has the address, and each service differs with it, too.
func manyHosts(t *testing.T, address string) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("kind: Zone\ntenant: platform\nname: gtm.example.\nspec:\n  content: |\n" +
		"    @ 3600 IN SOA ns1 hostmaster 0 7200 1800 1209600 60\n    @ 3600 IN NS ns1\n    ns1 3600 IN A 192.0.2.53\n" +
		"  grants: {shop: [shop.gtm.example.]}\n")
	fmt.Fprintf(&b, "---\nkind: Pool\ntenant: shop\nname: p\nspec: {endpoints: [{name: a, addresses: [%s]}]}\n", address)
	for i := range manyServices {
		fmt.Fprintf(&b, "---\nkind: Service\ntenant: shop\nname: s%d\n"+
			"spec: {host: s%d.shop.gtm.example., rules: [{name: at-%s, pools: [p]}]}\n", i, i, strings.ReplaceAll(address, ".", "-"))
	}
	return writeFile(t, t.TempDir(), "many.yaml", b.String())
}

// inNamespace starts the edge anew in a mount namespace of its own, on the ports of before. script prepares that, with $D the data folder.
func (d *daemon) inNamespace(t *testing.T, script string, args ...string) {
	t.Helper()
	all := append([]string{"-m", "sh", "-ec", script + "\nexec \"$@\"", "sh", filepath.Join(bin, "gtmd"),
		"--data", d.data, "--dns", d.dns.String(), "--http", strings.TrimPrefix(d.http, "http://")}, args...)
	cmd := exec.Command("unshare", all...)
	cmd.Env = append(os.Environ(), "D="+d.data)
	d.process = startProcess(t, cmd)
}

// alone are the flags of an edge whose etcd is away.
var alone = []string{"--roles", "edge", "--id", "edge-1", "--etcd", "http://127.0.0.1:1"}

// savedEdge leaves an edge that has a snapshot of all hosts, and has ended. hub is the gtmd that it followed.
func savedEdge(t *testing.T) (hub, edge *daemon, etcd string) {
	t.Helper()
	hub = startGtmd(t, t.TempDir(), "--roles", "control", "--apply", manyHosts(t, "198.51.100.1"))
	etcd = "unix://" + filepath.Join(hub.data, "etcd", "etcd.sock")
	edge = startGtmd(t, t.TempDir(), "--roles", "edge", "--id", "edge-1", "--etcd", etcd)
	edge.comesToAnswer(t, "198.51.100.1")
	eventually(t, startTimeout, "the snapshot is written", func() error {
		if s := edge.status(t).Snapshot; s == nil || s.Written == nil {
			return fmt.Errorf("it is %+v", s)
		}
		return nil
	})
	if err := edge.stop(); err != nil {
		t.Fatal(err)
	}
	return hub, edge, etcd
}

func (d *daemon) status(t *testing.T) (s api.EdgeStatus) {
	t.Helper()
	code, body, err := get(d.http + "/edge/status")
	if err == nil {
		err = json.Unmarshal(body, &s)
	}
	if err != nil || code != http.StatusOK {
		t.Fatalf("status: %d, %v", code, err)
	}
	return s
}

func (d *daemon) comesToAnswer(t *testing.T, address string) {
	t.Helper()
	eventually(t, startTimeout, "the edge answers "+address, func() error {
		r, _, err := new(dns.Client).Exchange(new(dns.Msg).SetQuestion("s7.shop.gtm.example.", dns.TypeA), d.dns.String())
		if err != nil {
			return err
		}
		if len(r.Answer) != 1 || r.Answer[0].(*dns.A).A.String() != address {
			return fmt.Errorf("%s %v", dns.RcodeToString[r.Rcode], r.Answer)
		}
		return nil
	})
}

// outcomes counts what became of queries.
type outcomes struct {
	good, servfail, refused, silent, wrong atomic.Int64

	first sync.Once
	said  string // what the first wrong one was
}

func (o *outcomes) isWrong(reply *dns.Msg, err error) {
	o.wrong.Add(1)
	o.first.Do(func() { o.said = fmt.Sprintf("%v %v", err, reply) })
}

// flood asks for names of all hosts, one after the other, until stop is closed.
func (o *outcomes) flood(at string, stop <-chan struct{}) {
	c := &dns.Client{Timeout: 300 * time.Millisecond}
	for {
		select {
		case <-stop:
			return
		default:
		}
		name := fmt.Sprintf("s%d.shop.gtm.example.", rand.IntN(manyServices))
		r, _, err := c.Exchange(new(dns.Msg).SetQuestion(name, dns.TypeA), at)
		var late net.Error
		switch {
		case errors.Is(err, syscall.ECONNREFUSED):
			o.refused.Add(1)
			time.Sleep(200 * time.Microsecond)
		case errors.As(err, &late):
			o.silent.Add(1)
		case err != nil:
			o.isWrong(r, err)
		case r.Rcode == dns.RcodeServerFailure:
			o.servfail.Add(1)
		case r.Rcode != dns.RcodeSuccess || len(r.Answer) != 1:
			o.isWrong(r, nil)
		default:
			o.good.Add(1)
		}
	}
}

// TestARestartHasNoServfail: sockets that were open before the snapshot was read answered SERVFAIL 23 to 262 times at each start. Now a
// resolver hears at once that nobody is there, or gets the answer.
func TestARestartHasNoServfail(t *testing.T) {
	hub, edge, _ := savedEdge(t)
	hub.kill() // from the snapshot alone
	var o outcomes
	stop := make(chan struct{})
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() { o.flood(edge.dns.String(), stop) })
	}
	for range 5 {
		edge.inNamespace(t, "", alone...)
		edge.waitReady(t)
		before := o.good.Load()
		eventually(t, startTimeout, "some queries are answered", func() error {
			if n := o.good.Load() - before; n < 100 {
				return fmt.Errorf("%d are", n)
			}
			return nil
		})
		if s := edge.status(t); s.Source.State != "snapshot" {
			t.Errorf("it answers from %+v", s.Source)
		}
		if err := edge.stop(); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	asking.Wait()
	t.Logf("in 5 restarts: %d answers, %d SERVFAIL, %d refused by the system, %d without any answer, %d wrong",
		o.good.Load(), o.servfail.Load(), o.refused.Load(), o.silent.Load(), o.wrong.Load())
	if o.servfail.Load() > 0 || o.wrong.Load() > 0 {
		t.Errorf("there were SERVFAILs or wrong answers, the first wrong one: %s", o.said)
	}
	if o.refused.Load() == 0 {
		t.Error("the edge was never away: nothing was shown")
	}
}

// needRoot fails where mounts cannot be made: a test that skips shows nothing.
func needRoot(t *testing.T) {
	t.Helper()
	if out, err := exec.Command("unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt").CombinedOutput(); err != nil {
		t.Fatalf("this needs the right to mount; run it as root: %v %s", err, out)
	}
}

// TestReadOnlyDataFolder: an edge serves the snapshot of a folder that cannot be written, and follows the store.
func TestReadOnlyDataFolder(t *testing.T) {
	needRoot(t)
	hub, edge, etcd := savedEdge(t)
	secrets := filepath.Join(edge.data, "edge", "cookie-secrets")
	old := time.Now().Add(-48 * time.Hour) // to be rolled over, which cannot be done
	if err := os.Chtimes(secrets, old, old); err != nil {
		t.Fatal(err)
	}
	const readOnly = `mount --bind "$D" "$D"; mount -o remount,ro,bind "$D"`
	edge.inNamespace(t, readOnly, alone...)
	edge.waitReady(t)
	edge.comesToAnswer(t, "198.51.100.1")
	if s := edge.status(t); s.Source.State != "snapshot" || s.Snapshot == nil ||
		!strings.Contains(s.Snapshot.Error, "read-only file system") {
		t.Errorf("status tells of %+v and %+v", s.Source, s.Snapshot)
	}
	if ok := metric(t, edge, "gtm_edge_snapshot_ok_info"); ok != 0 {
		t.Error("the metric says that all is well")
	}
	if err := edge.stop(); err != nil {
		t.Error(err)
	}

	edge.inNamespace(t, readOnly, "--roles", "edge", "--id", "edge-1", "--etcd", etcd)
	edge.waitReady(t)
	gtmctl(t, hub, "apply", "-f", manyHosts(t, "198.51.100.2"))
	edge.comesToAnswer(t, "198.51.100.2")
	for _, line := range []string{"what is intact of it is served", "cookie secret cannot be rolled over"} {
		if !strings.Contains(edge.log.String(), line) {
			t.Errorf("its log lacks %q", line)
		}
	}
	if err := edge.stop(); err != nil {
		t.Error(err)
	}

	// A folder in which there is nothing at all, not even its own part.
	bare := &daemon{dns: edge.dns, http: edge.http, data: t.TempDir()}
	bare.inNamespace(t, readOnly, "--roles", "edge", "--id", "edge-1", "--etcd", etcd)
	bare.waitReady(t)
	bare.comesToAnswer(t, "198.51.100.2")
	if err := bare.stop(); err != nil {
		t.Error(err)
	}
	if files, err := os.ReadDir(bare.data); err != nil || len(files) > 0 {
		t.Errorf("written was %v, %v", files, err)
	}
}

// TestFullDiskThatGetsRoom: the copy on disk is written again by itself, and a start on a full disk serves from it.
func TestFullDiskThatGetsRoom(t *testing.T) {
	needRoot(t)
	hub, edge, etcd := savedEdge(t)
	const small = `cp -r "$D/edge/snapshot" "$D/kept"
mount -t tmpfs -o size=4m tmpfs "$D/edge/snapshot"
cp "$D"/kept/* "$D/edge/snapshot/"
dd if=/dev/zero of="$D/edge/snapshot/filler" bs=1k count=100000 2>/dev/null || true`
	edge.inNamespace(t, small, "--roles", "edge", "--id", "edge-1", "--etcd", etcd)
	edge.waitReady(t)
	edge.comesToAnswer(t, "198.51.100.1")
	gtmctl(t, hub, "apply", "-f", manyHosts(t, "198.51.100.2"))
	edge.comesToAnswer(t, "198.51.100.2")
	eventually(t, startTimeout, "status tells that the disk is full", func() error {
		if s := edge.status(t).Snapshot; s == nil || !strings.Contains(s.Error, "the disk is full") {
			return fmt.Errorf("it tells of %+v", s)
		}
		return nil
	})
	inside := filepath.Join("/proc", fmt.Sprint(edge.cmd.Process.Pid), "root", edge.data, "edge", "snapshot")
	if err := os.Remove(filepath.Join(inside, "filler")); err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*time.Minute, "the copy is written again", func() error { // nothing changes in the store
		if s := edge.status(t).Snapshot; s.Error != "" {
			return errors.New(s.Error)
		}
		return nil
	})
	kept := filepath.Join(t.TempDir(), "edge", "snapshot")
	if err := os.CopyFS(kept, os.DirFS(inside)); err != nil {
		t.Fatal(err)
	}
	if err := edge.stop(); err != nil {
		t.Error(err)
	}
	again := &daemon{dns: edge.dns, http: edge.http, data: filepath.Dir(filepath.Dir(kept))}
	again.inNamespace(t, "", alone...)
	again.waitReady(t)
	again.comesToAnswer(t, "198.51.100.2")
}
