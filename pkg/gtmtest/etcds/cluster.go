package etcds

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/gti/gtm/pkg/gtmtest"
	"github.com/gti/gtm/pkg/store/embedded"
)

// memberWord, as a program's first argument, has it be a member of a cluster; the next ones are its name, and all members.
const memberWord = "etcd-member"

// runMember is a member as the embedded etcd is, but for its peers.
func runMember(name, cluster, dir string) error {
	tuning := embedded.Tuning{Every: time.Hour, Etcd: func(cfg *embed.Config) {
		cfg.Name, cfg.InitialCluster, cfg.TickMs, cfg.ElectionMs = name, cluster, 20, 200
		cfg.UnsafeNoFsync = true // processes are killed, and no machine loses its power
		for one := range strings.SplitSeq(cluster, ",") {
			if is, at, _ := strings.Cut(one, "="); is == name {
				u, err := url.Parse(at)
				if err != nil {
					panic(err)
				}
				cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{*u}, []url.URL{*u}
			}
		}
	}}
	return embedded.RunTuned(context.Background(), dir, tuning)
}

// Cluster is an etcd of three members, each a process, which can be killed.
type Cluster struct {
	t       testing.TB
	members []*member
}

type member struct {
	name, dir string
	all       string
	process   *exec.Cmd
	stdin     io.Closer
	ready     chan struct{}
}

// StartCluster starts one that ends with the test.
func StartCluster(t testing.TB) *Cluster {
	t.Helper()
	c := &Cluster{t: t}
	var peers []string
	for i := range 3 {
		dir, err := os.MkdirTemp("", "gtm-etcd") // that of t.TempDir is too long for a socket
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		name := fmt.Sprint("m", i+1)
		peers = append(peers, name+"=http://"+gtmtest.FreePort(t).String())
		c.members = append(c.members, &member{name: name, dir: dir})
	}
	for _, m := range c.members {
		m.all = strings.Join(peers, ",")
		c.start(m)
	}
	t.Cleanup(func() {
		for _, m := range c.members {
			c.kill(m)
		}
	})
	c.wait()
	return c
}

func (c *Cluster) start(m *member) {
	c.t.Helper()
	self, err := os.Executable()
	if err != nil {
		c.t.Fatal(err)
	}
	m.process = exec.Command(self, memberWord, m.name, m.all, m.dir)
	stdout, err := m.process.StdoutPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if m.stdin, err = m.process.StdinPipe(); err != nil { // it ends when this program does
		c.t.Fatal(err)
	}
	if err := m.process.Start(); err != nil {
		c.t.Fatal(err)
	}
	m.ready = make(chan struct{})
	go func() {
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			close(m.ready) // it says one thing
			break
		}
		_, _ = io.Copy(io.Discard, stdout)
	}()
}

func (c *Cluster) wait() {
	c.t.Helper()
	for _, m := range c.members {
		select {
		case <-m.ready:
		case <-time.After(gtmtest.Patience):
			c.t.Fatalf("member %s does not come up", m.name)
		}
	}
}

func (c *Cluster) kill(m *member) {
	if m.process == nil {
		return
	}
	_ = m.process.Process.Kill()
	_ = m.stdin.Close()
	_ = m.process.Wait()
	m.process = nil
}

func (m *member) endpoint() string { return "unix://" + filepath.Join(m.dir, "etcd.sock") }

// Endpoints are those of all members.
func (c *Cluster) Endpoints() (all []string) {
	for _, m := range c.members {
		all = append(all, m.endpoint())
	}
	return all
}

// LoseLeader kills the member that leads, and gives what starts it again.
func (c *Cluster) LoseLeader() (again func()) {
	c.t.Helper()
	var leader *member
	gtmtest.Eventually(c.t, "a member leads", func() error {
		for _, m := range c.members {
			if leads(m) {
				leader = m
				return nil
			}
		}
		return fmt.Errorf("none does")
	})
	c.kill(leader)
	return func() {
		c.t.Helper()
		c.start(leader)
		c.wait()
	}
}

func leads(m *member) bool {
	if m.process == nil {
		return false
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{m.endpoint()}, DialTimeout: time.Second, Logger: zap.NewNop()})
	if err != nil {
		return false
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	status, err := client.Status(ctx, m.endpoint())
	return err == nil && status.Leader == status.Header.MemberId
}
