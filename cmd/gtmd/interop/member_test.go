//go:build interop

package interop

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/gti/gtm/pkg/gtmtest"
)

// memberEnv, set to a member's description, makes this test binary an etcd member instead of tests: the very
// etcd that gtm embeds.
const memberEnv = "GTM_INTEROP_ETCD_MEMBER"

// A member of a cluster, as it is told to the process that is to be it.
type member struct {
	Name, Dir, Client, Peer string // Client and Peer are URLs
	PeerAt                  string // where it listens, if not at Peer
	Cluster                 string // name=peer,...
}

// A cluster is three etcd members, each a process of its own.
type cluster struct {
	members   []member
	processes []*process
	cut       *cutMembers // of startDivisibleCluster
}

// startCluster starts three members and waits until they serve.
func startCluster(t *testing.T) *cluster {
	t.Helper()
	return startClusterBy(t, func(*member) {})
}

// startClusterBy starts members that are as change makes them.
func startClusterBy(t *testing.T, change func(*member)) *cluster {
	t.Helper()
	c := &cluster{}
	dir := t.TempDir()
	var peers []string
	for i := range 3 {
		m := member{Name: fmt.Sprintf("m%d", i+1), Client: "http://" + gtmtest.FreePort(t).String(), Peer: "http://" +
			gtmtest.FreePort(t).String()}
		m.Dir = filepath.Join(dir, m.Name)
		change(&m)
		peers = append(peers, m.Name+"="+m.Peer)
		c.members = append(c.members, m)
	}
	c.processes = make([]*process, len(c.members))
	for i := range c.members {
		c.members[i].Cluster = strings.Join(peers, ",")
		c.start(t, i)
	}
	client := c.client(t)
	eventually(t, startTimeout, "the cluster serves", func() error { return c.serves(client) })
	return c
}

// serves reports whether every member runs and knows the leader.
func (c *cluster) serves(client *clientv3.Client) error {
	for i, m := range c.members {
		if !c.processes[i].running() {
			return fmt.Errorf("member %s has ended: %s", m.Name, tail(c.processes[i].log.String(), 200))
		}
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		status, err := client.Status(ctx, m.Client)
		cancel()
		if err != nil {
			return err
		}
		if status.Leader == 0 {
			return fmt.Errorf("member %s knows no leader", m.Name)
		}
	}
	return nil
}

// start starts one member, anew or again.
func (c *cluster) start(t *testing.T, i int) {
	t.Helper()
	description, err := json.Marshal(c.members[i])
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), memberEnv+"="+string(description))
	c.processes[i] = startProcess(t, command)
}

func (c *cluster) endpoints() []string {
	var all []string
	for _, m := range c.members {
		all = append(all, m.Client)
	}
	return all
}

// client gives a plain etcd client of the cluster.
func (c *cluster) client(t *testing.T) *clientv3.Client {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: c.endpoints(), DialTimeout: 5 * time.Second,
		DialKeepAliveTime: 2 * time.Second, DialKeepAliveTimeout: 2 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// leader gives the number of the member that leads.
func (c *cluster) leader(t *testing.T, client *clientv3.Client) int {
	t.Helper()
	for i, m := range c.members {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		status, err := client.Status(ctx, m.Client)
		cancel()
		if err == nil && status.Leader == status.Header.MemberId {
			return i
		}
	}
	t.Fatal("no member leads")
	return 0
}

// runMember is one member, until it is told to end.
func runMember(description string) int {
	var m member
	if err := json.Unmarshal([]byte(description), &m); err != nil {
		fmt.Fprintln(os.Stderr, memberEnv+":", err)
		return 2
	}
	etcd, err := embed.StartEtcd(m.config())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer etcd.Close()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	select {
	case err := <-etcd.Err():
		fmt.Fprintln(os.Stderr, err)
		return 1
	case <-ctx.Done():
		return 0
	}
}

// config has what docs/operating.md asks of a cluster for gtm. Snapshots are frequent, so that a member that comes back
// is sent one rather than the log.
func (m member) config() *embed.Config {
	config := embed.NewConfig()
	config.Name, config.Dir = m.Name, m.Dir
	config.ListenClientUrls, config.AdvertiseClientUrls = urls(m.Client), urls(m.Client)
	config.ListenPeerUrls, config.AdvertisePeerUrls = urls(cmp.Or(m.PeerAt, m.Peer)), urls(m.Peer)
	config.InitialCluster = m.Cluster
	config.MaxTxnOps = 8192
	config.MaxRequestBytes = 32 << 20
	config.SnapshotCount = 200
	config.SnapshotCatchUpEntries = 50
	config.LogLevel = "warn"
	return config
}

func urls(raw string) []url.URL {
	parsed, err := url.Parse(raw)
	if err != nil {
		panic(err) // made here, from a loopback address
	}
	return []url.URL{*parsed}
}
